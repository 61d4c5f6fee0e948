#pragma once

#include <cstddef>
#include <cstdint>

#include "fl/client/train/local_data.h"
#include "fl/common/base/bytes.h"

namespace fl::client {

// What is known of a model that the gate has accepted.
struct DeploymentFacts {
  double accuracy = 0;  // On the verification samples, in [0, 1], by the engine that runs it.
  double global_accuracy = 0;
  std::size_t verified_on = 0;  // How many samples that were.
};

// The model file with these facts and its drift reference on the device's samples in its notes
// ("accuracy", "global_accuracy", "verified_on", kDriftNote); the model itself stays as it
// is. The file is returned as it came where it would become larger than `bytes_max` (0: no bound)
// or cannot be read. Same inputs, same bits.
Bytes WithDeploymentNotes(Bytes model_file, const DeploymentFacts& facts, const LocalData& data,
                          std::uint64_t bytes_max);

}  // namespace fl::client
