#include "fl/common/nn/instruction_set.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "fl/common/base/check.h"
#include "fl/common/nn/kernels/select.h"

namespace fl::nn {
namespace {

#if defined(__x86_64__)
// Leaf 7, subleaf 1, EAX bit 4; g++ 12 has no name for it in __builtin_cpu_supports.
bool HasAvxVnni() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         (eax >> 4 & 1) != 0;
}
#elif defined(__aarch64__)
// Bit 20 of AT_HWCAP, which older kernels' headers do not name: products of four bytes (SDOT).
bool HasDotProduct() {
  return (getauxval(AT_HWCAP) >> 20 & 1) != 0;
}
#endif

}  // namespace

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kGeneric};
#if defined(__x86_64__)
  // Each level holds all of the level before.
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) {
    sets.push_back(InstructionSet::kX86V2);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
      sets.push_back(InstructionSet::kX86V3);
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")) {
        sets.push_back(InstructionSet::kX86V4);
      }
    }
  }
#endif
  return sets;
}

std::vector<IntegerInstructionSet> SupportedIntegerInstructionSets() {
  std::vector<IntegerInstructionSet> sets = {IntegerInstructionSet::kGeneric};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) sets.push_back(IntegerInstructionSet::kAvx2);
  if (HasAvxVnni()) sets.push_back(IntegerInstructionSet::kAvxVnni);
  if (SupportedInstructionSets().back() == InstructionSet::kX86V4 &&
      __builtin_cpu_supports("avx512vnni")) {
    sets.push_back(IntegerInstructionSet::kAvx512Vnni);
    if (__builtin_cpu_supports("avx512vbmi")) sets.push_back(IntegerInstructionSet::kAvx512Vbmi);
  }
#elif defined(__aarch64__)
  sets.push_back(IntegerInstructionSet::kNeon);
  if (HasDotProduct()) sets.push_back(IntegerInstructionSet::kSdot);
#endif
  return sets;
}

IntegerInstructionSet BestIntegerInstructionSet() {
  return SupportedIntegerInstructionSets().back();
}

InstructionSet BestInstructionSet() {
  return SupportedInstructionSets().back();
}

std::string_view InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kGeneric:
      return "generic";
    case InstructionSet::kX86V2:
      return "x86-64-v2";
    case InstructionSet::kX86V3:
      return "x86-64-v3";
    case InstructionSet::kX86V4:
      return "x86-64-v4";
  }
  return "unknown";
}

std::string_view InstructionSetName(IntegerInstructionSet set) {
  switch (set) {
    case IntegerInstructionSet::kGeneric:
      return "generic";
    case IntegerInstructionSet::kAvx2:
      return "avx2";
    case IntegerInstructionSet::kAvxVnni:
      return "avx-vnni";
    case IntegerInstructionSet::kAvx512Vnni:
      return "avx512-vnni";
    case IntegerInstructionSet::kAvx512Vbmi:
      return "avx512-vbmi";
    case IntegerInstructionSet::kNeon:
      return "neon";
    case IntegerInstructionSet::kSdot:
      return "sdot";
  }
  return "unknown";
}

namespace kernels {

const FloatKernels& FloatKernelsFor(InstructionSet set) {
#if defined(__x86_64__)
  switch (set) {
    case InstructionSet::kGeneric:
      return generic::FloatTable();
    case InstructionSet::kX86V2:
      return v2::FloatTable();
    case InstructionSet::kX86V3:
      return v3::FloatTable();
    case InstructionSet::kX86V4:
      return v4::FloatTable();
  }
#endif
  FL_CHECK(set == InstructionSet::kGeneric, "an instruction set that this binary does not hold");
  return generic::FloatTable();
}

const LayerKernels& LayerKernelsFor(InstructionSet set) {
#if defined(__x86_64__)
  switch (set) {
    case InstructionSet::kGeneric:
      return generic::LayerTable();
    case InstructionSet::kX86V2:
      return v2::LayerTable();
    case InstructionSet::kX86V3:
      return v3::LayerTable();
    case InstructionSet::kX86V4:
      return v4::LayerTable();
  }
#endif
  FL_CHECK(set == InstructionSet::kGeneric, "an instruction set that this binary does not hold");
  return generic::LayerTable();
}

const IntegerKernels& IntegerKernelsFor(IntegerInstructionSet set) {
  switch (set) {
    case IntegerInstructionSet::kGeneric:
      return generic::IntegerTable();
#if defined(__x86_64__)
    case IntegerInstructionSet::kAvx2:
      return avx2::IntegerTable();
    case IntegerInstructionSet::kAvxVnni:
      return avxvnni::IntegerTable();
    case IntegerInstructionSet::kAvx512Vnni:
      return avx512vnni::IntegerTable();
    case IntegerInstructionSet::kAvx512Vbmi:
      return avx512vbmi::IntegerTable();
#elif defined(__aarch64__)
    case IntegerInstructionSet::kNeon:
      return neon::IntegerTable();
    case IntegerInstructionSet::kSdot:
      return sdot::IntegerTable();
#endif
    default:
      break;
  }
  FL_CHECK(false, "an instruction set that this binary does not hold");
  return generic::IntegerTable();
}

}  // namespace kernels
}  // namespace fl::nn
