#include "fl/common/nn/internal/sparse_panels.h"

#include <algorithm>
#include <array>

#include "fl/common/base/check.h"

namespace fl::nn::internal {
namespace {

using kernels::kIntegerGroup;
using kernels::kIntegerPanel;
using kernels::kSparsePlaces;
using kernels::kSparseWindow;

constexpr std::size_t kQuad = 4;
constexpr std::size_t kQuads = kIntegerPanel / kQuad;
constexpr std::size_t kQuadPlaces = kSparsePlaces / kQuads;

// A matrix of output channels x depth.
struct Matrix {
  std::span<const std::int8_t> weight;
  std::size_t depth;
  std::size_t channels() const { return weight.size() / depth; }

  // Zero beyond the last channel.
  std::int8_t At(std::size_t channel, std::size_t input) const {
    return channel < channels() ? weight[channel * depth + input] : std::int8_t{0};
  }
  std::vector<std::uint32_t> InputsOf(std::size_t quad) const {
    std::vector<std::uint32_t> inputs;
    for (std::size_t k = 0; k < depth; ++k) {
      bool any = false;
      for (std::size_t c = 0; c < kQuad; ++c) any = any || At(quad * kQuad + c, k) != 0;
      if (any) inputs.push_back(static_cast<std::uint32_t>(k));
    }
    return inputs;
  }
};

// Which inputs a chunk takes of each quad: a window, and for each quad a part of its list.
struct Chunk {
  std::uint32_t first = 0;
  std::array<std::span<const std::uint32_t>, kQuads> inputs;
};

std::vector<Chunk> ChunksOf(const std::array<std::vector<std::uint32_t>, kQuads>& inputs,
                            std::size_t depth) {
  std::array<std::span<const std::uint32_t>, kQuads> left;
  std::copy(inputs.begin(), inputs.end(), left.begin());
  std::vector<Chunk> chunks;
  while (true) {
    Chunk chunk{.first = static_cast<std::uint32_t>(depth - kSparseWindow), .inputs = {}};
    bool any = false;
    for (const auto& list : left) {
      if (list.empty()) continue;
      chunk.first = std::min(chunk.first, list.front());
      any = true;
    }
    if (!any) return chunks;
    for (std::size_t quad = 0; quad < kQuads; ++quad) {
      const auto end = std::ranges::lower_bound(left[quad], chunk.first + kSparseWindow);
      const auto within = static_cast<std::size_t>(end - left[quad].begin());
      const std::size_t count = std::min(within, kQuadPlaces);
      chunk.inputs[quad] = left[quad].first(count);
      left[quad] = left[quad].subspan(count);
    }
    chunks.push_back(chunk);
  }
}

}  // namespace

Result<SparsePanels> SparsePanels::Pack(std::span<const std::int8_t> weight, std::size_t depth) {
  FL_CHECK(depth >= kSparseWindow && weight.size() % depth == 0, "channels x depth, a window deep");
  const Matrix matrix{weight, depth};
  const std::size_t panels = (matrix.channels() + kIntegerPanel - 1) / kIntegerPanel;
  std::vector<std::array<std::vector<std::uint32_t>, kQuads>> inputs(panels);
  std::vector<std::vector<Chunk>> chunks(panels);
  SparsePanels packed;
  std::size_t count = 0;
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (std::size_t quad = 0; quad < kQuads; ++quad)
      inputs[panel][quad] = matrix.InputsOf(panel * kQuads + quad);
    chunks[panel] = ChunksOf(inputs[panel], depth);
    count += chunks[panel].size();
    packed.panel_ends_.push_back(static_cast<std::uint32_t>(count));
  }
  packed.share_ = static_cast<double>(count * kQuadPlaces) / static_cast<double>(panels * depth);
  FL_TRY(packed.places_, AlignedBuffer<std::uint8_t>::Allocate(count * kSparsePlaces));
  FL_TRY(packed.weights_,
         AlignedBuffer<std::int8_t>::Allocate(count * kSparsePlaces * kIntegerGroup));
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (const Chunk& chunk : chunks[panel]) {
      const std::size_t at = packed.first_.size() * kSparsePlaces;
      packed.first_.push_back(chunk.first);
      for (std::size_t quad = 0; quad < kQuads; ++quad) {
        for (std::size_t i = 0; i < chunk.inputs[quad].size(); ++i) {
          const std::uint32_t input = chunk.inputs[quad][i];
          packed.places_.data()[at + quad * kQuadPlaces + i] =
              static_cast<std::uint8_t>(input - chunk.first);
          for (std::size_t c = 0; c < kQuad; ++c) {
            const std::size_t channel = quad * kQuad + c;
            const std::size_t group = i / kIntegerGroup;
            packed.weights_
                .data()[at * kIntegerGroup + (group * kIntegerPanel + channel) * kIntegerGroup +
                        i % kIntegerGroup] = matrix.At(panel * kIntegerPanel + channel, input);
          }
        }
      }
    }
  }
  return packed;
}

double LeastShare(std::span<const std::int8_t> weight, std::size_t depth) {
  const std::size_t channels = weight.size() / depth;
  std::size_t blocks = 0;
  for (std::size_t first = 0; first < channels; first += kQuad) {
    // Of what is beyond the last channel the last one stands in.
    std::array<const std::int8_t*, kQuad> rows{};
    for (std::size_t c = 0; c < kQuad; ++c)
      rows[c] = weight.data() + std::min(first + c, channels - 1) * depth;
    for (std::size_t k = 0; k < depth; ++k) {
      const int any = rows[0][k] | rows[1][k] | rows[2][k] | rows[3][k];
      blocks += any != 0 ? 1U : 0U;
    }
  }
  const std::size_t panels = (channels + kIntegerPanel - 1) / kIntegerPanel;
  return static_cast<double>(blocks) / static_cast<double>(panels * kQuads * depth);
}

}  // namespace fl::nn::internal
