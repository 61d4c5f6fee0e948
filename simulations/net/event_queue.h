#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/base/clock.h"

namespace fl::sim {

// What happens next, ordered by (virtual time, actor, order of entry): a total order that does not
// depend on threads or addresses. Taking an event moves the virtual clock to its time. Thread
// safety: shared objects unsafe.
template <typename Event>
class EventQueue {
 public:
  // Who acts: a device by its index. The server acts after all devices of the same instant, so that
  // it can take what they sent as one batch.
  using Actor = std::uint32_t;
  static constexpr Actor kServer = UINT32_MAX;

  TimePoint now() const { return now_; }
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }

  // The time of the next event; kNever when there is none.
  TimePoint next_time() const { return heap_.empty() ? kNever : heap_.front().time; }
  // Whose the next event is; the queue must not be empty.
  Actor next_actor() const {
    FL_CHECK(!heap_.empty(), "the next event of an empty queue");
    return heap_.front().actor;
  }

  // `time` must not lie before now().
  void Push(TimePoint time, Actor actor, Event event) {
    FL_CHECK(time >= now_, "an event in the past");
    heap_.push_back({time, actor, sequence_++, Store(std::move(event))});
    std::ranges::push_heap(heap_, Later{});
  }

  // The next event; the clock moves to its time. The queue must not be empty.
  Event Pop() {
    FL_CHECK(!heap_.empty(), "the next event of an empty queue");
    std::ranges::pop_heap(heap_, Later{});
    const Entry entry = heap_.back();
    heap_.pop_back();
    now_ = entry.time;
    free_.push_back(entry.slot);
    return *std::exchange(events_[entry.slot], std::nullopt);
  }

 private:
  struct Entry {
    TimePoint time;
    Actor actor = 0;
    std::uint64_t sequence = 0;
    std::size_t slot = 0;
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      return std::tie(a.time, a.actor, a.sequence) > std::tie(b.time, b.actor, b.sequence);
    }
  };

  // Events stay where they are while the heap's entries move.
  std::size_t Store(Event event) {
    if (free_.empty()) {
      events_.emplace_back(std::move(event));
      return events_.size() - 1;
    }
    const std::size_t slot = free_.back();
    free_.pop_back();
    events_[slot] = std::move(event);
    return slot;
  }

  std::vector<Entry> heap_;
  std::vector<std::optional<Event>> events_;
  std::vector<std::size_t> free_;  // Their empty places.
  TimePoint now_{};
  std::uint64_t sequence_ = 0;
};

}  // namespace fl::sim
