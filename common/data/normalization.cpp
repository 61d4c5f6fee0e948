#include "fl/common/data/normalization.h"

#include <cmath>
#include <string>

namespace fl::data {

Result<> Normalization::Validate(const Shape& sample) const {
  if (kind != Kind::kStandard) return {};
  const std::size_t features = sample.count();
  const std::size_t channels = sample.rank() > 0 ? sample[sample.rank() - 1] : 1;
  if (mean.size() != 1 && mean.size() != channels && mean.size() != features) {
    return Error{ErrorCode::kInvalidArgument,
                 "normalization: expected 1, " + std::to_string(channels) + " or " +
                     std::to_string(features) + " means for samples of " + sample.ToText() +
                     ", found " + std::to_string(mean.size())};
  }
  if (scale.size() != mean.size()) {
    return Error{ErrorCode::kInvalidArgument, "normalization: expected as many scales as means (" +
                                                  std::to_string(mean.size()) + "), found " +
                                                  std::to_string(scale.size())};
  }
  for (std::size_t i = 0; i < mean.size(); ++i) {
    if (!std::isfinite(mean[i]) || !std::isfinite(scale[i]) || scale[i] <= 0) {
      return Error{ErrorCode::kInvalidArgument,
                   "normalization: expected finite means and scales > 0, found mean " +
                       std::to_string(mean[i]) + ", scale " + std::to_string(scale[i]) + " at " +
                       std::to_string(i)};
    }
  }
  return {};
}

Result<Normalization> MakeNormalization(std::string_view kind, const std::vector<double>& mean,
                                        const std::vector<double>& scale) {
  Normalization result;
  if (kind == "standard") {
    result.kind = Normalization::Kind::kStandard;
    for (const double value : mean) result.mean.push_back(static_cast<float>(value));
    for (const double value : scale) result.scale.push_back(static_cast<float>(value));
    return result;
  }
  if (kind == "unit") {
    result.kind = Normalization::Kind::kUnit;
  } else if (kind != "none") {
    return Error{
        ErrorCode::kInvalidArgument,
        "normalization: expected 'none', 'unit' or 'standard', found '" + std::string(kind) + "'"};
  }
  if (!mean.empty() || !scale.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "normalization: mean and scale go with 'standard' only"};
  }
  return result;
}

}  // namespace fl::data
