#include "fl/server/storage/stored_body.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>

namespace fl::server {
namespace {

std::uint64_t PageBytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

StoredBody::StoredBody(Bytes bytes) {
  auto owned = std::make_shared<const Bytes>(std::move(bytes));
  bytes_ = *owned;
  owner_ = std::move(owned);
}

Result<StoredBody> StoredBody::Map(int descriptor, std::uint64_t start, std::size_t size) {
  StoredBody body;
  if (size == 0) return body;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) < start + size) {
    return Error{ErrorCode::kIo, "expected " + std::to_string(size) + " bytes at " +
                                     std::to_string(start) + ", found a file of " +
                                     std::to_string(status.st_size)};
  }
  const std::size_t before = start % PageBytes();
  void* mapped = ::mmap(nullptr, before + size, PROT_READ, MAP_SHARED, descriptor,
                        static_cast<off_t>(start - before));
  if (mapped == MAP_FAILED) {
    return Error{ErrorCode::kIo, "cannot be mapped: " + std::generic_category().message(errno)};
  }
  body.owner_ = std::shared_ptr<const void>(
      mapped, [all = before + size](void* first) { ::munmap(first, all); });
  body.bytes_ = ByteSpan(static_cast<const std::byte*>(mapped), before + size).subspan(before);
  body.is_mapped_ = true;
  return body;
}

void StoredBody::Prefetch() const {
  Advise(MADV_POPULATE_READ);
}

void StoredBody::Release() const {
  Advise(MADV_DONTNEED);
}

// Of whole pages. A system that does not know the advice reads all the same.
void StoredBody::Advise(int advice) const {
  if (!is_mapped_) return;
  const std::uint64_t before = reinterpret_cast<std::uintptr_t>(bytes_.data()) % PageBytes();
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): madvise changes no byte.
  auto* page = const_cast<std::byte*>(bytes_.data()) - before;
  ::madvise(page, before + bytes_.size(), advice);
}

}  // namespace fl::server
