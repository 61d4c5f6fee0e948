#include "fl/common/nn/internal/factor_pass.h"

#include <algorithm>
#include <string>

#include "fl/common/nn/internal/forward.h"
#include "fl/common/nn/internal/pass_arguments.h"
#include "fl/common/nn/kernels/select.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn::internal {
namespace {

void MultiplyElements(const float* a, const float* b, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

float ScaleOf(const Factoring& factoring) {
  return static_cast<float>(factoring.alpha) / static_cast<float>(factoring.rank);
}

}  // namespace

FactorPass::FactorPass(const Graph& graph, InstructionSet instruction_set)
    : graph_(graph),
      plain_(PlainGraph(graph)),
      kernels_(&kernels::FloatKernelsFor(instruction_set)) {}

Result<std::unique_ptr<FactorPass>> FactorPass::Create(const Graph& graph,
                                                       InstructionSet instruction_set) {
  std::unique_ptr<FactorPass> pass;
  if (!IsFactored(graph)) return pass;
  FL_TRY_OK(ExpectSupported(instruction_set, SupportedInstructionSets()));
  pass.reset(new FactorPass(graph, instruction_set));
  pass->Plan();
  FL_TRY_OK(pass->Allocate());
  return pass;
}

void FactorPass::Plan() {
  const auto floats = [this](std::size_t depth, std::size_t columns) {
    scratch_floats_ = std::max(scratch_floats_, PanelFloats(depth, columns, *kernels_));
  };
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (node.parameters.empty()) continue;
    const std::vector<std::size_t>& to = plain_.nodes[i].parameters;
    const bool factored = node.factoring.kind != FactorKind::kNone;
    // The tensors after the weight's factors, or all, are the same in both graphs.
    for (std::size_t j = factored ? 1 : 0; j < to.size(); ++j) {
      const std::size_t from = node.parameters[node.parameters.size() - to.size() + j];
      copies_.push_back({graph_.parameters.offset(from), plain_.parameters.offset(to[j]),
                         plain_.parameters[to[j]].shape.count()});
    }
    if (!factored) continue;
    const std::size_t count = plain_.parameters[to[0]].shape.count();
    const std::size_t columns = copies_.back().count;
    const std::size_t weight = plain_.parameters.offset(to[0]);
    const std::size_t rows = count / columns;
    layers_.push_back({i, rows, columns, weight, products_count_});
    weight_max_ = std::max(weight_max_, count);
    if (node.factoring.kind == FactorKind::kFedPara) products_count_ += 2 * AlignedCount(count);
    floats(node.factoring.rank, columns);
    floats(rows, columns);
    floats(columns, node.factoring.rank);
  }
}

Result<> FactorPass::Allocate() {
  FL_TRY(plain_parameters_, AlignedBuffer<float>::Allocate(plain_.parameters.total()));
  FL_TRY(plain_gradient_, AlignedBuffer<float>::Allocate(plain_.parameters.total()));
  FL_TRY(products_, AlignedBuffer<float>::Allocate(products_count_));
  FL_TRY(masked_, AlignedBuffer<float>::Allocate(products_count_ > 0 ? weight_max_ : 0));
  FL_TRY(scratch_, AlignedBuffer<float>::Allocate(scratch_floats_));
  return {};
}

std::size_t FactorPass::OffsetOf(const Layer& layer, std::size_t position) const {
  return graph_.parameters.offset(graph_.nodes[layer.node].parameters[position]);
}

FactorPass::Matrix FactorPass::Factor(const Layer& layer, std::size_t position,
                                      const float* parameters) const {
  const std::size_t tensor = graph_.nodes[layer.node].parameters[position];
  const Shape& shape = graph_.parameters[tensor].shape;
  return {parameters + graph_.parameters.offset(tensor), shape[0], shape[1], shape[1], 1};
}

FactorPass::Matrix FactorPass::Weight(const Layer& layer, const float* values) const {
  return {values, layer.rows, layer.columns, layer.columns, 1};
}

void FactorPass::MultiplyTo(const Matrix& a, const Matrix& b, float* out) {
  kernels_->pack_panels({b.data, b.rows, b.columns, b.row_stride, b.column_stride, 0},
                        scratch_.data());
  kernels::Product product;
  product.a = a.data;
  product.rows = a.rows;
  product.row_stride = a.row_stride;
  product.segment_length = a.columns;
  product.step = a.column_stride;
  product.b = scratch_.data();
  product.packed = true;
  product.c = out;
  product.c_stride = b.columns;
  product.columns = b.columns;
  kernels_->multiply(product);
}

const float* FactorPass::Materialize(const float* parameters) {
  for (const Copy& copy : copies_) {
    std::copy_n(parameters + copy.from, copy.count, plain_parameters_.data() + copy.to);
  }
  for (const Layer& layer : layers_) {
    const Factoring& factoring = graph_.nodes[layer.node].factoring;
    const std::size_t count = layer.rows * layer.columns;
    float* weight = plain_parameters_.data() + layer.weight;
    if (factoring.kind == FactorKind::kLora) {
      MultiplyTo(Factor(layer, 1, parameters), Factor(layer, 2, parameters), weight);
      kernels_->scale(ScaleOf(factoring), count, weight);
      kernels_->add_scaled(parameters + OffsetOf(layer, 0), 1.0F, count, weight);
      continue;
    }
    float* first = products_.data() + layer.products;
    float* second = first + AlignedCount(count);
    MultiplyTo(Factor(layer, 0, parameters), Factor(layer, 1, parameters), first);
    MultiplyTo(Factor(layer, 2, parameters), Factor(layer, 3, parameters), second);
    MultiplyElements(first, second, count, weight);
  }
  return plain_parameters_.data();
}

void FactorPass::Backward(const float* parameters, float* gradient) {
  for (const Copy& copy : copies_) {
    std::copy_n(plain_gradient_.data() + copy.to, copy.count, gradient + copy.from);
  }
  for (const Layer& layer : layers_) {
    if (graph_.nodes[layer.node].factoring.kind == FactorKind::kLora) {
      LoraBackward(layer, parameters, gradient);
    } else {
      FedParaBackward(layer, parameters, gradient);
    }
  }
}

// W = W0 + s A B:  dB = s A' dW,  dA = s dW B'.
void FactorPass::LoraBackward(const Layer& layer, const float* parameters, float* gradient) {
  const Factoring& factoring = graph_.nodes[layer.node].factoring;
  const Matrix weight = Weight(layer, plain_gradient_.data() + layer.weight);
  const Matrix a = Factor(layer, 1, parameters);
  const Matrix b = Factor(layer, 2, parameters);
  float* to_b = gradient + OffsetOf(layer, 2);
  MultiplyTo(a.Transposed(), weight, to_b);
  kernels_->scale(ScaleOf(factoring), b.rows * b.columns, to_b);
  if (!factoring.both) return;
  float* to_a = gradient + OffsetOf(layer, 1);
  MultiplyTo(weight, b.Transposed(), to_a);
  kernels_->scale(ScaleOf(factoring), a.rows * a.columns, to_a);
}

// W = P1 o P2 with P = X Y:  D = dW o (the other P),  dX = D Y',  dY = X' D.
void FactorPass::FedParaBackward(const Layer& layer, const float* parameters, float* gradient) {
  const std::size_t count = layer.rows * layer.columns;
  const float* first = products_.data() + layer.products;
  const float* second = first + AlignedCount(count);
  for (std::size_t half = 0; half < 2; ++half) {
    MultiplyElements(plain_gradient_.data() + layer.weight, half == 0 ? second : first, count,
                     masked_.data());
    const Matrix masked = Weight(layer, masked_.data());
    const std::size_t x = 2 * half;
    const std::size_t y = x + 1;
    MultiplyTo(masked, Factor(layer, y, parameters).Transposed(), gradient + OffsetOf(layer, x));
    MultiplyTo(Factor(layer, x, parameters).Transposed(), masked, gradient + OffsetOf(layer, y));
  }
}

}  // namespace fl::nn::internal
