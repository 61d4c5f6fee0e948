#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX512VNNI__)
#include "fl/common/nn/kernels/integer_lanes_avx512.h"
#elif defined(FL_ISA_avxvnni) || defined(FL_ISA_avx2)
#include "fl/common/nn/kernels/integer_lanes_avx2.h"
#elif defined(FL_ISA_sdot) || defined(FL_ISA_neon)
#include "fl/common/nn/kernels/integer_lanes_neon.h"
#else
#include "fl/common/nn/kernels/integer_lanes_generic.h"
#endif

// Sixteen lanes of s32 and of fp32 in the registers of the instruction set that is being compiled
// (FL_ISA). Everything lies in an unnamed namespace, so that the linker cannot merge it.
namespace fl::nn::kernels {
namespace {

inline constexpr std::size_t kLanes = 16;

inline std::int32_t FourOf(const std::uint8_t* a) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, a, 4);
  return four;
}

// Sixteen outputs, of which `count` are wanted.
inline void StoreSome(Floats a, std::int32_t zero_point, std::size_t count, std::uint8_t* to) {
  if (count >= kLanes) return StoreBytes(a, zero_point, to);
  std::uint8_t bytes[kLanes];
  StoreBytes(a, zero_point, bytes);
  for (std::size_t i = 0; i < count; ++i) to[i] = bytes[i];
}

inline void StoreSomeFloats(Floats a, std::size_t count, float* to) {
  if (count >= kLanes) return StoreFloats(a, to);
  float values[kLanes];
  StoreFloats(a, values);
  for (std::size_t i = 0; i < count; ++i) to[i] = values[i];
}

}  // namespace
}  // namespace fl::nn::kernels
