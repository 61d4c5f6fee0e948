#include "fl/simulations/partition/partition.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

namespace fl::sim {
namespace {

Result<> ExpectAtLeast(std::size_t found, std::size_t devices, std::string_view what) {
  if (devices >= 1 && found >= devices) return {};
  return Error{ErrorCode::kInvalidArgument,
               "simulation.devices: expected 1 to " + std::to_string(found) + " (as many as " +
                   std::string(what) + "), found " + std::to_string(devices)};
}

std::vector<std::uint32_t> AllIndices(std::size_t samples) {
  std::vector<std::uint32_t> indices(samples);
  std::iota(indices.begin(), indices.end(), 0U);
  return indices;
}

// Where part `i` of `parts` begins when `count` things are cut into parts whose sizes differ by one
// at most, the larger first.
std::size_t CutAt(std::size_t count, std::size_t parts, std::size_t i) {
  return i * (count / parts) + std::min(i, count % parts);
}

void SortEach(Shares& shares) {
  for (auto& share : shares) std::ranges::sort(share);
}

// The samples of each value, values ascending.
std::map<std::int64_t, std::vector<std::uint32_t>> GroupByValue(
    std::span<const std::int64_t> values) {
  std::map<std::int64_t, std::vector<std::uint32_t>> groups;
  for (std::size_t i = 0; i < values.size(); ++i) {
    groups[values[i]].push_back(static_cast<std::uint32_t>(i));
  }
  return groups;
}

// Cumulative shares of a draw from Dirichlet(alpha, ..., alpha), one a device; the last is 1.
std::vector<double> DrawCumulative(std::size_t devices, double alpha, RngStream& rng) {
  std::vector<double> cumulative(devices);
  double sum = 0;
  for (double& value : cumulative) value = sum += rng.Gamma(alpha);
  for (double& value : cumulative) value = sum > 0 ? value / sum : 1;
  cumulative.back() = 1;
  return cumulative;
}

// Moves single samples from the largest share (the first of them on a tie) to those that are too
// small.
void FillUp(Shares& shares, std::size_t samples_min) {
  for (auto& poor : shares) {
    while (poor.size() < samples_min) {
      auto& rich =
          *std::ranges::max_element(shares, {}, [](const auto& share) { return share.size(); });
      poor.push_back(rich.back());
      rich.pop_back();
    }
  }
}

}  // namespace

Result<Shares> PartitionIid(std::size_t samples, std::size_t devices, RngStream rng) {
  FL_TRY_OK(ExpectAtLeast(samples, devices, "samples"));
  std::vector<std::uint32_t> order = AllIndices(samples);
  rng.Shuffle(std::span(order));
  Shares shares(devices);
  for (std::size_t d = 0; d < devices; ++d) {
    shares[d].assign(order.data() + CutAt(samples, devices, d),
                     order.data() + CutAt(samples, devices, d + 1));
  }
  SortEach(shares);
  return shares;
}

Result<Shares> PartitionDirichlet(std::span<const std::int64_t> labels, std::size_t devices,
                                  const DirichletConfig& config, RngStream rng) {
  FL_TRY_OK(ExpectAtLeast(labels.size() / std::max<std::size_t>(config.samples_min, 1), devices,
                          "samples divided by the least that a device gets"));
  Shares shares(devices);
  std::uint64_t index = 0;
  for (auto& [label, samples] : GroupByValue(labels)) {
    RngStream stream = rng.Child("label", index++);
    const std::vector<double> cumulative = DrawCumulative(devices, config.alpha, stream);
    stream.Shuffle(std::span(samples));
    std::size_t begin = 0;
    for (std::size_t d = 0; d < devices; ++d) {
      const double exact = cumulative[d] * static_cast<double>(samples.size());
      const std::size_t end =
          std::clamp(static_cast<std::size_t>(std::lround(exact)), begin, samples.size());
      shares[d].insert(shares[d].end(), samples.data() + begin, samples.data() + end);
      begin = end;
    }
  }
  FillUp(shares, config.samples_min);
  SortEach(shares);
  return shares;
}

Result<Shares> PartitionShards(std::span<const std::int64_t> labels, std::size_t devices,
                               std::size_t shards_per_device, RngStream rng) {
  if (shards_per_device == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 "simulation.shards_per_device: expected at least 1, found 0"};
  }
  FL_TRY_OK(ExpectAtLeast(labels.size() / shards_per_device, devices,
                          "samples divided by shards_per_device"));
  std::vector<std::uint32_t> order = AllIndices(labels.size());
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return labels[i]; });
  const std::size_t count = devices * shards_per_device;
  std::vector<std::uint32_t> deal = AllIndices(count);
  rng.Shuffle(std::span(deal));
  Shares shares(devices);
  for (std::size_t i = 0; i < count; ++i) {
    auto& share = shares[i / shards_per_device];
    share.insert(share.end(), order.data() + CutAt(order.size(), count, deal[i]),
                 order.data() + CutAt(order.size(), count, deal[i] + 1));
  }
  SortEach(shares);
  return shares;
}

Result<Shares> PartitionNatural(std::span<const std::int64_t> clients, std::size_t devices,
                                RngStream rng) {
  const auto groups = GroupByValue(clients);
  FL_TRY_OK(ExpectAtLeast(groups.size(), devices, "natural clients"));
  std::vector<const std::vector<std::uint32_t>*> order;
  order.reserve(groups.size());
  for (const auto& [client, samples] : groups) order.push_back(&samples);
  rng.Shuffle(std::span(order));
  Shares shares(devices);
  for (std::size_t d = 0; d < devices; ++d) {
    for (std::size_t i = CutAt(order.size(), devices, d); i < CutAt(order.size(), devices, d + 1);
         ++i) {
      shares[d].insert(shares[d].end(), order[i]->begin(), order[i]->end());
    }
  }
  SortEach(shares);
  return shares;
}

Result<Shares> Partition(const SimulationConfig& config, const SampleFacts& facts,
                         std::uint64_t seed) {
  const RngStream rng =
      RngStream(config.split_seed == 0 ? seed : config.split_seed).Child("partition");
  const std::size_t devices = config.devices;
  if (config.partition == "iid") return PartitionIid(facts.samples, devices, rng);
  const bool natural = config.partition == "natural";
  const auto& facts_needed = natural ? facts.clients : facts.labels;
  if (natural || config.partition == "dirichlet" || config.partition == "shards") {
    if (facts_needed.size() != facts.samples) {
      return Error{ErrorCode::kInvalidArgument,
                   "simulation.partition = \"" + config.partition + "\": expected one " +
                       (natural ? "client" : "class label") + " a sample (" +
                       std::to_string(facts.samples) + "), found " +
                       std::to_string(facts_needed.size())};
    }
    if (natural) return PartitionNatural(facts.clients, devices, rng);
    if (config.partition == "shards") {
      return PartitionShards(facts.labels, devices, config.shards_per_device, rng);
    }
    // A tenth of an even share, so that small data sets can be dealt to many devices, too.
    DirichletConfig dirichlet{.alpha = config.alpha};
    dirichlet.samples_min =
        std::clamp<std::size_t>(facts.samples / std::max<std::size_t>(devices, 1) / 10, 1, 10);
    return PartitionDirichlet(facts.labels, devices, dirichlet, rng);
  }
  return Error{
      ErrorCode::kInvalidArgument,
      "simulation.partition: expected \"iid\", \"dirichlet\", \"shards\" or \"natural\", found \"" +
          config.partition + "\""};
}

}  // namespace fl::sim
