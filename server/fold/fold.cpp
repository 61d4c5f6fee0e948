#include "fl/server/fold/fold.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>

#include "fl/common/base/huge_pages.h"
#include "fl/common/wire/update.h"
#include "fl/compression/kernels/finish_sums.h"

namespace fl::server {

// A parsed payload and the update that it belongs to.
struct ParsedPart {
  std::uint64_t position = 0;
  std::uint64_t examples = 0;
  const RoundParameters* parameters = nullptr;  // Its stream's, in the journal's content.
  std::unique_ptr<ParsedPayload> payload;
};
// (stream, segment, group) -> the payloads in the order of positions.
using PartKey = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;

struct ParsedJournal::Content {
  std::vector<JournalEntry> entries;  // Keeps the bytes that the payloads refer to.
  std::map<std::uint64_t, RoundParameters> parameters;  // By round; not changed once parsed with.
  std::map<PartKey, std::vector<ParsedPart>> parts;
  std::vector<GroupSums::Group> metrics;  // Groups with their measurements alone, ascending.
};

ParsedJournal::ParsedJournal(std::unique_ptr<const Content> content)
    : content_(std::move(content)) {}
ParsedJournal::ParsedJournal(ParsedJournal&&) noexcept = default;
ParsedJournal& ParsedJournal::operator=(ParsedJournal&&) noexcept = default;
ParsedJournal::~ParsedJournal() = default;

std::vector<std::uint64_t> ParsedJournal::groups() const {
  std::vector<std::uint64_t> groups;
  for (const GroupSums::Group& group : content_->metrics) groups.push_back(group.group);
  return groups;
}

namespace {

// Its values were, before it was accepted, and its CRC says that it is the same.
constexpr PayloadLimits kCheckedBefore{.magnitude_max = std::numeric_limits<float>::infinity()};

Error Broken(std::uint64_t position, const Error& error) {
  return {ErrorCode::kInternal, "journal: update at position " + std::to_string(position) +
                                    " no longer parses: " + error.message};
}

Result<> ParseStream(const FederationPlan& plan, const wire::UpdateStreamView& view,
                     const JournalEntry& entry, const RoundParameters& round,
                     std::map<PartKey, std::vector<ParsedPart>>& parts,
                     GroupSums::Measured& measured) {
  const StreamPlan& stream = plan.streams()[view.id];
  const RoundParameters& parameters = plan.ParametersOf(stream, round);
  for (const wire::UpdateEntryView& piece : view.entries) {
    const Codec& codec = *stream.segments->segments()[piece.segment].codec;
    auto payload = codec.Parse(piece.payload, parameters, kCheckedBefore);
    if (!payload) return payload.error();
    if (view.id == wire::kStreamMetrics) {
      measured.values.assign(codec.count(), 0.0F);
      codec.DecodeAdd(**payload, 0, 1.0F, measured.values);
      continue;
    }
    parts[{view.id, piece.segment, entry.position / kGroupSlots}].push_back(
        {entry.position, entry.examples, &parameters, std::move(*payload)});
  }
  return Ok{};
}

}  // namespace

Result<ParsedJournal> ParsedJournal::Parse(const FederationPlan& plan,
                                           std::vector<JournalEntry> entries,
                                           std::map<std::uint64_t, RoundParameters> parameters) {
  auto content = std::make_unique<Content>();
  content->entries = std::move(entries);
  content->parameters = std::move(parameters);
  std::ranges::sort(content->entries, {}, &JournalEntry::position);
  wire::UpdateLimits limits;
  limits.bytes_max = plan.update_bytes_max();
  for (const JournalEntry& entry : content->entries) {
    entry.update.Prefetch();
    const auto view = wire::DecodeUpdate(entry.update.bytes(), limits);
    if (!view) return Broken(entry.position, view.error());
    GroupSums::Measured measured{entry.position, entry.examples, {}};
    const RoundParameters& round =
        content->parameters
            .try_emplace(entry.round, RoundParameters{plan.initial_parameters().bytes, entry.round})
            .first->second;
    for (const wire::UpdateStreamView& stream : view->streams) {
      const auto parsed = ParseStream(plan, stream, entry, round, content->parts, measured);
      if (!parsed) return Broken(entry.position, parsed.error());
    }
    const std::uint64_t group = entry.position / kGroupSlots;
    if (content->metrics.empty() || content->metrics.back().group != group) {
      content->metrics.push_back({group, {}, {}});
    }
    content->metrics.back().metrics.push_back(std::move(measured));
    entry.update.Release();
  }
  return ParsedJournal(std::move(content));
}

namespace {

// In whose values a segment's updates add up.
const Codec& SummedCodec(const Segment& segment) {
  const Codec* summed = segment.codec->summed();
  return summed != nullptr ? *summed : *segment.codec;
}

}  // namespace

// The one place that adds. Fold and FoldGroups differ in how much they ask for at a time.
class Folder {
 public:
  Folder(const FederationPlan& plan, const ParsedJournal& journal, const FoldOptions& options)
      : plan_(plan), content_(*journal.content_), options_(options) {}

  const std::vector<GroupSums::Group>& metrics() const { return content_.metrics; }
  const std::vector<JournalEntry>& entries() const { return content_.entries; }

  double WeightOf(const StreamPlan& stream, std::uint64_t examples) const {
    const bool uniform =
        stream.combiner == Combiner::kSum || options_.weights == WeightRule::kUniform;
    return uniform ? 1.0 : static_cast<double>(examples);
  }

  const std::vector<ParsedPart>* Parts(const PartKey& key) const {
    const auto found = content_.parts.find(key);
    return found == content_.parts.end() ? nullptr : &found->second;
  }

  double GroupWeight(const StreamPlan& stream, const std::vector<ParsedPart>& parts) const {
    double weight = 0;
    for (const ParsedPart& part : parts) weight += WeightOf(stream, part.examples);
    return weight;
  }

  // out = sum over the group of weight x value, for a block that begins at `first` of what a
  // segment's updates add up in.
  void SumGroup(const StreamPlan& stream, std::size_t segment, const std::vector<ParsedPart>& parts,
                std::size_t first, std::span<float> out) const {
    const Codec& codec = SummedCodec(stream.segments->segments()[segment]);
    std::ranges::fill(out, 0.0F);
    if (SumsIntegers(codec)) return SumGroupIntegers(stream, codec, parts, first, out);
    for (const ParsedPart& part : parts) {
      const auto scale = static_cast<float>(WeightOf(stream, part.examples));
      codec.DecodeAdd(*part.payload, first, scale, out);
    }
  }

  const FederationPlan& plan() const { return plan_; }
  // Coordinates of one job: a whole number of what the codec finishes at a time.
  std::size_t BlockOf(const Codec& codec) const {
    const std::size_t unit = SumsIntegers(codec) ? codec.traits().granularity : 1;
    return (options_.block_coordinates + unit - 1) / unit * unit;
  }

 private:
  // Where the way back from levels is dear (a rotation), it is gone once for a group, not once for
  // an update.
  static bool SumsIntegers(const Codec& codec) {
    const CodecTraits traits = codec.traits();
    return traits.linear && traits.granularity > 1;
  }

  // Levels are of the same values where the parameters are: those of each round are summed on their
  // own, and the rounds in the order in which they first occur.
  void SumGroupIntegers(const StreamPlan& stream, const Codec& codec,
                        const std::vector<ParsedPart>& parts, std::size_t first,
                        std::span<float> out) const {
    std::vector<const RoundParameters*> rounds;
    for (const ParsedPart& part : parts) {
      if (std::ranges::find(rounds, part.parameters) == rounds.end()) {
        rounds.push_back(part.parameters);
      }
    }
    std::vector<float> values(out.size());
    for (const RoundParameters* round : rounds) {
      std::vector<const ParsedPart*> own;
      for (const ParsedPart& part : parts) {
        if (part.parameters == round) own.push_back(&part);
      }
      SumRoundIntegers(stream, codec, own, first, values);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += values[i];
    }
  }

  // Exact: a weight is at most 2^32 and a level below 2^8, of 32 updates.
  void SumRoundIntegers(const StreamPlan& stream, const Codec& codec,
                        const std::vector<const ParsedPart*>& parts, std::size_t first,
                        std::span<float> out) const {
    constexpr std::size_t kRun = 4096;
    std::vector<std::int64_t> sum(out.size());
    std::vector<std::int64_t> levels(std::min(kRun, out.size()));
    for (std::size_t at = 0; at < out.size(); at += kRun) {
      const auto run = std::span(levels).first(std::min(kRun, out.size() - at));
      for (const ParsedPart* part : parts) {
        std::ranges::fill(run, 0);
        codec.DecodeAddIntegers(*part->payload, first + at, run);
        const auto weight = static_cast<std::int64_t>(WeightOf(stream, part->examples));
        for (std::size_t i = 0; i < run.size(); ++i) sum[at + i] += weight * run[i];
      }
    }
    codec.Finish(sum, parts.size(), *parts.front()->parameters, first, out);
  }

  const FederationPlan& plan_;
  const ParsedJournal::Content& content_;
  const FoldOptions& options_;
};

namespace {

// Rounds the double sums of a block to the aggregate's values.
void FinishBlock(const StreamPlan& stream, std::span<const double> sums, double weight,
                 std::span<float> out) {
  const bool mean = stream.combiner == Combiner::kWeightedMean && weight > 0;
  kernels::DivideSums(sums, mean ? weight : 1.0, out);
}

struct WeightedMean {
  double sum = 0;
  double weight = 0;
  void Add(double value, double by) {
    sum += value * by;
    weight += by;
  }
  std::optional<double> value() const {
    return weight > 0 ? std::optional(sum / weight) : std::nullopt;
  }
};

// A negative accuracy says that the client has no hold-out.
RoundMetrics MeanMetrics(std::span<const GroupSums::Measured> measured) {
  RoundMetrics metrics;
  WeightedMean before;
  WeightedMean accuracy;
  WeightedMean trained;
  for (const GroupSums::Measured& one : measured) {
    metrics.examples += one.examples;
    if (one.values.size() != 4) continue;
    if (one.values[1] >= 0 && one.values[3] > 0) {
      before.Add(one.values[0], one.values[3]);
      accuracy.Add(one.values[1], one.values[3]);
    }
    trained.Add(one.values[2], static_cast<double>(one.examples));
  }
  metrics.loss_before = before.value();
  metrics.accuracy_before = accuracy.value();
  metrics.loss_trained = trained.value();
  return metrics;
}

// Gives back what the blocks that are done have read of mapped updates, some of it at a time.
class MappedMemory {
 public:
  MappedMemory(const std::vector<JournalEntry>& entries, std::size_t coordinates)
      : entries_(entries) {
    std::size_t bytes = 1;
    for (const JournalEntry& entry : entries) bytes += entry.update.bytes().size();
    const double held = kHeldBytes * static_cast<double>(coordinates) / static_cast<double>(bytes);
    held_ = std::max<std::size_t>(static_cast<std::size_t>(held), 1);
  }

  // `coordinates` more of all updates were read.
  void Read(std::size_t coordinates) {
    const std::size_t before = read_.fetch_add(coordinates);
    if (before / held_ == (before + coordinates) / held_) return;
    for (const JournalEntry& entry : entries_) entry.update.Release();
  }

 private:
  static constexpr double kHeldBytes = 32U << 20;

  const std::vector<JournalEntry>& entries_;
  std::size_t held_ = 1;  // Coordinates.
  std::atomic<std::size_t> read_ = 0;
};

// A block of coordinates of a segment, as one job.
struct Block {
  std::size_t stream = 0;  // Index in FoldResult::streams.
  std::size_t segment = 0;
  std::size_t first = 0;
  std::size_t count = 0;
};

FoldResult EmptyResult(const FederationPlan& plan) {
  FoldResult result;
  for (const StreamPlan& stream : plan.streams()) {
    if (stream.id == wire::kStreamMetrics) continue;
    result.streams.push_back({stream.id, MakeLargeVector<float>(stream.segments->layout().total()),
                              std::vector<double>(stream.segments->segments().size()),
                              std::vector<std::vector<float>>(stream.segments->segments().size())});
  }
  return result;
}

// Where each segment's sums end up: among the stream's values where they are that, as they are;
// else in a buffer of their own.
class SegmentTargets {
 public:
  // `result` must outlive it, and its vectors keep their memory.
  SegmentTargets(const FederationPlan& plan, FoldResult& result) {
    for (StreamAggregate& stream : result.streams) {
      const SegmentPlan& segments = *plan.streams()[stream.stream].segments;
      std::vector<Target>& targets = targets_.emplace_back();
      for (const Segment& segment : segments.segments()) {
        Target& target = targets.emplace_back();
        const std::size_t count = SummedCodec(segment).count();
        target.is_direct = segment.tensors.size() == 1 && segment.codec->summed() == nullptr;
        if (target.is_direct) {
          const std::size_t first = segments.layout().offset(segment.tensors.front());
          target.values = std::span(stream.values).subspan(first, count);
        } else {
          target.buffer = MakeLargeVector<float>(count);
          target.values = target.buffer;
        }
      }
    }
  }

  std::size_t segments(std::size_t stream) const { return targets_[stream].size(); }
  std::span<float> Of(std::size_t stream, std::size_t segment) const {
    return targets_[stream][segment].values;
  }
  // The buffer, for good; nothing where there is none.
  std::optional<std::vector<float>> Take(std::size_t stream, std::size_t segment) {
    Target& target = targets_[stream][segment];
    if (target.is_direct) return std::nullopt;
    return std::move(target.buffer);
  }

 private:
  struct Target {
    bool is_direct = false;
    std::vector<float> buffer;
    std::span<float> values;
  };
  std::vector<std::vector<Target>> targets_;
};

// The segment's values as the sum tells them, a block a job.
std::vector<float> EstimateValues(const Codec& codec, std::span<const float> sum,
                                  ThreadPool* pool) {
  constexpr std::size_t kBlock = 1U << 16;
  std::vector<float> values(codec.count());
  const std::function<void(std::size_t)> estimate = [&](std::size_t block) {
    const std::size_t first = block * kBlock;
    codec.Estimate(sum, first,
                   std::span(values).subspan(first, std::min(kBlock, values.size() - first)));
  };
  const std::size_t blocks = (values.size() + kBlock - 1) / kBlock;
  if (pool != nullptr) {
    pool->ParallelFor(blocks, estimate);
  } else {
    for (std::size_t block = 0; block < blocks; ++block) estimate(block);
  }
  return values;
}

// Sums to the streams' values, where they are not there yet.
void ScatterAll(const FederationPlan& plan, SegmentTargets& targets, ThreadPool* pool,
                FoldResult& result) {
  for (std::size_t i = 0; i < result.streams.size(); ++i) {
    StreamAggregate& aggregate = result.streams[i];
    const SegmentPlan& segments = *plan.streams()[aggregate.stream].segments;
    for (std::size_t segment = 0; segment < targets.segments(i); ++segment) {
      std::optional<std::vector<float>> sum = targets.Take(i, segment);
      if (!sum) continue;
      const Codec& codec = *segments.segments()[segment].codec;
      if (codec.summed() == nullptr) {
        segments.Scatter(segment, *sum, aggregate.values);
        continue;
      }
      segments.Scatter(segment, EstimateValues(codec, *sum, pool), aggregate.values);
      aggregate.sums[segment] = *std::move(sum);
    }
  }
}

}  // namespace

FoldResult Fold(const FederationPlan& plan, const ParsedJournal& journal,
                const FoldOptions& options, ThreadPool* pool) {
  const Folder folder(plan, journal, options);
  const std::vector<std::uint64_t> groups = journal.groups();
  FoldResult result = EmptyResult(plan);
  SegmentTargets targets(plan, result);
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < result.streams.size(); ++i) {
    StreamAggregate& aggregate = result.streams[i];
    const StreamPlan& stream = plan.streams()[aggregate.stream];
    for (std::size_t segment = 0; segment < targets.segments(i); ++segment) {
      for (const std::uint64_t group : groups) {
        const auto* parts = folder.Parts({stream.id, segment, group});
        if (parts != nullptr) aggregate.weights[segment] += folder.GroupWeight(stream, *parts);
      }
      const std::size_t count = targets.Of(i, segment).size();
      const std::size_t size = folder.BlockOf(SummedCodec(stream.segments->segments()[segment]));
      for (std::size_t first = 0; first < count; first += size) {
        blocks.push_back({i, segment, first, std::min(size, count - first)});
      }
    }
  }
  std::size_t coordinates = 0;
  for (const Block& block : blocks) coordinates += block.count;
  MappedMemory mapped(folder.entries(), coordinates);
  const std::function<void(std::size_t)> fold_block = [&](std::size_t index) {
    const Block& block = blocks[index];
    const StreamAggregate& aggregate = result.streams[block.stream];
    const StreamPlan& stream = plan.streams()[aggregate.stream];
    std::vector<double> sums(block.count);
    std::vector<float> group_sum(block.count);
    for (const std::uint64_t group : groups) {
      const auto* parts = folder.Parts({stream.id, block.segment, group});
      if (parts == nullptr) continue;
      folder.SumGroup(stream, block.segment, *parts, block.first, group_sum);
      kernels::AddToSums(group_sum, sums);
    }
    FinishBlock(stream, sums, aggregate.weights[block.segment],
                targets.Of(block.stream, block.segment).subspan(block.first, block.count));
    mapped.Read(block.count);
  };
  if (pool != nullptr) {
    pool->ParallelFor(blocks.size(), fold_block);
  } else {
    for (std::size_t i = 0; i < blocks.size(); ++i) fold_block(i);
  }
  ScatterAll(plan, targets, pool, result);
  std::vector<GroupSums::Measured> measured;
  for (const GroupSums::Group& group : folder.metrics()) {
    measured.insert(measured.end(), group.metrics.begin(), group.metrics.end());
  }
  result.metrics = MeanMetrics(measured);
  return result;
}

GroupSums FoldGroups(const FederationPlan& plan, const ParsedJournal& journal,
                     std::span<const std::uint64_t> groups, const FoldOptions& options) {
  const Folder folder(plan, journal, options);
  GroupSums sums;
  for (const GroupSums::Group& all : folder.metrics()) {
    if (std::ranges::find(groups, all.group) == groups.end()) continue;
    GroupSums::Group& group = sums.groups.emplace_back(all);
    for (const StreamPlan& stream : plan.streams()) {
      const auto segments = stream.segments->segments();
      for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const auto* parts = folder.Parts({stream.id, segment, group.group});
        if (parts == nullptr) continue;
        std::vector<float> values(SummedCodec(segments[segment]).count());
        folder.SumGroup(stream, segment, *parts, 0, values);
        group.segments.push_back(
            {stream.id, segment, folder.GroupWeight(stream, *parts), std::move(values)});
      }
    }
  }
  return sums;
}

FoldResult CombineGroups(const FederationPlan& plan, std::vector<GroupSums> parts) {
  std::vector<GroupSums::Group> groups;
  for (GroupSums& part : parts) {
    std::ranges::move(part.groups, std::back_inserter(groups));
  }
  std::ranges::sort(groups, {}, &GroupSums::Group::group);
  FoldResult result = EmptyResult(plan);
  SegmentTargets targets(plan, result);
  for (std::size_t i = 0; i < result.streams.size(); ++i) {
    StreamAggregate& aggregate = result.streams[i];
    for (std::size_t segment = 0; segment < targets.segments(i); ++segment) {
      std::vector<double> sums(targets.Of(i, segment).size());
      for (const GroupSums::Group& group : groups) {
        for (const GroupSums::Segment& one : group.segments) {
          if (one.stream != aggregate.stream || one.segment != segment) continue;
          aggregate.weights[segment] += one.weight;
          kernels::AddToSums(one.sum, sums);
        }
      }
      FinishBlock(plan.streams()[aggregate.stream], sums, aggregate.weights[segment],
                  targets.Of(i, segment));
    }
  }
  ScatterAll(plan, targets, nullptr, result);
  std::vector<GroupSums::Measured> measured;
  for (const GroupSums::Group& group : groups) {
    measured.insert(measured.end(), group.metrics.begin(), group.metrics.end());
  }
  result.metrics = MeanMetrics(measured);
  return result;
}

}  // namespace fl::server
