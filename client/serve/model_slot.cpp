#include "fl/client/serve/model_slot.h"

#include <array>
#include <ctime>
#include <utility>

#include <sys/stat.h>

namespace fl::client {
namespace {

std::string FormatUtc(std::time_t seconds) {
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text.data(), size};
}

}  // namespace

ModelSlot::ModelSlot(InstalledStore store, const Logger& log, Duration period)
    : store_(std::move(store)), log_(log), period_(period) {
  Refresh();
  watcher_ = std::thread([this] { Watch(); });
}

ModelSlot::~ModelSlot() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  watcher_.join();
}

std::shared_ptr<ServedModel> ModelSlot::current() const {
  return current_.With([](const std::shared_ptr<ServedModel>& model) { return model; });
}

std::optional<ModelSlot::Identity> ModelSlot::IdentityOf(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_ino,
                  std::int64_t{status.st_ctim.tv_sec} * 1'000'000'000 + status.st_ctim.tv_nsec,
                  static_cast<std::uint64_t>(status.st_size)};
}

// The identity is taken before the file is read: what is installed in between is read next time.
void ModelSlot::Refresh() {
  const std::lock_guard one(looking_);
  const auto identity = IdentityOf(store_.current_path());
  if (!identity || identity == seen_) return;
  seen_ = identity;
  const auto file = store_.Current();
  const std::shared_ptr<ServedModel> old = current();
  auto loaded = file ? ServedModel::Load(*file, FormatUtc(identity->changed_ns / 1'000'000'000))
                     : Result<std::shared_ptr<ServedModel>>(file.error());
  if (!loaded) {
    return log_.Error({}, "cannot serve the model that was installed: " + loaded.error().message +
                              (old == nullptr ? "; there is none to serve instead"
                                              : "; goes on with " + old->digest().ToHex()));
  }
  if (old != nullptr && old->digest() == (*loaded)->digest()) return;
  const std::string hex = (*loaded)->digest().ToHex();
  current_.With([&](std::shared_ptr<ServedModel>& model) { model = *std::move(loaded); });
  log_.Info({}, "serves model " + hex);
}

void ModelSlot::Watch() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, period_, [this] { return is_stopping_; })) {
    lock.unlock();
    Refresh();
    lock.lock();
  }
}

}  // namespace fl::client
