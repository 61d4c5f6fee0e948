#include <algorithm>
#include <numeric>
#include <vector>

#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/integer_step.h"

namespace fl::nn::internal {
namespace {

using kernels::kIntegerGroup;
using kernels::kIntegerSlack;

constexpr std::size_t kBlock = 64;  // Outputs that the kernel computes together.

// Where the weight of a tap and the parameters of a channel of a block lie, in the kernel's order.
struct BlockOrder {
  bool taps_together;

  std::size_t Parameter(std::size_t lane) const {
    if (!taps_together) return lane;
    return (lane / 4 % 4) * 16 + lane / 16 * 4 + lane % 4;
  }
  std::size_t Weight(std::size_t lane, std::size_t tap) const {
    if (!taps_together) return tap * kBlock + lane;
    return tap / kIntegerGroup * kBlock * kIntegerGroup + Parameter(lane) * kIntegerGroup +
           tap % kIntegerGroup;
  }
};

class DepthwiseStep final : public IntegerStep {
 public:
  explicit DepthwiseStep(const StepSource& source)
      : kernels_(&source.kernels),
        window_(WindowOf(source.model.graph, source.at())),
        zero_(static_cast<std::uint8_t>(source.input_zero())),
        low_(source.low),
        high_(source.high),
        output_zero_(source.output_zero()),
        yields_floats_(source.yields_floats) {
    const std::size_t channels = window_.output.channels;
    period_ = std::lcm(channels, kBlock) / kBlock;
    copies_ = window_.stride > 1 || window_.needs_padding();
    // Columns a stride apart lie side by side, so that every stride reads like 1.
    plane_ = copies_ ? (window_.padded().width + window_.stride - 1) / window_.stride * channels
                     : window_.input.row();
    row_ = plane_ * (copies_ ? window_.stride : 1);
    for (std::size_t y = 0; y < window_.kernel_height; ++y) {
      for (std::size_t x = 0; x < window_.kernel_width; ++x) {
        taps_.push_back(y * row_ + x % window_.stride * plane_ + x / window_.stride * channels);
      }
    }
    while (taps_.size() % kIntegerGroup != 0) taps_.push_back(taps_.front());
  }

  Result<> Pack(const StepSource& source) {
    const QuantizedNode& from = source.model.nodes[source.node];
    const std::size_t depth = window_.kernel_height * window_.kernel_width;
    const BlockOrder order{kernels_->taps_together};
    FL_TRY(weight_, AlignedBuffer<std::int8_t>::Allocate(period_ * kBlock * taps_.size()));
    bias_.resize(period_ * kBlock);
    multiplier_.resize(period_ * kBlock);
    sums_.resize(period_ * kBlock);
    if (!from.float_bias.empty()) shift_.resize(period_ * kBlock);
    for (std::size_t lane = 0; lane < period_ * kBlock; ++lane) {
      const std::size_t channel = lane % window_.output.channels;
      const std::size_t block = lane / kBlock;
      std::int32_t sum = 0;
      for (std::size_t tap = 0; tap < depth; ++tap) {
        const std::int8_t value = from.weight[channel * depth + tap];
        weight_.data()[block * kBlock * taps_.size() + order.Weight(lane % kBlock, tap)] = value;
        sum += value;
      }
      const std::size_t at = block * kBlock + order.Parameter(lane % kBlock);
      bias_[at] = from.bias[channel] - source.input_zero() * sum;
      sums_[at] = sum;
      multiplier_[at] = OutputMultiplier(source, channel);
      if (!shift_.empty()) shift_[at] = from.float_bias[channel];
    }
    return {};
  }

  std::size_t scratch_bytes() const override {
    return image_bytes() + 2 * bias_.size() * sizeof(std::int32_t);
  }

  void Run(const StepRun& run) const override {
    const auto zero =
        run.input != nullptr ? static_cast<std::uint8_t>(run.input->zero_point) : zero_;
    for (std::size_t image = 0; image < run.batch; ++image) {
      const std::uint8_t* from = run.inputs[0] + image * window_.input.count();
      if (window_.stride > 1) {
        CopyColumns(from, zero, run.scratch);
      } else if (copies_) {
        PadBytes(window_, {0, window_.input.channels}, from, zero, run.scratch);
      }
      kernels::IntegerDepthwise call = {.a = copies_ ? run.scratch : from,
                                        .taps = taps_.data(),
                                        .tap_groups = taps_.size() / kIntegerGroup,
                                        .count = window_.output.row(),
                                        .period = period_,
                                        .weight = weight_.data(),
                                        .to = {.bias = bias_.data(),
                                               .multiplier = multiplier_.data(),
                                               .low = low_,
                                               .high = high_,
                                               .zero_point = output_zero_},
                                        .out = nullptr};
      const std::size_t begin = image * window_.output.count();
      if (run.input != nullptr) Rescale(*run.input, run.scratch, call.to);
      if (yields_floats_) {
        call.result = {run.result + begin, shift_.empty() ? nullptr : shift_.data(), run.relu};
      } else {
        call.out = run.output + begin;
      }
      for (std::size_t y = 0; y < window_.output.height; ++y) {
        kernels_->depthwise(call);
        call.a += (copies_ ? window_.stride : 1) * row_;
        if (yields_floats_) {
          call.result.values += window_.output.row();
        } else {
          call.out += window_.output.row();
        }
      }
    }
  }

 private:
  static float OutputMultiplier(const StepSource& source, std::size_t channel) {
    const double unit = static_cast<double>(source.input().scale) *
                        static_cast<double>(source.model.nodes[source.node].weight_scale[channel]);
    if (source.yields_floats) return static_cast<float>(unit);
    return static_cast<float>(unit / static_cast<double>(source.output().scale));
  }

  // Of the copied image, at the begin of the scratch.
  std::size_t image_bytes() const {
    if (!copies_) return 0;
    return AlignedCount(window_.padded().height * row_ + kIntegerSlack,
                        AlignedBuffer<std::uint8_t>::kAlignment);
  }

  // Puts what the inputs are in this run in the place of what the model says.
  void Rescale(const InputOfRun& input, std::uint8_t* scratch, kernels::Requantization& to) const {
    // The scratch is memory for any type.
    auto* bias = reinterpret_cast<std::int32_t*>(scratch + image_bytes());
    auto* multiplier = reinterpret_cast<float*>(bias + bias_.size());
    for (std::size_t at = 0; at < bias_.size(); ++at) {
      bias[at] = -input.zero_point * sums_[at];
      multiplier[at] = input.scale * multiplier_[at];
    }
    to.bias = bias;
    to.multiplier = multiplier;
  }

  // Pads, and puts column x into plane x mod stride.
  void CopyColumns(const std::uint8_t* image, std::uint8_t zero, std::uint8_t* padded) const {
    const ImageExtent to = window_.padded();
    const std::size_t channels = to.channels;
    const std::size_t height = std::min(window_.input.height, to.height - window_.pad_top);
    const std::size_t width = std::min(window_.input.width, to.width - window_.pad_left);
    std::fill_n(padded, to.height * row_, zero);
    for (std::size_t y = 0; y < height; ++y) {
      const std::uint8_t* from = image + y * window_.input.row();
      std::uint8_t* line = padded + (y + window_.pad_top) * row_;
      for (std::size_t x = 0; x < width; ++x) {
        const std::size_t at = x + window_.pad_left;
        std::copy_n(from + x * channels, channels,
                    line + at % window_.stride * plane_ + at / window_.stride * channels);
      }
    }
  }

  const kernels::IntegerKernels* kernels_;
  Window window_;
  std::uint8_t zero_;
  float low_;
  float high_;
  std::int32_t output_zero_;
  bool yields_floats_;
  bool copies_ = false;
  std::size_t period_ = 1;  // Blocks after which the channels repeat.
  std::size_t plane_ = 0;   // Bytes of a row's columns of one phase.
  std::size_t row_ = 0;
  std::vector<std::size_t> taps_;
  AlignedBuffer<std::int8_t> weight_;
  std::vector<std::int32_t> bias_;
  std::vector<float> multiplier_;
  std::vector<std::int32_t> sums_;  // Of each channel's weights.
  std::vector<float> shift_;        // Of a dynamic model; else empty.
};

}  // namespace

StepResult MakeDepthwiseStep(const StepSource& source) {
  auto step = std::make_unique<DepthwiseStep>(source);
  FL_TRY_OK(step->Pack(source));
  return std::unique_ptr<IntegerStep>(std::move(step));
}

}  // namespace fl::nn::internal
