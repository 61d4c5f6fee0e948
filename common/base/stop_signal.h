#pragma once

#include <atomic>

namespace fl {

// Set by the first SIGINT or SIGTERM, which asks for an orderly end; a second one ends the program
// at once. The first call installs the handlers. For programs that compute and wait for nothing.
const std::atomic<bool>& WatchStopSignals();

}  // namespace fl
