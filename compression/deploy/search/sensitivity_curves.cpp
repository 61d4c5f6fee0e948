#include "fl/compression/deploy/search/sensitivity_curves.h"

#include <algorithm>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/compression/deploy/sensitivity.h"

namespace fl::deploy {
namespace {

data::Subset First(const data::Subset& samples, std::size_t most) {
  const auto indices = samples.indices().first(std::min(most, samples.count()));
  return {samples.shared_dataset(), {indices.begin(), indices.end()}};
}

// The model with one layer at one level, shortly trained.
Result<WorkingModel> Treat(const SearchSpace& space, const PassInputs& inputs,
                           const Proposal& proposal, std::uint32_t steps) {
  const std::vector<std::uint32_t> trainings = {steps};
  const DeploymentConfig list = ListOf(space, proposal, trainings, {.integers = false});
  FL_TRY(const PassList passes, ParsePassList(list, inputs.teacher.graph, PassListUse::kFile));
  WorkingModel model{
      .graph = inputs.teacher.graph,
      .parameters = {inputs.teacher.parameters.begin(), inputs.teacher.parameters.end()}};
  for (std::size_t i = 0; i + 1 < passes.size(); ++i)  // All but verify.
    FL_TRY_OK(RunPassAt(passes, i, inputs, model));
  return model;
}

}  // namespace

Result<std::vector<SensitivityCurve>> MeasureCurves(const SearchSpace& space,
                                                    const PassInputs& inputs,
                                                    const data::Subset& samples,
                                                    std::uint32_t steps) {
  constexpr std::size_t kSamples = 256;
  const data::Subset few = First(samples, kSamples);
  const Teacher teacher{inputs.teacher.graph, inputs.teacher.parameters};
  FL_TRY(const std::vector<float> wanted, TeacherLogits(teacher, few));
  const std::size_t classes = inputs.teacher.graph.output_shape().count();
  std::vector<SensitivityCurve> curves;
  for (std::size_t i = 0; i < space.layers.size(); ++i) {
    const PrunableLayer& layer = space.layers[i];
    SensitivityCurve curve{layer.name, layer.kept, {0}};
    for (std::size_t level = 1; level < layer.kept.size(); ++level) {
      Proposal proposal;
      proposal.levels.assign(space.layers.size(), 0);
      proposal.levels[i] = level;
      FL_TRY(const WorkingModel model, Treat(space, inputs, proposal, steps));
      FL_TRY(const std::vector<float> found, TeacherLogits({model.graph, model.parameters}, few));
      // What is lost with fewer channels is never less, whatever the noise says.
      curve.divergence.push_back(
          std::max(curve.divergence.back(), LogitDivergence(wanted, found, classes)));
    }
    curves.push_back(std::move(curve));
  }
  return curves;
}

}  // namespace fl::deploy
