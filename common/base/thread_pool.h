#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace fl {

// A fixed number of worker threads over one unbounded queue; whoever posts bounds what is under
// way. The destructor runs what was posted, then joins. Thread safety: all members from any thread.
class ThreadPool {
 public:
  // With no threads what is posted runs where somebody waits for it, and in the destructor.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const { return workers_.size(); }
  void Post(std::function<void()> job);
  // Jobs that no thread has begun.
  std::size_t waiting() const;
  // Runs the oldest of these on the caller; false when there is none.
  bool RunOne();
  // The future's result, which a posted job sets; until then the caller works on what is posted.
  template <typename T>
  T Await(std::future<T>& future) {
    while (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready && RunOne()) {
    }
    return future.get();
  }

  // Calls body(i) for each i in [0, count), on the workers and on the caller, and returns when all
  // are done. The body must not depend on the order of the calls.
  void ParallelFor(std::size_t count, const std::function<void(std::size_t)>& body);

 private:
  void Work();

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace fl
