#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "fl/common/nn/internal/integer_step.h"
#include "fl/common/nn/internal/integer_table.h"

namespace fl::nn::internal {
namespace {

using kernels::IntegerCombination;
using kernels::IntegerOperand;

// add and multiply. An operand of a product may be one value for each channel.
class CombineStep final : public IntegerStep {
 public:
  explicit CombineStep(const StepSource& source)
      : kernels_(&source.kernels), count_(source.at().shape.count()), chunk_(count_) {
    const Node& node = source.at();
    call_.product = node.kind == OpKind::kMultiply;
    call_.low = source.low;
    call_.high = source.high;
    call_.zero_point = source.output_zero();
    double unit = 1 / static_cast<double>(source.output().scale);
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const double scale = static_cast<double>(source.input(k).scale);
      operands_.push_back(
          {.zero_point = source.input_zero(k),
           .multiplier = static_cast<float>(scale / static_cast<double>(source.output().scale))});
      unit *= scale;
      const std::size_t values = source.model.graph.nodes[node.inputs[k]].shape.count();
      by_channel_.push_back(values != count_);
      if (values != count_) chunk_ = values;
    }
    call_.multiplier = static_cast<float>(unit);
    call_.operand_count = operands_.size();
  }

  // The operands' table, of which a run has its own.
  std::size_t scratch_bytes() const override { return operands_.size() * sizeof(IntegerOperand); }

  void Run(const StepRun& run) const override {
    auto* operands = reinterpret_cast<IntegerOperand*>(run.scratch);
    std::copy(operands_.begin(), operands_.end(), operands);
    IntegerCombination call = call_;
    call.operands = operands;
    const bool whole = chunk_ == count_;
    call.count = whole ? run.batch * count_ : chunk_;
    for (std::size_t at = 0; at < run.batch * count_; at += call.count) {
      for (std::size_t k = 0; k < operands_.size(); ++k) {
        // A vector of channels belongs to its sample.
        const std::size_t from = by_channel_[k] ? at / count_ * chunk_ : at;
        operands[k].values = run.inputs[k] + from;
      }
      call.out = run.output + at;
      kernels_->combine(call);
    }
  }

 private:
  const kernels::IntegerKernels* kernels_;
  std::size_t count_;
  std::size_t chunk_;  // Values that are combined in one call.
  std::vector<IntegerOperand> operands_;
  std::vector<bool> by_channel_;
  IntegerCombination call_;
};

// Each operand's channels, rescaled, beside each other.
class ConcatStep final : public IntegerStep {
 public:
  explicit ConcatStep(const StepSource& source) : kernels_(&source.kernels) {
    const Node& node = source.at();
    row_ = node.shape[node.shape.rank() - 1];
    pixels_ = node.shape.count() / row_;
    call_.operand_count = 1;
    call_.low = source.low;
    call_.high = source.high;
    call_.zero_point = source.output_zero();
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const Shape& shape = source.model.graph.nodes[node.inputs[k]].shape;
      channels_.push_back(shape[shape.rank() - 1]);
      operands_.push_back(
          {.zero_point = source.input_zero(k),
           .multiplier = static_cast<float>(static_cast<double>(source.input(k).scale) /
                                            static_cast<double>(source.output().scale))});
    }
  }

  void Run(const StepRun& run) const override {
    std::uint8_t* out = run.output;
    for (std::size_t k = 0; k < operands_.size(); ++k) {
      IntegerOperand operand = operands_[k];
      operand.values = run.inputs[k];
      IntegerCombination call = call_;
      call.operands = &operand;
      call.count = channels_[k];
      call.out = out;
      for (std::size_t pixel = 0; pixel < run.batch * pixels_; ++pixel) {
        kernels_->combine(call);
        operand.values += channels_[k];
        call.out += row_;
      }
      out += channels_[k];
    }
  }

 private:
  const kernels::IntegerKernels* kernels_;
  std::size_t row_ = 0;
  std::size_t pixels_ = 0;
  std::vector<std::size_t> channels_;
  std::vector<IntegerOperand> operands_;
  IntegerCombination call_;
};

class TableStep final : public IntegerStep {
 public:
  explicit TableStep(const StepSource& source) : count_(source.at().shape.count()) {
    const std::array<std::int8_t, 256> values =
        FunctionTable(source.at().kind, source.input(), source.output());
    const std::int32_t zero = source.output().zero_point;
    const std::int32_t low = static_cast<std::int32_t>(source.low) + zero;
    const std::int32_t high = static_cast<std::int32_t>(source.high) + zero;
    for (std::int32_t q = -128; q <= 127; ++q) {
      const std::int32_t value = values[static_cast<std::size_t>(q) + 128] + 0;  // A number.
      table_[source.Stored(q)] = source.Stored(std::clamp(value, low, high));
    }
  }

  void Run(const StepRun& run) const override {
    for (std::size_t i = 0; i < run.batch * count_; ++i) run.output[i] = table_[run.inputs[0][i]];
  }

 private:
  std::size_t count_;
  std::array<std::uint8_t, 256> table_{};
};

// Sums of integers are exact in any order; what follows is in fp64, one operation after the other.
class LayerNormStep final : public IntegerStep {
 public:
  explicit LayerNormStep(const StepSource& source)
      : values_(source.at().shape.count()),
        channels_(source.at().shape[source.at().shape.rank() - 1]),
        offset_(source.kernels.offset),
        input_(source.input()),
        output_(source.output()),
        low_(static_cast<double>(source.low)),
        high_(static_cast<double>(source.high)),
        gamma_(source.model.nodes[source.node].gamma),
        beta_(source.model.nodes[source.node].beta) {}

  void Run(const StepRun& run) const override {
    for (std::size_t at = 0; at < run.batch * values_; at += channels_) {
      Normalize(run.inputs[0] + at, run.output + at);
    }
  }

 private:
  std::int32_t Unit(std::uint8_t stored) const {
    const std::int32_t q = offset_ == 0 ? static_cast<std::int8_t>(stored) : stored - offset_;
    return q - input_.zero_point;
  }

  void Normalize(const std::uint8_t* in, std::uint8_t* out) const {
    std::int64_t sum = 0;
    std::int64_t squares = 0;
    for (std::size_t c = 0; c < channels_; ++c) {
      const std::int64_t unit = Unit(in[c]);
      sum += unit;
      squares += unit * unit;
    }
    const double count = static_cast<double>(channels_);
    const double mean = static_cast<double>(sum) / count;
    const double variance = static_cast<double>(squares) / count - mean * mean;
    const double scale = static_cast<double>(input_.scale);
    const double deviation = std::sqrt(std::max(variance, 0.0) * (scale * scale) + kEpsilon);
    const double factor = scale / deviation;
    for (std::size_t c = 0; c < channels_; ++c) {
      const double centred = (static_cast<double>(Unit(in[c])) - mean) * factor;
      const double value = centred * static_cast<double>(gamma_[c]) + static_cast<double>(beta_[c]);
      const double units = std::clamp(value / static_cast<double>(output_.scale), low_, high_);
      out[c] = static_cast<std::uint8_t>(static_cast<std::int32_t>(std::nearbyint(units)) +
                                         output_.zero_point + offset_);
    }
  }

  static constexpr double kEpsilon = 1e-5;  // As in fp32.

  std::size_t values_;
  std::size_t channels_;
  std::int32_t offset_;
  ActivationScale input_;
  ActivationScale output_;
  double low_;
  double high_;
  std::vector<float> gamma_;
  std::vector<float> beta_;
};

}  // namespace

std::unique_ptr<IntegerStep> MakeCombineStep(const StepSource& source) {
  return std::make_unique<CombineStep>(source);
}

std::unique_ptr<IntegerStep> MakeConcatStep(const StepSource& source) {
  return std::make_unique<ConcatStep>(source);
}

std::unique_ptr<IntegerStep> MakeTableStep(const StepSource& source) {
  return std::make_unique<TableStep>(source);
}

std::unique_ptr<IntegerStep> MakeLayerNormStep(const StepSource& source) {
  return std::make_unique<LayerNormStep>(source);
}

}  // namespace fl::nn::internal
