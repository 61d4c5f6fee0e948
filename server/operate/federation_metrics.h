#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "fl/server/core/request.h"
#include "fl/server/core/server_core.h"

// What a running server counts about a federation, since it was started. All of it is relaxed
// atomics: a scrape reads each figure as it is at that moment, not all at one moment. Thread
// safety: shared objects safe.
namespace fl::server {

// Only grows.
class Counter {
 public:
  void Add(std::uint64_t count) { value_.fetch_add(count, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

// The last value that was set.
class Gauge {
 public:
  void Set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

// How long something took: counts by upper bound, and the sum.
class TimeHistogram {
 public:
  using Clock = std::chrono::steady_clock;
  // Upper bounds in seconds; what is longer counts in one more bucket.
  static constexpr std::array<double, 12> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                     0.05,   0.1,   0.25,   1,     5,    25};

  void Add(Clock::duration took);
  void AddSince(Clock::time_point start) { Add(Clock::now() - start); }
  // Of this bucket alone; index kBounds.size() is the last one.
  std::uint64_t count(std::size_t bucket) const { return counts_[bucket].value(); }
  double sum_seconds() const { return static_cast<double>(nanoseconds_.value()) * 1e-9; }

 private:
  std::array<Counter, kBounds.size() + 1> counts_;
  Counter nanoseconds_;
};

enum class RequestKind : std::uint8_t { kCheckIn, kBlob, kUpload, kAdmin, kUnreadable };
inline constexpr std::array<std::string_view, 5> kRequestKindNames = {"check_in", "blob", "upload",
                                                                      "admin", "unreadable"};

// Check: an update is decoded and verified. Batch: events are handled and stored in one
// transaction. Answer: from a request's arrival to its answer; held check-ins do not count.
enum class TimedStep : std::uint8_t { kCheck, kBatch, kAnswer, kFold, kEvaluate };
inline constexpr std::array<std::string_view, 5> kTimedStepNames = {"check", "batch", "answer",
                                                                    "fold", "evaluate"};

struct FederationMetrics {
  // By error code and by task kind; numbers beyond the last one count in place 0, which no code
  // has.
  std::array<Counter, 128> refused;
  std::array<Counter, 16> accepted;
  std::array<Counter, kRequestKindNames.size()> requests;
  std::array<TimeHistogram, kTimedStepNames.size()> steps;
  Counter bytes_up;  // As Traffic counts them.
  Counter bytes_down;
  Counter body_bytes_up;
  Counter body_bytes_down;
  Counter rounds_published;
  Counter rounds_abandoned;
  Counter storage_failures;  // Batches that could not be stored.
  Gauge held;                // Check-ins that wait for something to change.
  Gauge state;               // FederationState.
  Gauge version;
  Gauge clients;
  Gauge round;
  Gauge cohort;
  Gauge round_accepted;

  TimeHistogram& step(TimedStep which) { return steps[static_cast<std::size_t>(which)]; }
  // A request that could be read, or not.
  void CountRequest(const Result<DecodedRequest>& request);
  void Take(const BatchAccount& account);
};

}  // namespace fl::server
