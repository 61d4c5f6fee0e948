#include <algorithm>

#include "fl/common/nn/internal/integer_step.h"

namespace fl::nn::internal {
namespace {

using kernels::IntegerPool;

// A pool over the whole image is global.
Window PoolWindow(const Graph& graph, const Node& node) {
  if (node.kind != OpKind::kGlobalAvgPool) return WindowOf(graph, node);
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  return {.input = {input[0], input[1], input[2]},
          .output = {1, 1, input[2]},
          .kernel_height = input[0],
          .kernel_width = input[1],
          .stride = 1,
          .pad_top = 0,
          .pad_left = 0};
}

class MaxPoolStep final : public IntegerStep {
 public:
  explicit MaxPoolStep(const StepSource& source)
      : kernels_(&source.kernels),
        window_(PoolWindow(source.model.graph, source.at())),
        least_(source.Stored(-128)) {}

  std::size_t scratch_bytes() const override {
    return window_.needs_padding() ? window_.padded().count() + kernels::kIntegerSlack : 0;
  }

  void Run(const StepRun& run) const override {
    const ImageExtent image = window_.needs_padding() ? window_.padded() : window_.input;
    IntegerPool call = {.row_stride = image.row(),
                        .pixel_stride = window_.stride * image.channels,
                        .kernel_height = window_.kernel_height,
                        .kernel_width = window_.kernel_width,
                        .channels = image.channels,
                        .outputs = window_.output.width,
                        .out = run.output};
    for (std::size_t i = 0; i < run.batch; ++i) {
      const std::uint8_t* from = run.inputs[0] + i * window_.input.count();
      if (window_.needs_padding()) {
        PadBytes(window_, {0, image.channels}, from, least_, run.scratch);
        from = run.scratch;
      }
      for (std::size_t y = 0; y < window_.output.height; ++y) {
        call.in = from + y * window_.stride * image.row();
        kernels_->maximum(call);
        call.out += window_.output.row();
      }
    }
  }

 private:
  const kernels::IntegerKernels* kernels_;
  Window window_;
  std::uint8_t least_;
};

// The mean over the pixels inside the image, rescaled.
class AvgPoolStep final : public IntegerStep {
 public:
  explicit AvgPoolStep(const StepSource& source)
      : kernels_(&source.kernels),
        window_(PoolWindow(source.model.graph, source.at())),
        zero_(source.input_zero()),
        ratio_(static_cast<double>(source.input().scale) /
               static_cast<double>(source.output().scale)),
        mean_{.low = source.low, .high = source.high, .zero_point = source.output_zero()} {}

  void Run(const StepRun& run) const override {
    for (std::size_t i = 0; i < run.batch; ++i) {
      for (std::size_t y = 0; y < window_.output.height; ++y) {
        const Reach rows = ReachOf(y, window_.stride, window_.pad_top, window_.kernel_height,
                                   window_.input.height);
        for (std::size_t x = 0; x < window_.output.width; ++x) {
          const Reach columns = ReachOf(x, window_.stride, window_.pad_left, window_.kernel_width,
                                        window_.input.width);
          Average(run, i, {y, x}, rows, columns);
        }
      }
    }
  }

 private:
  struct Pixel {
    std::size_t y;
    std::size_t x;
  };

  void Average(const StepRun& run, std::size_t image, Pixel to, const Reach& rows,
               const Reach& columns) const {
    const std::size_t channels = window_.input.channels;
    const std::size_t pixels = (rows.end - rows.first) * (columns.end - columns.first);
    kernels::IntegerMean mean = mean_;
    mean.bias = -zero_ * static_cast<std::int32_t>(pixels);
    mean.multiplier = static_cast<float>(ratio_ / static_cast<double>(pixels));
    kernels_->average({.in = run.inputs[0] + image * window_.input.count() +
                             rows.first * window_.input.row() + columns.first * channels,
                       .row_stride = window_.input.row(),
                       .pixel_stride = channels,
                       .kernel_height = rows.end - rows.first,
                       .kernel_width = columns.end - columns.first,
                       .channels = channels,
                       .outputs = 1,
                       .out = run.output + image * window_.output.count() +
                              to.y * window_.output.row() + to.x * channels},
                      mean);
  }

  const kernels::IntegerKernels* kernels_;
  Window window_;
  std::int32_t zero_;
  double ratio_;
  kernels::IntegerMean mean_;
};

class ClampStep final : public IntegerStep {
 public:
  explicit ClampStep(const StepSource& source)
      : kernels_(&source.kernels),
        count_(source.at().shape.count()),
        low_(source.Stored(static_cast<std::int32_t>(source.low) + source.output().zero_point)),
        high_(source.Stored(static_cast<std::int32_t>(source.high) + source.output().zero_point)) {}

  void Run(const StepRun& run) const override {
    kernels_->clamp(run.inputs[0], run.batch * count_, low_, high_, run.output);
  }

 private:
  const kernels::IntegerKernels* kernels_;
  std::size_t count_;
  std::uint8_t low_;
  std::uint8_t high_;
};

}  // namespace

std::unique_ptr<IntegerStep> MakeMaxPoolStep(const StepSource& source) {
  return std::make_unique<MaxPoolStep>(source);
}

std::unique_ptr<IntegerStep> MakeAvgPoolStep(const StepSource& source) {
  return std::make_unique<AvgPoolStep>(source);
}

std::unique_ptr<IntegerStep> MakeClampStep(const StepSource& source) {
  return std::make_unique<ClampStep>(source);
}

}  // namespace fl::nn::internal
