#pragma once

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The part of the group `models` that times the sparse kernel.
namespace fl::bench {

// Rows "models/sparse/INPUTSxUNITS" and "models/sparse/HEIGHTxWIDTHxINPUTSxUNITS": how many times
// faster a dense layer or a convolution 1x1 in int8 runs for one sample when 80 % of its blocks of
// 4 outputs x 1 input are zero, against the same layer without zeros, in turns; for the large
// layers of mnist_cnn and leaf_femnist_cnn, and for a middle one of MobileNets.
Result<> RunSparseLayers(const RunConditions& conditions, Report& report);

}  // namespace fl::bench
