#include "fl/compression/deploy/pass_list.h"

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/compression/deploy/pass_table.h"
#include "fl/compression/deploy/passes/distil.h"
#include "fl/compression/deploy/passes/fine_tune.h"
#include "fl/compression/deploy/passes/ptq_static.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using Settings = std::vector<std::pair<std::string, PassConfig::Value>>;

// Passes as they stand in a plan: names in lines 10, 20, ..., their fields in the lines behind.
DeploymentConfig Passes(const std::vector<std::pair<std::string, Settings>>& passes) {
  DeploymentConfig deployment;
  std::uint32_t line = 10;
  for (const auto& [name, fields] : passes) {
    PassConfig pass{{name, {line, 8}}, {}};
    for (std::uint32_t i = 0; i < fields.size(); ++i) {
      pass.fields.push_back({fields[i].first, fields[i].second, {line + 1 + i, 1}});
    }
    deployment.passes.push_back(pass);
    line += 10;
  }
  return deployment;
}

nn::Graph TeacherGraph(std::string_view loss = "softmax_cross_entropy") {
  const std::vector<std::string> layers = {"dense 30", "relu", "dense 3"};
  return testing::Get(nn::BuildGraph(Shape{6}, layers, loss));
}

std::string Refusal(const DeploymentConfig& deployment) {
  const auto passes = ParsePassList(deployment, TeacherGraph());
  return passes ? std::string() : passes.error().message;
}

DeploymentConfig WithDistil(const Settings& fields) {
  return Passes({{"distil", fields}, {"ptq_static", {}}, {"verify", {}}});
}

TEST_CASE("ParsePassList: no passes are no passes") {
  CHECK(testing::Get(ParsePassList({}, TeacherGraph())).empty());
}

TEST_CASE("ParsePassList: every key is read") {
  const auto passes = testing::Get(ParsePassList(
      Passes({{"distil",
               {{"layers", std::vector<std::string>{"dense 8", "relu", "dense 3"}},
                {"epochs", std::int64_t{7}},
                {"steps", std::int64_t{90}},
                {"batch", std::int64_t{16}},
                {"learning_rate", 0.2},
                {"momentum", 0.5},
                {"weight_decay", 0.001},
                {"alpha", std::int64_t{1}},
                {"temperature", 2.5},
                {"warmup", std::int64_t{0}},
                {"clip", 3.0}}},
              {"ptq_static",
               {{"samples", std::int64_t{9}}, {"observer", "minmax"}, {"bits", std::int64_t{4}}}},
              {"verify", {}}}),
      TeacherGraph()));
  const auto& config = dynamic_cast<const Distil&>(*passes[0].pass).config();
  const FineTuneConfig& distil = config.training;
  CHECK(config.student.parameters.total() == 6 * 8 + 8 + 8 * 3 + 3);
  CHECK(distil.epochs == 7);
  CHECK(distil.steps == 90);
  CHECK(distil.batch == 16);
  CHECK(distil.learning_rate == 0.2);
  CHECK(distil.momentum == 0.5);
  CHECK(distil.weight_decay == 0.001);
  CHECK(distil.alpha == 1);
  CHECK(distil.temperature == 2.5);
  CHECK(distil.warmup == 0);
  CHECK(distil.clip == 3);
  const auto& ptq = dynamic_cast<const PtqStatic&>(*passes[1].pass).config();
  CHECK(ptq.samples == 9);
  CHECK(ptq.ranges.method == nn::RangeMethod::kMinMax);
  CHECK(ptq.weights.spec.bits == 4);
}

TEST_CASE("ParsePassList: without layers the model itself goes on") {
  const auto passes = testing::Get(ParsePassList(WithDistil({}), TeacherGraph()));
  CHECK_FALSE(passes[0].pass->replaces_model());
  CHECK(passes[0].location == Location{10, 8});
}

TEST_CASE("ParsePassList: batch norms fold before ranges are shared out, both without keys") {
  const Settings none;
  const auto passes = testing::Get(ParsePassList(
      Passes(
          {{"fold_batchnorm", none}, {"equalize", none}, {"ptq_static", none}, {"verify", none}}),
      TeacherGraph()));
  CHECK(passes.size() == 4);
  CHECK(passes[0].pass->stage() == PassStage::kFold);
  CHECK(passes[1].pass->stage() == PassStage::kEqualize);
  CHECK_FALSE(Refusal(Passes({{"equalize", none}, {"fold_batchnorm", none}})).empty());
  CHECK_FALSE(Refusal(Passes({{"equalize", {{"sweeps", true}}}})).empty());
}

TEST_CASE("ParsePassList: fine_tune learns from labels unless told otherwise") {
  const auto passes = testing::Get(ParsePassList(Passes({{"fine_tune", {}},
                                                         {"fine_tune", {{"teacher", true}}},
                                                         {"ptq_static", {}},
                                                         {"verify", {}}}),
                                                 TeacherGraph()));
  CHECK_FALSE(dynamic_cast<const FineTunePass&>(*passes[0].pass).config().teacher);
  CHECK(dynamic_cast<const FineTunePass&>(*passes[1].pass).config().teacher);
  CHECK(Refusal(Passes({{"fine_tune", {{"teacher", "yes"}}}})) ==
        "11:1: fine_tune.teacher: expected true or false");
}

TEST_CASE("ParsePassList: unknown passes and keys are refused with the lists of known ones") {
  CHECK(Refusal(Passes({{"shrink", {}}}))
            .starts_with("10:8: unknown pass \"shrink\"; this version has "));
  CHECK(Refusal(WithDistil({{"epoch", std::int64_t{3}}}))
            .starts_with("11:1: unknown key \"epoch\"; distil has layers, epochs, "));
  CHECK(Refusal(Passes({{"ptq_static", {}}, {"verify", {{"x", true}}}})) ==
        "21:1: unknown key \"x\"; verify has lsb_max");
}

TEST_CASE("ParsePassList: values out of range or of another type are refused with their place") {
  CHECK(Refusal(WithDistil({{"alpha", 1.5}})) ==
        "11:1: distil.alpha: expected a number from 0 to 1");
  CHECK(Refusal(WithDistil({{"epochs", 1.5}}))
            .starts_with("11:1: distil.epochs: expected a whole number"));
  CHECK(Refusal(WithDistil({{"batch", std::int64_t{0}}})).starts_with("11:1: distil.batch: "));
  CHECK(Refusal(WithDistil({{"layers", "dense 3"}}))
            .starts_with("11:1: distil.layers: expected a list"));
  CHECK(
      Refusal(Passes({{"ptq_static", {{"observer", "median"}}}, {"verify", {}}}))
          .starts_with("11:1: ptq_static.observer: expected \"minmax\" or \"moving_average\" or"));
  CHECK(Refusal(Passes({{"ptq_static", {{"granularity", "row"}}}, {"verify", {}}}))
            .starts_with("11:1: ptq_static.granularity: "));
}

TEST_CASE("ParsePassList: a student that does not fit the teacher is refused") {
  CHECK(Refusal(WithDistil({{"layers", std::vector<std::string>{"dense 4"}}}))
            .starts_with("11:1: distil.layers: expected the model's output 3"));
  CHECK(Refusal(WithDistil({{"layers", std::vector<std::string>{"conv 4 3x3"}}}))
            .starts_with("11:1: distil.layers: "));
}

TEST_CASE("ParsePassList: a student with factors is refused") {
  const auto student =
      WithDistil({{"layers", std::vector<std::string>{"dense 8 fedpara=2", "relu", "dense 3"}}});
  CHECK(testing::CodeOf(ParsePassList(student, TeacherGraph())) == ErrorCode::kUnsupported);
}

TEST_CASE("ParsePassList: orders that make no sense are refused") {
  CHECK(Refusal(Passes({{"ptq_static", {}}, {"distil", {}}, {"verify", {}}}))
            .starts_with("20:8: distil must come before ptq_static"));
  CHECK(Refusal(Passes({{"verify", {}}, {"verify", {}}}))
            .starts_with("20:8: verify: a pass list has this pass once"));
  CHECK(
      Refusal(Passes({{"ptq_static", {}}})).starts_with("10:8: expected verify after ptq_static"));
  CHECK(Refusal(Passes({{"verify", {}}}))
            .starts_with("10:8: expected ptq_static, ptq_dynamic or half_weights before verify"));
  CHECK(Refusal(Passes({{"distil", {}}, {"verify", {}}}))
            .starts_with("20:8: expected ptq_static, ptq_dynamic or half_weights before verify"));
}

TEST_CASE("ParsePassList: a new student after what it would replace is refused") {
  const Settings student = {{"layers", std::vector<std::string>{"dense 3"}}};
  CHECK(Refusal(Passes({{"fine_tune", {}}, {"distil", student}}))
            .starts_with("20:8: distil with layers must come before fine_tune: it puts"));
  CHECK(Refusal(Passes({{"distil", student}, {"distil", {}}, {"ptq_static", {}}, {"verify", {}}}))
            .empty());
}

TEST_CASE("ParsePassList: a list for a file may do without quantization and verification") {
  const auto passes = [](const DeploymentConfig& config) {
    return ParsePassList(config, TeacherGraph(), PassListUse::kFile);
  };
  CHECK(passes(Passes({{"fine_tune", {}}})).has_value());
  CHECK(passes(Passes({{"verify", {}}})).has_value());
  CHECK(passes(Passes({{"ptq_static", {}}})).has_value());
  CHECK(testing::CodeOf(passes(Passes({{"verify", {}}, {"ptq_static", {}}}))) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("PassTable: every row makes a pass of its name, in an order that a list may have") {
  PassStage latest = PassStage::kFold;
  for (const PassRow& row : PassTable()) {
    const PassConfig config{{std::string(row.name), {1, 1}}, {}};
    const nn::Graph teacher = TeacherGraph();
    Fields fields(config, teacher);
    const auto pass = row.read(fields);
    REQUIRE_MESSAGE(pass.has_value(), row.name);
    CHECK((*pass)->name() == row.name);
    CHECK((*pass)->stage() >= latest);
    latest = (*pass)->stage();
  }
}

TEST_CASE("ParsePassList: another version and a model without classes are refused") {
  DeploymentConfig newer = WithDistil({});
  newer.version = 2;
  CHECK(testing::CodeOf(ParsePassList(newer, TeacherGraph())) == ErrorCode::kUnsupported);
  CHECK(testing::CodeOf(ParsePassList(WithDistil({}), TeacherGraph("mean_squared_error"))) ==
        ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fl::deploy
