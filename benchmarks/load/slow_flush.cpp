#include "fl/benchmarks/load/slow_flush.h"

#include <array>
#include <mutex>
#include <thread>
#include <utility>

#include <sqlite3.h>

namespace fl::bench {
namespace {

// What some files of SQLite's do, and the same with a slow flush.
struct Methods {
  const sqlite3_io_methods* system = nullptr;
  sqlite3_io_methods slow{};
};

// SQLite calls plain functions, so that what they need stands here.
struct Slowed {
  sqlite3_vfs system{};  // As SQLite has it.
  sqlite3_vfs slow{};    // The same, with files that flush slowly.
  std::mutex mutex;
  std::array<Methods, 8> methods;  // Files with and without locks have methods of their own.
  int (*flush)(sqlite3_file*, int) = nullptr;  // The same for all of them.
  Duration longer{0};
  std::uint64_t* count = nullptr;
};

Slowed& State() {
  static Slowed slowed;
  return slowed;
}

int FlushSlowly(sqlite3_file* file, int flags) {
  std::this_thread::sleep_for(State().longer);
  __atomic_add_fetch(State().count, 1, __ATOMIC_RELAXED);
  const auto flush = State().flush;
  return flush != nullptr ? flush(file, flags) : SQLITE_IOERR_FSYNC;
}

int Open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
  Slowed& state = State();
  const int code = state.system.xOpen(&state.system, name, file, flags, out);
  if (code != SQLITE_OK || file->pMethods == nullptr) return code;
  const std::lock_guard lock(state.mutex);
  for (Methods& known : state.methods) {
    if (known.system == nullptr) {
      known.system = file->pMethods;
      known.slow = *file->pMethods;
      state.flush = std::exchange(known.slow.xSync, FlushSlowly);
    }
    if (known.system != file->pMethods) continue;
    file->pMethods = &known.slow;
    break;
  }
  return code;
}

}  // namespace

void SlowDownFlushes(Duration longer, std::uint64_t* count) {
  Slowed& state = State();
  state.longer = longer;
  state.count = count;
  state.system = *sqlite3_vfs_find(nullptr);
  state.slow = state.system;
  state.slow.zName = "slow-flush";
  state.slow.xOpen = Open;
  sqlite3_vfs_register(&state.slow, 1);
}

}  // namespace fl::bench
