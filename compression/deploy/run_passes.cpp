#include "fl/compression/deploy/run_passes.h"

#include <algorithm>

#include "fl/common/base/check.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/federation_ranges.h"

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

// The stream of pass `i`: named by the pass and by how often it stood in the list before.
RngStream RngOfPass(const PassList& passes, std::size_t i, const RngStream& rng) {
  const std::string_view name = passes[i].pass->name();
  const auto same = [&](const PassEntry& entry) { return entry.pass->name() == name; };
  const auto here = passes.begin() + static_cast<std::ptrdiff_t>(i);
  return rng.Child(name, static_cast<std::uint64_t>(std::count_if(passes.begin(), here, same)));
}

}  // namespace

Bytes SerializeWorkingModel(const WorkingModel& model, const PassInputs& inputs) {
  nn::ModelFile file = ToModelFile(model);
  file.labels = inputs.labels;
  file.normalization = inputs.normalization;
  file.notes = inputs.notes;
  return nn::SerializeModelFile(file);
}

namespace {

Result<ReportRow> Measure(const WorkingModel& model, const PassInputs& inputs) {
  ReportRow row;
  row.pass = "teacher";
  row.summary = "as it came";
  row.cost = CostOfModel(model);
  row.file_bytes = SerializeWorkingModel(model, inputs).size();
  FL_TRY(row.accuracy,
         model.quantized ? Accuracy(*model.quantized, inputs.verification)
                         : Accuracy(model.graph, model.current_parameters(), inputs.verification));
  FL_TRY(row.latency, MeasureLatency(model, inputs.verification, *inputs.instruments));
  if (!model.quantized) return row;
  constexpr std::size_t kSamples = 64;
  const SampleBlock samples = CalibrationSamples(inputs, kSamples);
  FL_TRY(row.noise, MeasureLayerNoise(model.graph, model.parameters, *model.quantized,
                                      samples.values, samples.count));
  return row;
}

std::int64_t Nanoseconds(const PassInputs& inputs) {
  const Instruments* instruments = inputs.instruments;
  return instruments != nullptr && instruments->nanoseconds != nullptr ? instruments->nanoseconds()
                                                                       : 0;
}

// Runs one pass and adds its line and, with instruments, its row.
Result<PassReport> RunPass(const Pass& pass, const PassInputs& inputs, WorkingModel& model,
                           DeployReport& report) {
  PassReport outcome;
  if (inputs.instruments != nullptr && inputs.instruments->progress != nullptr)
    inputs.instruments->progress(std::string(pass.name()) + " ...");
  const std::int64_t begin = Nanoseconds(inputs);
  FL_TRY_OK(pass.Run(inputs, model, outcome));
  const std::int64_t end = Nanoseconds(inputs);
  report.lines.push_back(std::string(pass.name()) + ": " + outcome.summary);
  if (inputs.instruments == nullptr) return outcome;
  FL_TRY(ReportRow row, Measure(model, inputs));
  row.pass = pass.name();
  row.summary = outcome.summary;
  row.figures = outcome.figures;
  row.seconds = static_cast<double>(end - begin) * 1e-9;
  report.rows.push_back(std::move(row));
  return outcome;
}

}  // namespace

Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs) {
  FL_TRY_OK(CheckInputs(passes, inputs));
  PassInputs own = inputs;
  own.notes["passes"] = NamesOf(passes);
  DeployReport report;
  report.reason = "no pass has verified it";
  WorkingModel model{
      .graph = inputs.teacher.graph,
      .parameters = {inputs.teacher.parameters.begin(), inputs.teacher.parameters.end()}};
  if (own.instruments != nullptr) {
    FL_TRY(ReportRow row, Measure(model, own));
    report.rows.push_back(std::move(row));
  }
  for (std::size_t i = 0; i < passes.size(); ++i) {
    if (inputs.stop.load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "deployment: stopped"};
    own.rng = RngOfPass(passes, i, inputs.rng);
    if (i == LeadingRewrites(passes) && inputs.federation_ranges != nullptr)
      model.federation_ranges = *inputs.federation_ranges;
    FL_TRY(const PassReport pass, RunPass(*passes[i].pass, own, model, report));
    if (!pass.refusal.empty()) {
      report.reason = pass.refusal;
      return report;
    }
    report.verified = report.verified || pass.measured.has_value();
    if (pass.measured) report.measured = *pass.measured;
  }
  report.model = SerializeWorkingModel(model, own);
  report.measured.bytes = report.model.size();
  if (!report.verified) return report;
  report.reason = WhyRefused(report.measured, inputs.gate);
  report.accepted = report.reason.empty();
  return report;
}

Result<PassReport> RunPassAt(const PassList& passes, std::size_t i, const PassInputs& inputs,
                             WorkingModel& model) {
  FL_CHECK(i < passes.size(), "a pass of the list");
  PassInputs own = inputs;
  own.rng = RngOfPass(passes, i, inputs.rng);
  PassReport report;
  FL_TRY_OK(passes[i].pass->Run(own, model, report));
  return report;
}

Bytes FileBehind(const PassList& passes, const PassInputs& inputs, const WorkingModel& model) {
  PassInputs own = inputs;
  own.notes["passes"] = NamesOf(passes);
  return SerializeWorkingModel(model, own);
}

}  // namespace fl::deploy
