#include "fl/simulations/net/event_queue.h"

#include <string>

#include <doctest/doctest.h>

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
