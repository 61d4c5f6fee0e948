#include "fl/compression/deploy/passes/distil.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/early_exits.h"
#include "fl/compression/deploy/mutual_learning.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

Result<nn::Graph> BuildStudent(const Fields& fields, const std::vector<std::string>& layers) {
  const nn::Graph& teacher = fields.teacher();
  auto student = nn::BuildGraph(teacher.input_shape(), layers, nn::LossName(teacher.loss));
  if (!student) return fields.Fail("layers", student.error().message, student.error().code);
  if (const auto plain = nn::ExpectPlain(*student, "distil.layers"); !plain)
    return Refuse(fields.PlaceOf("layers"), plain.error().message, plain.error().code);
  if (student->output_shape() != teacher.output_shape()) {
    return fields.Fail("layers", "expected the model's output " + teacher.output_shape().ToText() +
                                     ", found " + student->output_shape().ToText());
  }
  return student;
}

// "conv1=relu2": the student's layer and the teacher's.
Result<> ReadHints(const Fields& fields, const std::vector<std::string>& texts,
                   std::vector<Hint>& hints) {
  for (const std::string& text : texts) {
    const std::size_t sign = text.find('=');
    if (sign == std::string::npos || sign == 0 || sign + 1 == text.size())
      return fields.Fail("hints", "expected \"STUDENT=TEACHER\", found \"" + text + "\"");
    hints.push_back({text.substr(0, sign), text.substr(sign + 1)});
  }
  return {};
}

void ReadDataFree(Fields& fields, DistilConfig& config) {
  constexpr std::array<std::string_view, 3> kMethods = {"none", "statistics", "generator"};
  const std::size_t method = fields.Word("data_free", kMethods, 0);
  DataFreeConfig made;
  fields.Number("made_samples", made.samples, 1, 1e6);
  fields.Number("made_steps", made.steps, 1, 1e6);
  if (method == 0) return;
  made.method = method == 1 ? DataFreeMethod::kStatistics : DataFreeMethod::kGenerator;
  config.data_free = made;
}

Result<> CheckCombination(const Fields& fields, const DistilConfig& config) {
  const int ways = (config.hints.hints.empty() ? 0 : 1) + (config.peer == Peer::kNone ? 0 : 1) +
                   (config.exits.empty() ? 0 : 1);
  if (ways > 1)
    return fields.Fail(config.exits.empty() ? "mutual" : "exits",
                       "expected only one of hints, mutual and exits");
  if (config.born_again > 0 && config.peer == Peer::kTeacher)
    return fields.Fail("born_again",
                       "expected no mutual = \"teacher\" beside it: the teacher "
                       "changes from one student to the next");
  return {};
}

// Samples that stand for the data.
Result<data::Subset> MakeSamples(const PassInputs& inputs, const DataFreeConfig& config) {
  constexpr std::size_t kMost = 512;
  SampleBlock block;
  if (!inputs.calibration.empty())
    block = CalibrationSamples(inputs, std::min(kMost, inputs.calibration.count()));
  FL_TRY(const DataStatistics statistics, StatisticsFor(inputs.teacher, block.values, block.count));
  return SynthesizeSamples(inputs.teacher, statistics, config, inputs.rng.Child("data_free"),
                           inputs.stop);
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadDistil(Fields& fields) {
  DistilConfig config;
  fields.Texts("layers", "[\"dense 10\"]", config.layers);
  ReadFineTuneConfig(fields, config.training);
  std::vector<std::string> hints;
  fields.Texts("hints", "[\"relu1=relu2\"]", hints);
  constexpr std::array<std::string_view, 2> kKinds = {"map", "attention"};
  config.hints.kind = static_cast<HintKind>(fields.Word("hint_kind", kKinds, 0));
  fields.Number("hint_weight", config.hints.weight, 1e-6, 1e6);
  constexpr std::array<std::string_view, 3> kPeers = {"none", "teacher", "twin"};
  config.peer = static_cast<Peer>(fields.Word("mutual", kPeers, 0));
  fields.Texts("exits", "[\"relu1\"]", config.exits);
  fields.Flag("keep_exits", config.keep_exits);
  fields.Number("born_again", config.born_again, 0, 100);
  ReadDataFree(fields, config);
  FL_TRY_OK(fields.Finish());
  FL_TRY_OK(ReadHints(fields, hints, config.hints.hints));
  FL_TRY_OK(CheckCombination(fields, config));
  if (!config.layers.empty()) {
    FL_TRY(config.student, BuildStudent(fields, config.layers));
  }
  return std::shared_ptr<const Pass>(std::make_shared<Distil>(std::move(config)));
}

// Trains the graph with its exits, and gives the model what is kept of it.
Result<FineTuned> Distil::TrainWithExits(const FineTuneInputs& inputs, WorkingModel& model) const {
  FL_TRY(const ExitGraph exits, AddExits(model.graph, config_.exits));
  std::vector<float> start;
  if (!inputs.start.empty()) {
    const NamedTensors drawn = nn::InitializeParameters(exits.graph, inputs.rng.Child("exits"));
    std::map<std::string, std::vector<float>> fresh;
    for (std::size_t i = 0; i < exits.graph.parameters.size(); ++i) {
      const std::string& tensor = exits.graph.parameters[i].name;
      const auto values = drawn.tensor(i);
      if (!model.graph.parameters.Find(tensor)) fresh[tensor] = {values.begin(), values.end()};
    }
    FL_TRY(start, CarryTensors(model.graph, inputs.start, exits.graph, {}, fresh));
  }
  ExitLoss loss(exits);
  FL_TRY(FineTuned outcome, FineTune(config_.training, {.graph = exits.graph,
                                                        .start = start,
                                                        .masks = inputs.masks,
                                                        .teacher = inputs.teacher,
                                                        .training = inputs.training,
                                                        .rng = inputs.rng,
                                                        .stop = inputs.stop,
                                                        .hook = &loss}));
  if (config_.keep_exits) {
    model.graph = exits.graph;
  } else {
    FL_TRY(outcome.parameters, CarryTensors(exits.graph, outcome.parameters, model.graph));
  }
  return outcome;
}

Result<FineTuned> Distil::Train(const PassInputs& inputs, const Teacher& teacher,
                                const data::Subset& training, WorkingModel& model) const {
  FineTuneInputs task{.graph = model.graph,
                      .start = model.parameters,
                      .masks = model.masks,
                      .teacher = teacher,
                      .training = training,
                      .rng = inputs.rng,
                      .stop = inputs.stop};
  if (!config_.exits.empty()) return TrainWithExits(task, model);
  if (!config_.hints.hints.empty()) {
    FL_TRY(const std::unique_ptr<HintLoss> hints,
           HintLoss::Create(config_.hints, teacher, model.graph, config_.training.batch));
    task.hook = hints.get();
    FL_TRY(FineTuned outcome, FineTune(config_.training, task));
    if (std::isfinite(hints->last()) || !outcome.converged) return outcome;
    return Error{
        ErrorCode::kInvalidArgument,
        "hints: the layer behind a hint's layer overwrites its values; name that one, such "
        "as relu1 for conv1"};
  }
  if (config_.peer == Peer::kNone) return FineTune(config_.training, task);
  const bool twin = config_.peer == Peer::kTwin;
  const std::vector<float> drawn =
      nn::InitializeParameters(model.graph, inputs.rng.Child("twin")).values;
  FL_TRY(const std::unique_ptr<MutualLearning> peer,
         MutualLearning::Create(config_.training, model.graph, twin ? model.graph : teacher.graph,
                                twin ? std::span<const float>(drawn) : teacher.parameters));
  task.hook = peer.get();
  return FineTune(config_.training, task);
}

Result<> Distil::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (replaces_model()) model = WorkingModel{.graph = config_.student};
  std::optional<data::Subset> made;
  if (config_.data_free) {
    auto samples = MakeSamples(inputs, *config_.data_free);
    if (!samples) return samples.error().At(name());
    made = std::move(samples).value();
  }
  PassInputs own = inputs;
  nn::Graph last_graph;
  std::vector<float> last;
  FineTuned outcome;
  for (std::uint32_t generation = 0; generation <= config_.born_again; ++generation) {
    own.rng = generation == 0 ? inputs.rng : inputs.rng.Child("born_again", generation);
    // Logits that are there already are of the local samples.
    const Teacher global{inputs.teacher.graph, inputs.teacher.parameters,
                         made ? std::span<const float>() : inputs.teacher.logits};
    const Teacher teacher = generation == 0 ? global : Teacher{last_graph, last};
    auto trained = Train(own, teacher, made ? *made : inputs.training, model);
    if (!trained) return trained.error().At(name());
    outcome = std::move(trained).value();
    if (!outcome.converged) break;
    last_graph = model.graph;
    last = outcome.parameters;
    model.parameters.clear();  // The next one is drawn anew.
  }
  model.parameters = outcome.parameters;
  ReportFineTuned(outcome, report);
  if (!outcome.converged) report.refusal = "distil: the student's loss did not fall in any attempt";
  return {};
}

}  // namespace fl::deploy
