#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"

namespace fl::data {

// How stored features become a network's inputs. It is applied whenever a sample is read, never to
// the stored values, so a file or a share of it holds the original features. Part of a model: a
// model works only with the one it was trained with.
struct Normalization {
  enum class Kind : std::uint8_t {
    kNone,      // value
    kUnit,      // value / 255, for bytes
    kStandard,  // (value - mean) / scale
  };
  Kind kind = Kind::kNone;
  // With kStandard: one for all features, one for each channel (the last extent of a sample), or
  // one for each feature.
  std::vector<float> mean{};
  std::vector<float> scale{};  // As many as mean, each > 0.

  // In one line: "none", "unit", "standard mean 0.5 0.25 scale 1 2"; each number is read back to
  // its bits.
  std::string ToText() const;
  // kMalformed unless it is such a line.
  static Result<Normalization> Parse(std::string_view text);

  // kInvalidArgument when mean and scale are not as said above for samples of this shape.
  Result<> Validate(const Shape& sample) const;
  friend bool operator==(const Normalization&, const Normalization&) = default;
};

// From a plan's words: kind is "none", "unit" or "standard". kInvalidArgument names what is wrong.
Result<Normalization> MakeNormalization(std::string_view kind, const std::vector<double>& mean,
                                        const std::vector<double>& scale);

}  // namespace fl::data
