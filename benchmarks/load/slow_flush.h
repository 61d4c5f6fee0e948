#pragma once

#include <cstdint>

#include "fl/common/base/clock.h"

namespace fl::bench {

// From now on each database that this process opens takes `longer` for each flush (fsync) of a
// file, as a slow disk would, and adds 1 to `*count`. Call once, before any database is open.
void SlowDownFlushes(Duration longer, std::uint64_t* count);

}  // namespace fl::bench
