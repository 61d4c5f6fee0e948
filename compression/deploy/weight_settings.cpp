#include "fl/compression/deploy/weight_settings.h"

#include <array>

namespace fl::deploy {

Result<> ReadWeightSpec(Fields& fields, nn::WeightSpec& spec) {
  constexpr std::array<std::string_view, 3> kGranularities = {"tensor", "channel", "group"};
  spec.scaling = static_cast<nn::WeightScaling>(
      fields.Word("granularity", kGranularities, static_cast<std::size_t>(spec.scaling)));
  fields.Number("bits", spec.bits, 2, 8);
  fields.Number("group", spec.group, 2, 65536);
  bool symmetric = !spec.asymmetric;
  fields.Flag("symmetric", symmetric);
  spec.asymmetric = !symmetric;
  if (const auto valid = spec.Validate(); !valid) return fields.Fail("bits", valid.error().message);
  return {};
}

}  // namespace fl::deploy
