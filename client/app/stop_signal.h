#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "fl/common/base/clock.h"

namespace fl::client {

// "Stop now", for loops that poll it and for those who sleep. Thread safety: shared objects safe.
class StopSignal {
 public:
  void Request();
  const std::atomic<bool>& requested() const { return requested_; }
  // Sleeps that long, or until a stop is requested.
  void SleepFor(Duration duration);

 private:
  std::atomic<bool> requested_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
};

// Turns the first SIGINT or SIGTERM into a call of `on_stop` on a thread of its own; the second one
// ends the process at once. Made before any other thread, so that all inherit the blocked signals.
class SignalListener {
 public:
  explicit SignalListener(std::function<void()> on_stop);
  SignalListener(const SignalListener&) = delete;
  SignalListener& operator=(const SignalListener&) = delete;
  ~SignalListener();

 private:
  void Listen();

  std::function<void()> on_stop_;
  std::thread thread_;
};

}  // namespace fl::client
