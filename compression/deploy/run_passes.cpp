#include "fl/compression/deploy/run_passes.h"

#include <map>

#include "fl/common/nn/model_file.h"

namespace fl::deploy {
namespace {

Result<> CheckInputs(const PassList& passes, const PassInputs& inputs) {
  if (passes.empty())
    return Error{ErrorCode::kInvalidArgument, "deployment: the plan has no passes"};
  if (inputs.verification.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "deployment: expected samples to verify with, found none held out"};
  }
  const nn::Graph& graph = inputs.teacher.graph;
  const data::Dataset& dataset = inputs.verification.dataset();
  if (dataset.features() != graph.input_shape().count() || dataset.classes() == 0 ||
      dataset.classes() > graph.output_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "deployment: expected samples of " +
                                                graph.input_shape().ToText() + " in at most " +
                                                std::to_string(graph.output_shape().count()) +
                                                " classes, found " + dataset.shape().ToText() +
                                                " in " + std::to_string(dataset.classes())};
  }
  if (inputs.teacher.parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kShapeMismatch, "deployment: expected " +
                                                std::to_string(graph.parameters.total()) +
                                                " parameters of the global model, found " +
                                                std::to_string(inputs.teacher.parameters.size())};
  }
  if (!AllFinite(inputs.teacher.parameters)) {
    return Error{ErrorCode::kNotFinite,
                 "deployment: the global model holds values that are not finite"};
  }
  return {};
}

std::string NamesOf(const PassList& passes) {
  std::string names;
  for (const PassEntry& entry : passes)
    names += (names.empty() ? "" : ", ") + std::string(entry.pass->name());
  return names;
}

}  // namespace

Bytes SerializeWorkingModel(const WorkingModel& model, const PassInputs& inputs) {
  nn::ModelFile file = ToModelFile(model);
  file.labels = inputs.labels;
  file.normalization = inputs.normalization;
  file.notes = inputs.notes;
  return nn::SerializeModelFile(file);
}

Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs) {
  FL_TRY_OK(CheckInputs(passes, inputs));
  PassInputs own = inputs;
  own.notes["passes"] = NamesOf(passes);
  DeployReport report;
  report.reason = "no pass has verified it";
  WorkingModel model{
      .graph = inputs.teacher.graph,
      .parameters = {inputs.teacher.parameters.begin(), inputs.teacher.parameters.end()}};
  std::map<std::string_view, std::uint64_t> times;
  bool verified = false;
  for (const PassEntry& entry : passes) {
    if (inputs.stop.load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "deployment: stopped"};
    const std::string_view name = entry.pass->name();
    own.rng = inputs.rng.Child(name, times[name]++);
    PassReport pass;
    FL_TRY_OK(entry.pass->Run(own, model, pass));
    report.lines.push_back(std::string(name) + ": " + pass.summary);
    if (!pass.refusal.empty()) {
      report.reason = pass.refusal;
      return report;
    }
    verified = verified || pass.measured.has_value();
    if (pass.measured) report.measured = *pass.measured;
  }
  report.model = SerializeWorkingModel(model, own);
  report.measured.bytes = report.model.size();
  if (!verified) return report;
  report.reason = WhyRefused(report.measured, inputs.gate);
  report.accepted = report.reason.empty();
  return report;
}

}  // namespace fl::deploy
