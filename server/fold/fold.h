#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/thread_pool.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/journal/journal.h"

// Step 9. The order of all additions is fixed by the updates' positions alone: group = position /
// 32; inside a group fp32 sums in the order of positions; then the groups in their order, in
// double. So the result does not depend on the order of arrival, on threads, or on which process
// summed which group.
namespace fl::server {

inline constexpr std::uint64_t kGroupSlots = 32;

enum class WeightRule : std::uint8_t { kExamples, kUniform };

struct FoldOptions {
  WeightRule weights = WeightRule::kExamples;
  std::size_t block_coordinates = 1U << 16;  // Of one job; the result does not depend on it.
};

// What the clients measured, as weighted means over those who measured it.
struct RoundMetrics {
  std::uint64_t examples = 0;
  std::optional<double> loss_before;  // Of the base model, on the hold-outs, by hold-out examples.
  std::optional<double> accuracy_before;
  std::optional<double> loss_trained;  // In training, by examples.
  friend bool operator==(const RoundMetrics&, const RoundMetrics&) = default;
};

// A stream's aggregate: values in the layout's order, and for each segment the sum of the weights
// that went into it (0: nobody sent it, its values are 0).
struct StreamAggregate {
  std::uint64_t stream = 0;
  std::vector<float> values;
  std::vector<double> weights;
  // For each segment the aggregate as its updates added up, where they do so in other values than
  // the segment's (Codec::summed), which were estimated from it; empty for all others.
  std::vector<std::vector<float>> sums;
  friend bool operator==(const StreamAggregate&, const StreamAggregate&) = default;
};
struct FoldResult {
  std::vector<StreamAggregate> streams;  // All but the metrics, by id.
  RoundMetrics metrics;
  friend bool operator==(const FoldResult&, const FoldResult&) = default;
};

// The journal with every payload parsed. Immutable. Thread safety: shared objects safe.
class ParsedJournal {
 public:
  // `parameters`: what the clients of a round shared, by the round of the entries' tasks; those of
  // a round that it does not have are the recipe's own. kInternal when an entry does not parse: it
  // was checked before it was accepted.
  static Result<ParsedJournal> Parse(const FederationPlan& plan, std::vector<JournalEntry> entries,
                                     std::map<std::uint64_t, RoundParameters> parameters = {});
  ParsedJournal(ParsedJournal&&) noexcept;
  ParsedJournal& operator=(ParsedJournal&&) noexcept;
  ~ParsedJournal();

  // The numbers of the groups that have an entry, ascending.
  std::vector<std::uint64_t> groups() const;

 private:
  friend class Folder;
  struct Content;
  explicit ParsedJournal(std::unique_ptr<const Content> content);
  std::unique_ptr<const Content> content_;
};

// Unrounded sums of whole groups: what a process that owns some of the groups hands to the one that
// combines them.
struct GroupSums {
  struct Segment {
    std::uint64_t stream = 0;
    std::uint64_t segment = 0;
    double weight = 0;
    std::vector<float> sum;
  };
  struct Measured {
    std::uint64_t position = 0;
    std::uint64_t examples = 0;
    std::vector<float> values;
  };
  struct Group {
    std::uint64_t group = 0;
    std::vector<Segment> segments;
    std::vector<Measured> metrics;
  };
  std::vector<Group> groups;
};

// The whole fold, blocks of coordinates in parallel; memory is the result, one block a thread and
// at most some 32 MiB of updates that lie in files. `pool` may be null.
FoldResult Fold(const FederationPlan& plan, const ParsedJournal& journal,
                const FoldOptions& options, ThreadPool* pool);

// The same in two halves: sums of some groups; and all groups' sums together, in any order.
// Combining the sums of any partition of the groups gives Fold's bits.
GroupSums FoldGroups(const FederationPlan& plan, const ParsedJournal& journal,
                     std::span<const std::uint64_t> groups, const FoldOptions& options);
FoldResult CombineGroups(const FederationPlan& plan, std::vector<GroupSums> parts);

}  // namespace fl::server
