#pragma once

#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/kernels/float_kernels.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/layer_kernels.h"

namespace fl::nn::kernels {

// The table of a supported instruction set.
const FloatKernels& FloatKernelsFor(InstructionSet set);
const LayerKernels& LayerKernelsFor(InstructionSet set);
const IntegerKernels& IntegerKernelsFor(IntegerInstructionSet set);

}  // namespace fl::nn::kernels
