#pragma once

#include <memory>

#include "fl/compression/codecs/value_coder.h"

namespace fl {

// `per=group:N`: the row of values is cut into groups of N, each written by the same coder on its
// own, so that an outlier spoils the grid of N values only.
//   grouped = { values }             as the coder writes N values each, the last group shorter
class Grouped final : public ValueCoder {
 public:
  // group >= 1.
  Grouped(std::unique_ptr<ValueCoder> values, std::size_t group)
      : values_(std::move(values)), group_(group) {}

  CodecTraits traits() const override { return values_->traits(); }
  std::size_t EncodedBytes(std::size_t count) const override;
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  std::size_t SizeOf(std::size_t index, std::size_t count) const;
  ByteSpan GroupOf(ByteSpan payload, std::size_t index, std::size_t size) const;

  std::unique_ptr<ValueCoder> values_;
  std::size_t group_;
};

}  // namespace fl
