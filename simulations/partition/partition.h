#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/random/rng_stream.h"

// How the samples of a data set are dealt to virtual devices. Each function is a pure function of
// its arguments: the same stream gives the same shares on every machine.
namespace fl::sim {

// For each device the indices of its samples, ascending. Every sample belongs to exactly one
// device.
using Shares = std::vector<std::vector<std::uint32_t>>;

// What a partition needs to know of the samples.
struct SampleFacts {
  std::size_t samples = 0;
  std::vector<std::int64_t>
      labels;  // One a sample for "dirichlet" and "shards"; classes, in no special order.
  std::vector<std::int64_t> clients;  // One a sample for "natural": who the sample comes from.
};

// Shares of equal size (they differ by one sample at most), drawn at random.
// kInvalidArgument when there are fewer samples than devices; so do all of the others.
Result<Shares> PartitionIid(std::size_t samples, std::size_t devices, RngStream rng);

// Each label's samples are dealt in proportions drawn from a symmetric Dirichlet distribution: the
// smaller `alpha`, the fewer labels a device has (Hsu et al. 2019, arXiv:1909.06335). A device with
// fewer than `samples_min` gets the rest from those that have the most; kInvalidArgument when there
// are not as many samples in all.
struct DirichletConfig {
  double alpha = 0.5;            // > 0.
  std::size_t samples_min = 10;  // The least that a device gets, >= 1.
};
Result<Shares> PartitionDirichlet(std::span<const std::int64_t> labels, std::size_t devices,
                                  const DirichletConfig& config, RngStream rng);

// The samples in order of their labels are cut into devices * shards_per_device shards, which are
// dealt at random, so that a device with two shards sees about two labels (McMahan et al. 2017,
// arXiv:1602.05629).
Result<Shares> PartitionShards(std::span<const std::int64_t> labels, std::size_t devices,
                               std::size_t shards_per_device, RngStream rng);

// Natural clients (the writers of digits, say) are dealt whole and at random, about as many to each
// device. kInvalidArgument when there are fewer of them than devices.
Result<Shares> PartitionNatural(std::span<const std::int64_t> clients, std::size_t devices,
                                RngStream rng);

// The partition that a plan names, drawn from RngStream(S).Child("partition"), S being the plan's
// split_seed or, where that is 0, `seed`. kInvalidArgument also for a partition that does not
// exist, and where the facts that it needs are missing or not as many as samples.
Result<Shares> Partition(const SimulationConfig& config, const SampleFacts& facts,
                         std::uint64_t seed);

}  // namespace fl::sim
