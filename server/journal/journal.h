#pragma once

#include <cstdint>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// One accepted update of a round.
struct JournalEntry {
  std::uint64_t position = 0;  // In the round's fold; group = position / 32.
  std::uint64_t examples = 0;
  StoredBody update;        // As it came.
  std::uint64_t round = 0;  // Of its task: an older one than the journal's where it came late.
};

// The place in the fold of an update that comes `lateness` rounds after its own: those of the
// cohort by slot, then the late ones.
std::uint64_t JournalPosition(std::uint64_t lateness, std::uint64_t slot);

// The durable log of a round's accepted updates, over one transaction: what it does is durable once
// that commits. Thread safety: as the transaction.
class Journal {
 public:
  explicit Journal(Transaction& transaction) : transaction_(transaction) {}

  // Adds a piece of an update that is not accepted yet and moves `task.committed` on; it is all of
  // it where nothing is reserved.
  Result<> AppendChunk(TaskRow& task, ByteSpan bytes);
  // Forgets the pieces of an update that was not accepted.
  Result<> Discard(TaskRow& task);
  // Makes the pieces one accepted update of `round`, once.
  Result<> Commit(TaskRow& task, std::uint64_t round, std::uint64_t examples, TimePoint now);
  // All accepted updates of a round by position.
  Result<std::vector<JournalEntry>> Read(const std::string& federation, std::uint64_t round);
  // Forgets the pieces of those updates of a round's cohort that were never accepted.
  Result<> DiscardUnfinished(const std::string& federation, std::uint64_t round);
  // Deletes the bodies of a round's updates; the rows that say who took part stay.
  Result<> DropBodies(const std::string& federation, std::uint64_t round);

 private:
  Transaction& transaction_;
};

}  // namespace fl::server
