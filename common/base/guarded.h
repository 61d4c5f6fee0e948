#pragma once

#include <mutex>
#include <utility>

namespace fl {

// A value that can be reached only under its lock.
//   Guarded<std::deque<Event>> queue;
//   queue.With([&](auto& events) { events.push_back(event); });
// Thread safety: shared objects safe.
template <typename T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  template <typename F>
  decltype(auto) With(F&& function) {
    const std::lock_guard lock(mutex_);
    return std::forward<F>(function)(value_);
  }

 private:
  std::mutex mutex_;
  T value_{};
};

}  // namespace fl
