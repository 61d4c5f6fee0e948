#include "fl/common/nn/infer/infer.h"

#include <cstring>
#include <thread>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/infer/fl_infer.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/session.h"
#include "fl/tests/common/nn/small_models.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::infer {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::ModelFile SmallModel(bool integer) {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 2}, {"conv 4 3x3", "relu", "flatten", "dense 3"});
  const std::vector<float> parameters = nn::testing::Normals(graph.parameters.total(), 1);
  nn::ModelFile file;
  file.labels = {"cat", "dog", "none"};
  file.normalization = "subtract 0.5";
  file.model = nn::FloatModel{graph, parameters};
  if (!integer) return file;
  const auto ranges = Get(nn::ObserveRanges(graph, parameters, nn::testing::Normals(72 * 8, 2), 8,
                                            nn::RangeMethod::kMinMax));
  file.model = Get(nn::Quantize(graph, parameters, ranges));
  return file;
}

std::vector<float> RunDirectly(const nn::ModelFile& file, std::span<const float> input,
                               std::size_t batch) {
  std::vector<float> output(3 * batch);
  if (const auto* model = std::get_if<nn::FloatModel>(&file.model)) {
    Get(nn::Session::Create(model->graph, batch)).Run(model->parameters, input, batch, output);
  } else {
    Get(nn::IntegerSession::Create(std::get<nn::QuantizedModel>(file.model), batch))
        .Run(input, batch, output);
  }
  return output;
}

TEST_CASE("infer: a model file gives the engine's outputs, in fp32 and int8") {
  const std::vector<float> input = nn::testing::Normals(2 * 72, 3);
  for (const bool integer : {false, true}) {
    const nn::ModelFile file = SmallModel(integer);
    const Model model = Get(Model::Load(nn::SerializeModelFile(file)));
    CHECK(model.integer() == integer);
    CHECK(model.input_shape() == Shape{6, 6, 2});
    CHECK(model.labels()[1] == "dog");
    CHECK(model.normalization() == "subtract 0.5");
    Session session = Get(Session::Create(model, {.batch_max = 2}));
    std::vector<float> output(6);
    REQUIRE(session.Run(input, output).has_value());
    CHECK(output == RunDirectly(file, input, 2));
  }
}

TEST_CASE("infer: a session outlives its model") {
  const std::vector<float> input = nn::testing::Normals(72, 3);
  for (const bool integer : {false, true}) {
    const nn::ModelFile file = SmallModel(integer);
    Session session = [&] {
      const Model model = Get(Model::Load(nn::SerializeModelFile(file)));
      return Get(Session::Create(model));
    }();
    std::vector<float> output(3);
    REQUIRE(session.Run(input, output).has_value());
    CHECK(output == RunDirectly(file, input, 1));
  }
}

TEST_CASE("infer: sessions of one model run on several threads") {
  const nn::ModelFile file = SmallModel(true);
  const Model model = Get(Model::Load(nn::SerializeModelFile(file)));
  const std::vector<float> input = nn::testing::Normals(72, 3);
  const std::vector<float> expected = RunDirectly(file, input, 1);
  std::vector<std::vector<float>> outputs(4, std::vector<float>(3));
  {
    std::vector<std::jthread> threads;
    threads.reserve(outputs.size());
    for (std::vector<float>& output : outputs) {
      threads.emplace_back([&model, &input, &output] {
        auto session = Session::Create(model);
        for (int i = 0; i < 50 && session; ++i) static_cast<void>(session->Run(input, output));
      });
    }
  }
  for (const std::vector<float>& output : outputs) CHECK(output == expected);
}

TEST_CASE("infer: spans of other lengths are refused") {
  const Model model = Get(Model::Load(nn::SerializeModelFile(SmallModel(true))));
  Session session = Get(Session::Create(model, {.batch_max = 2}));
  std::vector<float> input(3 * 72);
  std::vector<float> output(9);
  const auto run = [&](std::size_t in, std::size_t out) {
    return CodeOf(session.Run(std::span(input).first(in), std::span(output).first(out)));
  };
  CHECK(run(72, 3) == ErrorCode::kOk);
  CHECK(run(144, 6) == ErrorCode::kOk);
  CHECK(run(0, 0) == ErrorCode::kInvalidArgument);
  CHECK(run(71, 3) == ErrorCode::kInvalidArgument);
  CHECK(run(73, 3) == ErrorCode::kInvalidArgument);
  CHECK(run(72, 2) == ErrorCode::kInvalidArgument);
  CHECK(run(72, 4) == ErrorCode::kInvalidArgument);
  CHECK(run(216, 9) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Session::Create(model, {.batch_max = 0})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("infer: damaged bytes and missing files are refused with their code") {
  const Bytes bytes = nn::SerializeModelFile(SmallModel(true));
  CHECK(CodeOf(Model::Load(ByteSpan(bytes).first(bytes.size() - 1))) == ErrorCode::kMalformed);
  CHECK(CodeOf(Model::Load({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(Model::LoadFile("/nowhere/model.safetensors")) == ErrorCode::kNotFound);
}

TEST_CASE("fl_infer.h: loads, runs and frees as the C++ interface does") {
  const fl::testing::TemporaryFolder folder;
  const nn::ModelFile file = SmallModel(true);
  const std::string path = folder.path() / "model.safetensors";
  REQUIRE(WriteFileAtomically(path, nn::SerializeModelFile(file)).has_value());
  fl_infer_error error = {7, "untouched"};
  fl_infer_model* model = nullptr;
  REQUIRE(fl_infer_load_file(path.c_str(), &model, &error) == 0);
  CHECK(error.code == 0);
  CHECK(fl_infer_input_count(model) == 72);
  CHECK(fl_infer_output_count(model) == 3);
  CHECK(fl_infer_is_integer(model) == 1);
  std::size_t extents[2] = {};
  CHECK(fl_infer_input_shape(model, extents, 2) == 3);
  CHECK(extents[1] == 6);
  CHECK(std::string(fl_infer_label(model, 2)) == "none");
  CHECK(fl_infer_label(model, 3) == nullptr);
  fl_infer_session* session = nullptr;
  REQUIRE(fl_infer_open(model, 2, &session, nullptr) == 0);
  fl_infer_free(model);
  const std::vector<float> input = nn::testing::Normals(2 * 72, 3);
  std::vector<float> output(6);
  CHECK(fl_infer_run(session, input.data(), 2, output.data(), &error) == 0);
  CHECK(output == RunDirectly(file, input, 2));
  CHECK(fl_infer_run(session, input.data(), 3, output.data(), &error) != 0);
  CHECK(std::string(fl_infer_code_name(error.code)) == "invalid_argument");
  CHECK(std::string(error.message).find("expected 1 to 2 samples") != std::string::npos);
  CHECK(fl_infer_run(session, input.data(), SIZE_MAX / 2, output.data(), &error) != 0);
  fl_infer_close(session);
}

TEST_CASE("fl_infer.h: errors carry a code and a message, and nothing is made") {
  fl_infer_error error = {};
  fl_infer_model* model = nullptr;
  CHECK(std::string(fl_infer_code_name(fl_infer_load_file("/nowhere/model", &model, &error))) ==
        "not_found");
  CHECK(std::strstr(error.message, "/nowhere/model") != nullptr);
  CHECK(fl_infer_load_bytes("no model", 8, &model, &error) != 0);
  CHECK(fl_infer_load_bytes(nullptr, 0, &model, &error) != 0);
  CHECK(fl_infer_load_file("/nowhere/model", nullptr, nullptr) != 0);
  CHECK(model == nullptr);
  fl_infer_session* session = nullptr;
  CHECK(fl_infer_open(nullptr, 1, &session, &error) != 0);
  fl_infer_free(nullptr);
  fl_infer_close(nullptr);
  const std::string long_path(1000, 'x');
  CHECK(fl_infer_load_file(long_path.c_str(), &model, &error) != 0);
  CHECK(std::strlen(error.message) == sizeof(error.message) - 1);
}

}  // namespace
}  // namespace fl::infer
