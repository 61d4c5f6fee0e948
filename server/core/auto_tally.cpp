#include "fl/server/core/auto_tally.h"

#include <algorithm>
#include <array>

#include "fl/common/wire/update.h"
#include "fl/compression/codecs/adaptive.h"

namespace fl::server {
namespace {

constexpr std::uint64_t kKeyMax = 256;

AutoTally::Key KeyOf(ByteSpan payload) {
  if (payload.empty()) return 0;
  return static_cast<AutoTally::Key>(1 + static_cast<unsigned>(payload.front()));
}

bool IsAutos(const Segment& segment) {
  return dynamic_cast<const AdaptiveCodec*>(segment.codec.get()) != nullptr;
}

Result<> ReadChoices(ByteReader& reader, std::map<AutoTally::Key, std::uint64_t>& choices) {
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  for (std::uint64_t i = 0; i < count; ++i) {
    FL_TRY(const std::uint64_t key, reader.ReadVarint());
    const bool ascending = choices.empty() || choices.rbegin()->first < key;
    if (key > kKeyMax || !ascending) {
      return Error{ErrorCode::kMalformed, "choice " + std::to_string(key)};
    }
    FL_TRY(choices[static_cast<AutoTally::Key>(key)], reader.ReadVarint());
  }
  return {};
}

Result<AutoTally> Read(ByteSpan bytes, std::size_t segments) {
  ByteReader reader(bytes);
  AutoTally tally;
  FL_TRY(tally.updates, reader.ReadVarint());
  FL_TRY(tally.body_bytes, reader.ReadVarint());
  FL_TRY(tally.body_bytes_largest, reader.ReadVarint());
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  if (count != segments) {
    return Error{ErrorCode::kMalformed, "expected " + std::to_string(segments) +
                                            " segments, found " + std::to_string(count)};
  }
  tally.segments.resize(segments);
  for (AutoTally::Segment& segment : tally.segments) {
    FL_TRY(segment.payload_bytes, reader.ReadVarint());
    FL_TRY_OK(ReadChoices(reader, segment.choices));
  }
  FL_TRY_OK(reader.ExpectEnd());
  return tally;
}

}  // namespace

std::string AutoTally::NameOf(Key key) {
  if (key == 0) return AdaptiveChoiceOf({});
  const std::array<std::byte, 1> choice = {static_cast<std::byte>(key - 1)};
  return AdaptiveChoiceOf(choice);
}

AutoTally AutoTally::Of(const FederationPlan& plan) {
  AutoTally tally;
  tally.segments.resize(plan.checked().delta.segments().size());
  return tally;
}

Result<> AutoTally::Count(const FederationPlan& plan, const std::vector<JournalEntry>& entries) {
  wire::UpdateLimits limits;
  limits.bytes_max = plan.update_bytes_max();
  for (const JournalEntry& entry : entries) {
    const ByteSpan update = entry.update.bytes();
    const auto view = wire::DecodeUpdate(update, limits);
    if (!view) return Error{ErrorCode::kInternal, "an accepted update: " + view.error().message};
    ++updates;
    body_bytes += update.size();
    body_bytes_largest = std::max<std::uint64_t>(body_bytes_largest, update.size());
    for (const wire::UpdateStreamView& stream : view->streams) {
      if (stream.id != wire::kStreamDelta) continue;
      for (const wire::UpdateEntryView& piece : stream.entries) {
        if (!IsAutos(plan.checked().delta.segments()[piece.segment])) continue;
        Segment& segment = segments[piece.segment];
        segment.payload_bytes += piece.payload.size();
        ++segment.choices[KeyOf(piece.payload)];
      }
    }
  }
  return {};
}

Bytes AutoTally::Encode() const {
  ByteWriter out;
  for (const std::uint64_t value : {updates, body_bytes, body_bytes_largest})
    out.WriteVarint(value);
  out.WriteVarint(segments.size());
  for (const Segment& segment : segments) {
    out.WriteVarint(segment.payload_bytes);
    out.WriteVarint(segment.choices.size());
    for (const auto& [key, times] : segment.choices) {
      out.WriteVarint(key);
      out.WriteVarint(times);
    }
  }
  return std::move(out).Take();
}

Result<AutoTally> AutoTally::Decode(const FederationPlan& plan, ByteSpan bytes) {
  auto tally = Read(bytes, plan.checked().delta.segments().size());
  if (tally) return tally;
  return Error{ErrorCode::kInternal,
               plan.name() + ": what auto chose is not stored whole: " + tally.error().message};
}

}  // namespace fl::server
