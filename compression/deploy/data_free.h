#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/data_statistics.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

enum class DataFreeMethod : std::uint8_t {
  // Inputs, from noise of the known moments and correlations, are moved by Adam such that the
  // teacher says their label and inner values
  // have the known moments (DeepInversion: Yin et al. 2020, arXiv:1912.08795; ZeroQ: Cai et al.
  // 2020, arXiv:2001.00281):
  //   CE(teacher(x), y) + statistics_weight sum over nodes of mean over channels of
  //   (m - M)^2 / V + (v / V - 1)^2  + tv_weight TV(x) + l2_weight |x - input_mean|^2.
  kStatistics,
  // A small network makes samples from noise (DAFL: Chen et al. 2019, arXiv:1904.01186):
  //   CE(teacher(G(z)), argmax) - 0.1 mean |features| + 5 sum p log p,  p the mean prediction,
  // and the moments' term of above where there are any.
  kGenerator,
};

struct DataFreeConfig {
  DataFreeMethod method = DataFreeMethod::kStatistics;
  std::uint32_t samples = 1000;   // To be made, >= 1.
  std::uint32_t steps = 60;       // Of each batch of 50 (kStatistics), or of the generator, >= 1.
  double learning_rate = 0.05;    // Adam's, > 0; of the generator a fiftieth.
  double statistics_weight = 30;  // >= 0.
  double tv_weight = 1e-3;        // Of the mean square of differences between neighbours, >= 0.
  double l2_weight = 1e-3;        // >= 0.
};

// Samples for a distillation without data, labelled by the class that they were made for (by the
// teacher's answer with kGenerator). kNotFound when the statistics name unknown nodes,
// kShapeMismatch when their sizes do not fit, kNotFinite when the teacher's answers are not finite,
// kUnavailable when `stop` was set. Same arguments, same bits on one machine and build. Thread
// safety: pure function.
Result<data::Subset> SynthesizeSamples(const Teacher& teacher, const DataStatistics& statistics,
                                       const DataFreeConfig& config, const RngStream& rng,
                                       const std::atomic<bool>& stop);

}  // namespace fl::deploy
