#pragma once

#include <cstdint>
#include <span>

// Codes of a byte each to 1 to 7 bits, side by side (entropy/pack.h): the inner loop of encoding
// them. The same with every instruction set; chosen once at run time by Highway.
namespace fl::kernels {

// Bits [i * width, (i + 1) * width) of `packed` = codes[i], each < 2^width; the bits behind the
// last are zero. packed.size() is what the codes take, rounded up to a byte.
void PackWidth(std::span<const std::uint8_t> codes, unsigned width, std::span<std::byte> packed);
void PackWidthReference(std::span<const std::uint8_t> codes, unsigned width,
                        std::span<std::byte> packed);

}  // namespace fl::kernels
