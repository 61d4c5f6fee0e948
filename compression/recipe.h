#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/digest.h"
#include "fl/common/config/plan.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/codec.h"
#include "fl/compression/rate/budget.h"
#include "fl/compression/stage.h"

namespace fl {

// The stages that recipes are made of. The ids travel in check-ins: append only.
enum class StageId : std::uint8_t {
  kRaw = 1,
  kFp16 = 2,
  kQuantize = 3,
  kTopK = 4,
  kLowRank = 5,
  kPack = 6,
  kRice = 7,
  kRans = 8,
  kContext = 9,
  kDeadZone = 10,
  kTernary = 11,
  kBf16 = 20,
  kNatural = 21,
  kSign = 22,
  kLloyd = 23,
  kEden = 24,
  kHadamard = 25,
  kSharedMask = 26,
  kAnnounced = 27,
  kThreshold = 28,
  kTucker = 29,
  kSketch = 30,
  kAuto = 31,
  kTrits = 32,
  kSplit = 33,  // The "+" between two recipes.
};
// Ids of all stages that this program has, ascending: what a check-in lists.
std::vector<std::uint8_t> KnownStages();

struct Recipe {
  std::vector<Stage> stages;
  std::vector<Recipe> rest;  // Those behind a "+", in their order, each without a rest of its own.
};
// The ids of a recipe's stages, of those that this program has: what a client must know.
std::vector<std::uint8_t> StagesOf(const Recipe& recipe);

// Reads the recipe language's syntax: `low_rank 2 | quantize 4 stochastic per=channel`; `+` binds
// weaker than `|`: `low_rank 2 | fp16 + top_k 1% | ternary`.
// kInvalidArgument with the offset.
Result<Recipe> ParseRecipe(std::string_view text);

// The codec for a segment of that shape, or why the chain is impossible ("top_k must come before
// quantize: ..."). This is the one place where a stage's name becomes code.
// `parameters_offset`: where the codec's own part of the round's parameters begins (SegmentPlan
// sets it).
Result<std::unique_ptr<Codec>> BuildCodec(const Recipe& recipe, const Shape& shape,
                                          std::size_t parameters_offset = 0);

// The recipe in one spelling: single spaces, as digests are taken of.
std::string ToText(const Recipe& recipe);
// Whether the recipe keeps each bit, for any shape.
bool IsLossless(const Recipe& recipe);

class Narrowing;

// What one codec encodes: a tensor, or several small ones one after the other.
struct Segment {
  std::string name;                  // The tensor's, or "gathered".
  std::vector<std::size_t> tensors;  // Indices in the layout.
  Shape shape;
  std::unique_ptr<Codec> codec;
};

// A stream's tensors cut into segments, each with its codec; derived from the plan alone, so that
// server and clients have the same.
class SegmentPlan {
 public:
  SegmentPlan() = default;  // No tensors.
  // `frozen`: indices of tensors, ascending, that no segment covers. Errors carry the plan's line
  // and column: an unknown stage, an impossible chain, a rule that matches no tensor.
  // With `narrowing` each round trains and sends a part of every tensor that it narrows.
  static Result<SegmentPlan> Create(const CompressionConfig& compression,
                                    const TensorLayout& layout,
                                    std::span<const std::size_t> frozen = {},
                                    std::shared_ptr<const Narrowing> narrowing = nullptr);
  // One recipe for all tensors, nothing gathered: the other streams.
  static Result<SegmentPlan> Uniform(const LocatedText& recipe, const TensorLayout& layout);

  // All tensors of the stream; Gather's and Scatter's flat vectors have this layout.
  const TensorLayout& layout() const { return layout_; }
  // Those that segments cover: what an update and a residual hold.
  const TensorLayout& covered() const { return covered_; }
  std::span<const Segment> segments() const { return segments_; }
  // SHA-256 of a canonical text of the segments and recipes; its first 8 bytes are the update
  // header's `recipe`.
  const Digest& digest() const { return digest_; }
  bool lossless() const;
  // Upper bound of an update's payload bytes.
  std::size_t EncodedBytesMax() const;
  // What a whole update's body may take: the rule that all segments of `auto` share; none where
  // there are none.
  const std::optional<rate::BudgetRule>& budget() const { return budget_; }

  // What the round's clients share when nobody has measured anything yet: each codec's part, from
  // its recipe, one after the other, and the budget's. Each codec takes the whole and knows its
  // part.
  RoundParameters InitialRoundParameters() const;
  // What the clients of the next round share after a round with `now` whose updates added up to
  // `aggregate_flat`, in the layout's order: each codec's next part, from its own segment of the
  // aggregate. `measured` is of the whole round; its own aggregate is not read. After a round
  // without updates, and where no codec's part moves, these bytes stay.
  RoundParameters NextRoundParameters(const RoundParameters& now,
                                      std::span<const float> aggregate_flat,
                                      const RoundFeedback& measured) const;
  // What the budget's part of the parameters says; FirstBudget where the rule needs none. Errors:
  // parameters of another size, and BudgetState::Decode's.
  Result<rate::BudgetState> ReadBudgetState(const RoundParameters& parameters) const;
  // Whether these are parameters that clients can encode with: the size of all parts together, and
  // what each codec and the budget say of theirs. kInvalidArgument, for a client that a server sent
  // others.
  Result<> CheckRoundParameters(const RoundParameters& parameters) const;
  // Whether any codec takes part in what the clients of a round share, so that updates cannot be
  // read without it.
  bool needs_round_parameters() const;

  // The segment's coordinates of a flat vector in the layout's order: where they lie where they lie
  // together, else gathered in `buffer`.
  std::span<const float> Values(std::size_t segment, std::span<const float> flat,
                                std::vector<float>& buffer) const;
  // out = those coordinates; out.size() == codec->count().
  void Gather(std::size_t segment, std::span<const float> flat, std::span<float> out) const;
  // Adds the segment's values to their places in the flat vector: the reverse of Gather on zeros.
  void Scatter(std::size_t segment, std::span<const float> values, std::span<float> flat) const;

 private:
  Result<> CheckSize(const RoundParameters& parameters) const;

  TensorLayout layout_;
  TensorLayout covered_;
  std::vector<Segment> segments_;
  std::size_t codec_parameters_bytes_ = 0;
  std::optional<rate::BudgetRule> budget_;
  Digest digest_;
};

}  // namespace fl
