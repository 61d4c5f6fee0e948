#include "fl/compression/samples/evaluate_model.h"

#include <algorithm>
#include <limits>

namespace fl {

Result<nn::Evaluation> EvaluateModel(const nn::Graph& graph, std::span<const float> parameters,
                                     const data::Subset& samples) {
  constexpr std::size_t kBatchMax = 64;
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  if (samples.empty()) return nn::Evaluation{kNothing, kNothing, 0};
  FL_TRY(nn::Session session,
         nn::Session::Create(graph, std::min<std::size_t>(kBatchMax, samples.count())));
  const std::size_t features = samples.dataset().features();
  std::size_t next = 0;
  return nn::Evaluate(session, parameters, [&](const nn::BatchBuffer& buffer) {
    const std::size_t count = std::min(session.batch_max(), samples.count() - next);
    for (std::size_t i = 0; i < count; ++i, ++next) {
      samples.CopySample(next, buffer.input.subspan(i * features, features));
      if (graph.loss == nn::LossKind::kMeanSquaredError) {
        buffer.targets[i] = samples.target(next);
      } else {
        buffer.labels[i] = samples.label(next);
      }
    }
    return count;
  });
}

}  // namespace fl
