#include "fl/common/nn/instruction_set.h"

#include "fl/common/base/check.h"
#include "fl/common/nn/kernels/select.h"

namespace fl::nn {

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

}  // namespace kernels
}  // namespace fl::nn
