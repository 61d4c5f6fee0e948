#include "fl/simulations/net/event_queue.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl::sim {
namespace {

using Queue = EventQueue<std::string>;

TEST_CASE("EventQueue: events come by time then device then order of entry with the server last") {
  Queue queue;
  queue.Push(FromMicroseconds(2), 0, "late");
  queue.Push(FromMicroseconds(1), Queue::kServer, "server");
  queue.Push(FromMicroseconds(1), 7, "seven");
  queue.Push(FromMicroseconds(1), 3, "three");
  queue.Push(FromMicroseconds(1), 7, "seven again");
  std::string order;
  while (!queue.empty()) order += queue.Pop() + ", ";
  CHECK(order == "three, seven, seven again, server, late, ");
}

TEST_CASE("EventQueue: events that come and go keep their order") {
  Queue queue;
  RngStream rng(1);
  std::vector<std::int64_t> expected;
  std::vector<std::string> taken;
  std::vector<std::string> wanted;
  for (int i = 0; i < 300; ++i) {
    const std::int64_t time =
        ToMicroseconds(queue.now()) + 1 + static_cast<std::int64_t>(rng.UniformInteger(1000));
    queue.Push(FromMicroseconds(time), 0, std::to_string(time));
    expected.push_back(time);
    std::ranges::sort(expected);
    if (i % 3 == 0) continue;
    taken.push_back(queue.Pop());
    wanted.push_back(std::to_string(expected.front()));
    expected.erase(expected.begin());
  }
  CHECK(taken == wanted);
  CHECK(queue.size() == 100);
}

TEST_CASE("EventQueue: taking an event moves the clock") {
  Queue queue;
  CHECK(queue.next_time() == kNever);
  queue.Push(FromMicroseconds(5), 4, "five");
  CHECK(queue.next_time() == FromMicroseconds(5));
  CHECK(queue.next_actor() == 4);
  CHECK(queue.now() == FromMicroseconds(0));
  CHECK(queue.Pop() == "five");
  CHECK(queue.now() == FromMicroseconds(5));
}

}  // namespace
}  // namespace fl::sim
