#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/onnx/export_onnx.h"
#include "fl/common/nn/onnx/import_onnx.h"
#include "fl/common/nn/session.h"
#include "fl/tests/common/nn/onnx/random_graph.h"
#include "fl/tests/support/property.h"

namespace fl::onnx {
namespace {

using fl::testing::ForAll;
using fl::testing::Get;
using testing::RandomGraph;
using testing::RandomParameters;
using testing::RandomQuantized;

nn::ModelFile FloatFile(const nn::Graph& graph, std::uint64_t seed) {
  nn::ModelFile file;
  file.model = nn::FloatModel{graph, RandomParameters(graph, seed)};
  return file;
}

nn::ModelFile Again(const nn::ModelFile& file) {
  return Get(ImportOnnx(SerializeOnnx(Get(ExportOnnx(file)))));
}

std::vector<float> Run(const nn::ModelFile& file, std::span<const float> input, std::size_t batch) {
  std::vector<float> output(batch * file.graph().output_shape().count());
  if (const auto* model = std::get_if<nn::FloatModel>(&file.model)) {
    Get(nn::Session::Create(model->graph, batch)).Run(model->parameters, input, batch, output);
  } else {
    Get(nn::IntegerSession::Create(std::get<nn::QuantizedModel>(file.model), batch))
        .Run(input, batch, output);
  }
  return output;
}

void CheckSameOutputs(const nn::ModelFile& before, const nn::ModelFile& after, float tolerance) {
  constexpr std::size_t kBatch = 3;
  const std::vector<float> input =
      nn::testing::Normals(kBatch * before.graph().input_shape().count(), 5);
  const std::vector<float> expected = Run(before, input, kBatch);
  const std::vector<float> found = Run(after, input, kBatch);
  REQUIRE(found.size() == expected.size());
  float largest = 1;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  float error = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    error = std::max(error, std::abs(found[i] - expected[i]));
  CHECK(error <= tolerance * largest);
}

std::string TextOf(const nn::Graph& graph) {
  std::string text;
  for (const std::string& line : nn::DescribeLayers(graph)) text += line + "\n";
  return text;
}

TEST_CASE("ONNX: random networks in fp32 come back with the same outputs") {
  ForAll(150, [](RngStream& rng) {
    const nn::Graph graph = RandomGraph(rng, {}).Draw();
    const std::string lines = TextOf(graph);
    CAPTURE(lines);
    const nn::ModelFile file = FloatFile(graph, 3);
    CheckSameOutputs(file, Again(file), 2e-5F);
  });
}

TEST_CASE("ONNX: random networks in int8 come back with the same integers and scales") {
  ForAll(150, [](RngStream& rng) {
    const nn::Graph graph = RandomGraph(rng, {.batch_norms = false}).Draw();
    const std::string lines = TextOf(graph);
    CAPTURE(lines);
    nn::ModelFile file;
    file.model = RandomQuantized(graph, 3);
    const nn::ModelFile after = Again(file);
    const auto& before = std::get<nn::QuantizedModel>(file.model);
    const auto& found = std::get<nn::QuantizedModel>(after.model);
    REQUIRE(found.graph.nodes.size() == before.graph.nodes.size());
    for (std::size_t i = 0; i < found.nodes.size(); ++i) {
      CAPTURE(before.graph.nodes[i].name);
      CHECK(found.graph.nodes[i].name == before.graph.nodes[i].name);
      CHECK(found.graph.nodes[i].inputs == before.graph.nodes[i].inputs);
      CHECK(found.nodes[i] == before.nodes[i]);
      // The last product's scale is not used: its output is fp32.
      if (i + 1 < found.nodes.size()) CHECK(found.activations[i] == before.activations[i]);
    }
    CheckSameOutputs(file, after, 0);
  });
}

TEST_CASE("ONNX: networks of benchmarks come back with the same outputs, int8 bit for bit") {
  for (const nn::ZooModel& zoo : nn::ZooModels()) {
    if (zoo.name == "leaf_femnist_cnn" || zoo.name == "mobilenet_025") continue;  // Seconds each.
    CAPTURE(zoo.name);
    const nn::Graph graph = Get(nn::BuildZooModel(zoo.name));
    const nn::ModelFile file = FloatFile(graph, 4);
    CheckSameOutputs(file, Again(file), 2e-5F);
  }
  for (const char* name : {"mlp", "cifar_cnn", "ds_cnn", "resnet8"}) {
    nn::ModelFile file;
    file.model = RandomQuantized(Get(nn::BuildZooModel(name, {.folded = true})), 4);
    CheckSameOutputs(file, Again(file), 0);
  }
}

TEST_CASE("ONNX: a layer of factors is exported as the weight that it stands for") {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 2}, {"conv 3 3x3 same fedpara=2", "flatten", "dense 4 lora=2"});
  const nn::ModelFile file = FloatFile(graph, 6);
  const nn::ModelFile after = Again(file);
  CHECK(after.graph().parameters.size() == 4);
  CheckSameOutputs(file, after, 2e-5F);
}

TEST_CASE("ONNX: labels, normalization, notes and the loss travel along") {
  const nn::Graph graph = nn::testing::Build({4}, {"dense 3"}, "mean_squared_error");
  nn::ModelFile file = FloatFile(graph, 1);
  file.labels = {"left", "right", "none of both"};
  file.normalization = "subtract 0.5";
  file.notes["round"] = "17";
  const nn::ModelFile after = Again(file);
  CHECK(after.labels == file.labels);
  CHECK(after.normalization == file.normalization);
  CHECK(after.notes == file.notes);
  CHECK(after.graph().loss == nn::LossKind::kMeanSquaredError);
}

TEST_CASE("ONNX: what the output does not depend on is left out") {
  const nn::Graph graph =
      nn::testing::Build({4}, {"a: dense 5", "head: dense 2", "b: dense 3 from=a"});
  const nn::ModelFile after = Again(FloatFile(graph, 1));
  CHECK(TextOf(after.graph()) == "a: dense 5\nb: dense 3\n");
}

TEST_CASE("ONNX: an image's rows are reordered and not transposed at run time") {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 2}, {"conv 3 3x3", "flatten", "relu", "dense 4"});
  const OnnxModel model = Get(ExportOnnx(FloatFile(graph, 2)));
  std::vector<std::string> types;
  types.reserve(model.operators.size());
  for (const Operator& node : model.operators) types.push_back(node.type);
  CHECK(types == std::vector<std::string>{"Conv", "Flatten", "Relu", "Gemm"});
  REQUIRE(model.inputs[0].extents.size() == 4);
  CHECK(model.inputs[0].extents[0] == Extent{.value = {}, .name = "N"});
  CHECK(model.inputs[0].extents[1].value == 2);
  CHECK(model.opset == 13);
  CHECK(model.ir_version == 8);
}

TEST_CASE(
    "ONNX: int8 has a pair after the input and every activation, none after a fused product") {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 1}, {"conv 4 3x3", "relu", "maxpool 2", "flatten", "dense 3"});
  nn::ModelFile file;
  nn::QuantizedModel quantized = RandomQuantized(graph, 2);
  for (std::size_t i = 1; i < 5; ++i) quantized.activations[i].zero_point = -128;
  file.model = quantized;
  const OnnxModel model = Get(ExportOnnx(file));
  std::string types;
  for (const Operator& node : model.operators) {
    if (node.type != "DequantizeLinear") types += node.type.substr(0, 3) + " ";
  }
  CHECK(types == "Qua Con Rel Qua Max Qua Fla Qua Gem ");
}

TEST_CASE("ONNX: weights of 4 bits are written as the 8 bits that they stand for") {
  const nn::Graph graph = nn::testing::Build({8}, {"dense 4", "relu", "dense 2"});
  const std::vector<float> parameters = RandomParameters(graph, 1);
  const auto ranges = Get(nn::ObserveRanges(graph, parameters, nn::testing::Normals(8 * 16, 1), 16,
                                            nn::RangeMethod::kMinMax));
  std::vector<nn::WeightSpec> specs(graph.nodes.size());
  for (nn::WeightSpec& spec : specs) spec.bits = 4;
  nn::ModelFile file;
  file.model = Get(nn::Quantize(graph, parameters, ranges, specs));
  const nn::ModelFile after = Again(file);
  const auto& before = std::get<nn::QuantizedModel>(file.model);
  const auto& found = std::get<nn::QuantizedModel>(after.model);
  CHECK(found.nodes[1].weight == before.nodes[1].weight);
  CheckSameOutputs(file, after, 0);
}

TEST_CASE("ExportOnnx: a model whose activations are rounded in each run is refused in words") {
  const nn::Graph graph = *nn::BuildZooModel("mlp");
  nn::ModelFile file;
  file.model = Get(nn::QuantizeDynamic(graph, RandomParameters(graph, 1)));
  const auto refused = ExportOnnx(file);
  REQUIRE(fl::testing::CodeOf(refused) == ErrorCode::kUnsupported);
  CHECK(refused.error().message.find("expected ptq_static") != std::string::npos);
}

}  // namespace
}  // namespace fl::onnx
