#include "fl/common/nn/onnx/internal/import_window.h"

#include "fl/common/nn/build_graph.h"

namespace fl::onnx::internal {
namespace {

constexpr std::int64_t kExtentMax = std::int64_t{1} << 20;

// One axis of a window in the file.
struct Axis {
  std::size_t size = 0;
  std::size_t kernel = 0;
  std::size_t stride = 1;
  std::size_t before = 0;
  std::size_t after = 0;
  std::size_t output = 0;
};

Result<std::vector<std::size_t>> Extents(const Operator& node, std::string_view name,
                                         std::size_t count, std::int64_t fallback) {
  const Attribute* attribute = node.Find(name);
  if (attribute == nullptr)
    return std::vector<std::size_t>(count, static_cast<std::size_t>(fallback));
  std::vector<std::size_t> extents;
  for (const std::int64_t value : attribute->integers) {
    if (value < 0 || value > kExtentMax) break;
    extents.push_back(static_cast<std::size_t>(value));
  }
  if (extents.size() == count && attribute->integers.size() == count) return extents;
  return OperatorError(ErrorCode::kUnsupported, node,
                       "expected " + std::to_string(count) + " values of \"" + std::string(name) +
                           "\" in [0, 2^20]");
}

// Output positions; 0 when the kernel is larger than the padded image. Rounding up counts only
// where it changes nothing.
std::size_t OutputOf(const Axis& axis, bool ceil) {
  const std::size_t padded = axis.size + axis.before + axis.after;
  if (padded < axis.kernel) return 0;
  const std::size_t steps = (padded - axis.kernel) / axis.stride;
  return ceil && (padded - axis.kernel) % axis.stride != 0 ? 0 : steps + 1;
}

// Pads that `same` would give, from auto_pad.
void PadAutomatically(bool upper, Axis& axis) {
  axis.output = (axis.size - 1) / axis.stride + 1;
  const std::size_t covered = (axis.output - 1) * axis.stride + axis.kernel;
  const std::size_t all = covered > axis.size ? covered - axis.size : 0;
  axis.before = upper ? all / 2 : all - all / 2;
  axis.after = all - axis.before;
}

// The kernel with which `same` begins where the file's window does; 0 when there is none.
std::size_t SameKernel(const Axis& axis, bool grows, std::size_t& lead) {
  if ((axis.size - 1) / axis.stride + 1 != axis.output) return 0;
  // Bounded, so that a small file cannot ask for a large kernel.
  const std::size_t most = grows ? 2 * axis.kernel + 2 : axis.kernel;
  for (std::size_t kernel = axis.kernel; kernel <= most; ++kernel) {
    const std::size_t before = nn::PaddingBefore(axis.size, axis.output, kernel, axis.stride, true);
    if (before < axis.before) continue;
    lead = before - axis.before;
    if (lead + axis.kernel <= kernel) return kernel;
  }
  return 0;
}

Result<ImportedWindow> Translate(const Operator& node, const Axis (&axes)[2], bool grows) {
  ImportedWindow window;
  window.stride = axes[0].stride;
  window.output = Shape{axes[0].output, axes[1].output};
  for (std::size_t i = 0; i < 2; ++i) {
    window.kernel[i] = axes[i].kernel;
    window.same = window.same || axes[i].before > 0 || axes[i].after > 0;
  }
  for (std::size_t i = 0; i < 2 && window.same; ++i) {
    window.kernel[i] = SameKernel(axes[i], grows, window.lead[i]);
    if (window.kernel[i] == 0) {
      return OperatorError(ErrorCode::kUnsupported, node,
                           "expected pads as \"same\" or \"valid\" give them, found " +
                               std::to_string(axes[i].before) + " before and " +
                               std::to_string(axes[i].after) + " after " +
                               std::to_string(axes[i].size) + " pixels");
    }
  }
  return window;
}

}  // namespace

std::string ImportedWindow::Words() const {
  return " " + std::to_string(kernel[0]) + "x" + std::to_string(kernel[1]) +
         " stride=" + std::to_string(stride) + (same ? " same" : " valid");
}

Result<ImportedWindow> WindowOf(const Operator& node, const Shape& image, std::size_t kernel_height,
                                std::size_t kernel_width, bool grows) {
  FL_TRY(const std::vector<std::size_t> strides, Extents(node, "strides", 2, 1));
  FL_TRY(const std::vector<std::size_t> pads, Extents(node, "pads", 4, 0));
  FL_TRY(const std::vector<std::size_t> dilations, Extents(node, "dilations", 2, 1));
  const bool plain = dilations == std::vector<std::size_t>{1, 1};
  if (!plain || strides[0] != strides[1] || strides[0] == 0 || kernel_height == 0 ||
      kernel_width == 0) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected a kernel of at least one pixel, one stride for both directions "
                         "and no dilation");
  }
  const Attribute* automatic = node.Find("auto_pad");
  const std::string mode = automatic != nullptr ? automatic->text.value_or("") : "NOTSET";
  Axis axes[2];
  for (std::size_t i = 0; i < 2; ++i) {
    axes[i] = {.size = image[i],
               .kernel = i == 0 ? kernel_height : kernel_width,
               .stride = strides[0],
               .before = mode == "VALID" ? 0 : pads[i],
               .after = mode == "VALID" ? 0 : pads[i + 2],
               .output = 0};
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER")
      PadAutomatically(mode == "SAME_UPPER", axes[i]);
    axes[i].output = OutputOf(axes[i], IntegerOr(node, "ceil_mode", 0) != 0);
    if (axes[i].output > 0) continue;
    return OperatorError(
        ErrorCode::kUnsupported, node,
        "expected a kernel that fits its image of " + image.ToText() + " without rounding up");
  }
  return Translate(node, axes, grows);
}

}  // namespace fl::onnx::internal
