#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <vector>

#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/integer_step.h"
#include "fl/common/nn/internal/sparse_panels.h"

namespace fl::nn::internal {
namespace {

using kernels::IntegerProduct;
using kernels::kIntegerGroup;
using kernels::kIntegerPanel;
using kernels::kIntegerSlack;

// A dense layer is the convolution of an image of one pixel, as large as the input.
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

// Whether a ReLU made what a node reads, so that many of its inputs are zero.
bool ReadsRectified(const Graph& graph, const Node& node) {
  std::size_t from = node.inputs[0];
  while (graph.nodes[from].kind == OpKind::kFlatten || graph.nodes[from].kind == OpKind::kReshape ||
         graph.nodes[from].kind == OpKind::kMaxPool) {
    from = graph.nodes[from].inputs[0];
  }
  return graph.nodes[from].kind == OpKind::kRelu || graph.nodes[from].kind == OpKind::kRelu6;
}

// Smaller weights stay in a near cache, where it does not pay to leave out some.
constexpr std::size_t kByInputWeightsMin = std::size_t{1} << 20;
constexpr std::size_t kByInputChannelsMin = 256;

// The weights of one group of a convolution, packed.
struct PackedGroup {
  AlignedBuffer<std::int8_t> weight;
  std::vector<std::int32_t> bias;  // With the zero point taken out; padded to whole panels.
  std::vector<float> multiplier;
  std::vector<std::int32_t> sums;  // Of each channel's weights, where runs bring their own scales.
  std::vector<float> shift;        // Of a dynamic model; else empty.
};

class ProductStep final : public IntegerStep {
 public:
  explicit ProductStep(const StepSource& source)
      : kernels_(&source.kernels),
        window_(ProductWindow(source.model.graph, source.at())),
        groups_(source.at().groups),
        dense_(source.at().kind == OpKind::kDense),
        pooled_(source.pooled),
        yields_floats_(source.yields_floats),
        zero_(static_cast<std::uint8_t>(source.input_zero())),
        low_(source.low),
        high_(source.high),
        output_zero_(source.output_zero()) {
    slice_.channels = window_.input.channels / groups_;
    group_channels_ = window_.output.channels / groups_;
    panels_ = (group_channels_ + kIntegerPanel - 1) / kIntegerPanel;
    const std::size_t length = window_.kernel_width * slice_.channels;
    segment_groups_ = (length + kIntegerGroup - 1) / kIntegerGroup;
    copies_ = !dense_ && (groups_ > 1 || window_.needs_padding());
  }

  Result<> Pack(const StepSource& source) {
    if (dense_ || IsPointwise()) FL_TRY_OK(PackSparse(source));
    if (MayGoByInput(source)) FL_TRY_OK(PackByInput(source));
    for (std::size_t group = 0; group < groups_; ++group) {
      FL_TRY(PackedGroup packed, PackGroup(source, group));
      packed_.push_back(std::move(packed));
    }
    PlaceRows(source.batch_max);
    return {};
  }

  std::size_t scratch_bytes() const override {
    const std::size_t rescaled = 2 * panels_ * kIntegerPanel * sizeof(std::int32_t);
    if (!by_input_) return image_bytes() + rescaled;
    const std::size_t places = slice_.channels + kernels::kInputsAhead;
    return input_stride_ * sizeof(std::int32_t) + places * (sizeof(std::uint32_t) + 1);
  }

  void Run(const StepRun& run) const override {
    const std::size_t images = dense_ ? 1 : run.batch;
    const std::size_t pixels = row_offsets_.size() / (pooled_ ? kernels::kIntegerPool : 1);
    const std::size_t outputs = pixels * window_.output.channels;
    const auto zero =
        run.input != nullptr ? static_cast<std::uint8_t>(run.input->zero_point) : zero_;
    for (std::size_t image = 0; image < images; ++image) {
      const std::uint8_t* from = run.inputs[0] + image * window_.input.count();
      for (std::size_t group = 0; group < groups_; ++group) {
        IntegerProduct call = CallOf(group);
        if (run.input != nullptr) Rescale(*run.input, packed_[group], run.scratch, call.to);
        call.a = from;
        if (copies_) {
          PadBytes(window_, {group * slice_.channels, slice_.channels}, from, zero, run.scratch);
          call.a = run.scratch;
        }
        if (dense_) call.rows = run.batch;
        const std::size_t at = image * outputs + group * group_channels_;
        if (yields_floats_) {
          const std::vector<float>& shift = packed_[group].shift;
          call.result = {run.result + at, shift.empty() ? nullptr : shift.data(), run.relu};
        } else {
          call.out = run.output + at;
        }
        if (sparse_) {
          kernels_->multiply_sparse(call, sparse_->view());
        } else if (by_input_) {
          kernels_->multiply_by_input(call, InputWeightsIn(run.scratch));
        } else {
          kernels_->multiply(call);
        }
      }
    }
  }

 private:
  // The image that the kernel reads: padded, and of one group only.
  ImageExtent padded_image() const {
    if (!copies_) return window_.input;
    const ImageExtent padded = window_.padded();
    return {padded.height, padded.width, slice_.channels};
  }

  // Of the padded image, at the begin of the scratch.
  std::size_t image_bytes() const {
    constexpr std::size_t kAligned = AlignedBuffer<std::uint8_t>::kAlignment;
    if (!copies_) return 0;
    return (padded_image().count() + kIntegerSlack + kAligned - 1) / kAligned * kAligned;
  }

  // Puts what the inputs are in this run in the place of what the model says.
  void Rescale(const InputOfRun& input, const PackedGroup& packed, std::uint8_t* scratch,
               kernels::Requantization& to) const {
    const std::size_t count = packed.bias.size();
    // The scratch is memory for any type.
    auto* bias = reinterpret_cast<std::int32_t*>(scratch + image_bytes());
    auto* multiplier = reinterpret_cast<float*>(bias + count);
    for (std::size_t c = 0; c < count; ++c) {
      bias[c] = -input.zero_point * packed.sums[c];
      multiplier[c] = input.scale * packed.multiplier[c];
    }
    to.bias = bias;
    to.multiplier = multiplier;
  }

  IntegerProduct CallOf(std::size_t group) const {
    const PackedGroup& packed = packed_[group];
    return {.row_offsets = row_offsets_.data(),
            .rows = row_offsets_.size(),
            .pooled = pooled_,
            .segments = window_.kernel_height,
            .segment_stride = padded_image().row(),
            .segment_groups = segment_groups_,
            .b = packed.weight.data(),
            .panels = panels_,
            .channels = group_channels_,
            .to = {.bias = packed.bias.data(),
                   .multiplier = packed.multiplier.data(),
                   .low = low_,
                   .high = high_,
                   .zero_point = output_zero_},
            .out_stride = window_.output.channels};
  }

  // A convolution whose windows are one pixel of the input where it lies: a dense layer of as many
  // rows as pixels.
  bool IsPointwise() const {
    return window_.kernel_height == 1 && window_.kernel_width == 1 && !copies_ && !pooled_;
  }

  // Keeps blocks alone where that is faster: the share of what is multiplied is below what was
  // measured for the instruction set.
  Result<> PackSparse(const StepSource& source) {
    if (slice_.channels < kernels::kSparseWindow) return {};
    const std::size_t rows =
        dense_ ? source.batch_max : window_.output.height * window_.output.width;
    const double most =
        static_cast<double>(rows == 1 ? kernels_->sparse_share_row : kernels_->sparse_share_rows);
    const std::vector<std::int8_t>& weight = source.model.nodes[source.node].weight;
    if (LeastShare(weight, slice_.channels) > most) return {};
    FL_TRY(SparsePanels packed, SparsePanels::Pack(weight, slice_.channels));
    if (packed.share() <= most) sparse_ = std::move(packed);
    return {};
  }

  bool MayGoByInput(const StepSource& source) const {
    return dense_ && !sparse_ && source.batch_max == 1 && kernels_->multiply_by_input != nullptr &&
           source.input_zero() == 0 && group_channels_ >= kByInputChannelsMin &&
           source.model.nodes[source.node].weight.size() >= kByInputWeightsMin &&
           ReadsRectified(source.model.graph, source.at());
  }

  Result<> PackByInput(const StepSource& source) {
    const std::vector<std::int8_t>& weight = source.model.nodes[source.node].weight;
    const std::size_t inputs = slice_.channels;
    input_stride_ = AlignedCount(group_channels_, kernels::kInputBlock);
    FL_TRY(by_input_, AlignedBuffer<std::int8_t>::Allocate(inputs * input_stride_));
    // By way of squares that stay in the nearest cache; what stands for channels beyond the last
    // one is multiplied and dropped.
    constexpr std::size_t kSide = kernels::kInputBlock;
    std::array<std::int8_t, kSide * kSide> square{};
    for (std::size_t first = 0; first < group_channels_; first += kSide) {
      const std::size_t channels = std::min(kSide, group_channels_ - first);
      for (std::size_t begin = 0; begin < inputs; begin += kSide) {
        const std::size_t depth = std::min(kSide, inputs - begin);
        for (std::size_t c = 0; c < channels; ++c) {
          const std::int8_t* from = weight.data() + (first + c) * inputs + begin;
          std::int8_t* to = square.data() + kernels::InputWeightPlace(c);
          for (std::size_t k = 0; k < depth; ++k) to[k * kSide] = from[k];
        }
        std::int8_t* to = by_input_->data() + begin * input_stride_ + first;
        for (std::size_t k = 0; k < depth; ++k)
          std::copy_n(square.data() + k * kSide, kSide, to + k * input_stride_);
      }
    }
    return {};
  }

  kernels::InputWeights InputWeightsIn(std::uint8_t* scratch) const {
    // The scratch is memory for any type.
    auto* sums = reinterpret_cast<std::int32_t*>(scratch);
    auto* places = reinterpret_cast<std::uint32_t*>(sums + input_stride_);
    auto* values =
        reinterpret_cast<std::uint8_t*>(places + slice_.channels + kernels::kInputsAhead);
    return {by_input_->data(), slice_.channels, input_stride_, sums, places, values};
  }

  Result<PackedGroup> PackGroup(const StepSource& source, std::size_t group) const {
    const QuantizedNode& from = source.model.nodes[source.node];
    const std::size_t length = window_.kernel_width * slice_.channels;
    const std::size_t depth = window_.kernel_height * length;
    const std::size_t panel_groups = window_.kernel_height * segment_groups_;
    PackedGroup packed;
    const bool elsewhere = sparse_ || by_input_;
    if (!elsewhere) {
      FL_TRY(packed.weight, AlignedBuffer<std::int8_t>::Allocate(panels_ * kIntegerPanel *
                                                                 panel_groups * kIntegerGroup));
    }
    packed.bias.resize(panels_ * kIntegerPanel);
    packed.multiplier.resize(panels_ * kIntegerPanel);
    packed.sums.resize(panels_ * kIntegerPanel);
    if (!from.float_bias.empty()) packed.shift.resize(panels_ * kIntegerPanel);
    for (std::size_t c = 0; c < group_channels_; ++c) {
      const std::size_t channel = group * group_channels_ + c;
      const std::int8_t* weight = from.weight.data() + channel * depth;
      const std::int32_t sum = std::accumulate(weight, weight + depth, std::int32_t{0});
      packed.bias[c] = from.bias[channel] - source.input_zero() * sum;
      packed.sums[c] = sum;
      packed.multiplier[c] = OutputMultiplier(source, channel);
      if (!from.float_bias.empty()) packed.shift[c] = from.float_bias[channel];
      if (elsewhere) continue;
      std::int8_t* to =
          packed.weight.data() +
          (c / kIntegerPanel * panel_groups * kIntegerPanel + c % kIntegerPanel) * kIntegerGroup;
      for (std::size_t y = 0; y < window_.kernel_height; ++y) {
        std::int8_t* row = to + y * segment_groups_ * kIntegerPanel * kIntegerGroup;
        for (std::size_t k = 0; k < length; ++k) {
          const std::size_t at = k / kIntegerGroup * kIntegerPanel * kIntegerGroup;
          row[at + k % kIntegerGroup] = weight[y * length + k];
        }
      }
    }
    return packed;
  }

  static float OutputMultiplier(const StepSource& source, std::size_t channel) {
    const double unit = static_cast<double>(source.input().scale) *
                        static_cast<double>(source.model.nodes[source.node].weight_scale[channel]);
    if (source.yields_floats) return static_cast<float>(unit);
    return static_cast<float>(unit / static_cast<double>(source.output().scale));
  }

  // Rows of the product are pixels; with a pool the four of a window come one after the other.
  void PlaceRows(std::size_t batch_max) {
    if (dense_) {
      for (std::size_t i = 0; i < batch_max; ++i) row_offsets_.push_back(i * slice_.channels);
      return;
    }
    const ImageExtent image = padded_image();
    const std::size_t step = pooled_ ? 2 : 1;
    for (std::size_t y = 0; y + step <= window_.output.height; y += step) {
      for (std::size_t x = 0; x + step <= window_.output.width; x += step) {
        for (std::size_t tap = 0; tap < step * step; ++tap) {
          row_offsets_.push_back((y + tap / step) * window_.stride * image.row() +
                                 (x + tap % step) * window_.stride * image.channels);
        }
      }
    }
  }

  const kernels::IntegerKernels* kernels_;
  Window window_;
  std::size_t groups_;
  bool dense_;
  bool pooled_;
  bool yields_floats_;
  bool copies_ = false;  // The image is copied before it is read.
  std::uint8_t zero_;
  float low_;
  float high_;
  std::int32_t output_zero_;
  ChannelSlice slice_;  // Input channels of a group.
  std::size_t group_channels_ = 0;
  std::size_t panels_ = 0;
  std::size_t segment_groups_ = 0;
  std::vector<PackedGroup> packed_;
  std::optional<SparsePanels> sparse_;  // Of a dense or 1x1 layer, which then has no weights.
  std::optional<AlignedBuffer<std::int8_t>> by_input_;  // Likewise, in the order of InputWeights.
  std::size_t input_stride_ = 0;
  std::vector<std::size_t> row_offsets_;
};

}  // namespace

void PadBytes(const Window& window, const ChannelSlice& slice, const std::uint8_t* image,
              std::uint8_t value, std::uint8_t* padded) {
  const ImageExtent to = window.padded();
  const std::size_t channels = slice.channels;
  const std::size_t row = to.width * channels;
  // With a stride the last rows and columns may lie beyond the last window.
  const std::size_t height = std::min(window.input.height, to.height - window.pad_top);
  const std::size_t width = std::min(window.input.width, to.width - window.pad_left);
  std::fill_n(padded, window.pad_top * row, value);
  std::uint8_t* line = padded + window.pad_top * row;
  for (std::size_t y = 0; y < height; ++y, line += row) {
    const std::uint8_t* from = image + y * window.input.row() + slice.first;
    std::uint8_t* at = std::fill_n(line, window.pad_left * channels, value);
    if (channels == to.channels) {
      at = std::copy_n(from, width * channels, at);
    } else {
      for (std::size_t x = 0; x < width; ++x) {
        at = std::copy_n(from + x * to.channels, channels, at);
      }
    }
    std::fill(at, line + row, value);
  }
  std::fill_n(line, (to.height - window.pad_top - height) * row, value);
}

StepResult MakeProductStep(const StepSource& source) {
  auto step = std::make_unique<ProductStep>(source);
  FL_TRY_OK(step->Pack(source));
  return std::unique_ptr<IntegerStep>(std::move(step));
}

}  // namespace fl::nn::internal
