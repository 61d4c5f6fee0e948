#include "fl/common/nn/evaluate.h"

#include <limits>
#include <vector>

#include "fl/common/nn/loss.h"

namespace fl::nn {
namespace {

std::size_t CountCorrect(std::span<const float> outputs, std::span<const std::int32_t> labels) {
  const std::size_t classes = outputs.size() / labels.size();
  std::size_t correct = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (ArgMax(outputs.subspan(i * classes, classes)) == static_cast<std::size_t>(labels[i]))
      ++correct;
  }
  return correct;
}

}  // namespace

Evaluation Evaluate(Session& session, std::span<const float> parameters,
                    const BatchSource& source) {
  return Summarize(session.graph(), ScoreBatches(session, parameters, source));
}

std::vector<BatchScore> ScoreBatches(Session& session, std::span<const float> parameters,
                                     const BatchSource& source) {
  const Graph& graph = session.graph();
  const bool classes = graph.loss == LossKind::kSoftmaxCrossEntropy;
  const std::size_t input_count = graph.input_shape().count();
  const std::size_t output_count = graph.output_shape().count();
  std::vector<float> input(session.batch_max() * input_count);
  std::vector<float> output(session.batch_max() * output_count);
  std::vector<std::int32_t> labels(session.batch_max());
  std::vector<float> targets(classes ? 0 : output.size());
  std::vector<BatchScore> scores;
  while (const std::size_t count = source({input, labels, targets})) {
    FL_CHECK(count <= session.batch_max(), "a batch source writes at most batch_max samples");
    const std::span<float> outputs = std::span(output).first(count * output_count);
    session.Run(parameters, std::span(input).first(count * input_count), count, outputs);
    BatchScore& score = scores.emplace_back();
    score.count = count;
    if (classes) {
      const std::span<const std::int32_t> truth = std::span(labels).first(count);
      score.loss = SoftmaxCrossEntropy(outputs, truth, {}) * static_cast<double>(count);
      score.correct = CountCorrect(outputs, truth);
    } else {
      score.loss = MeanSquaredError(outputs, std::span(targets).first(outputs.size()), {}) *
                   static_cast<double>(count);
    }
  }
  return scores;
}

Evaluation Summarize(const Graph& graph, std::span<const BatchScore> scores) {
  double loss = 0;
  std::size_t correct = 0;
  Evaluation evaluation;
  for (const BatchScore& score : scores) {
    loss += score.loss;
    correct += score.correct;
    evaluation.count += score.count;
  }
  const bool classes = graph.loss == LossKind::kSoftmaxCrossEntropy;
  const double samples = static_cast<double>(evaluation.count);
  evaluation.loss = evaluation.count > 0 ? loss / samples : 0;
  evaluation.accuracy = classes && evaluation.count > 0 ? static_cast<double>(correct) / samples
                                                        : std::numeric_limits<double>::quiet_NaN();
  return evaluation;
}

std::size_t ArgMax(std::span<const float> values) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] > values[best] || values[best] != values[best]) best = i;
  }
  return best;
}

}  // namespace fl::nn
