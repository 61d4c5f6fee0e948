#include "fl/compression/deploy/passes/verify.h"

#include <cstdio>

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadVerify(Fields& fields) {
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<Verify>());
}

Result<> Verify::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  Measured measured;
  FL_TRY(measured.teacher_accuracy,
         Accuracy(inputs.teacher.graph, inputs.teacher.parameters, inputs.verification));
  FL_TRY(const double float_accuracy, Accuracy(model.graph, model.parameters, inputs.verification));
  measured.local_accuracy = float_accuracy;
  if (model.quantized) {
    FL_TRY(measured.local_accuracy, Accuracy(*model.quantized, inputs.verification));
  }
  measured.majority_share = MajorityShare(inputs.verification);
  char text[200];
  std::snprintf(text, sizeof(text),
                "%zu samples, global model %.2f %%, fp32 %.2f %%, %s %.2f %%, most frequent class "
                "%.2f %%",
                inputs.verification.count(), 100 * measured.teacher_accuracy, 100 * float_accuracy,
                model.quantized ? "int8" : "as written", 100 * measured.local_accuracy,
                100 * measured.majority_share);
  report.summary = text;
  report.measured = measured;
  return {};
}

}  // namespace fl::deploy
