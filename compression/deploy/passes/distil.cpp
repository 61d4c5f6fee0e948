#include "fl/compression/deploy/passes/distil.h"

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/plain_graph.h"

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

}  // namespace

Result<std::shared_ptr<const Pass>> ReadDistil(Fields& fields) {
  DistilConfig config;
  fields.Texts("layers", "[\"dense 10\"]", config.layers);
  ReadFineTuneConfig(fields, config.training);
  FL_TRY_OK(fields.Finish());
  if (!config.layers.empty()) {
    FL_TRY(config.student, BuildStudent(fields, config.layers));
  }
  return std::shared_ptr<const Pass>(std::make_shared<Distil>(std::move(config)));
}

Result<> Distil::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (replaces_model()) model = WorkingModel{.graph = config_.student};
  const auto outcome = FineTune(config_.training, {.graph = model.graph,
                                                   .start = model.parameters,
                                                   .masks = model.masks,
                                                   .teacher = inputs.teacher,
                                                   .training = inputs.training,
                                                   .rng = inputs.rng,
                                                   .stop = inputs.stop});
  if (!outcome) return outcome.error().At(name());
  model.parameters = outcome->parameters;
  ReportFineTuned(*outcome, report);
  if (!outcome->converged)
    report.refusal = "distil: the student's loss did not fall in any attempt";
  return {};
}

}  // namespace fl::deploy
