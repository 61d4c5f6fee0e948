#include "fl/compression/recipe.h"

#include <algorithm>
#include <array>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/codecs/announced.h"
#include "fl/compression/codecs/bf16.h"
#include "fl/compression/codecs/dense.h"
#include "fl/compression/codecs/eden.h"
#include "fl/compression/codecs/fp16.h"
#include "fl/compression/codecs/level_codec.h"
#include "fl/compression/codecs/lloyd.h"
#include "fl/compression/codecs/low_rank.h"
#include "fl/compression/codecs/natural.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/codecs/raw.h"
#include "fl/compression/codecs/rotated.h"
#include "fl/compression/codecs/shared_mask.h"
#include "fl/compression/codecs/sketch.h"
#include "fl/compression/codecs/split.h"
#include "fl/compression/codecs/threshold.h"
#include "fl/compression/codecs/top_k.h"
#include "fl/compression/codecs/tucker.h"

namespace fl {
namespace {

// What a stage does; a chain has at most one of each, in this order.
enum class Role : std::uint8_t { kShape, kValues, kEntropy };

struct StageKind {
  StageId id;
  std::string_view name;
  Role role;
};
constexpr auto kStages =
    std::to_array<StageKind>({{StageId::kRaw, "raw", Role::kValues},
                              {StageId::kFp16, "fp16", Role::kValues},
                              {StageId::kQuantize, "quantize", Role::kValues},
                              {StageId::kTopK, "top_k", Role::kShape},
                              {StageId::kLowRank, "low_rank", Role::kShape},
                              {StageId::kTucker, "tucker", Role::kShape},
                              {StageId::kPack, "pack", Role::kEntropy},
                              {StageId::kBf16, "bf16", Role::kValues},
                              {StageId::kNatural, "natural", Role::kValues},
                              {StageId::kSign, "sign", Role::kValues},
                              {StageId::kLloyd, "lloyd", Role::kValues},
                              {StageId::kEden, "eden", Role::kValues},
                              {StageId::kHadamard, "hadamard", Role::kShape},
                              {StageId::kSharedMask, "shared_mask", Role::kShape},
                              {StageId::kAnnounced, "announced", Role::kShape},
                              {StageId::kSketch, "sketch", Role::kShape},
                              {StageId::kAuto, "auto", Role::kShape},
                              {StageId::kThreshold, "threshold", Role::kShape},
                              {StageId::kRice, "rice", Role::kEntropy},
                              {StageId::kRans, "rans", Role::kEntropy},
                              {StageId::kContext, "context", Role::kEntropy},
                              {StageId::kDeadZone, "dead_zone", Role::kValues},
                              {StageId::kTernary, "ternary", Role::kValues},
                              {StageId::kTrits, "trits", Role::kEntropy}});

const StageKind* FindKind(std::string_view name) {
  const auto found = std::ranges::find(kStages, name, &StageKind::name);
  return found == kStages.end() ? nullptr : &*found;
}

const char* WhyInThisOrder(Role role) {
  return role == Role::kShape ? "it chooses what is sent, and what follows rounds that"
                              : "packing comes last, it only writes bits";
}

Result<Chain> CheckOrder(const Recipe& recipe) {
  if (recipe.stages.empty())
    return Error{ErrorCode::kInvalidArgument, "a recipe has at least one stage"};
  Chain chain;
  const Stage* last = nullptr;
  for (const Stage& stage : recipe.stages) {
    const StageKind* kind = FindKind(stage.name);
    if (kind == nullptr) {
      std::string known;
      for (const StageKind& each : kStages)
        known += (known.empty() ? "" : ", ") + std::string(each.name);
      return RefuseStage(stage, "unknown stage; this version has " + known);
    }
    if (last != nullptr) {
      const Role before = FindKind(last->name)->role;
      if (before == kind->role) {
        return RefuseStage(
            stage, "cannot follow " + last->name + ": a chain has at most one stage of their kind");
      }
      if (before > kind->role && before == Role::kEntropy) {
        return RefuseStage(stage, "cannot follow " + last->name + ": " + WhyInThisOrder(before));
      }
      if (before > kind->role)
        return RefuseStage(stage,
                           "must come before " + last->name + ": " + WhyInThisOrder(kind->role));
    }
    (kind->role == Role::kShape    ? chain.shape
     : kind->role == Role::kValues ? chain.values
                                   : chain.entropy) = &stage;
    last = &stage;
  }
  if (chain.shape == nullptr && chain.values == nullptr) {
    return RefuseStage(recipe.stages.back(),
                       "there is nothing to pack; expected a stage before it, such as quantize 8");
  }
  return chain;
}

// An entropy code is for integer levels, but for the places that top_k keeps and the factors of
// low_rank, which have their own.
Result<> CheckEntropy(const Chain& chain) {
  if (chain.entropy == nullptr) return {};
  FL_TRY_OK(TakesNothing(*chain.entropy));
  const std::string& name = chain.entropy->name;
  const bool own =
      chain.shape != nullptr &&
      (((chain.shape->name == "top_k" || chain.shape->name == "threshold") && name == "rice") ||
       chain.shape->name == "low_rank");
  if (name == "pack" || own || HasLevels(chain)) return {};
  return RefuseStage(*chain.entropy,
                     "it codes integer levels: expected ternary, dead_zone or quantize before it");
}

}  // namespace

std::vector<std::uint8_t> KnownStages() {
  std::vector<std::uint8_t> ids;
  ids.reserve(kStages.size() + 1);
  for (const StageKind& kind : kStages) ids.push_back(static_cast<std::uint8_t>(kind.id));
  ids.push_back(static_cast<std::uint8_t>(StageId::kSplit));
  std::ranges::sort(ids);
  return ids;
}

std::vector<std::uint8_t> StagesOf(const Recipe& recipe) {
  std::vector<std::uint8_t> ids;
  for (const Stage& stage : recipe.stages) {
    if (const StageKind* kind = FindKind(stage.name))
      ids.push_back(static_cast<std::uint8_t>(kind->id));
  }
  for (const Recipe& part : recipe.rest) {
    ids.push_back(static_cast<std::uint8_t>(StageId::kSplit));
    const std::vector<std::uint8_t> others = StagesOf(part);
    ids.insert(ids.end(), others.begin(), others.end());
  }
  return ids;
}

Result<std::unique_ptr<ValueCoder>> BuildValueCoder(const Stage* stage, const Shape& shape,
                                                    bool after_shape) {
  if (stage == nullptr) return std::unique_ptr<ValueCoder>(std::make_unique<Raw>());
  switch (FindKind(stage->name)->id) {
    case StageId::kQuantize:
      return BuildQuantize(*stage, shape, after_shape);
    case StageId::kRaw:
      FL_TRY_OK(TakesNothing(*stage));
      return std::unique_ptr<ValueCoder>(std::make_unique<Raw>());
    case StageId::kFp16:
      FL_TRY_OK(TakesNothing(*stage));
      return std::unique_ptr<ValueCoder>(std::make_unique<Fp16>());
    case StageId::kBf16:
      FL_TRY_OK(TakesNothing(*stage));
      return std::unique_ptr<ValueCoder>(std::make_unique<Bf16>());
    case StageId::kNatural:
      FL_TRY_OK(TakesNothing(*stage));
      return std::unique_ptr<ValueCoder>(std::make_unique<Natural>());
    case StageId::kSign:  // The sign times the mean magnitude is what one level bit means.
      FL_TRY_OK(TakesNothing(*stage));
      return std::unique_ptr<ValueCoder>(std::make_unique<Quantize>(QuantizeConfig{.bits = 1}));
    case StageId::kLloyd:
      return BuildLloyd(*stage);
    case StageId::kEden:
      return BuildEden(*stage, after_shape);
    case StageId::kDeadZone:
    case StageId::kTernary:
      return RefuseStage(*stage, "its levels are for whole segments or for what top_k keeps");
    default:
      CheckFailed(stage->name, "a stage of another kind is not a value coder");
  }
}

namespace {

Result<std::unique_ptr<Codec>> BuildChain(const Recipe& recipe, const Shape& shape,
                                          std::size_t parameters_offset) {
  FL_TRY(const Chain chain, CheckOrder(recipe));
  if (chain.shape == nullptr || chain.shape->name != "auto") FL_TRY_OK(CheckEntropy(chain));
  const bool kept = chain.shape == nullptr || chain.shape->name == "top_k";
  if (HasLevels(chain) && kept) return BuildLevels(chain, shape);
  const Stage& head = chain.shape != nullptr ? *chain.shape : *chain.values;
  switch (FindKind(head.name)->id) {
    case StageId::kTopK:
      return BuildTopK(chain, shape);
    case StageId::kLowRank:
      return BuildLowRank(chain, shape, parameters_offset);
    case StageId::kTucker:
      return BuildTucker(chain, shape);
    case StageId::kThreshold:
      return BuildThreshold(chain, shape);
    case StageId::kAnnounced:
      return BuildAnnounced(chain, shape, parameters_offset);
    case StageId::kSharedMask:
      return BuildSharedMask(chain, shape, parameters_offset);
    case StageId::kSketch:
      return BuildSketch(chain, shape, parameters_offset);
    case StageId::kAuto:
      return BuildAdaptive(chain, shape);
    case StageId::kHadamard:
      return BuildRotated(chain, shape, parameters_offset);
    case StageId::kRaw:
    case StageId::kFp16:
    case StageId::kQuantize:
    case StageId::kBf16:
    case StageId::kNatural:
    case StageId::kSign:
    case StageId::kLloyd:
    case StageId::kEden:
      return BuildDense(chain, shape, parameters_offset);
    default:
      CheckFailed(head.name, "a chain begins with what is sent or how it is written");
  }
}

// A part of a joined recipe, of which `last` is one.
Result<std::unique_ptr<Codec>> BuildPart(const Recipe& part, bool last, const Shape& shape,
                                         std::size_t parameters_offset) {
  FL_TRY(std::unique_ptr<Codec> codec, BuildChain(part, shape, parameters_offset));
  if (part.stages.front().name == "auto") {
    return RefuseStage(part.stages.front(),
                       "chooses a tensor's whole recipe by itself, so it cannot be joined by +");
  }
  if (codec->summed() != nullptr) {
    return RefuseStage(part.stages.front(),
                       "adds up as the cells of a table, and what another recipe codes does not, "
                       "so it cannot be joined by +");
  }
  const CodecTraits traits = codec->traits();
  if (traits.lossless && !last) {
    return RefuseStage(part.stages.front(),
                       "sends every value as it is, so nothing is left out for what follows the +; "
                       "expected a lossy recipe there, such as low_rank 4 + raw");
  }
  if (traits.linear) {
    return RefuseStage(part.stages.front(),
                       "scale=shared is for levels that are summed as integers, and those of "
                       "recipes joined by + cannot be; leave it out");
  }
  return codec;
}

}  // namespace

Result<std::unique_ptr<Codec>> BuildCodec(const Recipe& recipe, const Shape& shape,
                                          std::size_t parameters_offset) {
  if (recipe.rest.empty()) return BuildChain(recipe, shape, parameters_offset);
  std::vector<std::unique_ptr<Codec>> parts;
  for (std::size_t i = 0; i <= recipe.rest.size(); ++i) {
    const Recipe& part = i == 0 ? recipe : recipe.rest[i - 1];
    FL_TRY(std::unique_ptr<Codec> codec,
           BuildPart(part, i == recipe.rest.size(), shape, parameters_offset));
    parameters_offset += codec->InitialParameters().size();
    parts.push_back(std::move(codec));
  }
  return std::unique_ptr<Codec>(std::make_unique<Split>(std::move(parts)));
}

bool IsLossless(const Recipe& recipe) {
  return recipe.rest.empty() && std::ranges::all_of(recipe.stages, [](const Stage& stage) {
           return stage.name == "raw" || stage.name == "pack";
         });
}

}  // namespace fl
