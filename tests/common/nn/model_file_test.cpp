#include "fl/common/nn/model_file.h"

#include <functional>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_zoo.h"
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

ModelFile IntegerFile(const Graph& graph, const WeightSpec& spec = {}) {
  const NamedTensors parameters = InitializeParameters(graph, RngStream(2));
  const std::vector<float> samples = Normals(8 * graph.input_shape().count(), 3);
  const auto ranges =
      Get(ObserveRanges(graph, parameters.values, samples, 8, RangeMethod::kMinMax));
  ModelFile file;
  const std::vector<WeightSpec> specs(graph.nodes.size(), spec);
  file.model = Get(Quantize(graph, parameters.values, ranges, specs));
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

TEST_CASE("ModelFile: weights of every number of bits are read back as they were") {
  const Graph graph = Build({5, 4, 2}, {"conv 6 3x3 same", "relu", "depthwise 3x3", "layernorm",
                                        "flatten", "dense 7", "dense 2"});
  for (std::uint8_t bits = 2; bits <= 7; ++bits) {
    for (const bool asymmetric : {false, true}) {
      CAPTURE(bits);
      const ModelFile file = IntegerFile(
          graph,
          {.bits = bits, .scaling = WeightScaling::kGroup, .group = 4, .asymmetric = asymmetric});
      const Bytes bytes = SerializeModelFile(file);
      const ModelFile again = Get(ParseModelFile(bytes));
      CHECK(std::get<QuantizedModel>(again.model).nodes ==
            std::get<QuantizedModel>(file.model).nodes);
      CHECK(SerializeModelFile(again) == bytes);
    }
  }
}

TEST_CASE("ModelFile: an MNIST CNN has 1.7 MB at 8 bits and 0.95 MB at 4 bits in groups of 32") {
  const Graph graph = Get(BuildZooModel("mnist_cnn"));
  const auto bytes_with = [&](const WeightSpec& spec) {
    const NamedTensors parameters = InitializeParameters(graph, RngStream(2));
    const std::vector<ActivationScale> scales(graph.nodes.size(), {0.1F, -128});
    const std::vector<WeightSpec> specs(graph.nodes.size(), spec);
    ModelFile file;
    file.model = Get(Quantize(graph, parameters.values, scales, specs));
    return SerializeModelFile(file).size();
  };
  CHECK(bytes_with({}) <= 1700000);
  CHECK(bytes_with({.bits = 4, .scaling = WeightScaling::kGroup, .group = 32}) <= 950000);
  CHECK(bytes_with({.bits = 2, .scaling = WeightScaling::kGroup, .group = 32}) <= 480000);
}

TEST_CASE("ModelFile: 16-bit floats take half the bytes and come back rounded") {
  const ModelFile whole = FloatFile();
  for (const FloatStorage storage : {FloatStorage::kFp16, FloatStorage::kBf16}) {
    ModelFile file = whole;
    auto& model = std::get<FloatModel>(file.model);
    model.storage = storage;
    model.parameters[0] = 1e30F;
    const Bytes bytes = SerializeModelFile(file);
    const ModelFile again = Get(ParseModelFile(bytes));
    const auto& after = std::get<FloatModel>(again.model);
    CHECK(after.storage == storage);
    for (std::size_t i = 0; i < after.parameters.size(); ++i)
      CHECK(after.parameters[i] == StoredValue(model.parameters[i], storage));
    CHECK(SerializeModelFile(again) == bytes);
    CHECK(CodeWith(file, [](SafetensorsFile& f) { f.metadata["fl.precision"] = "fp32"; }) ==
          ErrorCode::kOk);
    CHECK(CodeWith(whole, [&](SafetensorsFile& f) {
            f.metadata["fl.precision"] = storage == FloatStorage::kFp16 ? "fp16" : "bf16";
          }) == ErrorCode::kMalformed);
  }
  CHECK(StoredValue(1e30F, FloatStorage::kFp16) == 65504);
  CHECK(StoredValue(1.001F, FloatStorage::kBf16) == 1);
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

TEST_CASE("ParseModelFile: broken codes are refused") {
  const ModelFile file =
      IntegerFile(Build({5}, {"dense 3", "relu", "dense 2"}),
                  {.bits = 3, .scaling = WeightScaling::kGroup, .group = 2, .asymmetric = true});
  using File = SafetensorsFile;
  const auto with_coding = [&](const std::string& lines) {
    return CodeWith(file, [&](File& f) { f.metadata["fl.coding"] = lines; });
  };
  const std::string second = "\ndense2 3 group=2 asymmetric";
  CHECK(with_coding("dense1 3 group=2 asymmetric" + second) == ErrorCode::kOk);
  CHECK(with_coding("dense1 8" + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 1" + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1" + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 3 group=0 asymmetric" + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 3 group=2 asymmetric more" + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 3 group=2 asymmetric" + second + second) == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 3 group=2 asymmetric" + second + "\nrelu1 3") == ErrorCode::kMalformed);
  CHECK(with_coding("dense1 3 group=1 asymmetric" + second) == ErrorCode::kShapeMismatch);
  CHECK(with_coding("dense1 3 group=99999999999999 asymmetric" + second) ==
        ErrorCode::kShapeMismatch);
  CHECK(with_coding("dense1 4 group=2 asymmetric" + second) == ErrorCode::kShapeMismatch);
  const auto with_tensor = [&](const std::string& name, std::size_t at, std::uint8_t value) {
    return CodeWith(file, [&](File& f) {
      for (StoredTensor& tensor : f.tensors) {
        if (tensor.name == name) tensor.data[at] = std::byte{value};
      }
    });
  };
  CHECK(with_tensor("dense1.multiplier", 0, 0) == ErrorCode::kMalformed);
  CHECK(with_tensor("dense1.multiplier", 0, 128) == ErrorCode::kMalformed);
  CHECK(with_tensor("dense1.zero", 0, 8) == ErrorCode::kMalformed);
  // Five codes of three bits leave one bit.
  CHECK(with_tensor("dense1.weight", 1, 0x80) == ErrorCode::kMalformed);
}

TEST_CASE("ParseModelFile: a file cut anywhere is refused") {
  const Bytes bytes = SerializeModelFile(FloatFile());
  for (std::size_t length = 0; length < bytes.size(); length += 7) {
    CHECK(CodeOf(ParseModelFile(std::span(bytes).first(length))) != ErrorCode::kOk);
  }
}

}  // namespace
}  // namespace fl::nn
