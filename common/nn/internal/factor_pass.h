#pragma once

#include <memory>
#include <span>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/kernels/float_kernels.h"

namespace fl::nn::internal {

// Makes the plain parameters of a graph with factors, and brings their gradient back to the
// factors, so that the operators know plain weights alone. Thread safety: distinct objects safe,
// shared objects unsafe.
class FactorPass {
 public:
  // Null for a graph without factors. Errors: an unsupported instruction set, too little memory.
  static Result<std::unique_ptr<FactorPass>> Create(const Graph& graph,
                                                    InstructionSet instruction_set);

  const Graph& graph() const { return graph_; }
  const Graph& plain() const { return plain_; }

  // plain().parameters.total() values, valid until the next call.
  const float* Materialize(const float* parameters);

  // Where the gradient of the plain parameters is to be written.
  float* plain_gradient() { return plain_gradient_.data(); }
  // From there to the gradient of the factors, all overwritten; that of frozen ones may be
  // anything. `parameters` are those of the last Materialize.
  void Backward(const float* parameters, float* gradient);

 private:
  // A weight as a matrix, or one of its factors; possibly transposed.
  struct Matrix {
    const float* data;
    std::size_t rows;
    std::size_t columns;
    std::size_t row_stride;
    std::size_t column_stride;
    Matrix Transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  };
  // A layer with factors.
  struct Layer {
    std::size_t node;
    std::size_t rows;
    std::size_t columns;
    std::size_t weight;    // Offset in the plain parameters.
    std::size_t products;  // FedPara: offset of X1 Y1, then X2 Y2, in products_.
  };
  // A tensor that both graphs have.
  struct Copy {
    std::size_t from;
    std::size_t to;
    std::size_t count;
  };

  FactorPass(const Graph& graph, InstructionSet instruction_set);
  void Plan();
  Result<> Allocate();
  // The layer's factor at `position` of its parameters.
  Matrix Factor(const Layer& layer, std::size_t position, const float* parameters) const;
  Matrix Weight(const Layer& layer, const float* values) const;
  std::size_t OffsetOf(const Layer& layer, std::size_t position) const;
  void MultiplyTo(const Matrix& a, const Matrix& b, float* out);
  void LoraBackward(const Layer& layer, const float* parameters, float* gradient);
  void FedParaBackward(const Layer& layer, const float* parameters, float* gradient);

  Graph graph_;
  Graph plain_;
  const kernels::FloatKernels* kernels_;
  std::vector<Layer> layers_;
  std::vector<Copy> copies_;
  std::size_t products_count_ = 0;
  std::size_t weight_max_ = 0;
  std::size_t scratch_floats_ = 0;
  AlignedBuffer<float> plain_parameters_;
  AlignedBuffer<float> plain_gradient_;
  AlignedBuffer<float> products_;
  AlignedBuffer<float> masked_;  // The weight's gradient times the other product.
  AlignedBuffer<float> scratch_;
};

}  // namespace fl::nn::internal
