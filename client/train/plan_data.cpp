#include "fl/client/train/plan_data.h"

#include "fl/client/train/local_data.h"

namespace fl::client {

Result<data::SourceOptions> MakeSourceOptions(const CheckedPlan& checked) {
  const DataConfig& config = checked.plan.data;
  data::SourceOptions options;
  options.shape = checked.graph.input_shape();
  options.regression = checked.graph.loss == nn::LossKind::kMeanSquaredError;
  options.classes = options.regression ? 0 : checked.graph.output_shape().count();
  FL_TRY(options.normalization,
         data::MakeNormalization(config.normalize, config.mean, config.scale));
  options.csv.label = config.label;
  options.csv.categorical = config.categorical;
  options.csv.ignore = config.ignore;
  options.csv.fill_missing = config.missing == "mean";
  return options;
}

Result<std::shared_ptr<const data::Dataset>> OpenLocalData(std::string_view source,
                                                           const CheckedPlan& checked) {
  FL_TRY(const data::SourceOptions options, MakeSourceOptions(checked));
  FL_TRY(std::shared_ptr<const data::Dataset> dataset, data::OpenSource(source, options));
  FL_TRY_OK(CheckFits(*dataset, checked.graph));
  return dataset;
}

}  // namespace fl::client
