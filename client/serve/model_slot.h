#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "fl/client/deploy/installed_store.h"
#include "fl/client/serve/served_model.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/guarded.h"
#include "fl/common/base/log.h"

namespace fl::client {

// The model that is served: follows what is installed, whoever installs it. A thread of its own
// looks at the installed file every `period`; a new one is read, checked and loaded there, and then
// takes the old one's place in one step. Whoever took the old model before goes on with it; it is
// freed when the last of them is done. A file that cannot be loaded is logged once and changes
// nothing. Thread safety: shared objects safe.
class ModelSlot {
 public:
  // Loads what is installed, if anything. `log` outlives the slot.
  ModelSlot(InstalledStore store, const Logger& log, Duration period);
  ModelSlot(const ModelSlot&) = delete;
  ModelSlot& operator=(const ModelSlot&) = delete;
  ~ModelSlot();

  // Null while nothing that can be loaded was installed.
  std::shared_ptr<ServedModel> current() const;

  // Looks at the installed file now.
  void Refresh();

 private:
  // Tells one installed file from the next: each is a new file.
  struct Identity {
    std::uint64_t inode = 0;
    std::int64_t changed_ns = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const Identity&, const Identity&) = default;
  };

  static std::optional<Identity> IdentityOf(const std::filesystem::path& path);
  void Watch();

  const InstalledStore store_;
  const Logger& log_;
  const Duration period_;
  std::mutex looking_;            // One at a time; guards seen_.
  std::optional<Identity> seen_;  // Of the file that was last read, good or bad.
  mutable Guarded<std::shared_ptr<ServedModel>> current_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stopping_ = false;
  std::thread watcher_;
};

}  // namespace fl::client
