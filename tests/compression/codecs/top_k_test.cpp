#include "fl/compression/codecs/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fl/compression/codecs/largest_magnitudes.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using internal::LargestMagnitudes;
using testing::EncodeValues;
using testing::MakeCodec;

// Sorts everything: what the histograms must agree with.
std::vector<std::uint32_t> LargestBySorting(std::span<const float> values, std::size_t keep) {
  std::vector<std::uint32_t> indices(values.size());
  std::iota(indices.begin(), indices.end(), 0U);
  std::ranges::stable_sort(indices, [&](std::uint32_t a, std::uint32_t b) {
    return std::fabs(values[a]) > std::fabs(values[b]);
  });
  std::erase_if(indices, [&](std::uint32_t i) { return values[i] == 0; });
  if (indices.size() > keep) indices.resize(keep);
  std::ranges::sort(indices);
  return indices;
}

TEST_CASE("TopK: selection by histograms agrees with sorting") {
  testing::ForAll(40, [](RngStream& rng) {
    std::vector<float> values(1 + rng.UniformInteger(3000));
    rng.FillNormal(values);
    const auto coarse = static_cast<float>(1 + rng.UniformInteger(8));
    if (rng.UniformInteger(2) == 0) {
      for (float& value : values)
        value = std::round(value * coarse) / coarse;  // Many ties and zeros.
    }
    const std::size_t keep = 1 + rng.UniformInteger(values.size());
    CHECK(LargestMagnitudes(values, keep) == LargestBySorting(values, keep));
  });
}

TEST_CASE("TopK: selection by a sample agrees with sorting even where the sample misleads") {
  constexpr std::size_t kCount = 140000;
  constexpr std::size_t kStride = kCount / 16384 - 1;  // Of the sample.
  static_assert(kStride % 2 == 1);
  std::vector<float> values = testing::NormalValues(kCount, RngStream(1));
  for (const std::size_t keep : {1UL, 1400UL, 70000UL, 139999UL, kCount})
    CHECK(LargestMagnitudes(values, keep) == LargestBySorting(values, keep));
  for (std::size_t i = 0; i < kCount; i += kStride)
    values[i] *= 1000;  // All that it sees is large.
  CHECK(LargestMagnitudes(values, 30000) == LargestBySorting(values, 30000));
  for (std::size_t i = 0; i < kCount; i += kStride) values[i] = 0;  // All that it sees is zero.
  CHECK(LargestMagnitudes(values, 1400) == LargestBySorting(values, 1400));
  std::vector<float> equal(kCount, -0.5F);
  CHECK(LargestMagnitudes(equal, 1400) == LargestBySorting(equal, 1400));
}

TEST_CASE("TopK: ties keep the lower index") {
  const std::vector<float> values = {1, -2, 2, 2, -1, 2};
  CHECK(LargestMagnitudes(values, 2) == std::vector<std::uint32_t>{1, 2});
  CHECK(LargestMagnitudes(values, 5) == std::vector<std::uint32_t>{0, 1, 2, 3, 5});
}

TEST_CASE("TopK: zeros are never kept") {
  const std::vector<float> values = {0, 0, -0.0F, 1e-45F, 0};
  CHECK(LargestMagnitudes(values, 4) == std::vector<std::uint32_t>{3});
  CHECK(LargestMagnitudes(std::vector<float>(5), 4).empty());
}

// On random positions a gap at 1 % costs log2(100) + 1.44 = 8.08 bits at best; Rice codes come
// within 0.1 bit of it. With an 8-bit value that is 2.03 bytes, plus the scale and the counts.
TEST_CASE("TopK: one percent with 8-bit values takes about two bytes a kept value") {
  const std::vector<float> values = testing::NormalValues(200000, RngStream(1));
  const auto encoded =
      EncodeValues(*MakeCodec("top_k 1% | quantize 8", {values.size()}), values, RngStream(2));
  CHECK(encoded.payload.size() < 2.05 * 2000 + 20);
}

TEST_CASE("TopK: what is kept loses nothing with raw values") {
  const std::vector<float> values = testing::NormalValues(100000, RngStream(1));
  const auto encoded = EncodeValues(*MakeCodec("top_k 10%", {values.size()}), values, RngStream(2));
  const auto kept = LargestMagnitudes(values, 10000);
  std::vector<float> expected(values.size());
  for (const std::uint32_t i : kept) expected[i] = values[i];
  CHECK(encoded.decoded == expected);
}

TEST_CASE("TopK: the largest payload is within the bound however positions cluster") {
  testing::ForAll(30, [](RngStream& rng) {
    const std::size_t count = 1000 + rng.UniformInteger(200000);
    const double share = std::pow(2.0, -static_cast<double>(rng.UniformInteger(11)));
    const TopK codec(std::make_unique<Quantize>(QuantizeConfig{.bits = 2}), count,
                     KeptShare{.share = share});
    std::vector<float> values(count);
    const std::size_t period = 1 + rng.UniformInteger(3000);
    for (std::size_t i = 0; i < count; ++i)
      values[i] = 1 + (i % period == period - 1 ? 1.0F : 0.0F) + rng.Uniform() * 0.1F;
    std::vector<float> decoded(count);
    ByteWriter out;
    codec.Encode(values, decoded, {}, rng, out);
    CHECK(out.size() <= codec.EncodedBytesMax());
  });
}

TEST_CASE("TopK: more coordinates than the share are refused") {
  const auto wide = MakeCodec("top_k 2% | quantize 8", {1000});
  const auto narrow = MakeCodec("top_k 1% | quantize 8", {1000});
  const auto encoded = EncodeValues(*wide, testing::NormalValues(1000, RngStream(1)), RngStream(2));
  CHECK(testing::CodeOf(narrow->Parse(encoded.payload, {}, {})) == ErrorCode::kMalformed);
}

TEST_CASE("TopK: an index beyond the segment is refused") {
  const auto large = MakeCodec("top_k 1%", {150});
  const auto small = MakeCodec("top_k 1.5%", {120});  // Two kept of both; the Rice widths agree.
  std::vector<float> values(150);
  values[10] = 1;
  values[149] = 1;
  const auto encoded = EncodeValues(*large, values, RngStream(1));
  CHECK(testing::CodeOf(large->Parse(encoded.payload, {}, {})) == ErrorCode::kOk);
  CHECK(testing::CodeOf(small->Parse(encoded.payload, {}, {})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
