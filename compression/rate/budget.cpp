#include "fl/compression/rate/budget.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "fl/common/base/byte_count.h"
#include "fl/compression/codecs/kept_share.h"

namespace fl::rate {
namespace {

constexpr std::uint64_t kBytesMin = 100;
constexpr std::uint64_t kBytesMax = 1'000'000'000;
constexpr std::uint32_t kRoundsMax = 10000;
constexpr double kDeadlineMax = 1e6;   // Seconds.
constexpr double kWeightLeast = 0.25;  // Of a round's usual budget, for a light client.
constexpr double kSurely = 0.7;        // Of what a link carries.
constexpr float kProgress = 0.99F;     // A loss below this times the best one.
constexpr float kSmoothing = 0.5F;     // Of the loss from round to round.

Result<> ReadBytes(const Stage& stage, const StageOptions& options, BudgetRule& rule) {
  const std::string* text = options.Find("bytes");
  if (text == nullptr) {
    rule.bytes = kBytesMax;
    if (options.Find("deadline") != nullptr) return {};
    return RefuseStage(stage, "expected what an update may take, such as auto bytes=60KB");
  }
  const auto bytes = ParseByteCount(*text);
  if (!bytes || *bytes < kBytesMin || *bytes > kBytesMax) {
    return RefuseStage(stage,
                       "bytes: expected a whole number of bytes, 100 to 1000MB, such as 60KB, "
                       "found \"" +
                           *text + "\"");
  }
  rule.bytes = *bytes;
  return {};
}

Result<> ReadStart(const Stage& stage, const StageOptions& options, BudgetRule& rule) {
  const std::string* text = options.Find("start");
  if (text == nullptr) return {};
  const std::string_view digits = std::string_view(*text).substr(0, text->size() - 1);
  const auto percent = text->ends_with('%') ? ParseNumber<double>(digits) : std::nullopt;
  if (!percent || !(*percent >= 1) || *percent >= 100) {
    return RefuseStage(stage,
                       "start: expected the share of bytes= that early rounds take, 1% or more "
                       "and below 100%, found \"" +
                           *text + "\"");
  }
  rule.start = *percent / 100;
  return {};
}

Result<std::uint32_t> ReadRounds(const Stage& stage, const StageOptions& options,
                                 const std::string& key) {
  const std::string* text = options.Find(key);
  if (text == nullptr) return 0U;
  const auto rounds = ParseNumber<std::uint32_t>(*text);
  if (rounds && *rounds >= 1 && *rounds <= kRoundsMax) return *rounds;
  return RefuseStage(stage, key + ": expected 1 to " + std::to_string(kRoundsMax) +
                                " rounds, found \"" + *text + "\"");
}

Result<> ReadWeightAndDeadline(const Stage& stage, const StageOptions& options, BudgetRule& rule) {
  if (const std::string* text = options.Find("per")) {
    if (*text != "weight")
      return RefuseStage(stage, "per: expected per=weight, found \"" + *text + "\"");
    rule.per_weight = true;
  }
  const std::string* text = options.Find("deadline");
  if (text == nullptr) return {};
  rule.by_deadline = true;
  if (*text == "round") return {};
  const std::string_view digits = std::string_view(*text).substr(0, text->size() - 1);
  const auto seconds = text->ends_with('s') ? ParseNumber<double>(digits) : std::nullopt;
  if (!seconds || !(*seconds > 0) || *seconds > kDeadlineMax) {
    return RefuseStage(stage,
                       "deadline: expected the time that an update has after its task, above 0s "
                       "and up to 1000000s, such as 30s, or round, found \"" +
                           *text + "\"");
  }
  rule.deadline_s = *seconds;
  return {};
}

Result<> CheckTogether(const Stage& stage, const StageOptions& options, const BudgetRule& rule) {
  if ((rule.patience > 0 || rule.warmup > 0) && !(rule.start < 1)) {
    return RefuseStage(stage,
                       "warmup and patience lead to and from a smaller budget: expected start=P% "
                       "beside them, such as start=25%");
  }
  if (rule.moves() && options.Find("bytes") == nullptr) {
    return RefuseStage(stage, "start and per are shares of a budget: expected bytes=N beside them");
  }
  return {};
}

// value^(1/3), within a factor of 1000 of 1, by exact arithmetic.
double CubeRoot(double value) {
  constexpr double kScale = 1e9;
  return 1000 * ExactRoot(std::clamp(value, 1e-9, kScale) / kScale, 3);
}

std::string Text(const char* format, double first, double second = 0) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), format, first, second);
  return text.data();
}

double FloatOf(ByteReader& reader, bool& right) {
  const Result<float> value = reader.Read<float>();
  right = right && value.has_value() && std::isfinite(*value) && *value >= 0;
  return right ? static_cast<double>(*value) : 0;
}

}  // namespace

std::uint64_t BudgetRule::LeastBytes() const {
  const double share = start * (per_weight ? kWeightLeast : 1);
  return static_cast<std::uint64_t>(share * static_cast<double>(bytes));
}

Result<BudgetRule> ReadBudget(const Stage& stage) {
  constexpr std::array<std::string_view, 6> kKnown = {"bytes",  "start", "patience",
                                                      "warmup", "per",   "deadline"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  if (!stage.arguments.empty()) {
    return RefuseStage(stage, "takes words with a value alone, such as auto bytes=60KB");
  }
  BudgetRule rule;
  FL_TRY_OK(ReadBytes(stage, options, rule));
  FL_TRY_OK(ReadStart(stage, options, rule));
  FL_TRY(rule.patience, ReadRounds(stage, options, "patience"));
  FL_TRY(rule.warmup, ReadRounds(stage, options, "warmup"));
  FL_TRY_OK(ReadWeightAndDeadline(stage, options, rule));
  FL_TRY_OK(CheckTogether(stage, options, rule));
  return rule;
}

Bytes BudgetState::Encode() const {
  ByteWriter out;
  for (const float value : {share, loss, best, examples}) out.Write(value);
  out.Write(waited);
  return std::move(out).Take();
}

Result<BudgetState> BudgetState::Decode(ByteSpan part) {
  ByteReader reader(part);
  BudgetState state;
  bool right = part.size() == kBytes;
  for (float* value : {&state.share, &state.loss, &state.best, &state.examples})
    *value = static_cast<float>(FloatOf(reader, right));
  if (!right || !(state.share > 0) || state.share > 1) {
    return Error{ErrorCode::kInvalidArgument,
                 "round parameters: expected the budget of auto, a share in (0, 1] and what was "
                 "measured, found other bytes"};
  }
  FL_TRY(state.waited, reader.Read<std::uint32_t>());
  return state;
}

BudgetState FirstBudget(const BudgetRule& rule) {
  return {.share = static_cast<float>(rule.start)};
}

BudgetState NextBudget(const BudgetRule& rule, const BudgetState& now, std::uint64_t round,
                       const RoundFeedback& feedback) {
  BudgetState next = now;
  if (rule.per_weight && feedback.updates > 0) {
    next.examples = static_cast<float>(static_cast<double>(feedback.examples) /
                                       static_cast<double>(feedback.updates));
  }
  const auto loss = static_cast<float>(feedback.loss.value_or(-1));
  const bool follows = rule.patience > 0 && round > rule.warmup && next.share < 1;
  if (!follows || !std::isfinite(loss) || loss < 0) return next;
  const bool first = now.best == 0;
  next.loss = first ? loss : kSmoothing * now.loss + (1 - kSmoothing) * loss;
  if (first || next.loss < kProgress * now.best) {
    next.best = next.loss;
    next.waited = 0;
  } else if (++next.waited >= rule.patience) {
    next.share = std::min(1.0F, 2 * now.share);
    next.waited = 0;
  }
  return next;
}

double BytesInTime(const TimeLeft& time) {
  return kSurely * time.bytes_per_second * std::max(time.upload_s, 0.0);
}

Budget ChooseBudget(const BudgetRule& rule, const BudgetState& state, const Sender& sender) {
  KeptShare falling{.share = rule.start, .warmup = rule.warmup, .from = 1};
  falling.SetFactor();
  const auto moved = static_cast<double>(state.share);
  double share = std::max(falling.AtRound(sender.round), moved);
  Budget budget{0, share > moved ? "warm-up, " : ""};
  budget.reason += share < 1 ? Text("%.3g %% of the cap", 100 * share) : "the cap";
  if (rule.per_weight && state.examples > 0) {
    const double ratio = static_cast<double>(sender.examples) / static_cast<double>(state.examples);
    const double factor = std::max(CubeRoot(ratio * ratio), kWeightLeast);
    share = std::min(share * factor, 1.0);
    budget.reason += Text(", times %.3g for its weight", factor);
  }
  double bytes = share * static_cast<double>(rule.bytes);
  if (sender.time && BytesInTime(*sender.time) < bytes) {
    bytes = BytesInTime(*sender.time);
    budget.reason = Text("%.3g s left to send at %.4g bytes/s",
                         std::max(sender.time->upload_s, 0.0), sender.time->bytes_per_second);
    if (!sender.time->measured) budget.reason += ", assumed";
  }
  budget.bytes = static_cast<std::uint64_t>(bytes);
  return budget;
}

}  // namespace fl::rate
