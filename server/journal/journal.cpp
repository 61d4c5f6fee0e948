#include "fl/server/journal/journal.h"

namespace fl::server {
namespace {

// More slots than any cohort has.
constexpr std::uint64_t kLatenessStride = 1ULL << 32;

}  // namespace

std::uint64_t JournalPosition(std::uint64_t lateness, std::uint64_t slot) {
  return lateness * kLatenessStride + slot;
}

Result<> Journal::AppendChunk(TaskRow& task, ByteSpan bytes) {
  const std::uint64_t size = task.reserved_bytes > 0 ? task.reserved_bytes : bytes.size();
  FL_CHECK(bytes.size() <= size - task.committed, "a piece lies within what was reserved");
  FL_TRY_OK(transaction_.PutChunk(task, size, bytes));
  task.committed += bytes.size();
  return transaction_.Put(task);
}

Result<> Journal::Discard(TaskRow& task) {
  FL_TRY_OK(transaction_.DropBody(task.id));
  if (task.committed > 0) ++task.attempt;
  task.committed = 0;
  task.reserved_bytes = 0;
  task.digest = Digest{};
  return transaction_.Put(task);
}

Result<> Journal::Commit(TaskRow& task, std::uint64_t round, std::uint64_t examples,
                         TimePoint now) {
  FL_CHECK(task.state == TaskState::kOpen, "an update is accepted once");
  task.state = TaskState::kAccepted;
  task.counted_round = round;
  task.position = JournalPosition(round - task.round, task.slot);
  task.examples = examples;
  task.accepted_at = now;
  return transaction_.Put(task);
}

Result<std::vector<JournalEntry>> Journal::Read(const std::string& federation,
                                                std::uint64_t round) {
  FL_TRY(const std::vector<TaskRow> tasks, transaction_.Counted(federation, round));
  std::vector<JournalEntry> entries;
  entries.reserve(tasks.size());
  for (const TaskRow& task : tasks) {
    FL_TRY(StoredBody update, transaction_.ReadBody(task.id));
    entries.push_back({task.position, task.examples, std::move(update), task.round});
  }
  return entries;
}

Result<> Journal::DiscardUnfinished(const std::string& federation, std::uint64_t round) {
  FL_TRY(std::vector<TaskRow> cohort, transaction_.Cohort(federation, round));
  for (TaskRow& task : cohort) {
    if (task.state == TaskState::kOpen && task.reserved_bytes > 0) FL_TRY_OK(Discard(task));
  }
  return Ok{};
}

Result<> Journal::DropBodies(const std::string& federation, std::uint64_t round) {
  FL_TRY(const std::vector<TaskRow> tasks, transaction_.Counted(federation, round));
  for (const TaskRow& task : tasks) FL_TRY_OK(transaction_.DropBody(task.id));
  return Ok{};
}

}  // namespace fl::server
