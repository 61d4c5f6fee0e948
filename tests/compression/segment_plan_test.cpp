#include <numeric>

#include <doctest/doctest.h>

#include "fl/compression/recipe.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

TensorLayout Layout() {
  return TensorLayout({{"conv1.weight", {3, 3, 1, 8}},
                       {"conv1.bias", {8}},
                       {"dense1.weight", {100, 20}},
                       {"dense1.bias", {20}}});
}

CompressionConfig Rules(const std::vector<std::pair<std::string, std::string>>& rules) {
  CompressionConfig compression;
  std::uint32_t line = 10;
  for (const auto& [tensors, recipe] : rules) {
    compression.rules.push_back({{tensors, {line, 11}}, {recipe, {line + 1, 10}}});
    line += 3;
  }
  compression.gathered.location = {5, 3};
  return compression;
}

std::vector<std::string> Names(const SegmentPlan& plan) {
  std::vector<std::string> names;
  for (const Segment& segment : plan.segments()) names.push_back(segment.name);
  return names;
}

TEST_CASE("SegmentPlan: without rules each tensor is raw and alone") {
  const auto plan = testing::Get(SegmentPlan::Create(CompressionConfig(), Layout()));
  CHECK(Names(plan) ==
        std::vector<std::string>{"conv1.weight", "conv1.bias", "dense1.weight", "dense1.bias"});
  CHECK(plan.lossless());
  CHECK(plan.EncodedBytesMax() == 4 * Layout().total());
}

TEST_CASE("SegmentPlan: small tensors of lossy rules are gathered behind the others") {
  const auto plan =
      testing::Get(SegmentPlan::Create(Rules({{"*", "low_rank 2 | quantize 4"}}), Layout()));
  CHECK(Names(plan) == std::vector<std::string>{"dense1.weight", "gathered"});
  CHECK(plan.segments()[1].tensors == std::vector<std::size_t>{0, 1, 3});
  CHECK(plan.segments()[1].shape == Shape{72 + 8 + 20});
  CHECK_FALSE(plan.lossless());
}

TEST_CASE("SegmentPlan: frozen tensors are in no segment and change the digest") {
  const CompressionConfig compression = Rules({{"*", "quantize 8"}});
  const auto all = testing::Get(SegmentPlan::Create(compression, Layout()));
  const std::vector<std::size_t> frozen = {1, 2};
  const auto plan = testing::Get(SegmentPlan::Create(compression, Layout(), frozen));
  CHECK(Names(plan) == std::vector<std::string>{"gathered"});
  CHECK(plan.segments()[0].tensors == std::vector<std::size_t>{0, 3});
  CHECK(plan.layout() == Layout());
  CHECK(plan.covered() == TensorLayout({{"conv1.weight", {3, 3, 1, 8}}, {"dense1.bias", {20}}}));
  CHECK(all.covered() == Layout());
  CHECK(plan.digest() != all.digest());
  std::vector<float> flat(Layout().total());
  plan.Scatter(0, std::vector<float>(72 + 20, 1.0F), flat);
  CHECK(std::accumulate(flat.begin(), flat.end(), 0.0F) == 92);
  CHECK(std::accumulate(flat.begin() + 72, flat.end() - 20, 0.0F) == 0);
}

TEST_CASE("SegmentPlan: the bound of gathering is exclusive") {
  CompressionConfig compression = Rules({{"*", "fp16"}});
  compression.gather_below = 20;
  CHECK(Names(testing::Get(SegmentPlan::Create(compression, Layout()))).back() == "gathered");
  compression.gather_below = 8;
  CHECK(Names(testing::Get(SegmentPlan::Create(compression, Layout()))).size() == 4);
}

TEST_CASE("SegmentPlan: the first rule that matches wins and raw ones are not gathered") {
  const auto plan = testing::Get(SegmentPlan::Create(
      Rules({{"*.bias", "raw"}, {"conv*", "fp16"}, {"*", "top_k 1%"}}), Layout()));
  CHECK(Names(plan) ==
        std::vector<std::string>{"conv1.bias", "dense1.weight", "dense1.bias", "gathered"});
}

TEST_CASE("SegmentPlan: Gather and Scatter are each other's reverse") {
  const TensorLayout layout = Layout();
  const auto plan = testing::Get(SegmentPlan::Create(Rules({{"*", "quantize 8"}}), layout));
  std::vector<float> flat(layout.total());
  std::iota(flat.begin(), flat.end(), 1.0F);
  std::vector<float> back(flat.size());
  for (std::size_t segment = 0; segment < plan.segments().size(); ++segment) {
    std::vector<float> values(plan.segments()[segment].codec->count());
    plan.Gather(segment, flat, values);
    plan.Scatter(segment, values, back);
  }
  CHECK(back == flat);
}

TEST_CASE("SegmentPlan: the digest tells recipes, tensors and gathering apart, not spaces") {
  const auto digest = [](const CompressionConfig& compression, const TensorLayout& layout) {
    return testing::Get(SegmentPlan::Create(compression, layout)).digest();
  };
  const Digest base = digest(Rules({{"*", "quantize 8"}}), Layout());
  CHECK(base == digest(Rules({{"*", "  quantize  8"}}), Layout()));
  CHECK(base != digest(Rules({{"*", "quantize 7"}}), Layout()));
  CHECK(base != digest(Rules({{"conv*", "quantize 8"}}), Layout()));
  CompressionConfig apart = Rules({{"*", "quantize 8"}});
  apart.gather_below = 0;
  CHECK(base != digest(apart, Layout()));
  CHECK(base != digest(Rules({{"*", "quantize 8"}}), TensorLayout({{"a", {2092}}})));
}

TEST_CASE("SegmentPlan: errors carry the place in the plan") {
  const auto message = [](const CompressionConfig& compression) {
    const auto plan = SegmentPlan::Create(compression, Layout());
    return plan ? std::string() : plan.error().message;
  };
  CHECK(message(Rules({{"lstm*", "raw"}}))
            .starts_with("10:11: recipe for \"lstm*\" matches no tensor"));
  CHECK(message(Rules({{"*", "quantize 9"}}))
            .starts_with("11:10: recipe \"quantize 9\" for dense1.weight: at character 1: "));
  CHECK(message(Rules({{"*", "quantize |"}}))
            .starts_with("11:10: recipe \"quantize |\": at character "));
  CompressionConfig gathered = Rules({{"*", "quantize 8"}});
  gathered.gathered.text = "low_rank 2";
  CHECK(message(gathered).starts_with("5:3: recipe \"low_rank 2\" for gathered: "));
  CompressionConfig large_vector = Rules({{"*", "low_rank 2"}});
  large_vector.gather_below = 10;
  CHECK(message(large_vector).find("found a vector of 20 values") != std::string::npos);
}

TEST_CASE("SegmentPlan: Uniform gives each tensor the same recipe") {
  const auto plan = testing::Get(SegmentPlan::Uniform({"quantize 8", {}}, Layout()));
  CHECK(plan.segments().size() == 4);
  CHECK(SegmentPlan::Uniform({"nothing", {3, 4}}, Layout()).error().message.starts_with("3:4: "));
}

}  // namespace
}  // namespace fl
