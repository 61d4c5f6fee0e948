#include "fl/common/nn/materialize.h"

#include "fl/common/nn/internal/factor_pass.h"

namespace fl::nn {

Result<FloatModel> Materialize(const Graph& graph, std::span<const float> parameters) {
  FL_CHECK(parameters.size() == graph.parameters.total(),
           "as many parameters as the graph's layout");
  FL_TRY(const std::unique_ptr<internal::FactorPass> factors,
         internal::FactorPass::Create(graph, BestInstructionSet()));
  FloatModel model{factors != nullptr ? factors->plain() : graph, {}};
  model.graph.frozen.clear();
  if (factors == nullptr) {
    model.parameters.assign(parameters.begin(), parameters.end());
  } else {
    const float* plain = factors->Materialize(parameters.data());
    model.parameters.assign(plain, plain + model.graph.parameters.total());
  }
  return model;
}

}  // namespace fl::nn
