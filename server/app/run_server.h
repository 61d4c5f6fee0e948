#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fl/common/base/log.h"
#include "fl/common/base/result.h"
#include "fl/server/core/offences.h"
#include "fl/server/http/client_gate.h"

namespace fl::server {

struct RunOptions {
  std::vector<std::filesystem::path> plans;
  std::filesystem::path state;
  std::string listen = "127.0.0.1:0";  // HOST:PORT; port 0: any free one.
  std::filesystem::path pki;
  std::string metrics;  // HOST:PORT of a loopback address for /metrics and its like; empty: none.
  std::size_t threads = 2;
  std::vector<std::filesystem::path> data_roots;
  OffencePolicy offences;
  std::uint64_t requests_per_second = ClientLimits{}.requests_per_second;  // Of a client; 0: all.
  bool until_done = false;  // End when all federations are done.
};

// "HOST:PORT", "[V6]:PORT". kInvalidArgument.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
Result<HostPort> ParseHostPort(const std::string& text);

// Serves until SIGINT or SIGTERM: then it stops accepting, finishes the batch and returns; a second
// signal ends the process. The bound address is written to STATE/address. Errors of the plans and
// the call are kInvalidArgument, kMalformed, kUnsupported; kLocked, kWrongState, kWrongVersion for
// the state folder; kUnauthorized, kNotFound, kIo.
Result<> RunServer(const RunOptions& options, const Logger& logger);

}  // namespace fl::server
