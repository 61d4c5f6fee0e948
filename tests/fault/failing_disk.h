#pragma once

#include <filesystem>

// A disk that fails when told to. A program that links failing_disk.cpp has fsync, fdatasync,
// pwrite and pwrite64 of its own, which the libraries that it loads call, too. Thread safety: one
// thread at a time.
namespace fl::fault {

enum class DiskFault {
  kNone,
  kSync,   // fsync and fdatasync: EIO; what was written may be lost.
  kWrite,  // pwrite and pwrite64: ENOSPC.
};

// The files in `folder`, and in folders in it, are those that fail. Each is copied into `image`
// when it is flushed: what a power cut would leave of it at the least. Empty: none.
void WatchDisk(const std::filesystem::path& folder, const std::filesystem::path& image);

// From now on `count` calls on them succeed, and the `failing` ones after these do not.
void FailDisk(DiskFault fault, long count, long failing = 1);
// Whether a call has failed since.
bool DiskHasFailed();

}  // namespace fl::fault
