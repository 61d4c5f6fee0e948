// Hints, mutual learning, exits, born-again students and made samples on mnist-mini, by the pass
// and by hand.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/deploy/data_free.h"
#include "fl/compression/deploy/early_exits.h"
#include "fl/compression/deploy/mutual_learning.h"
#include "fl/compression/deploy/passes/distil.h"
#include "fl/tests/compression/deploy/trained_digits.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/sanitized.h"

namespace fl::deploy {
namespace {

using fl::testing::kSanitized;
using testing::CodeOf;
using testing::Get;
using testing::Lines;
using testing::TrainedDigits;

// A student of the convolutional teacher, and its first so many training samples.
struct Classroom {
  explicit Classroom(std::uint32_t count = 200)
      : digits(testing::Convolutions()), training(digits.training.shared_dataset(), First(count)) {
    config.layers = {"maxpool 2", "conv 6 3x3", "relu",    "maxpool 2", "conv 8 3x3 same",
                     "relu",      "maxpool 3",  "flatten", "dense 10"};
    config.student = Get(nn::BuildGraph(Shape{28, 28, 1}, config.layers, "softmax_cross_entropy"));
    config.training.steps = kSanitized ? 40 : 600;
    config.training.learning_rate = 0.05;
    config.training.warmup = 30;
  }
  static std::vector<std::uint32_t> First(std::uint32_t count) {
    std::vector<std::uint32_t> indices(count);
    std::iota(indices.begin(), indices.end(), 0U);
    return indices;
  }

  Result<WorkingModel> Run(std::uint64_t seed) const {
    WorkingModel model{.graph = digits.graph, .parameters = digits.parameters};
    PassReport report;
    FL_TRY_OK(Distil(config).Run({.teacher = {digits.graph, digits.parameters},
                                  .training = training,
                                  .calibration = calibration,
                                  .verification = digits.unseen,
                                  .gate = {},
                                  .rng = RngStream(seed),
                                  .stop = stop,
                                  .normalization = "unit",
                                  .labels = {},
                                  .notes = {}},
                                 model, report));
    return model;
  }
  // Percent right on unseen samples, over three seeds.
  double MeanAccuracy() const {
    double sum = 0;
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const WorkingModel model = Get(Run(seed));
      sum += 100 * digits.AccuracyOf(model.graph, model.parameters) / 3;
    }
    return sum;
  }

  const TrainedDigits& digits;
  data::Subset training;
  data::Subset calibration{digits.training.shared_dataset(), {}};
  std::atomic<bool> stop = false;
  DistilConfig config;
};

double HardLabels() {
  static const std::vector<float> accuracy = fl::testing::KeepTrained("hard labels", {}, [] {
    Classroom room;
    room.config.training.alpha = 1;
    return std::vector<float>{static_cast<float>(room.MeanAccuracy())};
  });
  return static_cast<double>(accuracy[0]);
}

TEST_CASE("distil: at 200 samples a teacher beats labels alone, by standardized logits too") {
  Classroom room;
  CHECK((room.MeanAccuracy() > HardLabels() + 2 || kSanitized));
  room.config.training.standardize = true;
  const WorkingModel model = Get(room.Run(1));
  CHECK((100 * room.digits.AccuracyOf(model.graph, model.parameters) > HardLabels() || kSanitized));
}

TEST_CASE("distil: hints beat labels alone") {
  Classroom room;
  room.config.training.alpha = 1;
  room.config.hints = {{{"relu1", "relu1"}, {"relu2", "relu2"}}, HintKind::kMap, 10.0};
  CHECK((room.MeanAccuracy() > HardLabels() || kSanitized));
  room.config.hints.kind = HintKind::kAttention;
  room.config.hints.weight = 0.1;
  CHECK((room.MeanAccuracy() > HardLabels() || kSanitized));
}

TEST_CASE("distil: learning beside the global model beats labels alone") {
  Classroom room;
  room.config.peer = Peer::kTeacher;
  CHECK((room.MeanAccuracy() > HardLabels() || kSanitized));
}

TEST_CASE("distil: a student of a student knows what it knew") {
  Classroom room;
  room.config.born_again = 1;
  const WorkingModel model = Get(room.Run(1));
  CHECK((100 * room.digits.AccuracyOf(model.graph, model.parameters) > HardLabels() || kSanitized));
}

TEST_CASE("distil: exits learn to answer, and the output no worse than by labels alone") {
  Classroom room;
  room.config.exits = {"relu1", "relu2"};
  room.config.keep_exits = true;
  const WorkingModel model = Get(room.Run(1));
  CHECK((100 * room.digits.AccuracyOf(model.graph, model.parameters) > HardLabels() || kSanitized));
  for (const auto& [name, least] : {std::pair{"exit1", 0.2}, std::pair{"exit2", 0.5}}) {
    nn::Graph exit = model.graph;
    while (exit.nodes.back().name != name) exit.nodes.pop_back();
    CHECK((room.digits.AccuracyOf(exit, model.parameters) > least || kSanitized));
  }
  room.config.keep_exits = false;
  const WorkingModel plain = Get(room.Run(1));
  CHECK(nn::DescribeLayers(plain.graph) == nn::DescribeLayers(room.config.student));
  CHECK(room.digits.AccuracyOf(plain.graph, plain.parameters) ==
        room.digits.AccuracyOf(model.graph, model.parameters));
  CHECK(nn::DescribeLayers(Get(RemoveExits(model.graph))) == nn::DescribeLayers(plain.graph));
}

TEST_CASE("distil: made samples stand for 1,000 real ones, less six points") {
  Classroom room(1000);
  const WorkingModel with = Get(room.Run(1));
  const double accuracy = room.digits.AccuracyOf(with.graph, with.parameters);
  room.config.data_free = DataFreeConfig{.samples = kSanitized ? 200U : 1000U, .steps = 40};
  room.config.training.alpha = 0;
  room.calibration = data::Subset(room.digits.training.shared_dataset(), Classroom::First(200));
  const WorkingModel without = Get(room.Run(1));
  CHECK(
      (room.digits.AccuracyOf(without.graph, without.parameters) > accuracy - 0.06 || kSanitized));
}

TEST_CASE("distil: a generator's samples teach more than guessing") {
  Classroom room;
  room.calibration = data::Subset(room.digits.training.shared_dataset(), Classroom::First(200));
  room.config.data_free =
      DataFreeConfig{.method = DataFreeMethod::kGenerator, .steps = kSanitized ? 40U : 1000U};
  const WorkingModel made = Get(room.Run(1));
  CHECK((room.digits.AccuracyOf(made.graph, made.parameters) > 0.3 || kSanitized));
}

TEST_CASE("SynthesizeSamples: the teacher says what the samples were made for") {
  const TrainedDigits& digits = testing::Convolutions();
  const std::atomic<bool> stop = false;
  const Teacher teacher{digits.graph, digits.parameters};
  const DataFreeConfig config{.samples = 60, .steps = 60};
  const auto make = [&] { return Get(SynthesizeSamples(teacher, {}, config, RngStream(4), stop)); };
  const data::Subset made = make();
  CHECK(made.count() == 60);
  CHECK(Get(Accuracy(digits.graph, digits.parameters, made)) > 0.9);
  CHECK(std::get<std::vector<float>>(made.dataset().samples().features) ==
        std::get<std::vector<float>>(make().dataset().samples().features));
}

TEST_CASE("SynthesizeSamples: inner values take the moments that are known") {
  const TrainedDigits& digits = testing::Convolutions();
  const std::atomic<bool> stop = false;
  const Teacher teacher{digits.graph, digits.parameters};
  const DataStatistics known = Get(
      MeasureStatistics(digits.graph, digits.parameters, digits.samples, TrainedDigits::kSamples));
  const auto distance = [&](double weight) {
    const DataFreeConfig config{.samples = 50, .steps = 60, .statistics_weight = weight};
    const data::Subset made = Get(SynthesizeSamples(teacher, known, config, RngStream(4), stop));
    std::vector<float> values(50 * 784);
    for (std::size_t i = 0; i < 50; ++i)
      made.CopySample(i, std::span(values).subspan(i * 784, 784));
    const DataStatistics found =
        Get(MeasureStatistics(digits.graph, digits.parameters, values, 50));
    double sum = 0;
    for (std::size_t n = 0; n < known.nodes.size(); ++n) {
      for (std::size_t c = 0; c < known.nodes[n].mean.size(); ++c)
        sum += std::abs(static_cast<double>(known.nodes[n].mean[c] - found.nodes[n].mean[c]));
    }
    return sum;
  };
  CHECK(distance(1) < 0.5 * distance(0));
}

TEST_CASE("SynthesizeSamples: neighbours and classes are as in the data") {
  const TrainedDigits& digits = testing::Convolutions();
  const std::atomic<bool> stop = false;
  const Teacher teacher{digits.graph, digits.parameters};
  DataStatistics known = Get(
      MeasureStatistics(digits.graph, digits.parameters, digits.samples, TrainedDigits::kSamples));
  CHECK(std::accumulate(known.class_shares.begin(), known.class_shares.end(), 0.0) ==
        doctest::Approx(1));
  for (const float correlation : known.neighbour_correlation) CHECK(correlation > 0.4F);

  known.class_shares = {0.5, 0, 0, 0, 0, 0, 0, 0.3, 0.2, 0};
  const DataFreeConfig config{.samples = 100, .steps = 1};
  const data::Subset made = Get(SynthesizeSamples(teacher, known, config, RngStream(4), stop));
  const std::vector<std::uint64_t> counts = made.LabelCounts();
  for (std::size_t c = 0; c < 10; ++c)
    CHECK(std::abs(static_cast<double>(counts[c]) - 100 * known.class_shares[c]) <= 2);
  std::vector<float> values(100 * 784);
  for (std::size_t i = 0; i < 100; ++i) made.CopySample(i, std::span(values).subspan(i * 784, 784));
  const DataStatistics found = Get(MeasureStatistics(digits.graph, digits.parameters, values, 100));
  for (std::size_t axis = 0; axis < 2; ++axis)
    CHECK(found.neighbour_correlation[axis] ==
          doctest::Approx(known.neighbour_correlation[axis]).epsilon(0.15));

  known.class_shares.pop_back();
  CHECK(SynthesizeSamples(teacher, known, config, RngStream(4), stop).error().code ==
        ErrorCode::kShapeMismatch);
}

TEST_CASE("StatisticsOfNorms: are the batch norms' own") {
  const Lines layers = {"conv 4 3x3", "batchnorm", "relu", "flatten", "dense 3"};
  const nn::Graph graph = Get(nn::BuildGraph(Shape{5, 5, 1}, layers, "softmax_cross_entropy"));
  std::vector<float> parameters = nn::InitializeParameters(graph, RngStream(1)).values;
  const std::size_t mean = *graph.parameters.Find("batchnorm1.mean");
  parameters[graph.parameters.offset(mean) + 2] = 7;
  const DataStatistics statistics = StatisticsOfNorms(graph, parameters);
  REQUIRE(statistics.nodes.size() == 1);
  CHECK(statistics.nodes[0].node == "conv1");
  CHECK(statistics.nodes[0].mean == std::vector<float>{0, 0, 7, 0});
  CHECK(statistics.nodes[0].variance == std::vector<float>(4, 1.0F));
}

TEST_CASE("data free: statistics and samples that cannot be are refused") {
  const TrainedDigits& digits = testing::Convolutions();
  std::atomic<bool> stop = false;
  const Teacher teacher{digits.graph, digits.parameters};
  const auto code = [&](const DataStatistics& statistics) {
    return CodeOf(SynthesizeSamples(teacher, statistics, {.steps = 1}, RngStream(4), stop));
  };
  DataStatistics statistics;
  statistics.nodes = {{"conv9", {}, {}}};
  CHECK(code(statistics) == ErrorCode::kNotFound);
  statistics.nodes = {{"relu1", {1}, {1}}};
  CHECK(code(statistics) == ErrorCode::kShapeMismatch);
  statistics.nodes.clear();
  statistics.input_mean = {1};
  statistics.input_deviation = {1};
  CHECK(code(statistics) == ErrorCode::kShapeMismatch);
  stop = true;
  CHECK(code(DataStatistics{}) == ErrorCode::kUnavailable);
  std::vector<float> samples(784);
  const auto measured = [&](std::size_t count) {
    return CodeOf(MeasureStatistics(digits.graph, digits.parameters, samples, count));
  };
  CHECK(measured(0) == ErrorCode::kInvalidArgument);
  CHECK(measured(2) == ErrorCode::kInvalidArgument);
  samples[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(measured(1) == ErrorCode::kNotFinite);
}

TEST_CASE("AddExits: inner layers alone, each once") {
  const nn::Graph& graph = testing::Convolutions().graph;
  const ExitGraph exits = Get(AddExits(graph, Lines{"relu2", "flatten1"}));
  CHECK(exits.graph.output_shape() == graph.output_shape());
  CHECK(exits.graph.nodes.size() == graph.nodes.size() + 3);
  CHECK(exits.graph.nodes[exits.heads[0]].name == "exit1");
  CHECK(CodeOf(AddExits(graph, Lines{"relu7"})) == ErrorCode::kNotFound);
  CHECK(CodeOf(AddExits(graph, Lines{"dense1"})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(AddExits(graph, Lines{"input"})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(AddExits(graph, Lines{"relu1", "relu1"})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("distil: hints that cannot be are refused") {
  const auto code = [](const Hint& hint) {
    Classroom room;
    room.config.training.steps = 2;
    room.config.training.warmup = 0;
    room.config.hints.hints = {hint};
    return CodeOf(room.Run(1));
  };
  CHECK(code({"relu9", "relu1"}) == ErrorCode::kNotFound);
  CHECK(code({"relu1", "relu9"}) == ErrorCode::kNotFound);
  CHECK(code({"relu1", "relu2"}) == ErrorCode::kShapeMismatch);
}

TEST_CASE("MutualLearning: peers must fit") {
  const nn::Graph& graph = testing::Convolutions().graph;
  const nn::Graph other = Get(nn::BuildGraph(Shape{4}, Lines{"dense 10"}, "softmax_cross_entropy"));
  CHECK(CodeOf(MutualLearning::Create({}, graph, other, std::vector<float>(50))) ==
        ErrorCode::kShapeMismatch);
}

Result<std::shared_ptr<const Pass>> Read(
    const std::vector<std::pair<std::string, PassConfig::Value>>& settings) {
  PassConfig pass{{"distil", {3, 8}}, {}};
  for (const auto& [key, value] : settings) pass.fields.push_back({key, value, {4, 1}});
  const nn::Graph& teacher = testing::Convolutions().graph;
  Fields fields(pass, teacher);
  return ReadDistil(fields);
}

TEST_CASE("distil: the keys of its variants are read, and combinations refused") {
  const auto config = [](const auto& settings) {
    return dynamic_cast<const Distil&>(*Get(Read(settings))).config();
  };
  using Settings = std::vector<std::pair<std::string, PassConfig::Value>>;
  const DistilConfig hints = config(Settings{{"hints", Lines{"relu1=relu2"}},
                                             {"hint_kind", std::string("attention")},
                                             {"hint_weight", 3.0},
                                             {"standardize", true}});
  REQUIRE(hints.hints.hints.size() == 1);
  CHECK(hints.hints.hints[0].teacher == "relu2");
  CHECK(hints.hints.kind == HintKind::kAttention);
  CHECK(hints.hints.weight == 3.0);
  CHECK(hints.training.standardize);
  CHECK(config(Settings{{"mutual", std::string("twin")}}).peer == Peer::kTwin);
  const DistilConfig free = config(Settings{{"data_free", std::string("generator")},
                                            {"made_samples", std::int64_t{70}},
                                            {"born_again", std::int64_t{2}},
                                            {"exits", Lines{"relu1"}}});
  CHECK(free.data_free->method == DataFreeMethod::kGenerator);
  CHECK(free.data_free->samples == 70);
  CHECK(free.born_again == 2);
  CHECK(free.exits == Lines{"relu1"});
  CHECK(CodeOf(Read({{"hints", Lines{"relu1"}}})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Read({{"exits", Lines{"relu1"}}, {"mutual", std::string("twin")}})) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Read({{"born_again", std::int64_t{1}}, {"mutual", std::string("teacher")}})) ==
        ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::deploy
