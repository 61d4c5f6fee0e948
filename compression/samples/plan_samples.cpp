#include "fl/compression/samples/plan_samples.h"

#include <string>

#include "fl/common/base/check.h"

namespace fl {

Result<data::SourceOptions> SourceOptionsOf(const CheckedPlan& checked) {
  const DataConfig& config = checked.plan.data;
  data::SourceOptions options;
  options.shape = checked.graph.input_shape();
  options.regression = checked.graph.loss == nn::LossKind::kMeanSquaredError;
  options.classes = options.regression ? 0 : checked.graph.output_shape().count();
  if (config.normalize != "fitted") {
    FL_TRY(options.normalization,
           data::MakeNormalization(config.normalize, config.mean, config.scale));
  }
  if (config.target_max) options.target_max = static_cast<float>(*config.target_max);
  options.csv.label = config.label;
  options.csv.categorical = config.categorical;
  options.csv.ignore = config.ignore;
  options.csv.fill_missing = config.missing == "mean";
  return options;
}

Result<> CheckFits(const data::Dataset& dataset, const nn::Graph& graph) {
  if (dataset.features() != graph.input_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "data: expected samples of " +
                                                graph.input_shape().ToText() + ", found " +
                                                dataset.shape().ToText()};
  }
  const std::size_t outputs = graph.output_shape().count();
  if (graph.loss == nn::LossKind::kMeanSquaredError) {
    if (dataset.classes() == 0 && outputs == 1) return {};
    return Error{ErrorCode::kShapeMismatch,
                 "data: expected one number to predict a sample, as the plan's model does"};
  }
  if (dataset.classes() > 0 && dataset.classes() <= outputs) return {};
  return Error{ErrorCode::kShapeMismatch, "data: expected labels of at most " +
                                              std::to_string(outputs) + " classes, found " +
                                              std::to_string(dataset.classes())};
}

std::shared_ptr<const data::Dataset> FitNormalization(const data::Subset& samples,
                                                      const DataConfig& config) {
  if (config.normalize != "fitted" || samples.empty()) return samples.shared_dataset();
  const data::FitScope scope = config.fit == "all"       ? data::FitScope::kAll
                               : config.fit == "channel" ? data::FitScope::kChannel
                                                         : data::FitScope::kFeature;
  auto fitted = samples.dataset().WithNormalization(data::FitStandard(samples, scope));
  FL_CHECK(fitted.has_value(), "what was fitted to the samples fits them");
  return std::make_shared<const data::Dataset>(*std::move(fitted));
}

Result<std::shared_ptr<const data::Dataset>> OpenSamples(std::string_view source,
                                                         const CheckedPlan& checked) {
  FL_TRY(const data::SourceOptions options, SourceOptionsOf(checked));
  FL_TRY(std::shared_ptr<const data::Dataset> dataset, data::OpenSource(source, options));
  FL_TRY_OK(CheckFits(*dataset, checked.graph));
  return dataset;
}

}  // namespace fl
