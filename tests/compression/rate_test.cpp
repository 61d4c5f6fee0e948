// What `auto` promises: the budget.
#include <cmath>

#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/encode_segments.h"
#include "fl/compression/rate/encode_within.h"
#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::ForAll;
using testing::Get;

// Segments and their values.
struct Segments {
  std::vector<AdaptiveCodec> codecs;
  std::vector<std::vector<float>> values;

  void Add(const Shape& shape, std::vector<float> of_shape) {
    codecs.emplace_back(rate::BudgetRule{.bytes = 1'000'000'000}, shape);
    values.push_back(std::move(of_shape));
  }
  std::vector<rate::Source> Sources() const {
    std::vector<rate::Source> sources;
    for (std::size_t i = 0; i < codecs.size(); ++i)
      sources.push_back({codecs[i], values[i], RngStream(3).Child("segment", i)});
    return sources;
  }
};

std::size_t BytesOf(const std::vector<rate::Written>& written) {
  std::size_t bytes = 0;
  for (const rate::Written& each : written)
    bytes += each.payload.size() + VarintSize(each.payload.size());
  return bytes;
}

void CheckReadBack(const Segments& segments, const std::vector<rate::Written>& written) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    const AdaptiveCodec& codec = segments.codecs[i];
    const auto parsed = Get(codec.Parse(written[i].payload, {}, {.magnitude_max = 3e38F}));
    std::vector<float> decoded(codec.count());
    codec.DecodeAdd(*parsed, 0, 1.0F, decoded);
    CHECK(decoded == written[i].decoded);
  }
}

// A matrix of a low rank and noise, some rows larger than others.
std::vector<float> UpdateLike(std::size_t rows, std::size_t columns, float noise, RngStream& rng) {
  std::vector<float> values(rows * columns);
  std::vector<float> left(3 * rows);
  std::vector<float> right(3 * columns);
  rng.FillNormal(left);
  rng.FillNormal(right);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / columns;
    const std::size_t column = i % columns;
    values[i] = noise * rng.Normal();
    for (std::size_t k = 0; k < 3; ++k)
      values[i] += left[3 * row + k] * right[3 * column + k] / static_cast<float>(k + 1);
  }
  return values;
}

Segments RandomModel(RngStream& rng) {
  Segments segments;
  const std::size_t matrices = 1 + rng.UniformInteger(4);
  for (std::size_t i = 0; i < matrices; ++i) {
    const std::size_t rows = 8 + rng.UniformInteger(200);
    const std::size_t columns = 8 + rng.UniformInteger(100);
    auto values = UpdateLike(rows, columns, 3 * rng.Uniform(), rng);
    const float scale = std::exp2(8 * rng.Uniform() - 4);
    for (float& value : values) value *= scale;
    segments.Add(Shape{rows, columns}, std::move(values));
  }
  const std::size_t vector = 50 + rng.UniformInteger(400);
  segments.Add(Shape{vector}, testing::NormalValues(vector, rng.Child("vector")));
  return segments;
}

TEST_CASE("auto: an update takes 95 to 100 % of its budget, in two encodings on average") {
  std::size_t runs = 0;
  std::size_t passes_in_all = 0;
  ForAll(60, [&](RngStream& rng) {
    const Segments segments = RandomModel(rng);
    std::size_t count = 0;
    for (const AdaptiveCodec& codec : segments.codecs) count += codec.count();
    // From a hundredth of a bit to six bits a value, and what a few hundred bytes allow.
    const double bits = std::exp2(-6.5 + 9 * rng.UniformDouble());
    const std::size_t budget =
        std::max<std::size_t>(400, static_cast<std::size_t>(bits * static_cast<double>(count) / 8));
    CAPTURE(budget);
    CAPTURE(bits);
    std::size_t passes = 0;
    const auto written = rate::EncodeWithin(segments.Sources(), budget, &passes);
    for (const rate::Written& each : written) CAPTURE(each.setting);
    CHECK(BytesOf(written) <= budget);
    CHECK(static_cast<double>(BytesOf(written)) >= 0.95 * static_cast<double>(budget));
    CheckReadBack(segments, written);
    passes_in_all += passes;
    ++runs;
  });
  MESSAGE("encodings of an update: ",
          static_cast<double>(passes_in_all) / static_cast<double>(runs));
  CHECK(passes_in_all <= 2 * runs);
}

std::vector<std::vector<float>> Adversaries(std::size_t count) {
  std::vector<std::vector<float>> all;
  all.emplace_back(count, 0.0F);
  all.emplace_back(count, 1.0F);
  all.emplace_back(count, -1e30F);
  all.emplace_back(count, 1e-42F);
  std::vector<float> one_hot(count);
  one_hot[count / 2] = -3;
  all.push_back(one_hot);
  std::vector<float> outlier = testing::NormalValues(count, RngStream(5));
  outlier[count / 3] = 1e20F;
  all.push_back(outlier);
  std::vector<float> alternating(count);
  std::vector<float> scales(count);
  for (std::size_t i = 0; i < count; ++i) {
    alternating[i] = i % 2 == 0 ? 1.0F : -1.0F;
    scales[i] = std::exp2(static_cast<float>(i % 120) - 60);
  }
  all.push_back(alternating);
  all.push_back(scales);
  return all;
}

TEST_CASE("auto: a budget is never exceeded, whatever the values") {
  for (const Shape& shape :
       {Shape{40, 30}, Shape{1200}, Shape{1}, Shape{1, 9}, Shape{3, 3, 4, 8}}) {
    for (const std::vector<float>& values : Adversaries(shape.count())) {
      Segments segments;
      segments.Add(shape, values);
      segments.Add(Shape{7}, std::vector<float>(7, values.front()));
      for (const std::size_t budget : std::initializer_list<std::size_t>{
               2, 3, 7, 10, 20, 33, 60, 150, 700, 2000, 4700, 6000}) {
        CAPTURE(budget);
        const auto written = rate::EncodeWithin(segments.Sources(), budget);
        CHECK(BytesOf(written) <= budget);
        CheckReadBack(segments, written);
      }
    }
  }
}

TEST_CASE("auto: a budget of all bits is lossless") {
  Segments segments;
  segments.Add(Shape{20, 10}, testing::NormalValues(200, RngStream(1)));
  const auto written = rate::EncodeWithin(segments.Sources(), 803);
  CHECK(written.front().setting == "raw");
  CHECK(written.front().decoded == segments.values.front());
  CHECK(rate::EncodeWithin(segments.Sources(), 802).front().setting != "raw");
}

TEST_CASE("auto: the same values and stream give the same bytes") {
  RngStream rng(8);
  const Segments segments = RandomModel(rng);
  const auto once = rate::EncodeWithin(segments.Sources(), 900);
  const auto again = rate::EncodeWithin(segments.Sources(), 900);
  for (std::size_t i = 0; i < once.size(); ++i) {
    CHECK(once[i].payload == again[i].payload);
    CHECK(once[i].setting == again[i].setting);
  }
}

TEST_CASE("auto: what is of low rank is written so, what is flat or sparse is not") {
  RngStream rng(9);
  Segments segments;
  segments.Add(Shape{300, 200}, UpdateLike(300, 200, 0.3F, rng));
  CHECK(rate::EncodeWithin(segments.Sources(), 800).front().setting.starts_with("low_rank"));
  std::vector<float> sparse(60000);
  for (std::size_t i = 0; i < sparse.size(); i += 211) sparse[i] = rng.Normal();
  segments.values.front() = sparse;
  CHECK_FALSE(rate::EncodeWithin(segments.Sources(), 800).front().setting.starts_with("low_rank"));
}

TEST_CASE("auto: a segment of small values does not starve beside one of large values") {
  RngStream rng(10);
  Segments segments;
  segments.Add(Shape{100, 60}, UpdateLike(100, 60, 0.5F, rng));
  segments.Add(Shape{100, 60}, segments.values.front());
  for (float& value : segments.values.back()) value /= 4096;
  const auto written = rate::EncodeWithin(segments.Sources(), 1000);
  const auto size = [&](std::size_t i) { return static_cast<double>(written[i].payload.size()); };
  CHECK(size(1) > 0.5 * size(0));
  CHECK(size(1) < 2 * size(0));
}

TEST_CASE("auto: a whole body keeps the plan's budget, beside tensors with other recipes") {
  CompressionConfig compression;
  compression.gathered = {"auto bytes=1500", {}};
  compression.rules.push_back({{"a*", {}}, {"auto bytes=1.5KB", {}}});
  compression.rules.push_back({{"*", {}}, {"quantize 8", {}}});
  compression.gather_below = 100;
  const TensorLayout layout({{"a", Shape{60, 50}}, {"b", Shape{400}}, {"c", Shape{50}}});
  const SegmentPlan plan = Get(SegmentPlan::Create(compression, layout));
  REQUIRE(plan.budget()->bytes == 1500);
  CHECK(plan.EncodedBytesMax() == 1500);
  const auto flat = testing::NormalValues(layout.total(), RngStream(4));
  std::size_t bytes = 100;
  std::size_t segments = 0;
  EncodeSegments(plan, flat, {}, RngStream(1), {{100, {}}}, [&](const EncodedSegment& each) {
    bytes += 1 + VarintSize(each.payload.size()) + each.payload.size();
    ++segments;
  });
  CHECK(segments == 3);
  CHECK(bytes <= 1500);
  CHECK(bytes >= 1425);
}

TEST_CASE("auto: rules of one plan share one budget") {
  CompressionConfig compression;
  compression.gathered = {"raw", {}};
  compression.rules.push_back({{"a", {}}, {"auto bytes=1500", {}}});
  compression.rules.push_back({{"*", {}}, {"auto bytes=2KB", {}}});
  const auto plan =
      SegmentPlan::Create(compression, TensorLayout({{"a", Shape{60, 50}}, {"b", Shape{4000}}}));
  REQUIRE_FALSE(plan.has_value());
  CHECK(plan.error().message.find("share one budget") != std::string::npos);
}

TEST_CASE("auto: what stands in a recipe") {
  const auto error = [](std::string_view text) {
    const auto codec = BuildCodec(Get(ParseRecipe(text)), Shape{30, 20});
    return codec ? std::string() : codec.error().message;
  };
  CHECK(error("auto bytes=60KB").empty());
  CHECK(error("auto bytes=1.5KB").empty());
  CHECK(error("auto bytes=2MB").empty());
  CHECK(error("auto bytes=100").empty());
  CHECK(error("auto bytes=99").find("100 to 1000MB") != std::string::npos);
  CHECK(error("auto bytes=1001MB").find("100 to 1000MB") != std::string::npos);
  CHECK(error("auto bytes=200.5").find("whole number") != std::string::npos);
  CHECK(error("auto").find("auto bytes=60KB") != std::string::npos);
  CHECK(error("auto 7 bytes=600").find("auto bytes=60KB") != std::string::npos);
  CHECK(error("auto bytes=600 | quantize 8").find("cannot follow auto") != std::string::npos);
  CHECK(error("auto bytes=600 | context").find("cannot follow auto") != std::string::npos);
}

TEST_CASE("AdaptiveCodec: what no encoder writes is refused") {
  const AdaptiveCodec matrix({.bytes = 60}, Shape{4, 5});
  const AdaptiveCodec vector({.bytes = 60}, Shape{20});
  const auto refused = [](const AdaptiveCodec& codec, std::string_view hex) {
    const auto parsed = codec.Parse(Get(FromHex(hex)), {}, {});
    return !parsed && parsed.error().code == ErrorCode::kMalformed;
  };
  CHECK(Get(matrix.Parse({}, {}, {})) != nullptr);
  CHECK(refused(matrix, "00"));                          // A choice alone.
  CHECK(refused(matrix, "0411"));                        // No such choice.
  CHECK(refused(matrix, "4011"));                        // Rank 0.
  CHECK(refused(matrix, "4511"));                        // Rank 5 of four rows.
  CHECK(refused(vector, "4111"));                        // Of a vector.
  CHECK(refused(matrix, "00" + std::string(160, '0')));  // Longer than the budget.
  CHECK(refused(matrix, "00" + std::string(100, '0')));  // Raw is 80 bytes.
  CHECK(refused(matrix, "ff11"));
}

}  // namespace
}  // namespace fl
