#pragma once

#include <atomic>
#include <string>

#include "fl/client/train/local_data.h"
#include "fl/common/base/result.h"
#include "fl/common/config/personalize_config.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/random/rng_stream.h"

namespace fl::client {

struct Personalized {
  nn::FloatModel model;  // The trained one where it was kept, else the global one.
  bool kept = false;
  double global_accuracy = 0;    // On the whole hold-out, in [0, 1].
  double personal_accuracy = 0;  // Of what was trained; 0 where training failed.
  std::string line;              // For the log: what came of it.
};

// Trains the global model w_0 on the device's training samples by
//   L = crossentropy(w; x, y) + mu / 2 |w - w_0|^2
// (the proximal term of Li et al. 2020, arXiv:1812.06127, as Ditto personalizes with: Li et al.
// 2021, arXiv:2012.04221) and keeps the outcome only where the hold-out, on which nothing is
// trained, has more right answers than with the global model. Batch norms keep their statistics.
// Same inputs, same bits on one machine and build. kInvalidArgument without training samples,
// kUnavailable (`stop`). Thread safety: pure function.
Result<Personalized> Personalize(const PersonalizeConfig& config, nn::FloatModel global,
                                 const LocalData& data, const RngStream& rng,
                                 const std::atomic<bool>& stop);

}  // namespace fl::client
