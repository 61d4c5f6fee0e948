#include "fl/compression/codecs/threshold.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/level_codec.h"
#include "fl/compression/codecs/lloyd.h"
#include "fl/compression/codecs/top_k.h"

namespace fl {

void Threshold::Encode(std::span<const float> values, std::span<float> decoded,
                       const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  WantsDecoded(values, decoded);
  const double mean_square = internal::SumOfSquares(values) / static_cast<double>(values.size());
  const auto threshold = static_cast<float>(multiple_ * std::sqrt(mean_square));
  std::vector<float> above(values.size());
  std::ranges::transform(values, above.begin(),
                         [&](float value) { return std::fabs(value) > threshold ? value : 0.0F; });
  kept_->Encode(above, decoded, parameters, rng, out);
}

Result<std::unique_ptr<ParsedPayload>> Threshold::Parse(ByteSpan payload,
                                                        const RoundParameters& parameters,
                                                        const PayloadLimits& limits) const {
  return kept_->Parse(payload, parameters, limits);
}

void Threshold::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                          std::span<float> out) const {
  kept_->DecodeAdd(payload, first, scale, out);
}

namespace {

constexpr double kMultipleMin = 0.1;
constexpr double kMultipleMax = 100;

Result<double> ReadThreshold(const Stage& stage) {
  FL_TRY_OK(StageOptions::Read(stage, {}));
  const auto multiple =
      stage.arguments.size() == 1 ? ParseNumber<double>(stage.arguments.front()) : std::nullopt;
  if (!multiple || !(*multiple >= kMultipleMin) || *multiple > kMultipleMax) {
    return RefuseStage(stage,
                       "expected how many root mean squares a value that is sent is above, 0.1 to "
                       "100, such as threshold 3");
  }
  return *multiple;
}

// `top_k` of the largest share that can be above the threshold; a little more against rounding.
Stage BoundingTopK(const Stage& stage, double multiple) {
  const double percent = std::min(100.0, 100.0 * (1 + 1e-12) / (multiple * multiple));
  char text[32];
  const auto end = std::to_chars(std::begin(text), std::end(text), percent).ptr;
  return {.name = "top_k",
          .arguments = {std::string(std::begin(text), end) + "%"},
          .options = {},
          .column = stage.column};
}

}  // namespace

Result<std::unique_ptr<Codec>> BuildThreshold(const Chain& chain, const Shape& shape) {
  FL_TRY(const double multiple, ReadThreshold(*chain.shape));
  const Stage top_k = BoundingTopK(*chain.shape, multiple);
  const Chain rest{.shape = &top_k, .values = chain.values, .entropy = chain.entropy};
  FL_TRY(std::unique_ptr<Codec> kept,
         HasLevels(rest) ? BuildLevels(rest, shape) : BuildTopK(rest, shape));
  return std::unique_ptr<Codec>(std::make_unique<Threshold>(multiple, std::move(kept)));
}

}  // namespace fl
