#pragma once

#include <functional>
#include <memory>

#include "fl/server/storage/storage.h"

namespace fl::server::testing {

// Makes an empty storage; each call a new one.
using StorageFactory = std::function<std::unique_ptr<Storage>()>;

// What every backend must do. Called inside a test case.
void CheckRowsRoundTrip(const StorageFactory& make);
void CheckUncommittedIsNothing(const StorageFactory& make);
void CheckChunksAndBlobs(const StorageFactory& make);
void CheckCounters(const StorageFactory& make);
void CheckWatch(const StorageFactory& make);
// For backends that let two transactions run at a time.
void CheckConflict(const StorageFactory& make);

}  // namespace fl::server::testing
