#pragma once

#include <functional>
#include <map>
#include <string>

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The group `models`: how long a quantized network takes for one sample on one thread.
namespace fl::bench {

struct ModelsConfig {
  RunConditions conditions;
  // Of the networks those whose name holds this; empty: all.
  std::string only;
  // Microseconds that ONNX Runtime takes for the same network in int8, by the network's name; a
  // network that is not here has no ratio.
  std::map<std::string, double, std::less<>> onnxruntime;
};

// The networks of zoo_models.h, a sample at a time from fp32 to fp32 on one thread. Rows
//
//   models/NETWORK/int8               microseconds of the processor, the median of many
//   models/NETWORK/fp32               int8 as a share of our own fp32, run in turns
//   models/NETWORK/dynamic/fp32       likewise, with ranges found in each run
//   models/NETWORK/avx2/fp32, models/NETWORK/avx2/dynamic/fp32
//                                     likewise, both with what a processor with AVX2 has
//   models/NETWORK/onnxruntime        int8 as a share of ONNX Runtime's
//   models/suite/onnxruntime          the geometric mean over mlp, resnet8, ds_cnn, mobilenet_025
//                                     and autoencoder, where all are given
//
// and, with `only` empty or "sparse", those of sparse_layer.h.
Result<> RunModels(const ModelsConfig& config, Report& report);

}  // namespace fl::bench
