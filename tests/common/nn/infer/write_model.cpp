// Writes an untrained model file to measure with:  infer_write_model ZOO_NAME|digits fp32|int8 FILE
#include <cstdio>
#include <cstring>
#include <exception>

#include "fl/common/base/file.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/model_zoo.h"

namespace {

fl::Result<fl::nn::Graph> GraphOf(const char* name) {
  if (std::strcmp(name, "digits") != 0) return fl::nn::BuildZooModel(name, {.folded = true});
  const std::vector<std::string> lines = {"conv 4 5x5 stride=2", "relu", "maxpool 2", "flatten",
                                          "dense 10"};
  return fl::nn::BuildGraph({28, 28, 1}, lines, "softmax_cross_entropy");
}

fl::Result<> Write(const char* name, bool integer, const char* path) {
  FL_TRY(const fl::nn::Graph graph, GraphOf(name));
  const fl::NamedTensors parameters = fl::nn::InitializeParameters(graph, fl::RngStream(1));
  fl::nn::ModelFile file;
  file.model = fl::nn::FloatModel{graph, parameters.values};
  file.notes["made"] = "untrained";
  if (integer) {
    std::vector<float> samples(16 * graph.input_shape().count());
    fl::RngStream(2).FillUniform(samples);
    FL_TRY(const auto ranges, fl::nn::ObserveRanges(graph, parameters.values, samples, 16,
                                                    fl::nn::RangeMethod::kMinMax));
    FL_TRY(file.model, fl::nn::Quantize(graph, parameters.values, ranges));
  }
  return fl::WriteFileAtomically(path, fl::nn::SerializeModelFile(file));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    const auto written = Write(argv[1], std::strcmp(argv[2], "int8") == 0, argv[3]);
    if (written) return 0;
    std::fprintf(stderr, "%s\n", written.error().message.c_str());
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
