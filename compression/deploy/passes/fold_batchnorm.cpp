#include "fl/compression/deploy/passes/fold_batchnorm.h"

#include "fl/compression/deploy/equalize.h"
#include "fl/compression/deploy/fold_batchnorm.h"

namespace fl::deploy {

Result<> FoldBatchNormPass::Run(const PassInputs& /*inputs*/, WorkingModel& model,
                                PassReport& report) const {
  FL_TRY(FoldedModel folded, FoldBatchNorms(model.graph, model.parameters));
  model.graph = std::move(folded.model.graph);
  model.parameters = std::move(folded.model.parameters);
  for (const std::string& name : folded.folded) model.ranges.erase(name);
  if (!folded.folded.empty()) model.federation_ranges.clear();
  report.summary = std::to_string(folded.folded.size()) + " batch norms folded";
  for (const std::string& name : folded.left) report.summary += ", " + name + " left";
  report.figures.push_back({"folded", static_cast<double>(folded.folded.size())});
  report.figures.push_back({"left", static_cast<double>(folded.left.size())});
  return {};
}

Result<> EqualizePass::Run(const PassInputs& /*inputs*/, WorkingModel& model,
                           PassReport& report) const {
  FL_TRY(const Equalized equalized, Equalize(model.graph, model.parameters));
  if (equalized.pairs > 0) model.federation_ranges.clear();
  report.summary = std::to_string(equalized.pairs) + " pairs of layers in " +
                   std::to_string(equalized.sweeps) + " sweeps, largest scale " +
                   std::to_string(equalized.largest_scale);
  report.figures.push_back({"pairs", static_cast<double>(equalized.pairs)});
  report.figures.push_back({"largest_scale", equalized.largest_scale});
  return {};
}

Result<std::shared_ptr<const Pass>> ReadFoldBatchNorm(Fields& fields) {
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<const FoldBatchNormPass>());
}

Result<std::shared_ptr<const Pass>> ReadEqualize(Fields& fields) {
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<const EqualizePass>());
}

}  // namespace fl::deploy
