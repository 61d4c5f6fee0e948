#pragma once

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The part of the group `models` that times the sparse kernel.
namespace fl::bench {

// Rows "models/sparse/INPUTSxUNITS" and "models/sparse/HEIGHTxWIDTHxINPUTSxUNITS": how many times
// faster a dense layer, or two convolutions 1x1, run in int8 for one sample when 80 % of their
// blocks of 4 outputs x 1 input are zero, against the same without zeros, in turns. The dense ones
// are the large layers of mnist_cnn and leaf_femnist_cnn; rows "models/sparse/LAYER/SET/PERCENT"
// have them with each instruction set but the plain one, and with other shares of zeros.
Result<> RunSparseLayers(const RunConditions& conditions, Report& report);

}  // namespace fl::bench
