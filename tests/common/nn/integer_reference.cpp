#include "fl/tests/common/nn/integer_reference.h"

#include <algorithm>
#include <cmath>

#include "fl/common/nn/internal/image.h"
#include "fl/common/nn/internal/integer_table.h"

namespace fl::nn::testing {
namespace {

// Every node's integers for one sample by the contract of quantized_model.h: plain loops that share
// nothing with the engine but the tables of functions.
class IntegerReference {
 public:
  IntegerReference(const QuantizedModel& model, std::span<const float> input) : model_(model) {
    values_.emplace_back();
    for (const float value : input) {
      const ActivationScale& scale = model.activations[0];
      values_[0].push_back(Rounded(value / scale.scale, scale));
    }
    for (std::size_t i = 1; i < model.graph.nodes.size(); ++i) values_.push_back(Run(i));
  }

  std::vector<float> output() const {
    return floats_.empty() ? ValuesOf(values_.size() - 1) : floats_;
  }
  std::vector<float> ValuesOf(std::size_t node) const {
    const ActivationScale& scale = model_.activations[node];
    std::vector<float> result;
    for (const std::int32_t q : values_[node])
      result.push_back(scale.scale * static_cast<float>(q - scale.zero_point));
    return result;
  }

 private:
  using Integers = std::vector<std::int32_t>;

  static std::int32_t Rounded(float units, const ActivationScale& scale) {
    const float zero = static_cast<float>(scale.zero_point);
    const float clamped = std::clamp(units, -128 - zero, 127 - zero);
    return static_cast<std::int32_t>(std::nearbyint(clamped)) + scale.zero_point;
  }

  const Node& At(std::size_t i) const { return model_.graph.nodes[i]; }
  std::size_t Channels(std::size_t i) const { return At(i).shape[At(i).shape.rank() - 1]; }
  // Of an operand, without its zero point.
  std::int32_t Unit(std::size_t node, std::size_t at) const {
    return values_[node][at] - model_.activations[node].zero_point;
  }

  Integers Run(std::size_t i) {
    const Node& node = At(i);
    switch (node.kind) {
      case OpKind::kDense:
        return Dense(i);
      case OpKind::kConv2d:
      case OpKind::kDepthwise:
      case OpKind::kMaxPool:
      case OpKind::kAvgPool:
        return Windows(i);
      case OpKind::kGlobalAvgPool:
        return GlobalMean(i);
      case OpKind::kAdd:
      case OpKind::kMultiply:
        return Combine(i);
      case OpKind::kConcat:
        return Concat(i);
      case OpKind::kLayerNorm:
        return LayerNorm(i);
      case OpKind::kHardSwish:
      case OpKind::kSigmoid:
      case OpKind::kTanh:
        return Function(i);
      default:
        return Clamped(i);
    }
  }

  Integers Clamped(std::size_t i) const {
    Integers result = values_[At(i).inputs[0]];
    const ActivationScale& scale = model_.activations[i];
    const bool six = At(i).kind == OpKind::kRelu6;
    if (!six && At(i).kind != OpKind::kRelu) return result;
    const double most = six ? std::nearbyint(6 / static_cast<double>(scale.scale)) : 255;
    for (std::int32_t& q : result) {
      q = std::max(q, scale.zero_point);
      q = static_cast<std::int32_t>(
          std::min(static_cast<double>(q), most + static_cast<double>(scale.zero_point)));
    }
    return result;
  }

  Integers Function(std::size_t i) const {
    const std::size_t from = At(i).inputs[0];
    const auto table =
        internal::FunctionTable(At(i).kind, model_.activations[from], model_.activations[i]);
    Integers result;
    for (const std::int32_t q : values_[from])
      result.push_back(table[static_cast<std::size_t>(q) + 128]);
    return result;
  }

  // A product's sum to what it yields.
  std::int32_t Finish(std::size_t i, std::int32_t sum, std::size_t channel) {
    const double unit = static_cast<double>(model_.activations[At(i).inputs[0]].scale) *
                        static_cast<double>(model_.nodes[i].weight_scale[channel]);
    const bool last = i + 1 == model_.graph.nodes.size() && At(i).kind != OpKind::kDepthwise;
    if (last) floats_.push_back(static_cast<float>(sum) * static_cast<float>(unit));
    const double ratio = unit / static_cast<double>(model_.activations[i].scale);
    return Rounded(static_cast<float>(sum) * static_cast<float>(ratio), model_.activations[i]);
  }

  Integers Dense(std::size_t i) {
    const QuantizedNode& from = model_.nodes[i];
    const std::size_t inputs = values_[At(i).inputs[0]].size();
    Integers result;
    for (std::size_t c = 0; c < from.bias.size(); ++c) {
      std::int32_t sum = from.bias[c];
      for (std::size_t k = 0; k < inputs; ++k)
        sum += from.weight[c * inputs + k] * Unit(At(i).inputs[0], k);
      result.push_back(Finish(i, sum, c));
    }
    return result;
  }

  Integers Windows(std::size_t i) {
    const internal::Window window = internal::WindowOf(model_.graph, At(i));
    Integers result;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      for (std::size_t x = 0; x < window.output.width; ++x) {
        for (std::size_t c = 0; c < window.output.channels; ++c)
          result.push_back(OneWindow(i, window, y, x, c));
      }
    }
    return result;
  }

  std::int32_t OneWindow(std::size_t i, const internal::Window& window, std::size_t out_y,
                         std::size_t out_x, std::size_t channel) {
    const std::size_t from = At(i).inputs[0];
    const bool conv = At(i).kind == OpKind::kConv2d;
    const bool product = conv || At(i).kind == OpKind::kDepthwise;
    const std::size_t inputs = conv ? window.input.channels / At(i).groups : 1;
    const std::size_t first =
        conv ? channel / (window.output.channels / At(i).groups) * inputs : channel;
    std::int32_t sum = product ? model_.nodes[i].bias[channel] : 0;
    std::int32_t largest = -128;
    std::int32_t pixels = 0;
    std::size_t k = channel * window.kernel_height * window.kernel_width * inputs;
    for (std::size_t y = 0; y < window.kernel_height; ++y) {
      for (std::size_t x = 0; x < window.kernel_width; ++x) {
        // Wraps around where it lies before the image.
        const std::size_t in_y = out_y * window.stride + y - window.pad_top;
        const std::size_t in_x = out_x * window.stride + x - window.pad_left;
        const bool inside = in_y < window.input.height && in_x < window.input.width;
        pixels += inside ? 1 : 0;
        for (std::size_t c = 0; c < inputs; ++c, ++k) {
          if (!inside) continue;
          const std::size_t at =
              (in_y * window.input.width + in_x) * window.input.channels + first + c;
          sum += Unit(from, at) * (product ? model_.nodes[i].weight[k] : 1);
          largest = std::max(largest, values_[from][at]);
        }
      }
    }
    if (product) return Finish(i, sum, channel);
    return At(i).kind == OpKind::kMaxPool ? largest : Mean(i, sum, pixels);
  }

  std::int32_t Mean(std::size_t i, std::int32_t sum, std::int32_t pixels) const {
    const double ratio = static_cast<double>(model_.activations[At(i).inputs[0]].scale) /
                         static_cast<double>(model_.activations[i].scale);
    const float multiplier = static_cast<float>(ratio / pixels);
    return Rounded(static_cast<float>(sum) * multiplier, model_.activations[i]);
  }

  Integers GlobalMean(std::size_t i) const {
    const std::size_t from = At(i).inputs[0];
    const std::size_t channels = Channels(i);
    Integers sums(channels);
    for (std::size_t k = 0; k < values_[from].size(); ++k) sums[k % channels] += Unit(from, k);
    const std::size_t pixels = values_[from].size() / channels;
    for (std::int32_t& sum : sums) sum = Mean(i, sum, static_cast<std::int32_t>(pixels));
    return sums;
  }

  Integers Combine(std::size_t i) const {
    const bool product = At(i).kind == OpKind::kMultiply;
    const double out = static_cast<double>(model_.activations[i].scale);
    double unit = 1 / out;
    for (const std::size_t from : At(i).inputs)
      unit *= static_cast<double>(model_.activations[from].scale);
    Integers result;
    for (std::size_t k = 0; k < At(i).shape.count(); ++k) {
      float value = 0;
      for (std::size_t n = 0; n < At(i).inputs.size(); ++n) {
        const std::size_t from = At(i).inputs[n];
        float term = static_cast<float>(Unit(from, k % values_[from].size()));
        if (!product) {
          term *= static_cast<float>(static_cast<double>(model_.activations[from].scale) / out);
        }
        value = n == 0 ? term : product ? value * term : value + term;
      }
      if (product) value *= static_cast<float>(unit);
      result.push_back(Rounded(value, model_.activations[i]));
    }
    return result;
  }

  Integers Concat(std::size_t i) const {
    Integers result;
    for (std::size_t pixel = 0; pixel < At(i).shape.count() / Channels(i); ++pixel) {
      for (const std::size_t from : At(i).inputs) {
        const double ratio = static_cast<double>(model_.activations[from].scale) /
                             static_cast<double>(model_.activations[i].scale);
        for (std::size_t c = 0; c < Channels(from); ++c) {
          const std::int32_t unit = Unit(from, pixel * Channels(from) + c);
          result.push_back(
              Rounded(static_cast<float>(unit) * static_cast<float>(ratio), model_.activations[i]));
        }
      }
    }
    return result;
  }

  Integers LayerNorm(std::size_t i) const {
    const std::size_t from = At(i).inputs[0];
    const double scale = static_cast<double>(model_.activations[from].scale);
    const double count = static_cast<double>(Channels(i));
    Integers result;
    for (std::size_t at = 0; at < values_[from].size(); at += Channels(i)) {
      double sum = 0;
      double squares = 0;
      for (std::size_t c = 0; c < Channels(i); ++c) {
        const double unit = Unit(from, at + c);
        sum += unit;
        squares += unit * unit;
      }
      const double mean = sum / count;
      const double variance = std::max(squares / count - mean * mean, 0.0) * (scale * scale);
      const double factor = scale / std::sqrt(variance + 1e-5);
      for (std::size_t c = 0; c < Channels(i); ++c) {
        const double value =
            (Unit(from, at + c) - mean) * factor * static_cast<double>(model_.nodes[i].gamma[c]) +
            static_cast<double>(model_.nodes[i].beta[c]);
        const double zero = model_.activations[i].zero_point;
        const double units = value / static_cast<double>(model_.activations[i].scale);
        result.push_back(static_cast<std::int32_t>(
            std::nearbyint(std::clamp(units, -128 - zero, 127 - zero)) + zero));
      }
    }
    return result;
  }

  const QuantizedModel& model_;
  std::vector<Integers> values_;
  std::vector<float> floats_;
};

}  // namespace

std::vector<float> RunIntegerReference(const QuantizedModel& model, std::span<const float> input) {
  return IntegerReference(model, input).output();
}

std::vector<std::vector<float>> RunReferenceNodes(const QuantizedModel& model,
                                                  std::span<const float> input) {
  const IntegerReference reference(model, input);
  std::vector<std::vector<float>> values;
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i)
    values.push_back(reference.ValuesOf(i));
  values.back() = reference.output();
  return values;
}

}  // namespace fl::nn::testing
