#include "fl/common/data/dataset.h"

#include <algorithm>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/data/subset.h"
#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

using namespace data;  // NOLINT(google-build-using-namespace): the tests of one library.

Samples ByteSamples(std::size_t count) {
  Samples samples{.shape = {2, 2}, .features = {}, .labels = {}, .targets = {}, .classes = 3};
  std::vector<std::uint8_t> features;
  for (std::size_t i = 0; i < count * 4; ++i) features.push_back(static_cast<std::uint8_t>(i * 7));
  samples.features = std::move(features);
  for (std::size_t i = 0; i < count; ++i)
    samples.labels.push_back(static_cast<std::int32_t>(i % 2));
  return samples;
}

std::shared_ptr<const Dataset> Share(Samples samples, Normalization normalization = {}) {
  return std::make_shared<const Dataset>(
      Get(Dataset::Create(std::move(samples), std::move(normalization))));
}

std::vector<float> Read(const Dataset& dataset, std::size_t index) {
  std::vector<float> out(dataset.features());
  dataset.CopySample(index, out);
  return out;
}

}  // namespace

TEST_CASE("Dataset: samples are read as they are stored without normalization") {
  const Dataset dataset = Get(Dataset::Create(ByteSamples(3)));
  CHECK(Read(dataset, 1) == std::vector<float>{28, 35, 42, 49});
  CHECK(dataset.count() == 3);
  CHECK(dataset.classes() == 3);
  std::vector<float> two(8);
  dataset.CopySamples(std::vector<std::uint32_t>{2, 0}, two);
  CHECK(two == std::vector<float>{56, 63, 70, 77, 0, 7, 14, 21});
}

TEST_CASE("Dataset: unit divides by 255") {
  const Dataset dataset =
      Get(Dataset::Create(ByteSamples(1), {.kind = Normalization::Kind::kUnit}));
  CHECK(Read(dataset, 0) == std::vector<float>{0, 7.0F / 255.0F, 14.0F / 255.0F, 21.0F / 255.0F});
}

TEST_CASE("Dataset: unit divides each byte by 255 wherever it stands in a sample") {
  Samples samples{.shape = {293}, .features = {}, .labels = {0, 1}, .targets = {}, .classes = 2};
  std::vector<std::uint8_t> bytes(2 * 293);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  samples.features = bytes;
  const Dataset dataset =
      Get(Dataset::Create(std::move(samples), {.kind = Normalization::Kind::kUnit}));
  dataset.Fetch(1);  // Changes nothing.
  for (const std::size_t index : {0U, 1U}) {
    const std::vector<float> read = Read(dataset, index);
    for (std::size_t i = 0; i < read.size(); ++i)
      CHECK(read[i] == static_cast<float>(bytes[index * 293 + i]) / 255.0F);
  }
}

TEST_CASE("Dataset: standard takes one mean for all or for each channel or for each feature") {
  const auto read = [](std::vector<float> mean, std::vector<float> scale) {
    return Read(Get(Dataset::Create(ByteSamples(1), {Normalization::Kind::kStandard,
                                                     std::move(mean), std::move(scale)})),
                0);
  };
  CHECK(read({7}, {7}) == std::vector<float>{-1, 0, 1, 2});
  CHECK(read({0, 7}, {1, 7}) == std::vector<float>{0, 0, 14, 2});
  CHECK(read({0, 7, 14, 21}, {1, 1, 1, 1}) == std::vector<float>{0, 0, 0, 0});
}

TEST_CASE("Dataset: a normalization that does not fit is refused") {
  const auto code = [](std::vector<float> mean, std::vector<float> scale) {
    return CodeOf(Dataset::Create(
        ByteSamples(1), {Normalization::Kind::kStandard, std::move(mean), std::move(scale)}));
  };
  CHECK(code({}, {}) == ErrorCode::kInvalidArgument);
  CHECK(code({1, 2, 3}, {1, 2, 3}) == ErrorCode::kInvalidArgument);
  CHECK(code({1}, {1, 2}) == ErrorCode::kInvalidArgument);
  CHECK(code({1}, {0}) == ErrorCode::kInvalidArgument);
  CHECK(code({std::numeric_limits<float>::infinity()}, {1}) == ErrorCode::kInvalidArgument);
}

TEST_CASE("Dataset: another normalization shares the stored samples") {
  const Dataset stored = Get(Dataset::Create(ByteSamples(2)));
  const Dataset unit = Get(stored.WithNormalization({.kind = Normalization::Kind::kUnit}));
  CHECK(&unit.samples() == &stored.samples());
  CHECK(Read(unit, 1)[0] == 28.0F / 255.0F);
  CHECK(CodeOf(stored.WithNormalization({Normalization::Kind::kStandard, {1, 2, 3}, {1, 2, 3}})) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("Normalization: its line is read back to the bits") {
  const Normalization all[] = {
      {},
      {.kind = Normalization::Kind::kUnit},
      {Normalization::Kind::kStandard, {0.1F, -3e-20F}, {1.0F / 3.0F, 1e30F}}};
  for (const Normalization& one : all) {
    CAPTURE(one.ToText());
    CHECK(Get(Normalization::Parse(one.ToText())) == one);
  }
}

TEST_CASE("Normalization: what is no line of one is malformed") {
  for (const char* text :
       {"", "unit ", "standard", "standard mean", "standard mean 1", "standard mean 1 scale",
        "standard mean 1 scale 1 2", "standard scale 1 mean 1", "standard 1 mean 1 scale 1",
        "standard mean 1x scale 1", "standard mean 1 scale 1 scale 1",
        "standard mean  1 scale 1"}) {
    CAPTURE(text);
    CHECK(CodeOf(Normalization::Parse(text)) == ErrorCode::kMalformed);
  }
}

TEST_CASE("Dataset: samples that do not fit together are refused") {
  Samples label = ByteSamples(2);
  label.labels[1] = 3;
  CHECK(CodeOf(Dataset::Create(label)) == ErrorCode::kMalformed);
  label.labels[1] = -1;
  CHECK(CodeOf(Dataset::Create(label)) == ErrorCode::kMalformed);
  Samples few = ByteSamples(2);
  few.labels.push_back(0);
  CHECK(CodeOf(Dataset::Create(few)) == ErrorCode::kMalformed);
  CHECK(CodeOf(Dataset::Create(ByteSamples(0))) == ErrorCode::kMalformed);
  Samples target{
      .shape = {1}, .features = std::vector<float>{1}, .labels = {}, .targets = {1}, .classes = 0};
  CHECK(CodeOf(Dataset::Create(target)) == ErrorCode::kOk);
  target.targets[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(Dataset::Create(target)) == ErrorCode::kNotFinite);
}

TEST_CASE("MakeNormalization: only the three words are known") {
  CHECK(Get(MakeNormalization("none", {}, {})) == Normalization{});
  CHECK(Get(MakeNormalization("standard", {1}, {2})).scale == std::vector<float>{2});
  CHECK(CodeOf(MakeNormalization("minmax", {}, {})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(MakeNormalization("unit", {1}, {2})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("SplitHoldOut: both parts make up the subset and the same stream gives the same parts") {
  const Subset all(Share(ByteSamples(50)));
  const HoldOutSplit split = SplitHoldOut(all, 0.2, RngStream(3));
  CHECK(split.holdout.count() == 10);
  CHECK(split.training.count() == 40);
  std::vector<std::uint32_t> both(split.training.indices().begin(), split.training.indices().end());
  CHECK(std::ranges::is_sorted(both));
  both.insert(both.end(), split.holdout.indices().begin(), split.holdout.indices().end());
  std::ranges::sort(both);
  CHECK(std::ranges::equal(both, all.indices()));
  const HoldOutSplit same = SplitHoldOut(all, 0.2, RngStream(3));
  CHECK(std::ranges::equal(same.holdout.indices(), split.holdout.indices()));
  const HoldOutSplit other = SplitHoldOut(all, 0.2, RngStream(4));
  CHECK(!std::ranges::equal(other.holdout.indices(), split.holdout.indices()));
}

TEST_CASE("SplitHoldOut: at least one sample stays for training") {
  CHECK(SplitHoldOut(Subset(Share(ByteSamples(1))), 0.9, RngStream(1)).training.count() == 1);
  CHECK(SplitHoldOut(Subset(Share(ByteSamples(2))), 0.9, RngStream(1)).training.count() == 1);
  CHECK(SplitHoldOut(Subset(Share(ByteSamples(5))), 0, RngStream(1)).holdout.empty());
}

TEST_CASE("Subset: positions count within it") {
  const Subset subset(Share(ByteSamples(4)), {3, 1, 2});
  std::vector<float> out(8);
  subset.CopySamples(std::vector<std::uint32_t>{1, 0}, out);
  CHECK(out == std::vector<float>{28, 35, 42, 49, 84, 91, 98, 105});
  CHECK(subset.label(0) == 1);
  CHECK(subset.LabelCounts() == std::vector<std::uint64_t>{1, 2, 0});
  CHECK(subset.Extract().labels == std::vector<std::int32_t>{1, 1, 0});
}

TEST_CASE("FitStandard: the fitted features have mean 0 and deviation 1") {
  Samples samples{.shape = {2},
                  .features = std::vector<float>{1, 5, 3, 5},
                  .labels = {0, 0},
                  .targets = {},
                  .classes = 1};
  const Subset subset(Share(samples));
  const Normalization each = FitStandard(subset, FitScope::kFeature);
  CHECK(each.mean == std::vector<float>{2, 5});
  CHECK(each.scale == std::vector<float>{1, 1});  // The second is constant.
  const Normalization all = FitStandard(subset, FitScope::kAll);
  CHECK(all.mean == std::vector<float>{3.5F});
  CHECK(all.scale[0] == doctest::Approx(1.6583124));
  CHECK(FitStandard(Subset(Share(ByteSamples(3))), FitScope::kChannel).mean.size() == 2);
}

}  // namespace fl::testing
