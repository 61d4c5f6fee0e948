#pragma once

#include <memory>

#include "fl/compression/codecs/value_coder.h"

namespace fl {

// `lloyd B`, 1 to 8 bits: the nearest of the levels that suit a normal distribution best
// (NormalLevels), times a scale of the row of values. Levels are chosen for the values over their
// root mean square; then the scale is the one with the least squared error, which is never more
// than the values' energy.
//   lloyd = scale:bf16 codes         value = scale * NormalLevels(B)[code]; codes: count * B bits,
//                                    lower bits first, zero padded; all 0 where the scale is
class Lloyd final : public ValueCoder {
 public:
  explicit Lloyd(unsigned bits) : bits_(bits) {}

  CodecTraits traits() const override { return {}; }
  std::size_t EncodedBytes(std::size_t count) const override;
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  unsigned bits_;
};

// The coder of a stage `lloyd B`.
Result<std::unique_ptr<ValueCoder>> BuildLloyd(const Stage& stage);

namespace internal {

// Sums in a fixed order that leaves room for vectors: eight partial sums, then those in their
// order.
double SumOfSquares(std::span<const float> values);
// Of values[i] * levels[codes[i]], and of the squared levels.
double SumOfProducts(std::span<const float> values, std::span<const float> levels,
                     std::span<const std::uint8_t> codes);

// The thresholds for values with that root mean square.
void ScaleThresholds(unsigned bits, double root_mean_square, std::span<float> thresholds);

}  // namespace internal
}  // namespace fl
