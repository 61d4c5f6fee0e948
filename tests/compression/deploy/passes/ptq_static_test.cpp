#include "fl/compression/deploy/passes/ptq_static.h"

#include <algorithm>
#include <atomic>

#include <doctest/doctest.h>

#include "fl/common/nn/quantized_model.h"
#include "fl/tests/compression/deploy/trained_digits.h"

namespace fl::deploy {
namespace {

using testing::CodeOf;
using testing::Convolutions;
using testing::Get;
using testing::TrainedDigits;

// What a pass is given: the digits' training samples to calibrate with.
struct Bench {
  const TrainedDigits& digits = Convolutions();
  std::atomic<bool> stop{false};
  PassInputs inputs{.teacher = {digits.graph, digits.parameters},
                    .training = digits.training,
                    .calibration = digits.training,
                    .verification = digits.unseen,
                    .gate = {},
                    .rng = RngStream(3),
                    .stop = stop,
                    .normalization = "",
                    .labels = {},
                    .notes = {}};
  WorkingModel model{.graph = digits.graph, .parameters = digits.parameters};
  PassReport report;

  Result<> Run(const Pass& pass) { return pass.Run(inputs, model, report); }
  const nn::QuantizedNode& NodeOf(const std::string& name) const {
    const auto found = std::ranges::find(model.graph.nodes, name, &nn::Node::name);
    return model.quantized->nodes.at(static_cast<std::size_t>(found - model.graph.nodes.begin()));
  }
};

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
  const auto relu = std::ranges::find(bench.model.graph.nodes, "relu1", &nn::Node::name);
  const auto i = static_cast<std::size_t>(relu - bench.model.graph.nodes.begin());
  CHECK(bench.model.quantized->activations[i].scale == nn::ScaleOf({0, 7}).scale);
}

}  // namespace
}  // namespace fl::deploy
