#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"

// Codes of 1 to 7 bits, side by side, to one a byte (entropy/pack.h): the inner loop of decoding
// them. The same with every instruction set; chosen once at run time by Highway.
namespace fl::kernels {

// out[i] = bits [i * width, (i + 1) * width) of `packed`, which holds all of them and may go on.
void UnpackWidth(ByteSpan packed, unsigned width, std::span<std::uint8_t> out);
void UnpackWidthReference(ByteSpan packed, unsigned width, std::span<std::uint8_t> out);

}  // namespace fl::kernels
