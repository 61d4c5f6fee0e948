#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "fl/common/nn/graph.h"

namespace fl::nn::testing {

// Every node's output for one sample by the operators' definitions, in double: plain loops that
// share nothing with the engine.
class ReferenceRun {
 public:
  ReferenceRun(const Graph& graph, std::span<const float> parameters, std::span<const float> input)
      : graph_(graph), parameters_(parameters) {
    outputs_.emplace_back(input.begin(), input.end());
    for (std::size_t i = 1; i < graph.nodes.size(); ++i) outputs_.push_back(Run(graph.nodes[i]));
  }

  const std::vector<double>& output() const { return outputs_.back(); }

 private:
  double Parameter(const Node& node, std::size_t tensor, std::size_t i) const {
    return static_cast<double>(parameters_[graph_.parameters.offset(node.parameters[tensor]) + i]);
  }
  const std::vector<double>& Operand(const Node& node, std::size_t i = 0) const {
    return outputs_[node.inputs[i]];
  }
  static std::size_t Channels(const Node& node) { return node.shape[node.shape.rank() - 1]; }
  std::vector<double> Run(const Node& node) const {
    switch (node.kind) {
      case OpKind::kDense:
        return Dense(node);
      case OpKind::kConv2d:
      case OpKind::kDepthwise:
      case OpKind::kMaxPool:
      case OpKind::kAvgPool:
        return Windows(node);
      case OpKind::kGlobalAvgPool:
        return Mean(node);
      case OpKind::kBatchNorm:
        return BatchNorm(node);
      case OpKind::kLayerNorm:
        return LayerNorm(node);
      case OpKind::kAdd:
      case OpKind::kMultiply:
        return Combine(node);
      case OpKind::kConcat:
        return Concat(node);
      default:
        break;
    }
    std::vector<double> output = Operand(node);
    for (double& value : output) value = Function(node.kind, value);
    return output;
  }

  static double Function(OpKind kind, double x) {
    switch (kind) {
      case OpKind::kRelu:
        return std::max(x, 0.0);
      case OpKind::kRelu6:
        return std::clamp(x, 0.0, 6.0);
      case OpKind::kHardSwish:
        return x * std::clamp(x + 3, 0.0, 6.0) / 6;
      case OpKind::kSigmoid:
        return 1 / (1 + std::exp(-x));
      case OpKind::kTanh:
        return std::tanh(x);
      default:
        return x;
    }
  }

  std::vector<double> Dense(const Node& node) const {
    std::vector<double> output;
    for (std::size_t c = 0; c < node.shape[0]; ++c) {
      double sum = Parameter(node, 1, c);
      for (std::size_t k = 0; k < Operand(node).size(); ++k)
        sum += Operand(node)[k] * Parameter(node, 0, k * node.shape[0] + c);
      output.push_back(sum);
    }
    return output;
  }

  // One value of a window's output: channel c at (y, x).
  double Window(const Node& node, std::size_t y, std::size_t x, std::size_t c) const {
    const Shape& in = graph_.nodes[node.inputs[0]].shape;
    const std::size_t channels = Channels(node);
    const bool conv = node.kind == OpKind::kConv2d;
    const bool weighted = conv || node.kind == OpKind::kDepthwise;
    const std::size_t width = conv ? in[2] / node.groups : 1;
    const std::size_t first = conv ? c / (channels / node.groups) * width : c;
    double sum = weighted ? Parameter(node, 1, c) : 0;
    double largest = -1e300;
    double seen = 0;
    for (std::size_t ky = 0; ky < node.kernel_height; ++ky) {
      for (std::size_t kx = 0; kx < node.kernel_width; ++kx) {
        const long from_y = static_cast<long>(y * node.stride + ky) - Pad(node, 0);
        const long from_x = static_cast<long>(x * node.stride + kx) - Pad(node, 1);
        if (from_y < 0 || from_x < 0 || from_y >= static_cast<long>(in[0]) ||
            from_x >= static_cast<long>(in[1]))
          continue;
        const std::size_t pixel =
            (static_cast<std::size_t>(from_y) * in[1] + static_cast<std::size_t>(from_x)) * in[2];
        ++seen;
        for (std::size_t i = 0; i < width; ++i) {
          const double value = Operand(node)[pixel + first + i];
          largest = std::max(largest, value);
          const std::size_t tap = ky * node.kernel_width + kx;
          sum += value * (weighted ? Parameter(node, 0, (tap * width + i) * channels + c) : 1);
        }
      }
    }
    return weighted ? sum : node.kind == OpKind::kMaxPool ? largest : sum / seen;
  }

  long Pad(const Node& node, std::size_t axis) const {
    const std::size_t in = graph_.nodes[node.inputs[0]].shape[axis];
    const std::size_t kernel = axis == 0 ? node.kernel_height : node.kernel_width;
    const std::size_t covered = (node.shape[axis] - 1) * node.stride + kernel;
    return node.same_padding && covered > in ? static_cast<long>((covered - in) / 2) : 0L;
  }

  std::vector<double> Windows(const Node& node) const {
    std::vector<double> output;
    for (std::size_t y = 0; y < node.shape[0]; ++y) {
      for (std::size_t x = 0; x < node.shape[1]; ++x) {
        for (std::size_t c = 0; c < node.shape[2]; ++c) output.push_back(Window(node, y, x, c));
      }
    }
    return output;
  }
  std::vector<double> Mean(const Node& node) const {
    std::vector<double> output(node.shape[0]);
    const std::size_t pixels = Operand(node).size() / output.size();
    for (std::size_t i = 0; i < Operand(node).size(); ++i)
      output[i % output.size()] += Operand(node)[i] / static_cast<double>(pixels);
    return output;
  }
  std::vector<double> BatchNorm(const Node& node) const {
    std::vector<double> output = Operand(node);
    for (std::size_t i = 0; i < output.size(); ++i) {
      const std::size_t c = i % Channels(node);
      output[i] = (output[i] - Parameter(node, 2, c)) / std::sqrt(Parameter(node, 3, c) + 1e-5) *
                      Parameter(node, 0, c) +
                  Parameter(node, 1, c);
    }
    return output;
  }

  std::vector<double> LayerNorm(const Node& node) const {
    std::vector<double> output = Operand(node);
    const std::size_t channels = Channels(node);
    for (std::size_t first = 0; first < output.size(); first += channels) {
      double mean = 0;
      double variance = 0;
      for (std::size_t c = 0; c < channels; ++c)
        mean += output[first + c] / static_cast<double>(channels);
      for (std::size_t c = 0; c < channels; ++c)
        variance += std::pow(output[first + c] - mean, 2) / static_cast<double>(channels);
      for (std::size_t c = 0; c < channels; ++c)
        output[first + c] =
            (output[first + c] - mean) / std::sqrt(variance + 1e-5) * Parameter(node, 0, c) +
            Parameter(node, 1, c);
    }
    return output;
  }
  std::vector<double> Combine(const Node& node) const {
    std::vector<double> output = Operand(node);
    for (std::size_t k = 1; k < node.inputs.size(); ++k) {
      const std::vector<double>& other = Operand(node, k);
      for (std::size_t i = 0; i < output.size(); ++i) {
        const double value = other[i % other.size()];
        output[i] = node.kind == OpKind::kAdd ? output[i] + value : output[i] * value;
      }
    }
    return output;
  }
  std::vector<double> Concat(const Node& node) const {
    std::vector<double> output;
    const std::size_t pixels = node.shape.count() / Channels(node);
    for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
      for (std::size_t k = 0; k < node.inputs.size(); ++k) {
        const std::size_t width = Channels(graph_.nodes[node.inputs[k]]);
        for (std::size_t c = 0; c < width; ++c)
          output.push_back(Operand(node, k)[pixel * width + c]);
      }
    }
    return output;
  }

  const Graph& graph_;
  std::span<const float> parameters_;
  std::vector<std::vector<double>> outputs_;
};

}  // namespace fl::nn::testing
