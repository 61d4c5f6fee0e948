#pragma once

#include <cstdint>
#include <span>

// The same bits with every instruction set; chosen once at run time by Highway.
namespace fl::kernels {

// out[4 i + j] = the upper 24 bits of word j of Philox's block first + i, as a number in [0, 1);
// out.size() is a multiple of 4.
void FillUniformBlocks(std::uint64_t key, std::uint64_t first, std::span<float> out);
void FillUniformBlocksReference(std::uint64_t key, std::uint64_t first, std::span<float> out);

// The words themselves: out[4 i + j] = word j of block first + i.
void FillWordBlocks(std::uint64_t key, std::uint64_t first, std::span<std::uint32_t> out);
void FillWordBlocksReference(std::uint64_t key, std::uint64_t first, std::span<std::uint32_t> out);

}  // namespace fl::kernels
