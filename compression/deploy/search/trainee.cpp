#include "fl/compression/deploy/search/trainee.h"

#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/compression/deploy/channel_groups.h"
#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/run_passes.h"

namespace fl::deploy {

Result<double> AccuracyOf(const WorkingModel& model, const data::Subset& samples) {
  return model.quantized ? Accuracy(*model.quantized, samples)
                         : Accuracy(model.graph, model.parameters, samples);
}

Trainee::Trainee(const SearchSpace& space, Proposal proposal, const ListSettings& settings,
                 const PassInputs& inputs)
    : space_(&space), proposal_(std::move(proposal)), settings_(&settings), inputs_(&inputs) {
  const Teacher& teacher = inputs.teacher;
  model_.graph = teacher.graph;
  model_.parameters = {teacher.parameters.begin(), teacher.parameters.end()};
}

Result<Trainee> Trainee::Create(const SearchSpace& space, Proposal proposal,
                                const ListSettings& settings, const PassInputs& inputs) {
  FL_CHECK(inputs.profile != nullptr, "a search has a device");
  Trainee trainee(space, std::move(proposal), settings, inputs);
  if (trainee.proposal_.student) {
    const std::vector<std::string>& lines = space.students[*trainee.proposal_.student];
    const nn::Graph& teacher = inputs.teacher.graph;
    FL_TRY(trainee.model_.graph,
           nn::BuildGraph(teacher.input_shape(), lines, nn::LossName(teacher.loss)));
    trainee.model_.parameters =
        nn::InitializeParameters(trainee.model_.graph, inputs.rng.Child("size")).values;
  } else {
    const DeploymentConfig list = ListOf(space, trainee.proposal_, {}, settings);
    FL_TRY(const PassList passes, trainee.Parse(list));
    FL_TRY(trainee.model_, trainee.RunUpTo(PassStage::kLowRank, passes));
    while (trainee.done_ < passes.size() &&
           passes[trainee.done_].pass->stage() <= PassStage::kLowRank)
      ++trainee.done_;
  }
  FL_TRY_OK(trainee.MeasureSize());
  return trainee;
}

Result<PassList> Trainee::Parse(const DeploymentConfig& list) const {
  return ParsePassList(list, inputs_->teacher.graph, PassListUse::kFile);
}

DeploymentConfig Trainee::ListWith(std::uint8_t bits) const {
  ListSettings settings = *settings_;
  settings.bits = bits;
  return ListOf(*space_, proposal_, steps_, settings);
}

// A few samples do: the ranges change no length.
Result<> Trainee::MeasureSize() {
  DeploymentConfig list = ListOf(*space_, {.levels = {}}, {}, *settings_);
  list.passes.pop_back();  // verify
  for (PassConfig& rounding : list.passes)
    rounding.fields.push_back({"samples", std::int64_t{8}, {}});
  FL_TRY(const PassList passes, Parse(list));
  WorkingModel model = model_;
  for (std::size_t i = 0; i < passes.size(); ++i) FL_TRY_OK(RunPassAt(passes, i, *inputs_, model));
  bytes_ = FileBehind(passes, *inputs_, model).size();
  macs_ = SizeOf(model_.graph).macs;
  FL_TRY(microseconds_, EstimateLatency(*inputs_->profile, model_.graph, settings_->integers));
  return {};
}

Result<WorkingModel> Trainee::RunUpTo(PassStage stage, const PassList& passes) const {
  WorkingModel model = model_;
  for (std::size_t i = done_; i < passes.size() && passes[i].pass->stage() <= stage; ++i) {
    FL_TRY(const PassReport report, RunPassAt(passes, i, *inputs_, model));
    if (!report.refusal.empty()) return Error{ErrorCode::kLimitExceeded, report.refusal};
  }
  return model;
}

Result<> Trainee::Train(std::uint32_t steps) {
  steps_.push_back(steps);
  const auto trained = [&]() -> Result<WorkingModel> {
    FL_TRY(const PassList passes, Parse(ListOf(*space_, proposal_, steps_, *settings_)));
    return RunUpTo(PassStage::kTrain, passes);
  }();
  if (!trained) {
    steps_.pop_back();
    return trained.error();
  }
  model_ = *trained;
  ++done_;
  return {};
}

Result<double> Trainee::AccuracyOn(const data::Subset& samples) const {
  FL_TRY(const PassList passes, Parse(ListWith(kBitsMost)));
  FL_TRY(const WorkingModel model, RunUpTo(PassStage::kQuantize, passes));
  return AccuracyOf(model, samples);
}

Result<FinishedModel> Trainee::Finish(std::uint8_t bits) const {
  FinishedModel finished;
  finished.list = ListWith(bits);
  FL_TRY(const PassList passes, Parse(finished.list));
  FL_TRY(finished.model, RunUpTo(PassStage::kQuantize, passes));
  finished.file = FileBehind(passes, *inputs_, finished.model);
  return finished;
}

}  // namespace fl::deploy
