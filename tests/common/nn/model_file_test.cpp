#include "fl/common/nn/model_file.h"

#include <functional>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

ModelFile FloatFile() {
  const Graph graph = Build({5, 4, 2}, {"conv 3 3x3 same", "relu", "flatten", "dense 2"});
  ModelFile file;
  file.model = FloatModel{graph, InitializeParameters(graph, RngStream(2)).values};
  file.labels = {"no", "yes"};
  file.normalization = "unit";
  file.notes = {{"round", "7"}};
  return file;
}

ModelFile IntegerFile(const Graph& graph) {
  const NamedTensors parameters = InitializeParameters(graph, RngStream(2));
  const std::vector<float> samples = Normals(8 * graph.input_shape().count(), 3);
  const auto ranges =
      Get(ObserveRanges(graph, parameters.values, samples, 8, RangeMethod::kMinMax));
  ModelFile file;
  file.model = Get(Quantize(graph, parameters.values, ranges));
  return file;
}

// A valid file with one thing changed.
ErrorCode CodeWith(const ModelFile& file, const std::function<void(SafetensorsFile&)>& change) {
  SafetensorsFile stored = Get(ParseSafetensors(SerializeModelFile(file)));
  change(stored);
  return CodeOf(ParseModelFile(SerializeSafetensors(stored)));
}

TEST_CASE("ModelFile: an fp32 model is read back as it was") {
  const ModelFile file = FloatFile();
  const ModelFile again = Get(ParseModelFile(SerializeModelFile(file)));
  CHECK(std::get<FloatModel>(again.model).parameters ==
        std::get<FloatModel>(file.model).parameters);
  CHECK(again.graph().parameters == file.graph().parameters);
  CHECK(again.labels == file.labels);
  CHECK(again.normalization == "unit");
  CHECK(again.notes == file.notes);
  CHECK(SerializeModelFile(again) == SerializeModelFile(file));
}

TEST_CASE("ModelFile: an int8 model is read back as it was") {
  const ModelFile file =
      IntegerFile(Build({5, 4, 2}, {"conv 3 3x3 same", "relu", "maxpool 2", "flatten", "dense 2"}));
  const ModelFile again = Get(ParseModelFile(SerializeModelFile(file)));
  const auto& before = std::get<QuantizedModel>(file.model);
  const auto& after = std::get<QuantizedModel>(again.model);
  CHECK(after.activations == before.activations);
  CHECK(after.nodes == before.nodes);
}

TEST_CASE("ModelFile: an int8 student of 784-40-10 is about 33 KB") {
  const Bytes bytes = SerializeModelFile(
      IntegerFile(Build({28, 28, 1}, {"flatten", "dense 40", "relu", "dense 10"})));
  CHECK(bytes.size() < 33 * 1024 + 512);
}

TEST_CASE("ParseModelFile: each thing that is wrong has its code") {
  const ModelFile file = FloatFile();
  using File = SafetensorsFile;
  CHECK(CodeWith(file, [](File&) {}) == ErrorCode::kOk);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.format"] = "2"; }) == ErrorCode::kUnsupported);
  CHECK(CodeWith(file, [](File& f) { f.metadata.erase("fl.format"); }) == ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.precision"] = "int4"; }) ==
        ErrorCode::kUnsupported);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.input"] = "5x4x"; }) == ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.input"] = "5x4x2x1"; }) ==
        ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.layers"] = "dense 1000000"; }) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.labels"] = "one"; }) == ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.tensors.pop_back(); }) == ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.tensors[0].name = "other"; }) == ErrorCode::kShapeMismatch);
  CHECK(CodeOf(ParseModelFile(AsBytes("none"))) == ErrorCode::kMalformed);
}

TEST_CASE("ParseModelFile: broken integers are refused") {
  const ModelFile file = IntegerFile(Build({4}, {"dense 3", "relu", "dense 2"}));
  using File = SafetensorsFile;
  CHECK(CodeWith(file, [](File& f) { f.tensors[0].data[0] = std::byte{0x80}; }) ==
        ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.tensors[0].name = "other"; }) == ErrorCode::kShapeMismatch);
  CHECK(CodeWith(file, [](File& f) {
          f.tensors.push_back(StoreFloats("more", Shape{1}, std::vector<float>{1}));
        }) == ErrorCode::kMalformed);
  CHECK(CodeWith(file, [](File& f) { f.metadata["fl.precision"] = "fp32"; }) ==
        ErrorCode::kMalformed);
}

TEST_CASE("ParseModelFile: a file cut anywhere is refused") {
  const Bytes bytes = SerializeModelFile(FloatFile());
  for (std::size_t length = 0; length < bytes.size(); length += 7) {
    CHECK(CodeOf(ParseModelFile(std::span(bytes).first(length))) != ErrorCode::kOk);
  }
}

}  // namespace
}  // namespace fl::nn
