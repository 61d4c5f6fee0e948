#include "fl/compression/deploy/passes/ptq_static.h"

#include <doctest/doctest.h>

#include "fl/common/nn/quantized_model.h"
#include "fl/tests/compression/deploy/passes/bench.h"

namespace fl::deploy {
namespace {

using testing::Bench;
using testing::CodeOf;
using testing::Get;
using testing::PassText;

double ErrorWith(const std::string& keys) {
  Bench bench;
  Get(bench.RunList(PassText("ptq_static", keys)));
  return bench.IntegerError();
}

std::string Refusal(const std::string& keys) {
  const auto list = Bench().Parse(PassText("ptq_static", keys));
  return list ? "" : list.error().message;
}

TEST_CASE("ptq_static: every observer gives a model that is near the float one") {
  for (const std::string keys :
       {"observer = \"minmax\"", "observer = \"moving_average\"\nmoving_share = 0.1",
        "observer = \"percentile\"\npercentile = 99.9", "observer = \"mse\"", "observer = \"kl\"",
        "symmetric_activations = true"}) {
    CAPTURE(keys);
    CHECK(ErrorWith(keys) < 0.2);
  }
  CHECK(ErrorWith("symmetric_activations = true") > ErrorWith(""));
}

TEST_CASE("ptq_static: at 4 bits groups lose less than channels, and channels less than tensors") {
  const double tensor = ErrorWith("bits = 4\ngranularity = \"tensor\"");
  const double channel = ErrorWith("bits = 4");
  const double group = ErrorWith("bits = 4\ngranularity = \"group\"\ngroup = 16");
  CHECK(channel < 0.8 * tensor);
  CHECK(group < 0.9 * channel);
  CHECK(ErrorWith("bits = 2") > channel);
  CHECK(ErrorWith("bits = 4\nlayers = [\"dense1 8\"]") < channel);
}

TEST_CASE("ptq_static: its settings reach the integer model and the report") {
  Bench bench;
  Get(bench.RunList(PassText("ptq_static",
                             "samples = 63\nbits = 4\ngranularity = \"group\"\ngroup = 16\n"
                             "symmetric = false\n"
                             "layers = [\"conv1 8\", \"dense1 3 tensor symmetric\"]")));
  CHECK(bench.NodeOf("conv1").coding == nn::WeightCoding{});
  CHECK(bench.NodeOf("conv2").coding == nn::WeightCoding{4, 16, true});
  CHECK(bench.NodeOf("dense1").coding == nn::WeightCoding{3, 0, false});
  CHECK(bench.report.summary.starts_with("weights of 3 to 8 bits, "));
  CHECK(bench.report.summary.find("warning: fewer than 64") != std::string::npos);
  CHECK(bench.FigureOf("samples") == 63);
  Get(bench.RunList(PassText("ptq_static", "samples = 64\nbits = 4\ngranularity = \"group\"")));
  CHECK(bench.report.summary ==
        "weights of 4 bits in groups of 32, activations of 8, calibrated on 64 samples");
}

TEST_CASE("ptq_static: keys that cannot be meant are refused where they stand") {
  CHECK(Refusal("bits = 1").find("ptq_static.bits: expected a number from 2 to 8") !=
        std::string::npos);
  CHECK(Refusal("observer = \"median\"").find("expected \"minmax\" or") != std::string::npos);
  CHECK(Refusal("percentile = 99.9").find("only observer = \"percentile\" has it") !=
        std::string::npos);
  CHECK(Refusal("moving_share = 0.5").find("only observer = \"moving_average\" has it") !=
        std::string::npos);
  CHECK(Refusal("granularity = \"group\"").find("8 bits have no room") != std::string::npos);
  CHECK(Refusal("symmetric = false").find("asymmetric codes at 7 bits or fewer") !=
        std::string::npos);
  for (const std::string line : {"conv1", "conv1 9", "conv1 4 row", "conv1 4 group x", "conv1 4 16",
                                 "", "conv1 4 group 1"}) {
    CAPTURE(line);
    CHECK(Refusal("layers = [\"" + line + "\"]").find("ptq_static.layers: ") != std::string::npos);
  }
  CHECK(Refusal("layers = [\"conv1 4\", \"conv1 8\"]").find("stands twice") != std::string::npos);
  CHECK(Refusal("keep_float = [\"dense1\"]").find("no layer can stay in float") !=
        std::string::npos);
}

TEST_CASE("ptq_static: a layer that is not there or that was decided before is named") {
  Bench bench;
  const auto unknown = bench.RunList(PassText("ptq_static", "layers = [\"conv9 4\"]"));
  REQUIRE(CodeOf(unknown) == ErrorCode::kNotFound);
  CHECK(unknown.error().message == "ptq_static: weights: no node with a weight is named conv9");
  bench.model.precision["conv1"] = {.bits = 3};
  CHECK(CodeOf(bench.RunList(PassText("ptq_static", "layers = [\"conv1 4\"]"))) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(bench.RunList(PassText("ptq_static", "layers = [\"conv1 3\"]"))) == ErrorCode::kOk);
}

TEST_CASE("ptq_static: obeys the coding that an earlier pass decided for a node") {
  Bench bench;
  bench.model.precision["conv2"] = {
      .bits = 4, .scaling = nn::WeightScaling::kGroup, .group = 16, .asymmetric = true};
  Get(bench.Run(PtqStatic({})));
  CHECK(bench.NodeOf("conv2").coding == nn::WeightCoding{4, 16, true});
  CHECK(bench.NodeOf("conv1").coding == nn::WeightCoding{});
  bench.model.precision["relu1"] = {};
  CHECK(CodeOf(bench.Run(PtqStatic({}))) == ErrorCode::kNotFound);
}

TEST_CASE("ptq_static: weights that an earlier pass rounded keep their codes") {
  Bench bench;
  const nn::WeightSpec four{.bits = 4};
  bench.model.rounded = Get(RoundWeights(bench.model.graph, bench.model.parameters, {four, {}}));
  std::vector<float>& values = bench.model.rounded->parameters;
  const auto conv2 = *bench.model.graph.parameters.Find("conv2.weight");
  const std::size_t at = bench.model.graph.parameters.offset(conv2);
  const float step = bench.model.rounded->grids.at("conv2").scale[0];
  values[at] = 3 * step;  // Not the nearest.
  Get(bench.Run(PtqStatic({})));
  const nn::QuantizedNode& node = bench.NodeOf("conv2");
  CHECK(node.coding.bits == 4);
  CHECK(node.weight[0] == 3);
  CHECK(node.weight_scale[0] == step);
}

TEST_CASE("ptq_static: a range that training learned is kept") {
  Bench bench;
  bench.model.ranges["maxpool2"] = {0, 7};  // What relu1 feeds; both have one scale.
  Get(bench.Run(PtqStatic({})));
  CHECK(bench.model.quantized->activations[bench.IndexOf("relu1")].scale ==
        nn::ScaleOf({0, 7}).scale);
}

}  // namespace
}  // namespace fl::deploy
