#pragma once

#include "fl/benchmarks/server.h"

namespace fl::bench {

// The rows server/transport and server/upload of RunServerRows.
Result<> AddTransport(const ServerConfig& config, Report& report);

}  // namespace fl::bench
