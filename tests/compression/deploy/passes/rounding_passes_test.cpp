#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/compression/deploy/passes/adaround.h"
#include "fl/compression/deploy/passes/correct_bias.h"
#include "fl/compression/deploy/passes/half_weights.h"
#include "fl/tests/compression/deploy/passes/bench.h"

namespace fl::deploy {
namespace {

using testing::Bench;
using testing::CodeOf;
using testing::Get;
using testing::PassText;

const std::string kPerTensor = "bits = 4\ngranularity = \"tensor\"\n";

double ErrorOf(const std::string& passes) {
  Bench bench;
  Get(bench.RunList(passes));
  return bench.IntegerError();
}

std::string Refusal(const std::string& passes) {
  const auto list = Bench().Parse(passes);
  return list ? "" : list.error().message;
}

TEST_CASE("adaround, correct_bias: at 4 bits per tensor the integer model loses less") {
  const double plain = ErrorOf(PassText("ptq_static", kPerTensor));
  const double learned =
      ErrorOf(PassText("adaround", kPerTensor + "samples = 512\niterations = 300") +
              PassText("ptq_static"));
  const double corrected = ErrorOf(PassText("correct_bias", kPerTensor) + PassText("ptq_static"));
  CHECK(learned < 0.6 * plain);
  CHECK(corrected < 0.8 * plain);
}

TEST_CASE("adaround: writes grids and codings of all nodes, pruned weights stay zero") {
  Bench bench;
  const std::size_t conv2 = *bench.model.graph.parameters.Find("conv2.weight");
  const std::size_t at = bench.model.graph.parameters.offset(conv2);
  std::vector<std::uint8_t>& mask = bench.model.masks["conv2.weight"];
  mask.assign(bench.model.graph.parameters[conv2].shape.count(), 1);
  for (std::size_t i = 0; i < mask.size(); i += 2) mask[i] = 0;
  Get(ApplyMasks(bench.model.graph, bench.model.masks, bench.model.parameters));
  Get(bench.RunList(PassText("adaround", "samples = 64\niterations = 20\nlayers = [\"conv1 8\"]") +
                    PassText("ptq_static", "bits = 8")));
  CHECK(bench.model.precision.size() == 3);
  CHECK(bench.NodeOf("conv1").coding.bits == 8);
  CHECK(bench.NodeOf("dense1").coding.bits == 4);
  for (std::size_t i = 0; i < mask.size(); i += 2)
    CHECK(bench.model.rounded->parameters[at + i] == 0);
  CHECK(bench.model.parameters != bench.model.rounded->parameters);
  Bench again;
  again.model.masks = bench.model.masks;
  Get(ApplyMasks(again.model.graph, again.model.masks, again.model.parameters));
  Get(again.RunList(PassText("adaround", "samples = 64\niterations = 20\nlayers = [\"conv1 8\"]")));
  CHECK(again.model.rounded->parameters == bench.model.rounded->parameters);
}

TEST_CASE("correct_bias: after adaround it starts from the learned weights") {
  Bench bench;
  Get(bench.RunList(PassText("adaround", kPerTensor + "samples = 64\niterations = 50")));
  const RoundedWeights learned = *bench.model.rounded;
  Get(bench.RunList(PassText("correct_bias")));
  CHECK(bench.model.rounded->grids == learned.grids);
  for (const std::size_t i : WeightNodes(bench.model.graph)) {
    const nn::Node& node = bench.model.graph.nodes[i];
    const auto weight = nn::WeightOf(bench.model.graph, node, learned.parameters).values;
    const auto kept = nn::WeightOf(bench.model.graph, node, bench.model.rounded->parameters).values;
    CHECK(std::equal(weight.begin(), weight.end(), kept.begin()));
  }
  CHECK((bench.FigureOf("kept") == 1) ==
        (bench.FigureOf("error_after") < bench.FigureOf("error_before")));
  CHECK((bench.FigureOf("kept") == 1) == (bench.model.rounded->parameters != learned.parameters));
}

TEST_CASE("half_weights: half the file, the same accuracy, what is out of reach is said") {
  Bench bench;
  const std::size_t before = SerializeWorkingModel(bench.model, bench.inputs).size();
  for (const std::string format : {"fp16", "bf16"}) {
    Bench half;
    Get(half.RunList(PassText("half_weights", "format = \"" + format + "\"")));
    const Bytes file = SerializeWorkingModel(half.model, half.inputs);
    CHECK(static_cast<double>(file.size()) < 0.55 * static_cast<double>(before));
    CHECK(std::get<nn::FloatModel>(Get(nn::ParseModelFile(file)).model).parameters ==
          half.model.parameters);
    CHECK(half.digits.AccuracyOf(half.model.graph, half.model.parameters) >=
          half.digits.AccuracyOf(half.model.graph, half.digits.parameters) - 0.005);
    CHECK(half.FigureOf("cut") == 0);
  }
  bench.model.parameters[0] = 1e6F;
  Get(bench.Run(HalfWeights(nn::FloatStorage::kFp16)));
  CHECK(bench.model.parameters[0] == 65504);
  CHECK(bench.FigureOf("cut") == 1);
}

TEST_CASE("adaround, correct_bias: orders that make no sense are refused with a reason") {
  CHECK(Refusal(PassText("correct_bias") + PassText("adaround"))
            .find("adaround must come before correct_bias: it decides which way weights are "
                  "rounded") != std::string::npos);
  CHECK(Refusal(PassText("ptq_static") + PassText("correct_bias"))
            .find("correct_bias must come before ptq_static: it corrects biases in fp32") !=
        std::string::npos);
  CHECK(Refusal(PassText("adaround") + PassText("fine_tune"))
            .find("fine_tune must come before adaround") != std::string::npos);
  CHECK(Refusal(PassText("ptq_static") + PassText("half_weights"))
            .find("half_weights after ptq_static: a model is quantized once") != std::string::npos);
  CHECK(Refusal(PassText("adaround") + PassText("adaround")).find("has this pass once") !=
        std::string::npos);
  CHECK(Refusal(PassText("half_weights", "format = \"fp8\"")).find("expected \"fp16\" or") !=
        std::string::npos);
  CHECK(Refusal(PassText("adaround", "iterations = 0")).find("adaround.iterations") !=
        std::string::npos);
  CHECK(CodeOf(Bench().RunList(PassText("adaround", "samples = 32\niterations = 1") +
                               PassText("half_weights"))) == ErrorCode::kInvalidArgument);
}

TEST_CASE(
    "adaround, correct_bias, ptq_static: samples and weights that cannot be meant are refused") {
  for (const std::string name : {"adaround", "correct_bias", "ptq_static"}) {
    Bench bench;
    bench.given = bench.Empty();
    CHECK(CodeOf(bench.RunList(PassText(name))) == ErrorCode::kInvalidArgument);
    bench.given = Bench::Constant();
    const auto constant = bench.RunList(PassText(name));
    REQUIRE(CodeOf(constant) == ErrorCode::kInvalidArgument);
    CHECK(constant.error().message.find("expected samples that vary") != std::string::npos);
    bench.given = bench.digits.training;
    bench.model.rounded.reset();
    bench.model.precision.clear();
    CAPTURE(name);
    bench.model.precision["conv9"] = {.bits = 4};
    const auto unknown = bench.RunList(PassText(name));
    REQUIRE(CodeOf(unknown) == ErrorCode::kNotFound);
    CHECK(unknown.error().message.starts_with(name + ": "));
    bench.model.precision.clear();
    bench.model.parameters[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK(CodeOf(bench.RunList(PassText(name))) == ErrorCode::kNotFinite);
  }
  Bench bench;
  bench.stop = true;
  CHECK(CodeOf(bench.RunList(PassText("adaround", "samples = 32"))) == ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace fl::deploy
