#include <cmath>
#include <filesystem>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "fl/common/base/file.h"
#include "fl/common/config/pass_file.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/compression/app/model/machine_instruments.h"
#include "fl/compression/app/model/model_bench.h"
#include "fl/compression/app/model/model_data.h"
#include "fl/compression/app/model/model_info.h"
#include "fl/compression/app/model/pareto_plot.h"
#include "fl/compression/app/model/pass_report.h"
#include "fl/compression/app/model/probe.h"
#include "fl/compression/app/model/quantity.h"
#include "fl/compression/app/model/search_report.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/tests/support/result.h"

namespace fl::model_app {
namespace {

using Json = nlohmann::json;

const std::string kDigits =
    "csv:" FL_TEST_SOURCE_DIR "/data/small-tables/digits8x8.csv.gz?split=train";

nn::ModelFile MakeModel(std::vector<std::string> layers = {"dense 16", "relu", "dense 10"}) {
  nn::FloatModel model;
  model.graph = testing::Get(nn::BuildGraph(Shape{64}, layers, "softmax_cross_entropy"));
  model.parameters = nn::InitializeParameters(model.graph, RngStream(1)).values;
  return {model, {}, "standard mean 8 scale 4", {{"round", "7"}}};
}

TEST_CASE("InspectModel: layers, operations and bytes of a file") {
  const auto info = testing::Get(InspectModel(nn::SerializeModelFile(MakeModel())));
  CHECK(info.precision == "fp32");
  CHECK(info.parameters == 64 * 16 + 16 + 16 * 10 + 10);
  REQUIRE(info.layers.size() == 3);
  CHECK(info.layers[0].name == "dense1");
  CHECK(info.layers[0].line == "dense 16");
  CHECK(info.layers[0].multiply_accumulates >= 64 * 16);
  REQUIRE(info.tensors.size() == 4);
  CHECK(info.tensors[0].bytes == 64 * 16 * 4);
  CHECK(info.notes.at("round") == "7");
  const Json json = Json::parse(InfoToJson(info));
  CHECK(json["parameters"] == info.parameters);
  CHECK(json["layers"].size() == 3);
  CHECK(DrawInfo(info).find("dense1.weight") != std::string::npos);
}

TEST_CASE("InspectModel: bytes that are no model are refused") {
  Bytes bytes = nn::SerializeModelFile(MakeModel());
  bytes.resize(bytes.size() - 1);
  CHECK(testing::CodeOf(InspectModel(bytes)) == ErrorCode::kMalformed);
}

TEST_CASE("OpenData: normalized as the file says, or as the options do") {
  nn::ModelFile model = MakeModel();
  const auto own = testing::Get(OpenData(model, {kDigits, {}, {}, {}}));
  CHECK(own->normalization().ToText() == "standard mean 8 scale 4");
  const auto other = testing::Get(OpenData(model, {kDigits, {}, "none", {}}));
  CHECK(other->normalization().ToText() == "none");
  CHECK(testing::CodeOf(OpenData(model, {kDigits, {}, "twice", {}})) ==
        ErrorCode::kInvalidArgument);
  model.normalization.clear();
  CHECK(testing::CodeOf(OpenData(model, {kDigits, {}, {}, {}})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("OpenData: samples of another shape are refused") {
  CHECK_FALSE(OpenData(MakeModel(),
                       {"csv:" FL_TEST_SOURCE_DIR "/data/small-tables/iris.csv.gz", {}, {}, {}})
                  .has_value());
}

TEST_CASE("SplitForPasses: three disjoint parts that are all of the data, by the seed") {
  const auto dataset = testing::Get(OpenData(MakeModel(), {kDigits, {}, {}, {}}));
  const DataParts parts = SplitForPasses(dataset, 3);
  std::vector<int> times(dataset->count());
  for (const data::Subset* part : {&parts.training, &parts.calibration, &parts.verification}) {
    CHECK_FALSE(part->empty());
    for (const std::uint32_t index : part->indices()) ++times[index];
  }
  CHECK(std::ranges::count(times, 1) == static_cast<std::ptrdiff_t>(times.size()));
  CHECK(
      std::ranges::equal(SplitForPasses(dataset, 3).training.indices(), parts.training.indices()));
  CHECK_FALSE(
      std::ranges::equal(SplitForPasses(dataset, 4).training.indices(), parts.training.indices()));
}

TEST_CASE("ReportToJson: a row for each pass, from a list that trains and quantizes") {
  const nn::ModelFile file = MakeModel();
  const auto& teacher = std::get<nn::FloatModel>(file.model);
  const auto dataset = testing::Get(OpenData(file, {kDigits, {}, {}, {}}));
  const DataParts parts = SplitForPasses(dataset, 1);
  const auto deployment = testing::Get(ParsePassFile(
      "[[deployment.pass]]\npass = \"fine_tune\"\nepochs = 8\n[[deployment.pass]]\npass = "
      "\"ptq_static\"\n[[deployment.pass]]\npass = \"verify\"\n",
      "test"));
  const auto passes = testing::Get(deploy::ParsePassList(deployment, teacher.graph));
  const std::atomic<bool> stop = false;
  deploy::Instruments instruments = MachineInstruments();
  instruments.runs = 20;
  const auto report =
      testing::Get(deploy::RunPasses(passes, {.teacher = {teacher.graph, teacher.parameters},
                                              .training = parts.training,
                                              .calibration = parts.calibration,
                                              .verification = parts.verification,
                                              .gate = {},
                                              .rng = RngStream(1),
                                              .stop = stop,
                                              .normalization = "none",
                                              .labels = {},
                                              .notes = {},
                                              .instruments = &instruments}));
  const Json json = Json::parse(ReportToJson(report));
  CHECK(json["accepted"] == true);
  CHECK(json["accuracy"] > 0.85);
  REQUIRE(json["passes"].size() == 4);
  CHECK(json["passes"][1]["pass"] == "fine_tune");
  CHECK(json["passes"][1]["accuracy"] > json["passes"][0]["accuracy"]);
  CHECK(json["passes"][1]["figures"]["steps"] > 100);
  CHECK(json["passes"][2]["file_bytes"] < json["passes"][1]["file_bytes"]);
  CHECK(json["passes"][2]["latency_p99_us"] >= json["passes"][2]["latency_p50_us"]);
  CHECK(json["passes"][2]["layers"].size() >= 2);
  CHECK(DrawReport(report).find("ptq_static") != std::string::npos);
}

TEST_CASE("BenchModel: both engines, from an fp32 file and from an int8 one") {
  deploy::Instruments instruments = MachineInstruments();
  instruments.runs = 8;
  instruments.batch = 2;
  const auto rows = testing::Get(BenchModel(MakeModel(), instruments));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].engine.starts_with("fp32 "));
  CHECK(rows[1].engine.starts_with("int8 "));
  for (const ModelBenchRow& row : rows) CHECK(row.latency.min_us > 0);
  const Json json = Json::parse(ModelBenchToJson(rows, 2));
  CHECK(json["batch"] == 2);
  CHECK(json["engines"].size() == 2);
}

TEST_CASE("BenchModel: an engine that cannot run the model is left out") {
  const auto rows = testing::Get(BenchModel(MakeModel({"dense 16", "layernorm", "dense 10"}), [] {
    deploy::Instruments instruments = MachineInstruments();
    instruments.runs = 4;
    return instruments;
  }()));
  REQUIRE_FALSE(rows.empty());
  CHECK(rows[0].engine.starts_with("fp32 "));
}

TEST_CASE("ProbeMachine: rates, and a latency table that can be read again") {
  deploy::Instruments instruments = MachineInstruments();
  instruments.runs = 2;
  const auto profile = testing::Get(ProbeMachine(instruments));
  CHECK(profile.fp32_gflops > 0);
  CHECK(profile.int8_gops > 0);
  CHECK(profile.memory_gbps > 0);
  CHECK(profile.operators.size() > 20);
  CHECK(testing::Get(ParseProfile(ProfileToToml(profile), "p")).operators.size() ==
        profile.operators.size());
  CHECK(testing::CodeOf(ProbeMachine({})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("configs/passes: each pass list is read") {
  const nn::Graph graph = testing::Get(nn::BuildGraph(
      Shape{28, 28, 1}, std::vector<std::string>{"conv 4 3x3", "relu", "flatten", "dense 10"},
      "softmax_cross_entropy"));
  std::size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(FL_TEST_SOURCE_DIR "/configs/passes")) {
    const auto deployment = testing::Get(LoadPassFile(entry.path().string()));
    const auto passes = deploy::ParsePassList(deployment, graph, deploy::PassListUse::kFile);
    CHECK_MESSAGE(passes.has_value(), entry.path().string());
    ++count;
  }
  CHECK(count >= 3);
  // Those of the studies are for models of other shapes.
  for (const auto& entry :
       std::filesystem::directory_iterator(FL_TEST_SOURCE_DIR "/configs/studies/passes")) {
    CHECK_MESSAGE(LoadPassFile(entry.path().string()), entry.path().string());
  }
}

TEST_CASE("ParseBytes, ParseMicroseconds: units, and what is no quantity") {
  CHECK(testing::Get(ParseBytes("200KB")) == 200000);
  CHECK(testing::Get(ParseBytes("1.5MiB")) == 1572864);
  CHECK(testing::Get(ParseBytes("42")) == 42);
  CHECK(testing::Get(ParseMicroseconds("100us")) == 100);
  CHECK(testing::Get(ParseMicroseconds("0.5ms")) == 500);
  for (const char* text : {"", "KB", "-1KB", "0", "nan", "1e99", "5 KB", "5XB", "100us"})
    CHECK(testing::CodeOf(ParseBytes(text)) == ErrorCode::kInvalidArgument);
  for (const char* text : {"", "us", "0us", "-5us", "3KB", "inf"})
    CHECK(testing::CodeOf(ParseMicroseconds(text)) == ErrorCode::kInvalidArgument);
}

// Two lists that were tried, the second chosen, and two drawn at random.
deploy::SearchOutcome MakeOutcome() {
  deploy::SearchOutcome outcome;
  outcome.teacher = {0.9, 400000, 90};
  deploy::Trial large{.name = "conv1 16"};
  large.result = {0.9, 90000, 40};
  large.on_front = true;
  large.within = true;
  deploy::Trial small{.name = "a <b> & c", .finalist = true, .within = true, .on_front = true};
  small.result = {0.88, 20000, 20};
  small.list.passes.push_back({{"verify", {}}, {}});
  deploy::Trial worse{.name = "drawn", .kind = "random"};
  worse.result = {0.8, 30000, 30};
  deploy::Trial smaller{.name = "tiny", .kind = "random"};
  smaller.result = {0.5, 5000, 10};
  outcome.trials = {large, small, worse, smaller};
  outcome.chosen = 1;
  outcome.steps = 700;
  return outcome;
}

TEST_CASE("CompareWithRandom: who dominates whom") {
  const RandomComparison comparison = CompareWithRandom(MakeOutcome());
  CHECK(comparison.lists == 2);
  CHECK(comparison.dominate_chosen == 0);
  CHECK(comparison.dominated_by_chosen == 1);
  CHECK(comparison.dominated_by_front == 1);
  CHECK(comparison.dominate_front == 0);
  CHECK(comparison.within == 0);
  CHECK(CompareWithRandom({}).lists == 0);
}

TEST_CASE("CompareWithRandom: of the front counts what keeps every bound") {
  deploy::SearchOutcome outcome = MakeOutcome();
  deploy::Trial drawn{.name = "better", .kind = "random", .within = true};
  drawn.result = {0.91, 80000, 40};
  outcome.trials.push_back(drawn);
  CHECK(CompareWithRandom(outcome).dominate_front == 1);
  CHECK(CompareWithRandom(outcome).within == 1);
  outcome.trials[0].within = false;
  CHECK(CompareWithRandom(outcome).dominate_front == 0);
  outcome.trials[1].within = false;
  CHECK(CompareWithRandom(outcome).dominated_by_front == 0);
  CHECK(CompareWithRandom(outcome).dominated_by_chosen == 1);
}

TEST_CASE("SearchToJson, DrawSearch: each trial with its list, the chosen one marked") {
  const Json json = Json::parse(SearchToJson(MakeOutcome()));
  CHECK(json["chosen"] == 1);
  REQUIRE(json["trials"].size() == 4);
  CHECK(json["trials"][1]["chosen"] == true);
  CHECK(json["trials"][1]["bytes"] == 20000);
  const std::string passes = json["trials"][1]["passes"];
  CHECK(testing::Get(ParsePassFile(passes, "p")).passes.size() == 1);
  CHECK(json["random"]["dominated_by_chosen"] == 1);
  const std::string text = DrawSearch(MakeOutcome());
  CHECK(text.find("of 2 random lists of the same bytes and latency, with the same 700 training "
                  "steps") != std::string::npos);
}

TEST_CASE(
    "DrawParetoPlot: a dot with a title for each, text escaped, nothing outside the picture") {
  const std::string svg = DrawParetoPlot(MakeOutcome());
  CHECK(svg.starts_with("<svg"));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(svg.find("a &lt;b&gt; &amp; c: 88.00 %, 20,000 bytes, 20.0 us") != std::string::npos);
  CHECK(svg.find("<b>") == std::string::npos);
  CHECK(svg.find("class=\"front\"") != std::string::npos);
  CHECK(svg.find("prefers-color-scheme: dark") != std::string::npos);
  std::size_t titles = 0;
  for (std::size_t at = 0; (at = svg.find("<title>", at)) != std::string::npos; ++at) ++titles;
  CHECK(titles == 6);  // Four lists, the model, the ring around the chosen one.
  CHECK(svg.find(">chosen</text>") != std::string::npos);
  deploy::SearchOutcome none = MakeOutcome();
  none.chosen.reset();
  CHECK(DrawParetoPlot(none).find("chosen\"") == std::string::npos);
  CHECK(DrawParetoPlot(none).find(">chosen</text>") == std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
  // All alike, or nothing there: still a picture.
  deploy::SearchOutcome alike;
  alike.teacher = {0, 1, 0};
  CHECK(DrawParetoPlot(alike).find("nan") == std::string::npos);
}

TEST_CASE("SplitForPasses: with unseen samples all of the others are for training") {
  const auto dataset = testing::Get(OpenData(MakeModel(), {kDigits, {}, {}, {}}));
  const auto unseen = testing::Get(OpenData(MakeModel(), {kDigits, {}, {}, {}}));
  const DataParts parts = SplitForPasses(dataset, 3, unseen);
  CHECK(parts.training.count() + parts.calibration.count() == dataset->count());
  CHECK(parts.verification.count() + parts.choosing.count() == unseen->count());
  CHECK(&parts.verification.dataset() == unseen.get());
  const DataParts alone = SplitForPasses(dataset, 3);
  CHECK(alone.choosing.count() == alone.calibration.count());
}

}  // namespace
}  // namespace fl::model_app
