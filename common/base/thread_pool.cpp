#include "fl/common/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>

namespace fl {

ThreadPool::ThreadPool(std::size_t threads) {
  workers_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  while (RunOne()) {
  }
}

void ThreadPool::Post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
}

std::size_t ThreadPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return jobs_.size();
}

bool ThreadPool::RunOne() {
  std::function<void()> job;
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.empty()) return false;
    job = std::move(jobs_.front());
    jobs_.pop_front();
  }
  job();
  return true;
}

void ThreadPool::Work() {
  while (true) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

namespace {

// What the caller and its helpers share: the next index to take, and how many are finished. A
// helper that is scheduled after all is done finds no index left, so it may outlive the call; hence
// the shared ownership.
struct Loop {
  std::size_t count;
  const std::function<void(std::size_t)>* body;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::condition_variable done;
  std::size_t finished = 0;

  void Run() {
    std::size_t ran = 0;
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      (*body)(i);
      ++ran;
    }
    if (ran == 0) return;
    const std::lock_guard lock(mutex);
    finished += ran;
    if (finished == count) done.notify_all();
  }
};

}  // namespace

void ThreadPool::ParallelFor(std::size_t count, const std::function<void(std::size_t)>& body) {
  const auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->body = &body;
  for (std::size_t i = 1; i < std::min(count, threads() + 1); ++i) {
    Post([loop] { loop->Run(); });
  }
  loop->Run();
  std::unique_lock lock(loop->mutex);
  loop->done.wait(lock, [&] { return loop->finished == loop->count; });
}

}  // namespace fl
