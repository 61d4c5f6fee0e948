#include "fl/compression/samples/evaluate_model.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace fl {
namespace {

constexpr std::size_t kBatchMax = 64;
constexpr std::size_t kPieceBatches = 8;  // What a thread takes at a time.

// The scores of the batches that the samples from `next` up to `end` make.
Result<std::vector<nn::BatchScore>> ScoreSamples(const nn::Graph& graph,
                                                 std::span<const float> parameters,
                                                 const data::Subset& samples, std::size_t next,
                                                 std::size_t end) {
  FL_TRY(nn::Session session,
         nn::Session::Create(graph, std::min<std::size_t>(kBatchMax, samples.count())));
  const std::size_t features = samples.dataset().features();
  return nn::ScoreBatches(session, parameters, [&](const nn::BatchBuffer& buffer) {
    const std::size_t count = std::min(session.batch_max(), end - next);
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

}  // namespace

Result<nn::Evaluation> EvaluateModel(const nn::Graph& graph, std::span<const float> parameters,
                                     const data::Subset& samples, ThreadPool* pool) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  if (samples.empty()) return nn::Evaluation{kNothing, kNothing, 0};
  const std::size_t count = samples.count();
  const std::size_t size = pool == nullptr ? count : kPieceBatches * kBatchMax;
  std::vector<Result<std::vector<nn::BatchScore>>> pieces(
      (count + size - 1) / size,
      Result<std::vector<nn::BatchScore>>(std::vector<nn::BatchScore>()));
  const auto score = [&](std::size_t i) {
    pieces[i] = ScoreSamples(graph, parameters, samples, i * size, std::min(count, (i + 1) * size));
  };
  if (pool == nullptr) {
    score(0);
  } else {
    pool->ParallelFor(pieces.size(), score);
  }
  std::vector<nn::BatchScore> scores;
  for (const Result<std::vector<nn::BatchScore>>& piece : pieces) {
    FL_TRY(const std::vector<nn::BatchScore> batches, piece);
    scores.insert(scores.end(), batches.begin(), batches.end());
  }
  return nn::Summarize(graph, scores);
}

}  // namespace fl
