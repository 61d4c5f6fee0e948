#pragma once

#include <cstdint>
#include <string>

namespace fl {

// [simulation]: what only fl-sim reads: the devices and their data.
struct LinkConfig {
  double bandwidth_up_kbps = 0;  // Median, kbit/s; 0: unlimited.
  double bandwidth_down_kbps = 0;
  double latency_ms = 0;  // One way.
  double spread = 0;      // Log-normal sigma over devices of bandwidth and speed, in [0, 3].
  double drop_out = 0;    // Chance that a device vanishes during a task, in [0, 1).
};
struct SimulationConfig {
  std::uint32_t devices = 10;           // >= 1.
  std::string data;                     // A data source: training samples of all devices together.
  std::string partition = "iid";        // "iid", "dirichlet", "shards", "natural".
  std::uint64_t split_seed = 0;         // Seed of how samples are dealt; 0: the plan's seed.
  double alpha = 0.5;                   // Dirichlet's concentration, > 0.
  std::uint32_t shards_per_device = 2;  // With "shards".
  std::string clients;  // With "natural": file with each sample's client (IDX int32 / uint8, or CSV
                        // column).
  double examples_per_second =
      0;  // A median device's training speed; 0: training takes no virtual time.
  LinkConfig link;
};

}  // namespace fl
