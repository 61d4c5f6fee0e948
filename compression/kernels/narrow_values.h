#pragma once

#include <span>

#include "fl/common/base/bytes.h"

// fp32 to sixteen bits, little-endian, at any address: 2 * values.size() bytes. What is beyond the
// largest finite value becomes that value; the rest rounds to nearest, ties to even. The same bits
// with every instruction set; chosen once at run time by Highway. Each ...Reference is the oracle
// of its test.
namespace fl::kernels {

// To binary16, largest 65504.
void NarrowToHalves(std::span<const float> values, std::span<std::byte> out);
void NarrowToHalvesReference(std::span<const float> values, std::span<std::byte> out);

// To bfloat16, largest 0x1.FEp127.
void NarrowToBfloat16s(std::span<const float> values, std::span<std::byte> out);
void NarrowToBfloat16sReference(std::span<const float> values, std::span<std::byte> out);

}  // namespace fl::kernels
