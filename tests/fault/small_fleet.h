#pragma once

#include <string>
#include <vector>

#include "fl/client/train/local_data.h"
#include "fl/server/core/federation_plan.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

// A federation that trains in microseconds: 15 parameters, updates of some 150 bytes.
namespace fl::fault {

inline std::shared_ptr<const server::FederationPlan> SmallPlan(const std::string& rounds,
                                                               const std::string& extra = "") {
  const std::string text = R"(name = "small"
seed = 7
[model]
input = [4]
layers = ["dense 3"]
[data]
holdout = 0.2
[training]
epochs = 1
batch_size = 5
learning_rate = 0.1
[compression]
gather_below = 0
[[compression.recipe]]
tensors = "*"
recipe = "quantize 4"
[rounds]
)" + rounds + "\n" + extra;
  return server::FederationPlan::Create(client::testing::MakePlan(text));
}

// Each device has samples of its own.
inline std::vector<client::LocalData> SmallShares(const server::FederationPlan& plan,
                                                  std::size_t devices) {
  std::vector<client::LocalData> shares;
  shares.reserve(devices);
  for (std::size_t i = 0; i < devices; ++i) {
    shares.push_back(
        client::SplitLocalData(data::Subset(client::testing::MakeSamples(20 + i % 7, 1 + i)),
                               plan.plan(), "device-" + std::to_string(1000 + i)));
  }
  return shares;
}

}  // namespace fl::fault
