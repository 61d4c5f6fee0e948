#include "fl/compression/deploy/gate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kBatch = 64;

// -log softmax(logits)[label]; infinite for a class that the model does not know.
double CrossEntropy(std::span<const float> logits, std::size_t label) {
  if (label >= logits.size()) return std::numeric_limits<double>::infinity();
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[label]);
}

// run(input, batch, output) yields logits.
template <typename Run>
nn::Evaluation Judge(const data::Subset& samples, std::size_t classes, Run run) {
  const std::size_t features = samples.dataset().features();
  std::vector<float> input(kBatch * features);
  std::vector<float> output(kBatch * classes);
  std::size_t right = 0;
  double loss = 0;
  for (std::size_t at = 0; at < samples.count(); at += kBatch) {
    const std::size_t size = std::min(kBatch, samples.count() - at);
    for (std::size_t i = 0; i < size; ++i)
      samples.CopySample(at + i, std::span(input).subspan(i * features, features));
    run(std::span<const float>(input).first(size * features), size,
        std::span(output).first(size * classes));
    for (std::size_t i = 0; i < size; ++i) {
      const auto logits = std::span<const float>(output).subspan(i * classes, classes);
      const auto label = static_cast<std::size_t>(samples.label(at + i));
      right += nn::ArgMax(logits) == label ? 1 : 0;
      loss += CrossEntropy(logits, label);
    }
  }
  const double count = static_cast<double>(std::max<std::size_t>(samples.count(), 1));
  return {loss / count, static_cast<double>(right) / count, samples.count()};
}

}  // namespace

std::string WhyRefused(const Measured& measured, const Gate& gate) {
  char text[160];
  const double drop_points = 100 * (measured.teacher_accuracy - measured.local_accuracy);
  if (drop_points > gate.drop_points_max + 1e-9) {
    std::snprintf(
        text, sizeof(text),
        "accuracy %.2f %% is %.2f points below the global model; at most %.2f are allowed",
        100 * measured.local_accuracy, drop_points, gate.drop_points_max);
    return text;
  }
  if (measured.local_accuracy <= measured.majority_share && measured.local_accuracy < 1) {
    std::snprintf(text, sizeof(text),
                  "accuracy %.2f %% is not above the most frequent class, %.2f %%",
                  100 * measured.local_accuracy, 100 * measured.majority_share);
    return text;
  }
  if (gate.bytes_max > 0 && measured.bytes > gate.bytes_max) {
    return "the model file has " + std::to_string(measured.bytes) + " bytes; at most " +
           std::to_string(gate.bytes_max) + " are allowed";
  }
  return {};
}

Result<nn::Evaluation> Evaluate(const nn::Graph& graph, std::span<const float> parameters,
                                const data::Subset& samples) {
  FL_TRY(nn::Session session, nn::Session::Create(graph, kBatch));
  return Judge(samples, graph.output_shape().count(),
               [&](std::span<const float> input, std::size_t batch, std::span<float> output) {
                 session.Run(parameters, input, batch, output);
               });
}

Result<nn::Evaluation> Evaluate(const nn::QuantizedModel& model, const data::Subset& samples) {
  FL_TRY(nn::IntegerSession session, nn::IntegerSession::Create(model, kBatch));
  return Judge(samples, model.graph.output_shape().count(),
               [&](std::span<const float> input, std::size_t batch, std::span<float> output) {
                 session.Run(input, batch, output);
               });
}

Result<double> Accuracy(const nn::Graph& graph, std::span<const float> parameters,
                        const data::Subset& samples) {
  FL_TRY(const nn::Evaluation found, Evaluate(graph, parameters, samples));
  return found.accuracy;
}

Result<double> Accuracy(const nn::QuantizedModel& model, const data::Subset& samples) {
  FL_TRY(const nn::Evaluation found, Evaluate(model, samples));
  return found.accuracy;
}

double MajorityShare(const data::Subset& samples) {
  const std::vector<std::uint64_t> counts = samples.LabelCounts();
  if (counts.empty() || samples.empty()) return 0;
  return static_cast<double>(*std::ranges::max_element(counts)) /
         static_cast<double>(samples.count());
}

}  // namespace fl::deploy
