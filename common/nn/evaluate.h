#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fl/common/nn/session.h"

namespace fl::nn {

// Where a batch source writes: room for batch_max samples.
struct BatchBuffer {
  std::span<float> input;          // batch_max x input_shape.
  std::span<std::int32_t> labels;  // batch_max; with softmax cross entropy.
  std::span<float> targets;        // batch_max x output_shape; with mean squared error.
};
// Writes the next samples and returns how many; 0 at the end.
using BatchSource = std::function<std::size_t(const BatchBuffer&)>;

struct Evaluation {
  double loss = 0;        // Mean over samples of the graph's loss.
  double accuracy = 0;    // Share whose largest output (lowest index on ties) is the label; NaN
                          // without labels or samples.
  std::size_t count = 0;  // Samples.
};

// Evaluates on all samples of the source; deterministic for a given source and instruction set.
Evaluation Evaluate(Session& session, std::span<const float> parameters, const BatchSource& source);

// The same in two halves: what each batch of a source adds; and that of all batches, in their
// order, together. The batches of one source may be divided among sessions and threads.
struct BatchScore {
  double loss = 0;  // Summed over its samples.
  std::size_t correct = 0;
  std::size_t count = 0;  // Samples.
};
std::vector<BatchScore> ScoreBatches(Session& session, std::span<const float> parameters,
                                     const BatchSource& source);
Evaluation Summarize(const Graph& graph, std::span<const BatchScore> scores);

// Index of the largest value, the lowest on ties; NaN counts as smallest.
std::size_t ArgMax(std::span<const float> values);

}  // namespace fl::nn
