#include "fl/common/nn/sparse_blocks.h"

#include <doctest/doctest.h>

#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/internal/sparse_panels.h"
#include "fl/common/nn/kernels/select.h"
#include "fl/common/nn/model_file.h"
#include "fl/tests/common/nn/integer_reference.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;

// Weights of which a share of the blocks of 4 channels x 1 input is zero.
std::vector<std::int8_t> BlockWeights(std::size_t channels, std::size_t depth, double sparsity,
                                      std::uint64_t seed) {
  RngStream rng(seed);
  std::vector<std::int8_t> weight(channels * depth);
  for (std::size_t first = 0; first < channels; first += 4) {
    for (std::size_t k = 0; k < depth; ++k) {
      if (rng.UniformDouble() < sparsity) continue;
      for (std::size_t c = first; c < std::min(first + 4, channels); ++c)
        weight[c * depth + k] = static_cast<std::int8_t>(1 + rng.UniformInteger(127));
    }
  }
  return weight;
}

QuantizedModel SparseModel(std::size_t depth, std::size_t units, double sparsity) {
  const Graph graph = Build({depth}, {"dense " + std::to_string(units), "relu", "dense 10"});
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  model.activations = {{0.02F, 3}, {0.5F, -7}, {0.5F, -7}, {1.0F, 0}};
  for (const std::size_t node : {1U, 3U}) {
    const Shape& weight = graph.parameters[graph.nodes[node].parameters[0]].shape;
    QuantizedNode& to = model.nodes[node];
    to.weight = BlockWeights(weight[1], weight[0], sparsity, node);
    to.weight_scale.assign(weight[1], 0.004F);
    for (std::size_t c = 0; c < weight[1]; ++c)
      to.bias.push_back(static_cast<std::int32_t>(37 * c) - 500);
  }
  return model;
}

std::vector<float> Inputs(std::size_t count) {
  std::vector<float> values(count);
  RngStream rng(4);
  for (float& value : values) value = 5 * rng.Uniform() - 2.5F;
  return values;
}

TEST_CASE("SparseBlocks: unpacking gives back what was packed, at every size") {
  for (const std::size_t channels : {1U, 3U, 4U, 5U, 8U}) {
    for (const std::size_t depth : {1U, 7U, 8U, 9U, 40U}) {
      for (const double sparsity : {0.0, 0.5, 1.0}) {
        const auto weight = BlockWeights(channels, depth, sparsity, 10 * channels + depth);
        const SparseBlocks blocks = PackBlocks(weight, depth);
        CHECK(Get(UnpackBlocks(blocks, channels, depth)) == weight);
        CHECK(blocks.values.size() == 4 * CountBlocks(blocks.map));
      }
    }
  }
}

TEST_CASE("SparseBlocks: each broken rule is malformed") {
  const SparseBlocks good = PackBlocks(BlockWeights(6, 11, 0.5, 1), 11);
  REQUIRE(UnpackBlocks(good, 6, 11).has_value());
  SparseBlocks bad = good;
  bad.map.pop_back();
  CHECK(CodeOf(UnpackBlocks(bad, 6, 11)) == ErrorCode::kMalformed);
  bad = good;
  bad.values.pop_back();
  CHECK(CodeOf(UnpackBlocks(bad, 6, 11)) == ErrorCode::kMalformed);
  bad = good;  // A block beyond the depth: input 11 of the first four channels.
  bad.map[1] |= 1 << 3;
  bad.values.insert(bad.values.end(), {1, 1, 1, 1});
  CHECK(CodeOf(UnpackBlocks(bad, 6, 11)) == ErrorCode::kMalformed);
  bad = good;  // Channel 7 of 6.
  bad.values.back() = 1;
  CHECK(CodeOf(UnpackBlocks(bad, 6, 11)) == ErrorCode::kMalformed);
  bad = good;  // A block of zeros.
  for (std::size_t i = 0; i < 4; ++i) bad.values[i] = 0;
  CHECK(CodeOf(UnpackBlocks(bad, 6, 11)) == ErrorCode::kMalformed);
}

TEST_CASE("SparsePanels: no more is multiplied than the density and what chunks leave empty") {
  const auto weight = BlockWeights(512, 3136, 0.8, 2);
  const auto packed = Get(internal::SparsePanels::Pack(weight, 3136));
  CHECK(packed.share() > 0.19);
  CHECK(packed.share() < 0.26);
  CHECK(Get(internal::SparsePanels::Pack(BlockWeights(20, 300, 1, 1), 300)).share() == 0);
}

TEST_CASE("LeastShare: counts blocks, and no more than is multiplied") {
  for (const std::size_t channels : {1U, 6U, 16U, 37U}) {
    for (const double sparsity : {0.0, 0.3, 0.8, 0.97, 1.0}) {
      CAPTURE(channels);
      CAPTURE(sparsity);
      const auto weight = BlockWeights(channels, 300, sparsity, 5);
      const double least = internal::LeastShare(weight, 300);
      CHECK(least <= Get(internal::SparsePanels::Pack(weight, 300)).share());
      const auto blocks = static_cast<double>(CountBlocks(PackBlocks(weight, 300).map));
      const std::size_t panels = (channels + 15) / 16;
      CHECK(least == blocks / static_cast<double>(panels * 4 * 300));
    }
  }
}

TEST_CASE("IntegerSession: sparse layers give the reference's bits with every instruction set") {
  for (const std::size_t depth : {127U, 128U, 131U, 300U, 1000U}) {
    for (const double sparsity : {0.5, 0.8, 0.97, 1.0}) {
      CAPTURE(depth);
      CAPTURE(sparsity);
      const QuantizedModel model = SparseModel(depth, 37, sparsity);
      const std::vector<float> inputs = Inputs(3 * depth);
      std::vector<float> expected;
      for (std::size_t i = 0; i < 3; ++i) {
        const auto one = testing::RunIntegerReference(
            model, std::span<const float>(inputs).subspan(i * depth, depth));
        expected.insert(expected.end(), one.begin(), one.end());
      }
      for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
        CAPTURE(InstructionSetName(set));
        std::vector<float> output(30);
        Get(IntegerSession::Create(model, 3, set)).Run(inputs, 3, output);
        CHECK(output == expected);
        std::vector<float> alone(10);
        Get(IntegerSession::Create(model, 1, set))
            .Run(std::span<const float>(inputs).last(depth), 1, alone);
        CHECK(std::equal(alone.begin(), alone.end(), expected.end() - 10));
      }
    }
  }
}

// Convolutions of single pixels: one row a pixel, the second of every other one.
QuantizedModel SparsePixels(std::size_t depth, double sparsity) {
  const Graph graph =
      Build({7, 5, depth}, {"conv 130 1x1", "relu", "conv 21 1x1 stride=2", "flatten", "dense 10"});
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  model.activations = {{0.02F, 3}, {0.5F, -7}, {0.5F, -7}, {9.0F, 5}, {9.0F, 5}, {1.0F, 0}};
  for (const std::size_t node : {1U, 3U, 5U}) {
    const Shape& weight = graph.parameters[graph.nodes[node].parameters[0]].shape;
    const std::size_t channels = weight[weight.rank() - 1];
    QuantizedNode& to = model.nodes[node];
    to.weight = BlockWeights(channels, weight.count() / channels, sparsity, node);
    to.weight_scale.assign(channels, 0.004F);
    for (std::size_t c = 0; c < channels; ++c)
      to.bias.push_back(static_cast<std::int32_t>(37 * c) - 500);
  }
  return model;
}

TEST_CASE("IntegerSession: sparse 1x1 convolutions give the reference's bits") {
  for (const std::size_t depth : {128U, 131U, 200U}) {
    for (const double sparsity : {0.8, 0.97, 1.0}) {
      CAPTURE(depth);
      CAPTURE(sparsity);
      const QuantizedModel model = SparsePixels(depth, sparsity);
      const std::vector<float> inputs = Inputs(2 * 35 * depth);
      std::vector<float> expected;
      for (std::size_t i = 0; i < 2; ++i) {
        const auto one = testing::RunIntegerReference(
            model, std::span<const float>(inputs).subspan(i * 35 * depth, 35 * depth));
        expected.insert(expected.end(), one.begin(), one.end());
      }
      for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
        CAPTURE(InstructionSetName(set));
        std::vector<float> output(20);
        Get(IntegerSession::Create(model, 2, set)).Run(inputs, 2, output);
        CHECK(output == expected);
      }
    }
  }
}

// The kernel on its own: whatever share of the weights the engine takes it for.
TEST_CASE("MultiplySparse: extreme values and full windows give exact sums") {
  constexpr std::size_t kDepth = 400;
  std::vector<std::int8_t> weight(16 * kDepth, 127);
  for (std::size_t i = 0; i < kDepth; ++i) weight[5 * kDepth + i] = -127;
  const auto packed = Get(internal::SparsePanels::Pack(weight, kDepth));
  const std::vector<std::int32_t> bias(16, 9);
  const std::vector<float> multiplier(16, 1);
  const std::size_t row = 0;
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    CAPTURE(InstructionSetName(set));
    const kernels::IntegerKernels& kernels = kernels::IntegerKernelsFor(set);
    const std::vector<std::uint8_t> a(kDepth + kernels::kIntegerSlack,
                                      static_cast<std::uint8_t>(kernels.offset - 128));
    std::vector<float> result(16);
    kernels.multiply_sparse({.a = a.data(),
                             .row_offsets = &row,
                             .rows = 1,
                             .panels = 1,
                             .channels = 16,
                             .to = {.bias = bias.data(), .multiplier = multiplier.data()},
                             .out_stride = 16,
                             .result = {.values = result.data()}},
                            packed.view());
    const auto q = static_cast<float>(kernels.offset - 128);
    CHECK(result[0] == q * 127 * 400 + 9);
    CHECK(result[5] == q * -127 * 400 + 9);
  }
}

TEST_CASE("SerializeModelFile: layers of few blocks are stored without their zeros") {
  const QuantizedModel sparse = SparseModel(300, 40, 0.8);
  const Bytes small = SerializeModelFile({sparse, {}, {}, {}});
  const Bytes large = SerializeModelFile({SparseModel(300, 40, 0), {}, {}, {}});
  CHECK(static_cast<double>(small.size()) < 0.5 * static_cast<double>(large.size()));
  const ModelFile read = Get(ParseModelFile(small));
  const auto& model = std::get<QuantizedModel>(read.model);
  CHECK(model.nodes == sparse.nodes);
  CHECK(SerializeModelFile(read) == small);
  for (std::size_t length = 0; length < small.size(); length += 7)
    CHECK(!ParseModelFile(ByteSpan(small).first(length)).has_value());
}

}  // namespace
}  // namespace fl::nn
