// SegmentPlan: which codec for which tensors.
#include <algorithm>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/crypto/sha256.h"
#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/codecs/narrowed.h"
#include "fl/compression/glob.h"
#include "fl/compression/narrowing.h"
#include "fl/compression/recipe.h"

namespace fl {
namespace {

// The error at the place of a piece of the plan's text, where that is known.
Error AtPlace(const Location& location, const std::string& what, const Error& error) {
  const std::string message = what + error.message;
  if (location.line == 0) return {error.code, message};
  return {error.code,
          std::to_string(location.line) + ":" + std::to_string(location.column) + ": " + message};
}

Error InRecipe(const LocatedText& recipe, const std::string& tensor, const Error& error) {
  return AtPlace(recipe.location,
                 "recipe \"" + recipe.text + "\"" + (tensor.empty() ? "" : " for " + tensor) + ": ",
                 error);
}

Result<Recipe> ReadRecipe(const LocatedText& text) {
  auto recipe = ParseRecipe(text.text);
  if (!recipe) return InRecipe(text, "", recipe.error());
  return recipe;
}

struct ParsedRule {
  const RecipeRule* rule;
  Recipe recipe;
};

Result<std::vector<ParsedRule>> ReadRules(const CompressionConfig& compression,
                                          const TensorLayout& layout) {
  std::vector<ParsedRule> rules;
  for (const RecipeRule& rule : compression.rules) {
    const bool matches = std::ranges::any_of(layout.specs(), [&](const TensorSpec& spec) {
      return GlobMatches(rule.tensors.text, spec.name);
    });
    if (!matches) {
      std::string names;
      for (const TensorSpec& spec : layout.specs())
        names += (names.empty() ? "" : ", ") + spec.name;
      return AtPlace(
          rule.tensors.location, "",
          {ErrorCode::kInvalidArgument,
           "recipe for \"" + rule.tensors.text + "\" matches no tensor; the model has " + names});
    }
    FL_TRY(Recipe recipe, ReadRecipe(rule.recipe));
    rules.push_back({&rule, std::move(recipe)});
  }
  return rules;
}

const ParsedRule* FindRule(const std::vector<ParsedRule>& rules, std::string_view name) {
  const auto found = std::ranges::find_if(
      rules, [&](const ParsedRule& each) { return GlobMatches(each.rule->tensors.text, name); });
  return found == rules.end() ? nullptr : &*found;
}

Recipe RawRecipe() {
  Recipe recipe;
  recipe.stages.push_back(Stage{.name = "raw", .arguments = {}, .options = {}, .column = 0});
  return recipe;
}

// The segments as they come, and the text that the digest is taken of:
//   segment NAME SHAPE RECIPE, then a line for each tensor: tensor NAME SHAPE
//   before them, where rounds train a part: narrow NAME SHAPE for each tensor
class Builder {
 public:
  explicit Builder(const TensorLayout& layout, std::shared_ptr<const Narrowing> narrowing = nullptr)
      : layout_(layout), narrowing_(std::move(narrowing)) {
    if (narrowing_ == nullptr) return;
    for (const TensorSpec& spec : narrowing_->graph().parameters.specs())
      text_ += "narrow " + spec.name + " " + spec.shape.ToText() + "\n";
  }

  Result<> Add(std::string name, std::vector<std::size_t> tensors, Shape shape,
               const Recipe& recipe, const LocatedText& source) {
    auto codec = narrowing_ == nullptr ? BuildCodec(recipe, shape, parameters_bytes_)
                                       : BuildNarrowed(recipe, shape, tensors);
    if (!codec) return InRecipe(source, name, codec.error());
    parameters_bytes_ += codec.value()->InitialParameters().size();
    if (const auto* adaptive = dynamic_cast<const AdaptiveCodec*>(codec.value().get())) {
      const auto same = ShareBudget(adaptive->budget());
      if (!same) return InRecipe(source, name, same.error());
    }
    text_ += "segment " + name + " " + shape.ToText() + " " + ToText(recipe) + "\n";
    for (const std::size_t tensor : tensors) {
      text_ += "tensor " + layout_[tensor].name + " " + layout_[tensor].shape.ToText() + "\n";
    }
    segments_.push_back(
        {std::move(name), std::move(tensors), std::move(shape), std::move(codec).value()});
    return {};
  }
  std::vector<Segment> TakeSegments() { return std::move(segments_); }
  Digest digest() const { return crypto::Sha256(AsBytes(text_)); }
  std::size_t parameters_bytes() const { return parameters_bytes_; }
  const std::optional<rate::BudgetRule>& budget() const { return budget_; }

 private:
  // The codec of a segment of whose tensors a round trains a part.
  Result<std::unique_ptr<Codec>> BuildNarrowed(const Recipe& recipe, const Shape& whole,
                                               const std::vector<std::size_t>& tensors) const {
    const TensorLayout& narrow = narrowing_->graph().parameters;
    std::size_t count = 0;
    for (const std::size_t tensor : tensors) count += narrow[tensor].shape.count();
    const Shape shape = tensors.size() == 1 ? narrow[tensors.front()].shape : Shape{count};
    FL_TRY(auto codec, BuildCodec(recipe, shape));
    const bool adaptive = dynamic_cast<const AdaptiveCodec*>(codec.get()) != nullptr;
    if (adaptive || codec->summed() != nullptr || !codec->InitialParameters().empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "with training.width below 1 a round's clients share the units that they train "
                   "and nothing else; expected a recipe without auto, a sketch, or a seed, scale "
                   "or basis that clients share"};
    }
    auto trained = [narrowing = narrowing_, layout = layout_, tensors](std::uint64_t round) {
      std::vector<std::uint32_t> all;
      std::size_t first = 0;
      for (const std::size_t tensor : tensors) {
        for (const std::uint32_t at : narrowing->CoordinatesOf(tensor, round))
          all.push_back(static_cast<std::uint32_t>(first + at));
        first += layout[tensor].shape.count();
      }
      return all;
    };
    return std::unique_ptr<Codec>(
        std::make_unique<Narrowed>(whole.count(), std::move(trained), std::move(codec)));
  }

  // One update has one budget.
  Result<> ShareBudget(const rate::BudgetRule& rule) {
    if (budget_ && *budget_ != rule) {
      return Error{ErrorCode::kInvalidArgument,
                   "auto: all rules share one budget for the whole update; expected the words of "
                   "another rule, with bytes=" +
                       std::to_string(budget_->bytes) +
                       ", found others, with bytes=" + std::to_string(rule.bytes)};
    }
    budget_ = rule;
    return {};
  }

  const TensorLayout& layout_;
  std::shared_ptr<const Narrowing> narrowing_;
  std::vector<Segment> segments_;
  std::string text_ = "fl segments 1\n";
  std::size_t parameters_bytes_ = 0;
  std::optional<rate::BudgetRule> budget_;
};

TensorLayout Without(const TensorLayout& layout, std::span<const std::size_t> frozen) {
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    if (!std::ranges::binary_search(frozen, i)) specs.push_back(layout[i]);
  }
  return TensorLayout(std::move(specs));
}

}  // namespace

Result<SegmentPlan> SegmentPlan::Create(const CompressionConfig& compression,
                                        const TensorLayout& layout,
                                        std::span<const std::size_t> frozen,
                                        std::shared_ptr<const Narrowing> narrowing) {
  FL_TRY(const std::vector<ParsedRule> rules, ReadRules(compression, layout));
  Builder builder(layout, std::move(narrowing));
  std::vector<std::size_t> small;
  std::size_t small_count = 0;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    if (std::ranges::binary_search(frozen, i)) continue;
    const ParsedRule* rule = FindRule(rules, layout[i].name);
    if (rule == nullptr) {
      FL_TRY_OK(builder.Add(layout[i].name, {i}, layout[i].shape, RawRecipe(), {"raw", {}}));
    } else if (layout[i].shape.count() < compression.gather_below && !IsLossless(rule->recipe)) {
      small.push_back(i);
      small_count += layout[i].shape.count();
    } else {
      FL_TRY_OK(
          builder.Add(layout[i].name, {i}, layout[i].shape, rule->recipe, rule->rule->recipe));
    }
  }
  FL_TRY(const Recipe gathered, ReadRecipe(compression.gathered));
  if (!small.empty()) {
    FL_TRY_OK(builder.Add("gathered", std::move(small), Shape{small_count}, gathered,
                          compression.gathered));
  }
  SegmentPlan plan;
  plan.layout_ = layout;
  plan.covered_ = Without(layout, frozen);
  plan.digest_ = builder.digest();
  plan.budget_ = builder.budget();
  plan.codec_parameters_bytes_ = builder.parameters_bytes();
  plan.segments_ = builder.TakeSegments();
  return plan;
}

Result<SegmentPlan> SegmentPlan::Uniform(const LocatedText& recipe, const TensorLayout& layout) {
  FL_TRY(const Recipe parsed, ReadRecipe(recipe));
  Builder builder(layout);
  for (std::size_t i = 0; i < layout.size(); ++i) {
    FL_TRY_OK(builder.Add(layout[i].name, {i}, layout[i].shape, parsed, recipe));
  }
  SegmentPlan plan;
  plan.layout_ = layout;
  plan.covered_ = layout;
  plan.digest_ = builder.digest();
  plan.budget_ = builder.budget();
  plan.codec_parameters_bytes_ = builder.parameters_bytes();
  plan.segments_ = builder.TakeSegments();
  return plan;
}

bool SegmentPlan::lossless() const {
  return std::ranges::all_of(
      segments_, [](const Segment& segment) { return segment.codec->traits().lossless; });
}

std::size_t SegmentPlan::EncodedBytesMax() const {
  std::size_t bytes = 0;
  for (const Segment& segment : segments_) bytes += segment.codec->EncodedBytesMax();
  return budget_ ? std::min<std::size_t>(bytes, budget_->bytes) : bytes;
}

RoundParameters SegmentPlan::InitialRoundParameters() const {
  RoundParameters parameters;
  for (const Segment& segment : segments_) {
    const Bytes part = segment.codec->InitialParameters();
    parameters.bytes.insert(parameters.bytes.end(), part.begin(), part.end());
  }
  if (budget_ && budget_->moves()) {
    const Bytes part = rate::FirstBudget(*budget_).Encode();
    parameters.bytes.insert(parameters.bytes.end(), part.begin(), part.end());
  }
  return parameters;
}

Result<> SegmentPlan::CheckSize(const RoundParameters& parameters) const {
  const std::size_t expected =
      codec_parameters_bytes_ + (budget_ && budget_->moves() ? rate::BudgetState::kBytes : 0);
  if (parameters.bytes.size() == expected) return {};
  return Error{ErrorCode::kInvalidArgument, "round parameters: expected " +
                                                std::to_string(expected) + " bytes, found " +
                                                std::to_string(parameters.bytes.size())};
}

Result<> SegmentPlan::CheckRoundParameters(const RoundParameters& parameters) const {
  FL_TRY_OK(CheckSize(parameters));
  for (const Segment& segment : segments_) {
    const auto checked = segment.codec->CheckParameters(parameters);
    if (!checked) return Error{checked.error().code, segment.name + ": " + checked.error().message};
  }
  if (budget_) FL_TRY_OK(ReadBudgetState(parameters));
  return {};
}

Result<rate::BudgetState> SegmentPlan::ReadBudgetState(const RoundParameters& parameters) const {
  FL_CHECK(budget_.has_value(), "a plan without auto has no budget");
  if (!budget_->moves()) return rate::FirstBudget(*budget_);
  FL_TRY_OK(CheckSize(parameters));
  return rate::BudgetState::Decode(ByteSpan(parameters.bytes).subspan(codec_parameters_bytes_));
}

RoundParameters SegmentPlan::NextRoundParameters(const RoundParameters& now,
                                                 std::span<const float> aggregate_flat,
                                                 const RoundFeedback& measured) const {
  RoundParameters next{now.bytes, now.round + 1};
  if (measured.updates == 0) return next;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const Codec& codec = *segments_[i].codec;
    const std::size_t size = codec.InitialParameters().size();
    if (size == 0) continue;
    FL_CHECK(size <= now.bytes.size() - offset, "a round's parameters hold each codec's part");
    std::vector<float> values(codec.count());
    Gather(i, aggregate_flat, values);
    RoundFeedback feedback = measured;
    feedback.aggregate = values;
    const Bytes part = codec.NextParameters(ByteSpan(now.bytes).subspan(offset, size), feedback);
    FL_CHECK(part.size() == size, "a codec's part of the parameters keeps its size");
    std::ranges::copy(part, next.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    offset += size;
  }
  if (budget_ && budget_->moves()) {
    const auto state = ReadBudgetState(now);
    FL_CHECK(state.has_value(), "a round's parameters are those that its clients had");
    const Bytes part = rate::NextBudget(*budget_, *state, now.round, measured).Encode();
    std::ranges::copy(part, next.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  return next;
}

bool SegmentPlan::needs_round_parameters() const {
  return std::ranges::any_of(segments_, [](const Segment& segment) {
    return segment.codec->traits().needs_round_parameters;
  });
}

std::span<const float> SegmentPlan::Values(std::size_t segment, std::span<const float> flat,
                                           std::vector<float>& buffer) const {
  FL_CHECK(flat.size() == layout_.total(), "sizes are the plan's");
  const std::vector<std::size_t>& tensors = segments_[segment].tensors;
  if (tensors.size() == 1)
    return flat.subspan(layout_.offset(tensors[0]), layout_[tensors[0]].shape.count());
  buffer.resize(segments_[segment].codec->count());
  Gather(segment, flat, buffer);
  return buffer;
}

void SegmentPlan::Gather(std::size_t segment, std::span<const float> flat,
                         std::span<float> out) const {
  FL_CHECK(flat.size() == layout_.total() && out.size() == segments_[segment].codec->count(),
           "sizes are the plan's");
  std::size_t at = 0;
  for (const std::size_t tensor : segments_[segment].tensors) {
    const auto values = flat.subspan(layout_.offset(tensor), layout_[tensor].shape.count());
    std::ranges::copy(values, out.begin() + static_cast<std::ptrdiff_t>(at));
    at += values.size();
  }
}

void SegmentPlan::Scatter(std::size_t segment, std::span<const float> values,
                          std::span<float> flat) const {
  FL_CHECK(flat.size() == layout_.total() && values.size() == segments_[segment].codec->count(),
           "sizes are the plan's");
  std::size_t at = 0;
  for (const std::size_t tensor : segments_[segment].tensors) {
    for (float& value : flat.subspan(layout_.offset(tensor), layout_[tensor].shape.count()))
      value += values[at++];
  }
}

}  // namespace fl
