// AVX-512 VBMI gathers the inputs of a sparse product's chunk in one instruction; all else is as
// with AVX-512 VNNI. Compiled like integer_kernels.cpp.
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_sparse.h"

namespace fl::nn::kernels::FL_ISA {

const IntegerKernels& IntegerTable() {
  static const IntegerKernels table = [] {
    IntegerKernels kernels = avx512vnni::IntegerTable();
    kernels.sparse_share_row = kSparseShareRow;
    kernels.sparse_share_rows = kSparseShareRows;
    kernels.multiply_sparse = MultiplySparse;
    return kernels;
  }();
  return table;
}

}  // namespace fl::nn::kernels::FL_ISA
