#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>

#include "fl/common/base/clock.h"

namespace fl::net::internal {

// What the tasks of a group are told.
enum class TaskSignal : std::uint8_t {
  kFinish,   // End once the work under way is done.
  kClose,    // End now.
  kRecheck,  // End if the permission to run was withdrawn.
};

// Owns coroutines: knows which run, passes signals to them, and waits for their end. It must
// outlive them all. Thread safety: shared objects safe.
class TaskGroup {
 public:
  // Called from any thread, possibly after its task has ended; must not block.
  using OnSignal = std::function<void(TaskSignal)>;

  template <typename Executor>
  void Spawn(const Executor& executor, boost::asio::awaitable<void> task, OnSignal on_signal) {
    const std::uint64_t id = Add(std::move(on_signal));
    boost::asio::co_spawn(executor, std::move(task),
                          [this, id](const std::exception_ptr&) { Remove(id); });
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return tasks_.size();
  }
  void Send(TaskSignal signal) {
    std::vector<OnSignal> tasks;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [id, on_signal] : tasks_) tasks.push_back(on_signal);
    }
    for (const OnSignal& on_signal : tasks) on_signal(signal);
  }
  // Whether all tasks ended in time.
  bool Wait(Duration timeout) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, timeout, [this] { return tasks_.empty(); });
  }

 private:
  std::uint64_t Add(OnSignal on_signal) {
    const std::lock_guard lock(mutex_);
    tasks_.emplace(++last_id_, std::move(on_signal));
    return last_id_;
  }
  void Remove(std::uint64_t id) {
    // Destroyed after the lock is released: it may hold the last reference to what the task worked
    // on.
    decltype(tasks_)::node_type removed;
    const std::lock_guard lock(mutex_);
    removed = tasks_.extract(id);
    ended_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::map<std::uint64_t, OnSignal> tasks_;
  std::uint64_t last_id_ = 0;
};

}  // namespace fl::net::internal
