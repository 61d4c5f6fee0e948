// Operators without weights: activations, pools, combinations, and those that only move values.
#include <algorithm>
#include <cmath>

#include "fl/common/nn/onnx/internal/import_graph.h"
#include "fl/common/nn/onnx/internal/import_window.h"

namespace fl::onnx::internal {
namespace {

using nn::OpKind;

bool IsSame(const std::vector<std::int64_t>& values, std::initializer_list<std::int64_t> expected) {
  return std::ranges::equal(values, expected);
}

// Whether the values of an image lie alike with channels first and last.
bool OrderIsFree(const Shape& image) {
  return image[2] == 1 || image[0] * image[1] == 1;
}

}  // namespace

Result<> GraphReader::ReadActivation(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  OpKind kind = OpKind::kRelu;
  if (node.type == "HardSwish") kind = OpKind::kHardSwish;
  if (node.type == "Sigmoid") kind = OpKind::kSigmoid;
  if (node.type == "Tanh") kind = OpKind::kTanh;
  return Define(node, LayerOf(node, kind, input.layer), input.order, input.flattened);
}

// [0, 6] or [0, infinity).
Result<> GraphReader::ReadClip(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  float low = -INFINITY;
  float high = INFINITY;
  if (Has(node, 1)) {
    FL_TRY(const std::vector<float> bound, FloatsAt(node, 1, 1));
    low = bound[0];
  }
  if (Has(node, 2)) {
    FL_TRY(const Constant bound, ConstantAt(node, 2));
    // The largest float and infinity both mean "no bound".
    const auto finite = FloatsOf(*bound.tensor);
    if (finite && finite->size() == 1 && (*finite)[0] < 3e38F) high = (*finite)[0];
  }
  if (low != 0 || (high != 6 && !std::isinf(high))) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected the bounds 0 and 6, or 0 alone, found " + std::to_string(low) +
                             " and " + std::to_string(high));
  }
  const OpKind kind = std::isinf(high) ? OpKind::kRelu : OpKind::kRelu6;
  return Define(node, LayerOf(node, kind, input.layer), input.order, input.flattened);
}

Result<> GraphReader::ReadPool(const Operator& node) {
  FL_TRY(const Activation input, ImageAt(node, 0));
  const Attribute* kernel = node.Find("kernel_shape");
  const bool maximum = node.type == "MaxPool";
  if (kernel == nullptr || kernel->integers.size() != 2 ||
      std::ranges::any_of(kernel->integers,
                          [](std::int64_t extent) { return extent < 1 || extent > 1 << 20; })) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected a kernel_shape of two extents in [1, 2^20]");
  }
  const Shape image = ShapeOf(input);
  FL_TRY(const ImportedWindow window,
         WindowOf(node, image, static_cast<std::size_t>(kernel->integers[0]),
                  static_cast<std::size_t>(kernel->integers[1]), false));
  if (!maximum && window.same && IntegerOr(node, "count_include_pad", 0) != 0) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected count_include_pad 0 with pads: fl divides by the pixels inside "
                         "the image");
  }
  ImportedLayer layer = LayerOf(node, maximum ? OpKind::kMaxPool : OpKind::kAvgPool, input.layer);
  layer.words = window.Words();
  layer.shape = Shape{window.output[0], window.output[1], image[2]};
  return Define(node, std::move(layer), Order::kChannelsFirst);
}

// GlobalAveragePool, or ReduceMean over height and width.
Result<> GraphReader::ReadGlobalPool(const Operator& node) {
  FL_TRY(const Activation input, ImageAt(node, 0));
  bool keeps = true;
  if (node.type == "ReduceMean") {
    FL_TRY(std::vector<std::int64_t> axes, IntegersAt(node, 1, "axes"));
    for (std::int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
    std::ranges::sort(axes);
    if (!IsSame(axes, {2, 3})) {
      return OperatorError(ErrorCode::kUnsupported, node,
                           "expected the axes of height and width, 2 and 3");
    }
    keeps = IntegerOr(node, "keepdims", 1) != 0;
  }
  ImportedLayer layer = LayerOf(node, OpKind::kGlobalAvgPool, input.layer);
  layer.shape = Shape{ShapeOf(input)[2]};
  return Define(node, std::move(layer), keeps ? Order::kOnePixel : Order::kFlat);
}

// Two or more activations of one order.
Result<> GraphReader::Combine(const Operator& node, OpKind kind) {
  FL_TRY(const Activation first, ActivationAt(node, 0));
  ImportedLayer layer = LayerOf(node, kind, first.layer);
  Shape shape = ShapeOf(first);
  for (std::size_t k = 1; k < node.inputs.size(); ++k) {
    FL_TRY(const Activation other, ActivationAt(node, k));
    // A factor for each channel.
    const bool factor = kind == OpKind::kMultiply && first.order == Order::kChannelsFirst &&
                        other.order == Order::kOnePixel;
    if ((other.order != first.order && !factor) || other.flattened.rank() != 0 ||
        first.flattened.rank() != 0) {
      return OperatorError(ErrorCode::kUnsupported, node,
                           "expected operands of one order: images N x channels x height x width, "
                           "or features that are no flattened image");
    }
    layer.inputs.push_back(other.layer);
    if (kind != OpKind::kConcat) continue;
    std::vector<std::size_t> extents(shape.extents().begin(), shape.extents().end());
    extents.back() += ShapeOf(other)[extents.size() - 1];
    shape = Shape(std::move(extents));
  }
  layer.shape = shape;
  return Define(node, std::move(layer), first.order);
}

Result<> GraphReader::ReadAdd(const Operator& node) {
  if (node.type == "Add") {
    FL_TRY(const bool folded, FoldBias(node));
    if (folded) return {};
  }
  return Combine(node, OpKind::kAdd);
}

Result<> GraphReader::ReadMultiply(const Operator& node) {
  if (node.inputs.size() != 2)
    return OperatorError(ErrorCode::kMalformed, node, "expected two inputs");
  FL_TRY(const Activation first, ActivationAt(node, 0));
  FL_TRY(const Activation second, ActivationAt(node, 1));
  // Multiplication has no order: the image comes first.
  Operator ordered = node;
  if (first.order == Order::kOnePixel && second.order == Order::kChannelsFirst)
    std::swap(ordered.inputs[0], ordered.inputs[1]);
  return Combine(ordered, OpKind::kMultiply);
}

Result<> GraphReader::ReadConcat(const Operator& node) {
  FL_TRY(const Activation first, ActivationAt(node, 0));
  const std::int64_t rank = first.order == Order::kFlat ? 2 : 4;
  std::int64_t axis = IntegerOr(node, "axis", 1);
  if (axis < 0) axis += rank;
  if (axis != (first.order == Order::kChannelsLast ? 3 : 1)) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected the axis of the channels, found " + std::to_string(axis));
  }
  return Combine(node, OpKind::kConcat);
}

Result<> GraphReader::Flatten(const Operator& node, const Activation& value) {
  if (value.order == Order::kFlat) return DefineValue(node, value);
  if (value.order == Order::kOnePixel) {
    Activation flat = value;
    flat.order = Order::kFlat;
    return DefineValue(node, flat);
  }
  const Shape image = ShapeOf(value);
  ImportedLayer layer = LayerOf(node, OpKind::kFlatten, value.layer);
  layer.shape = Shape{image.count()};
  const bool moves = value.order == Order::kChannelsFirst && !OrderIsFree(image);
  return Define(node, std::move(layer), Order::kFlat, moves ? image : Shape{});
}

Result<> GraphReader::ReadFlatten(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  if (IntegerOr(node, "axis", 1) == 1) return Flatten(node, input);
  return OperatorError(ErrorCode::kUnsupported, node, "expected axis 1");
}

Result<> GraphReader::ReadReshape(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  FL_TRY(std::vector<std::int64_t> extents, IntegersAt(node, 1, "shape"));
  const auto total = static_cast<std::int64_t>(ShapeOf(input).count());
  bool fits = (extents.size() == 2 || extents.size() == 4) &&
              (extents[0] == 0 || extents[0] == -1 || extents[0] == 1 || extents[0] == batch_);
  std::int64_t known = 1;
  std::size_t open = 0;
  for (std::size_t i = 1; i < extents.size() && fits; ++i) {
    open += extents[i] == -1 ? 1 : 0;
    fits = extents[i] == -1 || (extents[i] >= 1 && extents[i] <= total / known);
    if (fits && extents[i] > 0) known *= extents[i];
  }
  fits = fits && open <= 1 && total % known == 0 && (open == 1 || known == total) &&
         !(open == 1 && extents[0] == -1);
  if (!fits) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected the batch as the first extent and " + std::to_string(total) +
                             " values in one or three more");
  }
  for (std::int64_t& extent : extents) {
    if (extent == -1) extent = total / known;
  }
  return extents.size() == 2 ? Flatten(node, input) : Reshape(node, input, extents);
}

// To N x height x width x channels, or to N x channels x 1 x 1.
Result<> GraphReader::Reshape(const Operator& node, const Activation& value,
                              const std::vector<std::int64_t>& extents) {
  const bool flat = value.order == Order::kFlat && value.flattened.rank() == 0;
  if (flat && extents[2] == 1 && extents[3] == 1) {
    Activation pixel = value;
    pixel.order = Order::kOnePixel;
    return DefineValue(node, pixel);
  }
  const bool image = value.order == Order::kChannelsLast ||
                     (value.order == Order::kChannelsFirst && OrderIsFree(ShapeOf(value)));
  if (!flat && !image) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected features, or an image N x height x width x channels");
  }
  ImportedLayer layer = LayerOf(node, OpKind::kReshape, value.layer);
  layer.shape = Shape{static_cast<std::size_t>(extents[1]), static_cast<std::size_t>(extents[2]),
                      static_cast<std::size_t>(extents[3])};
  layer.words = " " + layer.shape.ToText();
  return Define(node, std::move(layer), Order::kChannelsLast);
}

// Squeeze and Unsqueeze of height and width.
Result<> GraphReader::ReadSqueeze(const Operator& node) {
  FL_TRY(Activation value, ActivationAt(node, 0));
  FL_TRY(std::vector<std::int64_t> axes, IntegersAt(node, 1, "axes"));
  for (std::int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
  std::ranges::sort(axes);
  const bool squeeze = node.type == "Squeeze";
  const Order from = squeeze ? Order::kOnePixel : Order::kFlat;
  if (!IsSame(axes, {2, 3}) || value.order != from || value.flattened.rank() != 0) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected the axes 2 and 3 of one pixel for each channel");
  }
  value.order = squeeze ? Order::kFlat : Order::kOnePixel;
  return DefineValue(node, value);
}

Result<> GraphReader::ReadTranspose(const Operator& node) {
  FL_TRY(Activation value, ActivationAt(node, 0));
  const Attribute* order = node.Find("perm");
  const std::vector<std::int64_t> none;
  const std::vector<std::int64_t>& axes = order != nullptr ? order->integers : none;
  if (value.order == Order::kChannelsFirst && IsSame(axes, {0, 2, 3, 1})) {
    value.order = Order::kChannelsLast;
  } else if (value.order == Order::kChannelsLast && IsSame(axes, {0, 3, 1, 2})) {
    value.order = Order::kChannelsFirst;
  } else {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected one that takes an image's channels from first to last, or back");
  }
  return DefineValue(node, value);
}

Result<> GraphReader::ReadIdentity(const Operator& node) {
  if (node.type == "Dropout" && Has(node, 2)) {
    return OperatorError(ErrorCode::kUnsupported, node, "expected one that is not in training");
  }
  FL_TRY(const Value* value, ValueAt(node, 0));
  return DefineValue(node, *value);
}

Result<> GraphReader::ReadConstant(const Operator& node) {
  const Attribute* value = node.Find("value");
  if (value == nullptr || !value->tensor) {
    return OperatorError(ErrorCode::kUnsupported, node, "expected a tensor as \"value\"");
  }
  return DefineValue(node, Constant{&*value->tensor, {}});
}

}  // namespace fl::onnx::internal
