#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fl/common/base/bytes.h"
#include "fl/compression/codec.h"
#include "fl/compression/stage.h"

// What `auto` may spend on one update: from round to round, from client to client.
namespace fl::rate {

// `auto bytes=N [start=P%] [patience=N] [warmup=N] [per=weight] [deadline=30s|round]`: the words of
// the stage, the same in all rules of a plan.
struct BudgetRule {
  std::uint64_t bytes = 0;     // The most that an update ever takes.
  double start = 1;            // Share of it that a round takes until the loss stands still.
  std::uint32_t patience = 0;  // Rounds without progress, after which the share doubles; 0: never.
  std::uint32_t warmup = 0;    // First rounds that take more, falling from all of it to `start`.
  bool per_weight = false;     // In proportion to the weight to the power 2/3.
  bool by_deadline = false;    // No more than the link carries in time.
  double deadline_s = kRound;  // From the task's arrival; kRound: until the round closes.

  static constexpr double kRound = 1e9;

  bool moves() const { return start < 1 || per_weight; }  // Has a part of the round's parameters.
  // The least that a round may come to on a fast link.
  std::uint64_t LeastBytes() const;
  friend bool operator==(const BudgetRule&, const BudgetRule&) = default;
};
// kInvalidArgument: a word that is not known or out of range, neither bytes= nor deadline=, words
// that have no effect without others.
Result<BudgetRule> ReadBudget(const Stage& stage);

// The part of the round's parameters that `auto` has, once for all its segments and behind the
// parts of all codecs:
//   part = share:f32 loss:f32 best:f32 examples:f32 waited:u32
//
// DAdaQuant (Hönig et al. 2022, arXiv:2111.00465): few bytes do while the loss falls quickly, and
// a client's share in the variance grows with its weight. `loss` is the smoothed training loss,
// `best` the lowest that counted as progress (1 % below the one before), 0 before the first;
// `waited` the rounds since. `examples` is the mean weight of the last round's updates; 0: unknown.
struct BudgetState {
  float share = 1;
  float loss = 0;
  float best = 0;
  float examples = 0;
  std::uint32_t waited = 0;

  static constexpr std::size_t kBytes = 20;
  friend bool operator==(const BudgetState&, const BudgetState&) = default;

  Bytes Encode() const;
  // kInvalidArgument when it is none that NextBudget makes: a share outside (0, 1], a value that is
  // negative or not finite.
  static Result<BudgetState> Decode(ByteSpan part);
};
BudgetState FirstBudget(const BudgetRule& rule);
// After `round`, with at least one update. Only multiplications and comparisons, so the same on
// every machine.
BudgetState NextBudget(const BudgetRule& rule, const BudgetState& now, std::uint64_t round,
                       const RoundFeedback& feedback);

// What a device knows of the time that it has for an update.
struct TimeLeft {
  double upload_s = 0;          // Until the deadline, without what is left of training.
  double bytes_per_second = 0;  // Of its uploads.
  bool measured = false;        // Both; else they are assumed.
};
// Bytes that surely arrive: seven tenths of what the link carries.
double BytesInTime(const TimeLeft& time);

// One client in one round.
struct Sender {
  std::uint64_t round = 0;       // 0: unknown, as after the warm-up.
  std::uint64_t examples = 0;    // Its update's weight.
  std::optional<TimeLeft> time;  // With a deadline.
};
struct Budget {
  std::uint64_t bytes = 0;
  std::string reason;  // "warm-up", "25 % of the cap, 1.59 for its weight", "12.1 s at 3400 B/s".
};
// At most rule.bytes.
Budget ChooseBudget(const BudgetRule& rule, const BudgetState& state, const Sender& sender);

}  // namespace fl::rate
