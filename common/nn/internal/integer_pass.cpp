#include "fl/common/nn/internal/integer_pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/common/nn/kernels/select.h"

namespace fl::nn::internal {
namespace {

using kernels::IntegerProduct;
using kernels::kIntegerGroup;
using kernels::kIntegerPanel;

constexpr std::size_t kSlack = 64;  // Groups read a few bytes beyond a segment.

Window ProductWindow(const Graph& graph, const Node& node) {
  if (node.kind == OpKind::kConv2d) return WindowOf(graph, node);
  const std::size_t depth = graph.nodes[node.inputs[0]].shape.count();
  return {.input = {1, 1, depth},
          .output = {1, 1, node.shape[0]},
          .kernel_height = 1,
          .kernel_width = 1,
          .stride = 1,
          .pad_top = 0,
          .pad_left = 0};
}

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

std::int8_t ToInteger(float value, const ActivationScale& scale) {
  const float zero = static_cast<float>(scale.zero_point);
  float units = value / scale.scale;
  // Written so that NaN becomes the smallest value.
  units = units > -128.0F - zero ? units : -128.0F - zero;
  units = units < 127.0F - zero ? units : 127.0F - zero;
  return static_cast<std::int8_t>(static_cast<std::int32_t>(std::nearbyint(units)) +
                                  scale.zero_point);
}

void PadImage(const Window& window, const std::int8_t* image, std::int32_t zero_point,
              std::int8_t* padded) {
  const ImageExtent to = window.padded();
  std::fill_n(padded, to.count(), static_cast<std::int8_t>(zero_point));
  const std::size_t height = std::min(window.input.height, to.height - window.pad_top);
  const std::size_t width = std::min(window.input.width, to.width - window.pad_left);
  for (std::size_t y = 0; y < height; ++y) {
    std::copy_n(image + y * window.input.row(), width * to.channels,
                padded + (y + window.pad_top) * to.row() + window.pad_left * to.channels);
  }
}

// visit(image offset in the output, rows, columns) for each output pixel.
template <typename Visit>
void ForEachWindow(const Window& window, const Visit& visit) {
  for (std::size_t y = 0; y < window.output.height; ++y) {
    const Reach rows =
        ReachOf(y, window.stride, window.pad_top, window.kernel_height, window.input.height);
    for (std::size_t x = 0; x < window.output.width; ++x) {
      const Reach columns =
          ReachOf(x, window.stride, window.pad_left, window.kernel_width, window.input.width);
      visit(y * window.output.row() + x * window.output.channels, rows, columns);
    }
  }
}

}  // namespace

IntegerPass::IntegerPass(const QuantizedModel& model, std::size_t batch_max,
                         const kernels::IntegerKernels& kernels)
    : graph_(model.graph), scales_(model.activations), batch_max_(batch_max), kernels_(&kernels) {}

Result<std::unique_ptr<IntegerPass>> IntegerPass::Create(const QuantizedModel& model,
                                                         std::size_t batch_max,
                                                         IntegerInstructionSet instruction_set) {
  FL_TRY_OK(model.Validate());
  const std::vector<IntegerInstructionSet> supported = SupportedIntegerInstructionSets();
  if (std::ranges::find(supported, instruction_set) == supported.end()) {
    return Error{ErrorCode::kInvalidArgument,
                 "instruction set: expected one that this processor has, found " +
                     std::string(InstructionSetName(instruction_set))};
  }
  if (batch_max == 0 || batch_max > (std::size_t{1} << 24)) {
    return Error{ErrorCode::kInvalidArgument,
                 "batch_max: expected 1 to 2^24, found " + std::to_string(batch_max)};
  }
  std::unique_ptr<IntegerPass> pass(
      new IntegerPass(model, batch_max, kernels::IntegerKernelsFor(instruction_set)));
  FL_TRY_OK(pass->Prepare(model));
  FL_TRY_OK(pass->Allocate());
  return pass;
}

Result<> IntegerPass::Prepare(const QuantizedModel& model) {
  products_.resize(graph_.nodes.size());
  for (std::size_t i = 1; i < graph_.nodes.size(); ++i) {
    if (graph_.nodes[i].parameters.empty()) continue;
    FL_TRY(products_[i], PrepareProduct(model, i));
  }
  return {};
}

Result<IntegerPass::Product> IntegerPass::PrepareProduct(const QuantizedModel& model,
                                                         std::size_t i) const {
  const Node& node = graph_.nodes[i];
  const QuantizedNode& from = model.nodes[i];
  Product product;
  product.window = ProductWindow(graph_, node);
  const std::size_t channels = product.window.output.channels;
  const std::size_t segments = product.window.kernel_height;
  const std::size_t length = product.window.kernel_width * product.window.input.channels;
  product.segment_groups = (length + kIntegerGroup - 1) / kIntegerGroup;
  product.panels = (channels + kIntegerPanel - 1) / kIntegerPanel;
  const std::size_t depth = segments * product.segment_groups * kIntegerGroup;
  FL_TRY(product.weight,
         AlignedBuffer<std::int8_t>::Allocate(product.panels * kIntegerPanel * depth));
  const ActivationScale& input = scales_[i - 1];
  const double output_scale = static_cast<double>(scales_[i].scale);
  const bool last = i + 1 == graph_.nodes.size();
  for (std::size_t c = 0; c < channels; ++c) {
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < segments * length; ++k) {
      const std::int8_t value = from.weight[c * segments * length + k];
      const std::size_t at = k / length * product.segment_groups * kIntegerGroup + k % length;
      const std::size_t group = at / kIntegerGroup;
      product.weight.data()[((c / kIntegerPanel * (depth / kIntegerGroup) + group) * kIntegerPanel +
                             c % kIntegerPanel) *
                                kIntegerGroup +
                            at % kIntegerGroup] = value;
      sum += value;
    }
    product.bias.push_back(from.bias[c] - (input.zero_point + kernels_->offset) * sum);
    const double unit =
        static_cast<double>(input.scale) * static_cast<double>(from.weight_scale[c]);
    product.multiplier.push_back(static_cast<float>(last ? unit : unit / output_scale));
  }
  const bool relu = !last && graph_.nodes[i + 1].kind == OpKind::kRelu;
  product.low = relu ? 0.0F : static_cast<float>(-128 - scales_[i].zero_point);
  return product;
}

Result<> IntegerPass::Allocate() {
  std::size_t largest = 0;
  std::size_t padded = 0;
  std::size_t sums = 0;
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    largest = std::max(largest, graph_.nodes[i].shape.count() * batch_max_);
    sums = std::max(sums, graph_.nodes[i].shape[graph_.nodes[i].shape.rank() - 1]);
    const Product& product = products_[i];
    if (product.panels == 0) continue;
    padded = std::max(padded, product.window.padded().count());
    const std::size_t rows =
        graph_.nodes[i].kind == OpKind::kDense ? batch_max_ : product.window.output.width;
    sums = std::max(sums, rows * product.panels * kIntegerPanel);
  }
  for (AlignedBuffer<std::int8_t>& buffer : buffers_) {
    FL_TRY(buffer, AlignedBuffer<std::int8_t>::Allocate(largest + kSlack));
  }
  FL_TRY(padded_, AlignedBuffer<std::int8_t>::Allocate(padded + kSlack));
  FL_TRY(sums_, AlignedBuffer<std::int32_t>::Allocate(sums));
  return {};
}

void IntegerPass::Run(const float* input, std::size_t batch, float* output) {
  current_ = buffers_[0].data();
  next_ = buffers_[1].data();
  const std::size_t count = batch * graph_.input_shape().count();
  for (std::size_t i = 0; i < count; ++i) current_[i] = ToInteger(input[i], scales_[0]);
  for (std::size_t i = 1; i < graph_.nodes.size(); ++i) RunNode(i, batch, output);
  if (!graph_.nodes.back().parameters.empty()) return;
  const ActivationScale& scale = scales_.back();
  for (std::size_t i = 0; i < batch * graph_.output_shape().count(); ++i) {
    output[i] = scale.scale * static_cast<float>(current_[i] - scale.zero_point);
  }
}

void IntegerPass::RunNode(std::size_t i, std::size_t batch, float* output) {
  const Node& node = graph_.nodes[i];
  switch (node.kind) {
    case OpKind::kInput:
    case OpKind::kFlatten:
    case OpKind::kReshape:
      return;
    case OpKind::kRelu: {
      // Nothing is left to clamp after a product, which has done it.
      if (products_[i - 1].panels > 0) return;
      const std::int8_t zero = static_cast<std::int8_t>(scales_[i].zero_point);
      for (std::size_t j = 0; j < batch * node.shape.count(); ++j)
        current_[j] = std::max(current_[j], zero);
      return;
    }
    case OpKind::kDense:
    case OpKind::kConv2d:
      RunProduct(i, batch, output);
      break;
    case OpKind::kMaxPool:
      RunMaxPool(i, batch);
      break;
    case OpKind::kAvgPool:
    case OpKind::kGlobalAvgPool:
      RunAvgPool(i, batch);
      break;
    default:
      break;
  }
  std::swap(current_, next_);
}

// From sums to s8, or to fp32 where the product is the last node.
void IntegerPass::FinishRow(std::size_t i, std::size_t rows, std::int8_t* to, float* output) const {
  const Product& product = products_[i];
  const std::size_t channels = product.window.output.channels;
  const std::int32_t* sums = sums_.data();
  const kernels::Requantization requantization = {
      .bias = product.bias.data(),
      .multiplier = product.multiplier.data(),
      .columns = channels,
      .low = product.low,
      .high = static_cast<float>(127 - scales_[i].zero_point),
      .zero_point = scales_[i].zero_point};
  for (std::size_t row = 0; row < rows; ++row, sums += product.panels * kIntegerPanel) {
    if (i + 1 < graph_.nodes.size()) {
      kernels_->requantize(sums, requantization, to + row * channels);
      continue;
    }
    for (std::size_t c = 0; c < channels; ++c) {
      output[row * channels + c] =
          static_cast<float>(sums[c] + product.bias[c]) * product.multiplier[c];
    }
  }
}

void IntegerPass::RunProduct(std::size_t i, std::size_t batch, float* output) {
  const Product& product = products_[i];
  const Window& window = product.window;
  const bool dense = graph_.nodes[i].kind == OpKind::kDense;
  IntegerProduct call;
  call.rows = dense ? batch : window.output.width;
  call.row_stride = dense ? window.input.channels : window.stride * window.input.channels;
  call.segments = window.kernel_height;
  call.segment_groups = product.segment_groups;
  call.b = product.weight.data();
  call.panels = product.panels;
  call.c = sums_.data();
  if (dense) {
    call.a = current_;
    kernels_->multiply(call);
    FinishRow(i, batch, next_, output);
    return;
  }
  for (std::size_t image = 0; image < batch; ++image) {
    const std::int8_t* from = current_ + image * window.input.count();
    std::size_t row = window.input.row();
    if (window.needs_padding()) {
      PadImage(window, from, scales_[i - 1].zero_point, padded_.data());
      from = padded_.data();
      row = window.padded().row();
    }
    call.segment_stride = row;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      call.a = from + y * window.stride * row;
      kernels_->multiply(call);
      const std::size_t at = image * window.output.count() + y * window.output.row();
      FinishRow(i, window.output.width, next_ + at, output + at);
    }
  }
}

void IntegerPass::RunMaxPool(std::size_t i, std::size_t batch) {
  const Window window = PoolWindow(graph_, graph_.nodes[i]);
  const std::size_t channels = window.input.channels;
  for (std::size_t image = 0; image < batch; ++image) {
    const std::int8_t* from = current_ + image * window.input.count();
    std::int8_t* to = next_ + image * window.output.count();
    ForEachWindow(window, [&](std::size_t at, const Reach& rows, const Reach& columns) {
      std::fill_n(to + at, channels, std::int8_t{-128});
      for (std::size_t y = rows.first; y < rows.end; ++y) {
        for (std::size_t x = columns.first; x < columns.end; ++x) {
          kernels_->maximum(from + y * window.input.row() + x * channels, channels, to + at);
        }
      }
    });
  }
}

void IntegerPass::RunAvgPool(std::size_t i, std::size_t batch) {
  const Window window = PoolWindow(graph_, graph_.nodes[i]);
  const std::size_t channels = window.input.channels;
  const ActivationScale& input = scales_[i - 1];
  const ActivationScale& output = scales_[i];
  const double ratio = static_cast<double>(input.scale) / static_cast<double>(output.scale);
  for (std::size_t image = 0; image < batch; ++image) {
    const std::int8_t* from = current_ + image * window.input.count();
    std::int8_t* to = next_ + image * window.output.count();
    ForEachWindow(window, [&](std::size_t at, const Reach& rows, const Reach& columns) {
      std::fill_n(sums_.data(), channels, 0);
      for (std::size_t y = rows.first; y < rows.end; ++y) {
        for (std::size_t x = columns.first; x < columns.end; ++x) {
          const std::int8_t* pixel = from + y * window.input.row() + x * channels;
          for (std::size_t c = 0; c < channels; ++c) sums_.data()[c] += pixel[c] - input.zero_point;
        }
      }
      const double pixels =
          static_cast<double>((rows.end - rows.first) * (columns.end - columns.first));
      const float multiplier = static_cast<float>(ratio / pixels);
      for (std::size_t c = 0; c < channels; ++c) {
        const float units = static_cast<float>(sums_.data()[c]) * multiplier;
        to[at + c] = ToInteger(units, {1.0F, output.zero_point});
      }
    });
  }
}

}  // namespace fl::nn::internal
