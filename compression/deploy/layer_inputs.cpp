#include "fl/compression/deploy/layer_inputs.h"

#include <algorithm>
#include <string>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {
namespace {

// The part of the graph that makes this node's output, which is its last.
nn::Graph UpTo(const nn::Graph& graph, std::size_t node) {
  nn::Graph part = graph;
  part.nodes.resize(node + 1);
  return part;
}

// Copies the window of output pixel (row, column) of one sample; padding is zero.
void CopyWindow(const nn::Graph& graph, const nn::Node& node, std::span<const float> image,
                std::size_t place, std::span<float> out) {
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  const std::size_t channels = input[2];
  const std::size_t top = nn::PaddingBefore(input[0], node.shape[0], node.kernel_height,
                                            node.stride, node.same_padding);
  const std::size_t left =
      nn::PaddingBefore(input[1], node.shape[1], node.kernel_width, node.stride, node.same_padding);
  const std::size_t first_row = place / node.shape[1] * node.stride;  // Counted from the padding.
  const std::size_t first_column = place % node.shape[1] * node.stride;
  for (std::size_t a = 0; a < node.kernel_height; ++a) {
    for (std::size_t b = 0; b < node.kernel_width; ++b) {
      const auto pixel = out.subspan((a * node.kernel_width + b) * channels, channels);
      const std::size_t row = first_row + a;
      const std::size_t column = first_column + b;
      const bool inside =
          row >= top && row - top < input[0] && column >= left && column - left < input[1];
      if (inside) {
        std::ranges::copy(
            image.subspan(((row - top) * input[1] + column - left) * channels, channels),
            pixel.begin());
      } else {
        std::ranges::fill(pixel, 0.0F);
      }
    }
  }
}

Result<> Check(const nn::Graph& graph, std::size_t node, std::span<const float> samples,
               std::size_t count) {
  const std::size_t features = graph.input_shape().count();
  if (count == 0 || samples.size() != count * features) {
    return Error{ErrorCode::kInvalidArgument, "expected calibration samples of " +
                                                  std::to_string(features) + " values, found " +
                                                  std::to_string(samples.size()) + " values in " +
                                                  std::to_string(count) + " samples"};
  }
  const nn::Node& layer = graph.nodes[node];
  const bool conv = layer.kind == nn::OpKind::kConv2d && layer.groups == 1;
  if (conv || layer.kind == nn::OpKind::kDense) return {};
  return Error{ErrorCode::kInvalidArgument,
               layer.name + ": expected a dense layer or a convolution of one group"};
}

}  // namespace

Result<LayerInputs> ObserveLayerInputs(const nn::Graph& graph, std::span<const float> parameters,
                                       std::size_t node, std::span<const float> samples,
                                       std::size_t count, std::size_t rows_max) {
  FL_TRY_OK(Check(graph, node, samples, count));
  const nn::Node& layer = graph.nodes[node];
  const bool conv = layer.kind == nn::OpKind::kConv2d;
  const nn::Graph part = UpTo(graph, layer.inputs[0]);
  const std::size_t features = graph.input_shape().count();
  const std::size_t length = part.output_shape().count();
  const std::size_t places = conv ? layer.shape[0] * layer.shape[1] : 1;
  const std::size_t width =
      conv ? layer.kernel_height * layer.kernel_width * part.output_shape()[2] : length;
  FL_TRY(nn::Session session, nn::Session::Create(part, 1));
  LayerInputs seen;
  seen.rows = std::min(std::max<std::size_t>(1, rows_max), count * places);
  seen.values.resize(seen.rows * width);
  std::vector<float> output(length);
  std::size_t sample = count;  // Whose output is at hand; none.
  for (std::size_t row = 0; row < seen.rows; ++row) {
    // Row r of R takes place floor(r P / R) of all P.
    const std::size_t at = row * (count * places) / seen.rows;
    if (at / places != sample) {
      sample = at / places;
      session.Run(parameters, samples.subspan(sample * features, features), 1, output);
      if (!AllFinite(output))
        return Error{ErrorCode::kNotFinite,
                     layer.name + ": calibration gives it inputs that are not finite"};
    }
    const auto out = std::span(seen.values).subspan(row * width, width);
    if (conv) {
      CopyWindow(part, layer, output, at % places, out);
    } else {
      std::ranges::copy(output, out.begin());
    }
  }
  return seen;
}

}  // namespace fl::deploy
