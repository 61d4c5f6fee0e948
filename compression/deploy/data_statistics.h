#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// Mean and variance of each channel (the last extent) of a node's output.
struct NodeMoments {
  std::string node;
  std::vector<float> mean;
  std::vector<float> variance;
};

// What is known of the data a network was trained on: all that a client or server must have to make
// samples without data.
struct DataStatistics {
  std::vector<NodeMoments> nodes;
  // Of each feature of the input; empty: unknown, taken as 0 and 1.
  std::vector<float> input_mean;
  std::vector<float> input_deviation;
  // Of neighbouring features, less their mean and over their deviation: down the rows and along a
  // row of an input of three extents, in [-1, 1]; 0: unknown.
  std::array<float, 2> neighbour_correlation{};
  // How often the network answers each class; empty: each as often. The moments are those of such a
  // mixture, and samples are made for it.
  std::vector<double> class_shares;
};

// What the network's batch norms remember of their inputs; no nodes where it has none.
DataStatistics StatisticsOfNorms(const nn::Graph& graph, std::span<const float> parameters);

// Measured on samples, for networks without batch norms: what clients would publish.
// kInvalidArgument without samples or where sizes do not fit; kNotFinite.
Result<DataStatistics> MeasureStatistics(const nn::Graph& graph, std::span<const float> parameters,
                                         std::span<const float> samples, std::size_t count);

// What is known of the data of a teacher: by its batch norms or else measured; the input's mean and
// deviation always measured. Without samples what the norms say. Errors of MeasureStatistics.
Result<DataStatistics> StatisticsFor(const Teacher& teacher, std::span<const float> samples,
                                     std::size_t count);

}  // namespace fl::deploy
