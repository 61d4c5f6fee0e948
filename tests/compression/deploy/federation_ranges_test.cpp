#include "fl/compression/deploy/federation_ranges.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/config/pass_file.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/initialize.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

std::string PassText(const std::string& name, const std::string& keys = "") {
  return "[[deployment.pass]]\npass = \"" + name + "\"\n" + keys + "\n";
}

const std::string kFold = PassText("fold_batchnorm");
const std::string kEqualize = PassText("equalize");
const std::string kOwn = PassText("ptq_static", "ranges = \"own\"") + PassText("verify");
const std::string kFederation =
    PassText("ptq_static", "ranges = \"federation\"") + PassText("verify");

// A network with norms of all sorts of scales, and 90 samples of three classes.
struct Bench {
  Bench() {
    graph = Get(
        nn::BuildGraph(Shape{6, 6, 1},
                       std::vector<std::string>{"conv 4 3x3", "batchnorm", "relu",
                                                "conv 5 3x3 same", "relu", "flatten", "dense 3"},
                       "softmax_cross_entropy"));
    parameters = nn::InitializeParameters(graph, RngStream(2)).values;
    RngStream rng(3);
    for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
      if (!graph.parameters[i].name.starts_with("batchnorm")) continue;
      for (std::size_t k = 0; k < graph.parameters[i].shape.count(); ++k)
        parameters[graph.parameters.offset(i) + k] = 0.2F + 2 * rng.Uniform();
    }
    data::Samples samples;
    samples.shape = Shape{6, 6, 1};
    samples.classes = 3;
    std::vector<float> features(kCount * 36);
    rng.FillNormal(features);
    samples.features = std::move(features);
    for (std::size_t i = 0; i < kCount; ++i)
      samples.labels.push_back(static_cast<std::int32_t>(i % 3));
    dataset = std::make_shared<data::Dataset>(Get(data::Dataset::Create(std::move(samples))));
  }

  data::Subset Part(std::uint32_t first, std::uint32_t count) const {
    std::vector<std::uint32_t> indices(count);
    std::iota(indices.begin(), indices.end(), first);
    return data::Subset(dataset, std::move(indices));
  }
  PassList Parse(const std::string& passes, PassListUse use = PassListUse::kDevice) const {
    return Get(ParsePassList(Get(ParsePassFile("[deployment]\nversion = 1\n" + passes, "list")),
                             graph, use));
  }
  DeployReport Run(const std::string& passes, const RangesByNode* ranges = nullptr) const {
    const data::Subset training = Part(20, 40);
    const data::Subset calibration = Part(0, 20);
    const data::Subset verification = Part(60, 30);
    const PassInputs inputs{.teacher = {graph, parameters},
                            .training = training,
                            .calibration = calibration,
                            .verification = verification,
                            .gate = {.drop_points_max = 100, .bytes_max = 0},
                            .rng = RngStream(5),
                            .stop = stop,
                            .normalization = "none",
                            .labels = {},
                            .notes = {},
                            .federation_ranges = ranges};
    return Get(RunPasses(Parse(passes), inputs));
  }
  // What the samples from `first` on make of the model that the list wants calibrated.
  RangesByNode RangesOn(const std::string& passes, std::uint32_t first, std::uint32_t count) const {
    const PassList list = Parse(passes);
    const auto task = Get(CalibrationTaskOf(list, graph));
    REQUIRE(task.has_value());
    const nn::FloatModel model = Get(ModelToCalibrate(list, {graph, parameters}));
    const SampleBlock block = CalibrationSamples(Part(first, count), Part(0, 0), count);
    const nn::Calibration calibration =
        Get(nn::Calibrate(model.graph, model.parameters, block.values, block.count));
    return Get(DecodeRanges(EncodeRanges(Get(calibration.Ranges(task->options))), task->graph));
  }

  static constexpr std::size_t kCount = 90;
  nn::Graph graph;
  std::vector<float> parameters;
  std::shared_ptr<const data::Dataset> dataset;
  std::atomic<bool> stop = false;
};

bool Says(const DeployReport& report, const std::string& part) {
  for (const std::string& line : report.lines) {
    if (line.find(part) != std::string::npos) return true;
  }
  return false;
}

// The first 60 samples are all that the device itself would calibrate on.
TEST_CASE(
    "Federation's ranges: behind fold and equalize they are those of the model as it is then") {
  const Bench bench;
  for (const std::string& leading : {kFold, kFold + kEqualize}) {
    const RangesByNode ranges = bench.RangesOn(leading + kFederation, 0, 60);
    const DeployReport with = bench.Run(leading + kFederation, &ranges);
    CHECK(with.model == bench.Run(leading + kOwn).model);
    CHECK(Says(with, "activations of 8, over the federation's ranges"));
  }
  CHECK(bench.RangesOn(kFold + kEqualize + kFederation, 0, 60) !=
        bench.RangesOn(kFold + kFederation, 0, 60));
}

TEST_CASE("Federation's ranges: are obeyed whatever the device's samples are") {
  const Bench bench;
  const RangesByNode few = bench.RangesOn(kFold + kFederation, 0, 3);
  const RangesByNode many = bench.RangesOn(kFold + kFederation, 0, 90);
  CHECK(bench.Run(kFold + kFederation, &few).model != bench.Run(kFold + kFederation, &many).model);
  RangesByNode wide = many;
  for (auto& [node, range] : wide) range = {-64, 63.5F};
  const auto file = Get(nn::ParseModelFile(bench.Run(kFold + kFederation, &wide).model));
  for (const nn::ActivationScale& scale : std::get<nn::QuantizedModel>(file.model).activations)
    CHECK(scale == nn::ScaleOf({-64, 63.5F}));
}

TEST_CASE("Federation's ranges: nodes that it has not looked at are measured on own samples") {
  const Bench bench;
  RangesByNode ranges = bench.RangesOn(kFold + kFederation, 0, 60);
  const Bytes whole = bench.Run(kFold + kFederation, &ranges).model;
  ranges.erase("conv2");
  ranges.erase("dense1");
  const DeployReport part = bench.Run(kFold + kFederation, &ranges);
  CHECK(Says(part,
             "over the federation's ranges for 5 of 7 nodes, the others calibrated on 60 samples"));
  CHECK(part.model == whole);  // The federation had these very samples.
}

TEST_CASE("Federation's ranges: without any, own ones are used and the report says it") {
  const Bench bench;
  const DeployReport report = bench.Run(kFold + kFederation);
  CHECK(report.model == bench.Run(kFold + kOwn).model);
  CHECK(Says(report, "calibrated on 60 samples"));
  CHECK(Says(report, "there are no ranges of the federation"));
  CHECK_FALSE(Says(bench.Run(kFold + kOwn), "federation"));
}

TEST_CASE(
    "Federation's ranges: of a model that a pass has replaced or rescaled they are not used") {
  const Bench bench;
  const std::string tune = PassText("fine_tune", "steps = 1\nlearning_rate = 0.000001");
  const std::string student = PassText(
      "distil", "layers = [\"conv 4 3x3\", \"relu\", \"flatten\", \"dense 3\"]\nsteps = 60");
  const std::vector<std::string> lists = {student, tune + kFold, kFold + tune + kEqualize};
  for (const std::string& changing : lists) {
    CAPTURE(changing);
    const RangesByNode ranges = bench.RangesOn(changing + kFederation, 0, 3);
    const DeployReport report = bench.Run(changing + kFederation, &ranges);
    REQUIRE_FALSE(report.model.empty());
    CHECK(report.model == bench.Run(changing + kOwn).model);
    CHECK(Says(report, "before other passes replaced or rescaled it"));
  }
  // Training alone leaves each node what it stands for.
  const RangesByNode ranges = bench.RangesOn(kFold + tune + kFederation, 0, 3);
  CHECK(Says(bench.Run(kFold + tune + kFederation, &ranges), "over the federation's ranges"));
}

TEST_CASE("Federation's ranges: a list asks for them by ptq_static alone") {
  const Bench bench;
  CHECK_FALSE(Get(CalibrationTaskOf(bench.Parse(kFold + kOwn), bench.graph)).has_value());
  CHECK_FALSE(Get(CalibrationTaskOf({}, bench.graph)).has_value());
  const auto task = Get(CalibrationTaskOf(
      bench.Parse(
          kFold +
          PassText("ptq_static", "ranges = \"federation\"\nsamples = 77\nobserver = \"kl\"") +
          PassText("verify")),
      bench.graph));
  REQUIRE(task.has_value());
  CHECK(task->samples == 77);
  CHECK(task->options.method == nn::RangeMethod::kEntropy);
  CHECK(task->graph.nodes.size() == bench.graph.nodes.size() - 1);
  CHECK(LeadingRewrites(bench.Parse(kFold + kEqualize + kOwn)) == 2);
  CHECK(LeadingRewrites(bench.Parse(kOwn)) == 0);
  CHECK(LeadingRewrites({}) == 0);
}

TEST_CASE("Federation's ranges: are refused where no federation can find them") {
  const Bench bench;
  const auto refusal = [&](const std::string& keys, PassListUse use) {
    const auto list =
        ParsePassList(Get(ParsePassFile("[deployment]\nversion = 1\n" +
                                            PassText("ptq_static", keys) + PassText("verify"),
                                        "list")),
                      bench.graph, use);
    return list ? "" : list.error().message;
  };
  const std::string asks = "ranges = \"federation\"\n";
  CHECK(refusal(asks, PassListUse::kDevice).empty());
  CHECK(refusal(asks, PassListUse::kFile).find("ptq_static.ranges: \"federation\" is for") !=
        std::string::npos);
  CHECK(refusal(asks + "observer = \"moving_average\"", PassListUse::kDevice)
            .find("a moving average depends on the order") != std::string::npos);
  CHECK(refusal("ranges = \"all\"", PassListUse::kDevice).find("expected \"own\" or") !=
        std::string::npos);
}

TEST_CASE("EncodeRanges: the bytes are as they were when the format was settled") {
  const std::vector<nn::ActivationRange> ranges = {{0, 1.5F}, {-2, 0}};
  CHECK(ToHex(EncodeRanges(ranges)) ==
        "464c5201"
        "02"
        "00000000"
        "0000c03f"
        "000000c0"
        "00000000");
}

TEST_CASE("DecodeRanges: bytes that are no ranges of the graph are refused") {
  const nn::Graph graph =
      Get(nn::BuildGraph(Shape{2}, std::vector<std::string>{"dense 3"}, "softmax_cross_entropy"));
  const std::vector<nn::ActivationRange> good = {{-1, 1}, {0, 2}};
  const Bytes bytes = EncodeRanges(good);
  const RangesByNode ranges = Get(DecodeRanges(bytes, graph));
  CHECK(ranges.size() == 2);
  CHECK(ranges.at("dense1") == good[1]);
  const auto code_with = [&](std::size_t at, std::byte value) {
    Bytes changed = bytes;
    changed[at] = value;
    return CodeOf(DecodeRanges(changed, graph));
  };
  const auto code_of = [&](const std::vector<nn::ActivationRange>& values) {
    return CodeOf(DecodeRanges(EncodeRanges(values), graph));
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK(code_with(0, std::byte{'G'}) == ErrorCode::kMalformed);
  CHECK(code_with(3, std::byte{2}) == ErrorCode::kWrongVersion);
  CHECK(code_of({{0, 1}}) == ErrorCode::kMalformed);
  CHECK(code_of({{0, 1}, {0, 1}, {0, 1}}) == ErrorCode::kMalformed);
  CHECK(code_of({{0, 1}, {0.5F, 1}}) == ErrorCode::kMalformed);
  CHECK(code_of({{0, 1}, {-1, -0.5F}}) == ErrorCode::kMalformed);
  CHECK(code_of({{0, 1}, {-kInfinity, 1}}) == ErrorCode::kNotFinite);
  CHECK(code_of({{0, std::nanf("")}, {0, 1}}) == ErrorCode::kNotFinite);
  for (const std::size_t size : {std::size_t{0}, std::size_t{4}, bytes.size() - 1})
    CHECK(CodeOf(DecodeRanges(ByteSpan(bytes).first(size), graph)) == ErrorCode::kMalformed);
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(CodeOf(DecodeRanges(longer, graph)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::deploy
