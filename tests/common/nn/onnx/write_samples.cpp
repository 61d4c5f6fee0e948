// Writes networks as ONNX files with inputs and our engine's outputs, for check_samples.py to run
// elsewhere:  onnx_write_samples FOLDER [SAMPLES]
//
// NAME.onnx, NAME.input (samples x channels x height x width or samples x features, fp32) and
// NAME.output (samples x outputs, fp32; images channels first).
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include "fl/common/base/file.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/onnx/export_onnx.h"
#include "fl/common/nn/session.h"
#include "fl/common/random/rng_stream.h"

namespace {

using fl::Result;
using fl::Shape;

constexpr std::size_t kCalibration = 64;

std::vector<float> Draw(std::size_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  fl::RngStream(seed).FillUniform(values);
  return values;
}

// Images of height x width x channels with their channels first.
std::vector<float> ChannelsFirst(const std::vector<float>& values, const Shape& shape) {
  if (shape.rank() != 3) return values;
  std::vector<float> moved(values.size());
  const std::size_t pixels = shape[0] * shape[1];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t within = i % (pixels * shape[2]);
    const std::size_t first = i - within;
    moved[first + within % shape[2] * pixels + within / shape[2]] = values[i];
  }
  return moved;
}

Result<std::vector<float>> RunModel(const fl::nn::ModelFile& file, const std::vector<float>& input,
                                    std::size_t count) {
  std::vector<float> output(count * file.graph().output_shape().count());
  if (const auto* model = std::get_if<fl::nn::FloatModel>(&file.model)) {
    FL_TRY(auto session, fl::nn::Session::Create(model->graph, count));
    session.Run(model->parameters, input, count, output);
  } else {
    const auto& quantized = std::get<fl::nn::QuantizedModel>(file.model);
    FL_TRY(auto session, fl::nn::IntegerSession::Create(quantized, count));
    session.Run(input, count, output);
  }
  return output;
}

Result<> Write(const std::filesystem::path& stem, const fl::nn::ModelFile& file,
               std::size_t count) {
  const fl::nn::Graph& graph = file.graph();
  const std::vector<float> input = Draw(count * graph.input_shape().count(), 9);
  FL_TRY(const std::vector<float> output, RunModel(file, input, count));
  FL_TRY(const fl::onnx::OnnxModel model, fl::onnx::ExportOnnx(file));
  const auto put = [&](const char* suffix, fl::ByteSpan bytes) {
    return fl::WriteFileAtomically(stem.string() + suffix, bytes);
  };
  FL_TRY_OK(put(".onnx", fl::onnx::SerializeOnnx(model)));
  const std::vector<float> sent = ChannelsFirst(input, graph.input_shape());
  const std::vector<float> expected = ChannelsFirst(output, graph.output_shape());
  FL_TRY_OK(put(".input", std::as_bytes(std::span(sent))));
  return put(".output", std::as_bytes(std::span(expected)));
}

// fp32 and, for networks that int8 runs, int8 with ranges of random inputs.
Result<> WriteNetwork(const std::filesystem::path& folder, const std::string& name,
                      const fl::nn::Graph& graph, const fl::nn::Graph* folded, std::size_t count) {
  fl::NamedTensors parameters = fl::nn::InitializeParameters(graph, fl::RngStream(1).Child(name));
  fl::nn::ModelFile file;
  file.model = fl::nn::FloatModel{graph, parameters.values};
  FL_TRY_OK(Write(folder / (name + "_fp32"), file, count));
  if (folded == nullptr) return {};
  parameters = fl::nn::InitializeParameters(*folded, fl::RngStream(1).Child(name));
  const std::vector<float> samples = Draw(kCalibration * folded->input_shape().count(), 8);
  FL_TRY(const auto ranges, fl::nn::ObserveRanges(*folded, parameters.values, samples, kCalibration,
                                                  fl::nn::RangeMethod::kMinMax));
  FL_TRY(file.model, fl::nn::Quantize(*folded, parameters.values, ranges));
  return Write(folder / (name + "_int8"), file, count);
}

// Every operator that the networks of the zoo do not have.
Result<fl::nn::Graph> OtherOperators(bool batch_norm) {
  const std::vector<std::string> lines = {"conv 8 3x3 stride=2 same groups=2",
                                          "norm: layernorm",
                                          "swish: hard_swish",
                                          "pooled: avgpool 3x3 stride=1 same",
                                          "joined: concat swish",
                                          "squeezed: global_avgpool",
                                          "gates: dense 16",
                                          "sigmoid",
                                          "scaled: multiply gates from=joined",
                                          "reshape 64x2x2",
                                          "tanh",
                                          "maxpool 3x3 stride=2 same",
                                          "reshape 2x8x4",
                                          "flatten",
                                          "flat_norm: layernorm",
                                          "relu6",
                                          "dense 12",
                                          batch_norm ? "b: batchnorm" : "b: relu",
                                          "add b",
                                          "dense 7"};
  return fl::nn::BuildGraph(Shape{8, 8, 4}, lines, "softmax_cross_entropy");
}

Result<> WriteAll(const std::filesystem::path& folder, std::size_t count) {
  for (const fl::nn::ZooModel& zoo : fl::nn::ZooModels()) {
    FL_TRY(const fl::nn::Graph graph, fl::nn::BuildZooModel(zoo.name));
    FL_TRY(const fl::nn::Graph folded, fl::nn::BuildZooModel(zoo.name, {.folded = true}));
    const bool large = graph.parameters.total() > 1000000 || graph.input_shape().count() > 20000;
    FL_TRY_OK(WriteNetwork(folder, std::string(zoo.name), graph, &folded,
                           large ? (count + 9) / 10 : count));
  }
  FL_TRY(const fl::nn::Graph others, OtherOperators(true));
  FL_TRY(const fl::nn::Graph folded, OtherOperators(false));
  return WriteNetwork(folder, "others", others, &folded, count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: onnx_write_samples FOLDER [SAMPLES]\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    const std::size_t count = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1000;
    const auto written = WriteAll(folder, count);
    if (written) return 0;
    std::fprintf(stderr, "%s\n", written.error().message.c_str());
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
