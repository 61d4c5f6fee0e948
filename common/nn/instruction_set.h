#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fl::nn {

// The builds of the fp32 kernels. Each gives the same bits from run to run; between them results
// differ by rounding.
enum class InstructionSet : std::uint8_t { kGeneric, kX86V2, kX86V3, kX86V4 };

// The builds of the integer kernels. All give the same bits.
enum class IntegerInstructionSet : std::uint8_t {
  kGeneric,
  kAvx2,
  kAvxVnni,
  kAvx512Vnni,
  kAvx512Vbmi,  // VNNI, and permutations of bytes.
  kNeon,
  kSdot
};

// What this binary holds and this processor can run, slowest first. Never empty. Thread safety:
// from any thread.
std::vector<InstructionSet> SupportedInstructionSets();
std::vector<IntegerInstructionSet> SupportedIntegerInstructionSets();

// The last of the supported ones.
InstructionSet BestInstructionSet();
IntegerInstructionSet BestIntegerInstructionSet();

// "generic", "x86-64-v2", ...; "generic", "avx2", "avx-vnni", "avx512-vnni",
// "avx512-vbmi", "neon", "sdot".
std::string_view InstructionSetName(InstructionSet set);
std::string_view InstructionSetName(IntegerInstructionSet set);

}  // namespace fl::nn
