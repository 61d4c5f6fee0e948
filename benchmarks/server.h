#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The groups `server` and `load`: the server's programs under real connections and the simulator.
namespace fl::bench {

struct ServerConfig {
  RunConditions conditions;
  std::string only;                // Of the rows' parts those whose name holds this; empty: all.
  double seconds = 5;              // Of each measurement under load.
  std::filesystem::path programs;  // The folder that holds fl-sim.
  std::filesystem::path configs;   // configs/mnist-shards.toml lies under it.
  std::filesystem::path datasets;  // mnist/ lies under it; empty: rows that need it are left out.
  // Figures of peers by name, as their scripts print them; ratios are left out where absent.
  std::map<std::string, double, std::less<>> peers;
};

// Rows
//
//   server/check-ins, .../p99          idle check-ins, 64 connections, the server on one processor
//   server/updates 4 KB                durable updates, each with check-in and model, a second
//   server/updates 4 KB/a flush        updates for each flush of a database that takes 5 ms longer
//   server/updates 0.80 MB, .../tmpfs  of 199,210 parameters in fp32
//   server/transport, server/upload    bytes a second on one connection, as shares of a bare
//                                      OpenSSL loop's; upload/tmpfs with its state in memory
//   server/round latency, .../p99      from the last update sent to the next model at a client
Result<> RunServerRows(const ServerConfig& config, Report& report);

// fold/axpy, fold/raw, fold/int8, fold/journal, fold/memory: 20 updates of 4 x 2.5 M values.
Result<> RunFoldRows(const ServerConfig& config, Report& report);

// sim/users, sim/devices memory and threads, sim/mnist round: programs run as a whole.
Result<> RunSimulationRows(const ServerConfig& config, Report& report);

// load/slow ..., load/connected ..., load/overload ...: what slow, many and too many clients do.
Result<> RunLoadRows(const ServerConfig& config, Report& report);

}  // namespace fl::bench
