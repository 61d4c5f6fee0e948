#include "fl/common/base/thread_pool.h"

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/base/clock.h"
#include "fl/common/base/guarded.h"

namespace fl::testing {

TEST_CASE("ThreadPool: ParallelFor calls the body once for each index") {
  for (const std::size_t threads : {0U, 1U, 4U}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::size_t count : {0U, 1U, 3U, 1000U}) {
      std::vector<int> calls(count);
      pool.ParallelFor(count, [&](std::size_t i) { ++calls[i]; });
      CHECK(calls == std::vector<int>(count, 1));
    }
  }
}

TEST_CASE("ThreadPool: a loop inside a loop ends") {
  ThreadPool pool(2);
  std::atomic<int> calls{0};
  pool.ParallelFor(4, [&](std::size_t) { pool.ParallelFor(4, [&](std::size_t) { ++calls; }); });
  CHECK(calls == 16);
}

TEST_CASE("ThreadPool: what was posted has run when the pool is gone") {
  std::atomic<int> ran{0};
  {
    ThreadPool pool(3);
    for (int i = 0; i < 100; ++i) pool.Post([&ran] { ++ran; });
  }
  CHECK(ran == 100);
}

TEST_CASE("ThreadPool: who waits for a job works on what is posted") {
  for (const std::size_t threads : {0U, 2U}) {
    ThreadPool pool(threads);
    std::vector<std::future<std::size_t>> results;
    for (std::size_t i = 0; i < 100; ++i) {
      auto promise = std::make_shared<std::promise<std::size_t>>();
      results.push_back(promise->get_future());
      pool.Post([promise, i] { promise->set_value(i); });
    }
    for (std::size_t i = 0; i < results.size(); ++i) CHECK(pool.Await(results[i]) == i);
    CHECK_FALSE(pool.RunOne());
  }
}

TEST_CASE("ThreadPool: without threads jobs run on the caller in their order") {
  std::vector<int> order;
  {
    ThreadPool pool(0);
    for (int i = 0; i < 4; ++i) pool.Post([&order, i] { order.push_back(i); });
    CHECK(order.empty());
    CHECK(pool.RunOne());
    CHECK(order == std::vector<int>{0});
    CHECK(pool.waiting() == 3);
  }
  CHECK(order == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("Guarded: the value is changed by one thread at a time") {
  Guarded<int> counter(5);
  ThreadPool pool(4);
  pool.ParallelFor(1000, [&](std::size_t) { counter.With([](int& value) { ++value; }); });
  CHECK(counter.With([](int& value) { return value; }) == 1005);
}

TEST_CASE("Clock: the system's clock never goes back") {
  SystemClock clock;
  TimePoint last = clock.Now();
  CHECK(ToMicroseconds(last) > 1'600'000'000'000'000);
  for (int i = 0; i < 1000; ++i) {
    const TimePoint now = clock.Now();
    CHECK(now >= last);
    last = now;
  }
}

TEST_CASE("Clock: seconds and microseconds convert") {
  CHECK(ToSeconds(FromSeconds(2.5)) == 2.5);
  CHECK(ToMicroseconds(FromMicroseconds(17)) == 17);
  CHECK(FromMicroseconds(0) + FromSeconds(1) == FromMicroseconds(1000000));
  CHECK(kNever > FromMicroseconds(std::int64_t{1} << 60));
}

}  // namespace fl::testing
