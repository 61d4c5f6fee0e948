#include "fl/compression/deploy/passes/half_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadHalfWeights(Fields& fields) {
  constexpr std::array<std::string_view, 2> kFormats = {"fp16", "bf16"};
  const std::size_t format = fields.Word("format", kFormats, 0);
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<HalfWeights>(
      format == 0 ? nn::FloatStorage::kFp16 : nn::FloatStorage::kBf16));
}

Result<> HalfWeights::Run(const PassInputs& /*inputs*/, WorkingModel& model,
                          PassReport& report) const {
  if (model.rounded) {
    return Error{ErrorCode::kInvalidArgument,
                 "half_weights: an earlier pass has rounded the weights to integers"};
  }
  double largest = 0;  // Of the values that stay in reach.
  std::size_t cut = 0;
  for (float& value : model.parameters) {
    const float stored = nn::StoredValue(value, storage_);
    const double change = std::abs(static_cast<double>(stored) - static_cast<double>(value));
    const bool beyond = std::abs(stored) < std::abs(value) && change > 0.01 * std::abs(stored);
    if (beyond) {
      ++cut;
    } else {
      largest = std::max(largest, change);
    }
    value = stored;
  }
  model.storage = storage_;
  char text[120];
  std::snprintf(text, sizeof(text), "%s, largest change %.2g%s",
                storage_ == nn::FloatStorage::kFp16 ? "fp16" : "bf16", largest,
                cut == 0 ? "" : (", " + std::to_string(cut) + " values cut").c_str());
  report.summary = text;
  report.figures = {{"largest_change", largest}, {"cut", static_cast<double>(cut)}};
  return {};
}

}  // namespace fl::deploy
