#include "fl/compression/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "fl/compression/codecs/dense.h"
#include "fl/compression/codecs/fp16.h"
#include "fl/compression/codecs/low_rank.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/codecs/raw.h"
#include "fl/compression/codecs/shared_quantize.h"
#include "fl/compression/codecs/top_k.h"

namespace fl {
namespace {

// What a stage does; a chain has at most one of each, in this order.
enum class Role : std::uint8_t { kShape, kValues, kEntropy };

struct StageKind {
  StageId id;
  std::string_view name;
  Role role;
};
constexpr std::array<StageKind, 6> kStages = {{{StageId::kRaw, "raw", Role::kValues},
                                               {StageId::kFp16, "fp16", Role::kValues},
                                               {StageId::kQuantize, "quantize", Role::kValues},
                                               {StageId::kTopK, "top_k", Role::kShape},
                                               {StageId::kLowRank, "low_rank", Role::kShape},
                                               {StageId::kPack, "pack", Role::kEntropy}}};

Error Refuse(const Stage& stage, const std::string& reason) {
  return {ErrorCode::kInvalidArgument,
          "at character " + std::to_string(stage.column + 1) + ": " + stage.name + ": " + reason};
}

const StageKind* FindKind(std::string_view name) {
  const auto found = std::ranges::find(kStages, name, &StageKind::name);
  return found == kStages.end() ? nullptr : &*found;
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A stage's options by key; a key that is not in `known` is refused.
class Options {
 public:
  static Result<Options> Read(const Stage& stage, std::span<const std::string_view> known) {
    Options options;
    for (const auto& [key, value] : stage.options) {
      if (std::ranges::find(known, key) == known.end()) {
        std::string list;
        for (const std::string_view name : known)
          list += (list.empty() ? "" : ", ") + std::string(name);
        return Refuse(stage, "unknown option \"" + key + "\"; expected " +
                                 (list.empty() ? "none" : "one of " + list));
      }
      if (options.Find(key) != nullptr)
        return Refuse(stage, "option \"" + key + "\" is given twice");
      options.values_.emplace_back(key, value);
    }
    return options;
  }
  const std::string* Find(std::string_view key) const {
    const auto found = std::ranges::find(values_, key, &std::pair<std::string, std::string>::first);
    return found == values_.end() ? nullptr : &found->second;
  }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

// The chain by role, once its order has been checked.
struct Chain {
  const Stage* shape = nullptr;
  const Stage* values = nullptr;
  const Stage* entropy = nullptr;
};

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
      return Refuse(stage, "unknown stage; this version has " + known);
    }
    if (last != nullptr) {
      const Role before = FindKind(last->name)->role;
      if (before == kind->role) {
        return Refuse(
            stage, "cannot follow " + last->name + ": a chain has at most one stage of their kind");
      }
      if (before > kind->role && before == Role::kEntropy) {
        return Refuse(stage, "cannot follow " + last->name + ": " + WhyInThisOrder(before));
      }
      if (before > kind->role)
        return Refuse(stage, "must come before " + last->name + ": " + WhyInThisOrder(kind->role));
    }
    (kind->role == Role::kShape    ? chain.shape
     : kind->role == Role::kValues ? chain.values
                                   : chain.entropy) = &stage;
    last = &stage;
  }
  if (chain.shape == nullptr && chain.values == nullptr) {
    return Refuse(recipe.stages.back(),
                  "there is nothing to pack; expected a stage before it, such as quantize 8");
  }
  return chain;
}

Result<> TakesNothing(const Stage& stage) {
  if (stage.arguments.empty() && stage.options.empty()) return {};
  return Refuse(stage, "takes no arguments and no options");
}

// `quantize`'s own words, before it is known what they apply to.
struct QuantizeStage {
  QuantizeConfig config;
  bool per_channel = false;
  bool shared = false;
  float range = 1.0F;
};

Result<> ReadQuantizeOptions(const Stage& stage, QuantizeStage& quantize) {
  constexpr std::array<std::string_view, 3> kKnown = {"per", "scale", "range"};
  FL_TRY(const Options options, Options::Read(stage, kKnown));
  if (const std::string* per = options.Find("per")) {
    if (*per != "tensor" && *per != "channel")
      return Refuse(stage, "per: expected tensor or channel, found \"" + *per + "\"");
    quantize.per_channel = *per == "channel";
  }
  if (const std::string* scale = options.Find("scale")) {
    if (*scale != "own" && *scale != "shared")
      return Refuse(stage, "scale: expected own or shared, found \"" + *scale + "\"");
    quantize.shared = *scale == "shared";
  }
  if (const std::string* range = options.Find("range")) {
    if (!quantize.shared)
      return Refuse(stage, "range is for scale=shared; else the range is measured");
    const auto value = ParseNumber<float>(*range);
    if (!value || !std::isfinite(*value) || *value <= 0) {
      return Refuse(stage, "range: expected a number above 0, found \"" + *range + "\"");
    }
    quantize.range = *value;
  }
  return {};
}

Result<QuantizeStage> ReadQuantize(const Stage& stage) {
  QuantizeStage quantize;
  if (stage.arguments.empty())
    return Refuse(stage, "expected the bits of a level, 1 to 8, such as quantize 8");
  const auto bits = ParseNumber<unsigned>(stage.arguments.front());
  if (!bits || *bits < 1 || *bits > 8) {
    return Refuse(
        stage, "expected the bits of a level, 1 to 8, found \"" + stage.arguments.front() + "\"");
  }
  quantize.config.bits = *bits;
  for (const std::string& word : std::span(stage.arguments).subspan(1)) {
    if (word != "stochastic" && word != "asymmetric") {
      return Refuse(stage, "expected stochastic or asymmetric, found \"" + word + "\"");
    }
    (word == "stochastic" ? quantize.config.stochastic : quantize.config.asymmetric) = true;
  }
  FL_TRY_OK(ReadQuantizeOptions(stage, quantize));
  if (quantize.shared && (quantize.per_channel || quantize.config.asymmetric)) {
    return Refuse(
        stage,
        "scale=shared has one symmetric grid, so it goes with neither per=channel nor asymmetric");
  }
  if (quantize.shared && *bits == 1)
    return Refuse(stage, "scale=shared needs at least 2 bits: one bit has no level for zero");
  return quantize;
}

// F of `top_k F%`, as a share.
Result<double> ReadTopK(const Stage& stage) {
  FL_TRY_OK(Options::Read(stage, {}));
  const std::string_view text =
      stage.arguments.size() == 1 ? std::string_view(stage.arguments.front()) : std::string_view();
  const auto percent =
      text.ends_with('%') ? ParseNumber<double>(text.substr(0, text.size() - 1)) : std::nullopt;
  if (!percent || !(*percent > 0) || *percent > 100) {
    return Refuse(
        stage,
        "expected the share that is kept, above 0% and up to 100%, such as top_k 1%, found \"" +
            std::string(text) + "\"");
  }
  return *percent / 100;
}

Result<LowRankConfig> ReadLowRank(const Stage& stage) {
  LowRankConfig config;
  constexpr std::array<std::string_view, 2> kKnown = {"iterations", "basis"};
  FL_TRY(const Options options, Options::Read(stage, kKnown));
  const auto rank =
      stage.arguments.size() == 1 ? ParseNumber<unsigned>(stage.arguments.front()) : std::nullopt;
  if (!rank || *rank < 1 || *rank > kLowRankMax)
    return Refuse(stage, "expected a rank of 1 to 64, such as low_rank 2");
  config.rank = *rank;
  if (const std::string* text = options.Find("iterations")) {
    const auto iterations = ParseNumber<unsigned>(*text);
    if (!iterations || *iterations < 1 || *iterations > 8) {
      return Refuse(stage, "iterations: expected 1 to 8, found \"" + *text + "\"");
    }
    config.iterations = *iterations;
  }
  if (const std::string* basis = options.Find("basis"); basis != nullptr && *basis != "own") {
    return Refuse(stage, "basis: this version has own, found \"" + *basis + "\"");
  }
  return config;
}

// The coder of the kept values or of a whole segment; absent stage: raw.
Result<std::unique_ptr<ValueCoder>> BuildValues(const Stage* stage, const Shape& shape,
                                                bool after_shape) {
  if (stage == nullptr || stage->name == "raw" || stage->name == "fp16") {
    if (stage != nullptr) FL_TRY_OK(TakesNothing(*stage));
    if (stage != nullptr && stage->name == "fp16")
      return std::unique_ptr<ValueCoder>(std::make_unique<Fp16>());
    return std::unique_ptr<ValueCoder>(std::make_unique<Raw>());
  }
  FL_TRY(QuantizeStage quantize, ReadQuantize(*stage));
  if (quantize.per_channel) {
    if (after_shape) return Refuse(*stage, "per=channel: kept values are a list without channels");
    if (shape.rank() < 2) {
      return Refuse(*stage,
                    "per=channel needs at least two axes (channels are the last one), found " +
                        shape.ToText());
    }
    quantize.config.channels = shape[shape.rank() - 1];
  }
  return std::unique_ptr<ValueCoder>(std::make_unique<Quantize>(quantize.config));
}

Result<std::unique_ptr<Codec>> BuildTopK(const Chain& chain, const Shape& shape) {
  FL_TRY(const double share, ReadTopK(*chain.shape));
  if (chain.values != nullptr && chain.values->name == "quantize") {
    FL_TRY(const QuantizeStage quantize, ReadQuantize(*chain.values));
    if (quantize.shared) {
      return Refuse(
          *chain.values,
          "scale=shared after top_k: top_k is chosen by each client, so it cannot be summed");
    }
  }
  FL_TRY(std::unique_ptr<ValueCoder> values, BuildValues(chain.values, shape, true));
  const std::size_t keep = TopK::KeptOf(share, shape.count());
  return std::unique_ptr<Codec>(std::make_unique<TopK>(std::move(values), shape.count(), keep));
}

Result<std::unique_ptr<Codec>> BuildLowRank(const Chain& chain, const Shape& shape) {
  FL_TRY(LowRankConfig config, ReadLowRank(*chain.shape));
  if (shape.rank() < 2) {
    return Refuse(*chain.shape, "needs a matrix or a convolution's kernel, found a vector of " +
                                    std::to_string(shape.count()) +
                                    " values; give vectors a rule of their own");
  }
  if (chain.values != nullptr && chain.values->name == "quantize") {
    FL_TRY(const QuantizeStage quantize, ReadQuantize(*chain.values));
    const QuantizeConfig& each = quantize.config;
    if (quantize.shared) {
      return Refuse(*chain.values,
                    "scale=shared after low_rank: each client has factors of its own, so they "
                    "cannot be summed");
    }
    if (each.stochastic || each.asymmetric || quantize.per_channel || each.bits < 2) {
      return Refuse(
          *chain.values,
          "factors take 2 to 8 bits and no options: each row already has a scale, and a product of "
          "stochastically rounded factors is not unbiased");
    }
    config.factor_bits = each.bits;
  } else {
    FL_TRY(config.factors, BuildValues(chain.values, shape, true));
  }
  return std::unique_ptr<Codec>(std::make_unique<LowRank>(std::move(config), shape));
}

Result<std::unique_ptr<Codec>> BuildQuantize(const Chain& chain, const Shape& shape,
                                             std::size_t parameters_offset) {
  FL_TRY(const QuantizeStage quantize, ReadQuantize(*chain.values));
  if (quantize.shared) {
    return std::unique_ptr<Codec>(std::make_unique<SharedQuantize>(
        SharedQuantizeConfig{quantize.config.bits, quantize.config.stochastic, quantize.range,
                             parameters_offset},
        shape.count()));
  }
  FL_TRY(std::unique_ptr<ValueCoder> values, BuildValues(chain.values, shape, false));
  return std::unique_ptr<Codec>(std::make_unique<DenseCodec>(std::move(values), shape.count()));
}

}  // namespace

std::vector<std::uint8_t> KnownStages() {
  std::vector<std::uint8_t> ids;
  ids.reserve(kStages.size());
  for (const StageKind& kind : kStages) ids.push_back(static_cast<std::uint8_t>(kind.id));
  return ids;
}

Result<std::unique_ptr<Codec>> BuildCodec(const Recipe& recipe, const Shape& shape,
                                          std::size_t parameters_offset) {
  FL_TRY(const Chain chain, CheckOrder(recipe));
  if (chain.entropy != nullptr) FL_TRY_OK(TakesNothing(*chain.entropy));
  const Stage& head = chain.shape != nullptr ? *chain.shape : *chain.values;
  switch (FindKind(head.name)->id) {
    case StageId::kTopK:
      return BuildTopK(chain, shape);
    case StageId::kLowRank:
      return BuildLowRank(chain, shape);
    case StageId::kQuantize:
      return BuildQuantize(chain, shape, parameters_offset);
    case StageId::kRaw:
    case StageId::kFp16:
    case StageId::kPack:
      break;
  }
  FL_TRY(std::unique_ptr<ValueCoder> values, BuildValues(chain.values, shape, false));
  return std::unique_ptr<Codec>(std::make_unique<DenseCodec>(std::move(values), shape.count()));
}

bool IsLossless(const Recipe& recipe) {
  return std::ranges::all_of(recipe.stages, [](const Stage& stage) {
    return stage.name == "raw" || stage.name == "pack";
  });
}

}  // namespace fl
