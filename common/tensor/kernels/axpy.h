#pragma once

#include <span>

namespace fl::kernels {

// out[i] += scale * x[i]: a product rounded to fp32, then a sum rounded to fp32, never fused, so
// that each instruction set gives the same bits as AxpyReference. x.size() == out.size(); the two
// may be the same span, but not overlap otherwise. Thread safety: distinct `out` safe.
void Axpy(float scale, std::span<const float> x, std::span<float> out);

// The scalar oracle of Axpy.
void AxpyReference(float scale, std::span<const float> x, std::span<float> out);

}  // namespace fl::kernels
