#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fl/server/storage/stored_body.h"

namespace fl::server::internal {

// A file of bodies that is open for writing; locked (flock) by the storage that made it for as long
// as that may give out parts of it. Thread safety: shared objects safe, but that one part is
// written by one thread at a time.
class BodyFile {
 public:
  BodyFile(int descriptor, std::uint64_t id, std::filesystem::path path)
      : descriptor_(descriptor), id_(id), path_(std::move(path)) {}
  BodyFile(const BodyFile&) = delete;
  BodyFile& operator=(const BodyFile&) = delete;
  ~BodyFile();

  Result<> Write(std::uint64_t at, ByteSpan bytes) const;
  // What was written is durable when this returns.
  Result<> Flush() const;
  Result<StoredBody> Map(std::uint64_t at, std::size_t size) const;

  std::uint64_t id() const { return id_; }
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  int descriptor_;
  std::uint64_t id_;
  std::filesystem::path path_;
};

// The bodies of updates in files of one folder, beside the database whose rows say where each lies.
// A body gets a part of a file for itself, all of it at once, and nothing is written twice: what a
// row calls written stays as it is. The bodies of a round share a file, and are gone with it once
// no row refers to one of them. Thread safety: shared objects safe.
class BodyFiles {
 public:
  // Does a row of the database refer to the file?
  using IsUsed = std::function<Result<bool>(std::uint64_t file)>;

  // A file takes bodies of its round until it has this many bytes.
  static constexpr std::uint64_t kFileBytes = 256U << 20;

  // The folder is made when there is a body to keep.
  explicit BodyFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Part {
    std::shared_ptr<BodyFile> file;
    std::uint64_t at = 0;
  };
  // Room for a body of `size` bytes beside those of the same group: kIo where the disk has none.
  Result<Part> Allot(const std::string& group, std::uint64_t size);
  Result<std::shared_ptr<BodyFile>> Open(std::uint64_t id);
  // Deletes the file where no row refers to it and nobody may still make one: no transaction of
  // this storage holds it, and no other storage has it locked.
  Result<> DeleteUnused(std::uint64_t id, const IsUsed& is_used);
  // The same for all files that there are.
  Result<> DeleteAllUnused(const IsUsed& is_used);

 private:
  struct Group {
    std::uint64_t file = 0;
    std::uint64_t end = 0;  // Of its last part.
  };

  std::filesystem::path PathOf(std::uint64_t id) const;
  Result<std::shared_ptr<BodyFile>> Create();
  Result<std::shared_ptr<BodyFile>> OpenLocked(std::uint64_t id);
  Result<> DeleteUnusedLocked(std::uint64_t id, const IsUsed& is_used);

  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<std::string, Group> groups_;                      // Whose files take more.
  std::map<std::uint64_t, std::shared_ptr<BodyFile>> open_;  // By id; new ones are copied under
                                                             // the mutex alone.
  std::uint64_t newest_ = 0;
};

}  // namespace fl::server::internal
