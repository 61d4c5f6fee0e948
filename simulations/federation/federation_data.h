#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "fl/common/data/dataset.h"
#include "fl/common/data/subset.h"
#include "fl/compression/check_plan.h"
#include "fl/simulations/partition/partition.h"

namespace fl::sim {

// The samples of all devices together, how they are dealt, and what the server measures each
// version on.
struct FederationData {
  std::shared_ptr<const data::Dataset> training;    // Shared by the devices' subsets.
  Shares shares;                                    // One a device.
  std::shared_ptr<const data::Dataset> evaluation;  // Null where the plan names none.

  data::Subset ShareOf(std::size_t device) const { return {training, shares[device]}; }
};

// Opens what a plan's [simulation] and [evaluation] name and deals it by the plan's seed. A
// relative source is looked for under each root in turn; an empty root is the current folder.
// Errors are data::OpenSource's, kNotFound with the folders that were tried; kInvalidArgument when
// the plan has no simulation.data or its partition does not work with these samples.
Result<FederationData> LoadFederationData(const CheckedPlan& plan,
                                          const std::vector<std::filesystem::path>& roots);

// The same shares of the same samples, in a data set in which each device's lie together: a device
// that trains then reads one small part of memory, not all of it. Sets of more than 256 MB stay as
// they are, since both are in memory for a moment.
Result<FederationData> GroupByDevice(FederationData data);

// Writes each device's share to FOLDER/DEVICE-NAME/data.safetensors, the stored features bit by
// bit. kIo.
Result<> WriteShares(const FederationData& data, const std::filesystem::path& folder);

}  // namespace fl::sim
