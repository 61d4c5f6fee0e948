#pragma once

#include <array>
#include <cstdint>

#include "fl/common/nn/quantized_model.h"

namespace fl::nn::internal {

// The function of one value (sigmoid, tanh, hard swish) for q = -128 ... 127:
// clamp(round_half_even(f(s_x (q - z_x)) / s_y) + z_y). Computed in fp64 by + - * / alone, so that
// every machine and C library has the same table.
std::array<std::int8_t, 256> FunctionTable(OpKind kind, const ActivationScale& input,
                                           const ActivationScale& output);

// e^x by those four operations, to within 1e-11 of itself; 0 below -700 and e^700 above 700.
double Exponential(double x);

}  // namespace fl::nn::internal
