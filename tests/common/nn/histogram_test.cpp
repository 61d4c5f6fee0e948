#include "fl/common/nn/histogram.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Normals;

Histogram HistogramOf(std::span<const float> values) {
  Histogram histogram;
  Get(histogram.Add(values));
  return histogram;
}

TEST_CASE("Histogram: the histogram of all samples is the merge of its parts, to the last count") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<float> values = Normals(3000, seed);
    RngStream rng(seed);
    for (std::size_t i = 0; i < values.size(); ++i) {
      // Parts of very different size and sign.
      const int power = static_cast<int>(i / 1000) * static_cast<int>(rng.UniformInteger(12));
      values[i] = std::ldexp(seed % 3 == 0 ? std::abs(values[i]) : values[i], power);
    }
    values[5] = 0;
    const Histogram all = HistogramOf(values);
    Histogram ascending;
    Histogram descending;
    for (std::size_t part = 0; part < 30; ++part) {
      ascending.Merge(HistogramOf(std::span(values).subspan(part * 100, 100)));
      descending.Merge(HistogramOf(std::span(values).subspan((29 - part) * 100, 100)));
    }
    CHECK(ascending == all);
    CHECK(descending == all);
    CHECK(all.count() == 3000);
    CHECK(all.zeros() == 1);
  }
}

TEST_CASE("Histogram: each value lies in its bin") {
  const std::vector<float> values = Normals(500, 3);
  const Histogram all = HistogramOf(values);
  const double reach = std::max(-static_cast<double>(all.low()), static_cast<double>(all.high()));
  CHECK(all.width() <= 4 * reach / Histogram::kBins);
  for (const float value : values) {
    Histogram one;
    one.WidenTo(all.low(), all.high());
    Get(one.Add(std::span(&value, 1)));
    for (std::size_t i = 0; i < Histogram::kBins; ++i) {
      if (one.bins()[i] == 0) continue;
      CHECK(std::abs(one.Middle(i) - static_cast<double>(value)) <= all.width() / 2);
    }
  }
}

TEST_CASE("Histogram: those of one window add up as numbers") {
  const std::vector<float> values = Normals(400, 4);
  Histogram a = HistogramOf(std::span(values).first(150));
  Histogram b = HistogramOf(std::span(values).subspan(150));
  const Histogram all = HistogramOf(values);
  a.WidenTo(all.low(), all.high());
  b.WidenTo(all.low(), all.high());
  std::vector<double> sum = a.ToNumbers();
  const std::vector<double> other = b.ToNumbers();
  for (std::size_t i = 2; i < sum.size(); ++i) sum[i] += other[i];
  CHECK(Get(Histogram::FromNumbers(sum)) == all);
}

TEST_CASE("Histogram: extremes of every size have a window") {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  const std::vector<std::vector<float>> cases = {
      {kMost, -kMost}, {-kMost}, {kLeast, -kLeast}, {-1024, 1023}, {-2048}, {2047, 2048}, {}, {0}};
  for (const std::vector<float>& values : cases) {
    const Histogram histogram = HistogramOf(values);
    CHECK(histogram.count() == values.size());
    CHECK(Get(Histogram::FromNumbers(histogram.ToNumbers())) == histogram);
  }
}

TEST_CASE("Histogram: a value that is not finite is refused and nothing counted") {
  Histogram histogram = HistogramOf(Normals(10, 1));
  const Histogram before = histogram;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> values = {1, bad};
    CHECK(CodeOf(histogram.Add(values)) == ErrorCode::kNotFinite);
    CHECK(histogram == before);
  }
}

TEST_CASE("Histogram: numbers that are no histogram are refused") {
  const std::vector<double> good = HistogramOf(std::vector<float>{1, 3}).ToNumbers();
  const auto code_with = [&](std::size_t at, double number) {
    std::vector<double> numbers = good;
    numbers[at] = number;
    return CodeOf(Histogram::FromNumbers(numbers));
  };
  CHECK(CodeOf(Histogram::FromNumbers(good)) == ErrorCode::kOk);
  CHECK(CodeOf(Histogram::FromNumbers(std::span(good).first(2050))) == ErrorCode::kMalformed);
  CHECK(CodeOf(Histogram::FromNumbers({})) == ErrorCode::kMalformed);
  CHECK(code_with(0, 1) == ErrorCode::kMalformed);
  CHECK(code_with(1, -1) == ErrorCode::kMalformed);
  CHECK(code_with(1, 1e300) == ErrorCode::kMalformed);
  CHECK(code_with(0, std::nan("")) == ErrorCode::kMalformed);
  CHECK(code_with(2, -1) == ErrorCode::kMalformed);
  CHECK(code_with(5, 0.5) == ErrorCode::kMalformed);
  CHECK(code_with(5, 1e17) == ErrorCode::kMalformed);
  CHECK(code_with(2050, 1) == ErrorCode::kMalformed);
}

TEST_CASE("Histogram: its bytes are as they were when the format was settled") {
  CHECK(ToHex(HistogramOf(std::vector<float>{1, 3, 0, 3}).Encode()) ==
        "000000000000404001028004"
        "01ff0702");
  CHECK(ToHex(Histogram().Encode()) == "00000000000000000000");
}

TEST_CASE("Histogram: comes back from its bytes, which are at most as many as said") {
  std::vector<float> everywhere(2048);
  for (std::size_t i = 0; i < everywhere.size(); ++i) everywhere[i] = static_cast<float>(i);
  for (const std::vector<float>& values :
       {Normals(3000, 5), everywhere, std::vector<float>{-1e30F, 1e-30F, 0},
        std::vector<float>{}}) {
    const Histogram histogram = HistogramOf(values);
    const Bytes bytes = histogram.Encode();
    CHECK(bytes.size() <= Histogram::kEncodedBytesMax);
    CHECK(Get(Histogram::Decode(bytes)) == histogram);
  }
}

TEST_CASE("Histogram: bytes that are no histogram are refused by what is wrong with them") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto code_of = [](float low, float high, const std::vector<std::uint64_t>& varints) {
    ByteWriter out;
    out.Write(low);
    out.Write(high);
    for (const std::uint64_t varint : varints) out.WriteVarint(varint);
    return CodeOf(Histogram::Decode(out.bytes()));
  };
  CHECK(code_of(0, 3, {7, 1, 512, 9}) == ErrorCode::kOk);
  CHECK(code_of(-kInfinity, 3, {0, 0}) == ErrorCode::kNotFinite);
  CHECK(code_of(0, std::nanf(""), {0, 0}) == ErrorCode::kNotFinite);
  CHECK(code_of(1, 3, {0, 0}) == ErrorCode::kMalformed);
  CHECK(code_of(-1, -0.5F, {0, 0}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 1, 512}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 1, 512, 9, 9}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 1, 512, 0}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 1, 2048, 1}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 2, 2047, 1, 0, 1}) == ErrorCode::kMalformed);
  CHECK(code_of(0, 3, {0, 1, 1537, 1}) == ErrorCode::kMalformed);  // Above the largest.
  CHECK(code_of(0, 3, {0, 1, 1536, 1}) == ErrorCode::kOk);
  CHECK(code_of(0, 3, {0, 2049}) == ErrorCode::kLimitExceeded);
  CHECK(code_of(0, 3, {(1ULL << 53U) - 1, 1, 5, 1}) == ErrorCode::kOk);
  CHECK(code_of(0, 3, {1ULL << 53U, 1, 5, 1}) == ErrorCode::kLimitExceeded);
  CHECK(code_of(0, 3, {(1ULL << 53U) + 1, 0}) == ErrorCode::kLimitExceeded);
  CHECK(code_of(0, 3, {0, 2, 5, ~0ULL, 5, ~0ULL}) == ErrorCode::kLimitExceeded);
  CHECK(CodeOf(Histogram::Decode({})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::nn
