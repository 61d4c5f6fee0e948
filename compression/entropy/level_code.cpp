#include "fl/compression/entropy/level_code.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/density_levels.h"
#include "fl/compression/entropy/plain_levels.h"
#include "fl/compression/entropy/rans_levels.h"
#include "fl/compression/entropy/rice_levels.h"
#include "fl/compression/entropy/trit_levels.h"

namespace fl {
namespace {

constexpr std::uint8_t kPlainFlag = 128;

// What a part takes, about. The context coder learns anew in each, which costs 1 % of 700 bytes.
std::size_t PartBytes(LevelCode code) {
  return code == LevelCode::kContext ? 1400 : 700;
}

// How many parts an array of a kind has, and how many coordinates each but the last.
struct PartSizes {
  PartSizes(LevelCode code, std::uint8_t kind, std::size_t count)
      : each(PartCoordinates(kind, PartBytes(code))),
        parts(std::max<std::size_t>(count / each, 1)),
        total(count) {}
  std::size_t First(std::size_t part) const { return part * each; }
  std::size_t Count(std::size_t part) const {
    return part + 1 < parts ? each : total - part * each;
  }
  std::size_t Largest() const { return Count(parts - 1); }
  std::size_t each;
  std::size_t parts;
  std::size_t total;
};

// Counts; zeros add nothing.
class CountingSink final : public LevelSink {
 public:
  void Put(std::size_t /*index*/, std::int32_t level) override {
    const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
    largest_ = std::max(largest_, magnitude);
    activity_ += std::min(magnitude, kActivityMax);
  }
  void PutRun(std::size_t /*index*/, std::span<const std::int32_t> levels) override {
    for (const std::int32_t level : levels) Put(0, level);
  }
  void PutPlaces(std::size_t /*to*/, std::span<const std::uint32_t> /*places*/,
                 std::span<const std::int32_t> levels) override {
    PutRun(0, levels);
  }
  std::uint32_t largest() const { return largest_; }
  std::uint64_t activity() const { return activity_; }

 private:
  std::uint32_t largest_ = 0;
  std::uint64_t activity_ = 0;
};

// Counts what `rans` codes.
class SymbolSink final : public LevelSink {
 public:
  void Put(std::size_t /*index*/, std::int32_t level) override { PutRun(0, std::span(&level, 1)); }
  void PutRun(std::size_t /*index*/, std::span<const std::int32_t> levels) override {
    counter_.Add(levels);
    if (!counter_.has_larger()) return;  // Else the counts tell the largest.
    for (const std::int32_t level : levels) {
      least_ = std::min(least_, level);
      most_ = std::max(most_, level);
    }
  }
  std::uint32_t largest() const {
    const auto larger = static_cast<std::uint32_t>(std::max(-least_, most_));
    return std::max(larger, LargestOf(counter_.counts()));
  }
  RansCounts counts() const { return counter_.counts(); }

 private:
  RansCounter counter_;
  std::int32_t least_ = 0;
  std::int32_t most_ = 0;
};

// Passes on the levels of a range.
class RangeSink final : public LevelSink {
 public:
  RangeSink(std::size_t first, std::size_t count, LevelSink& sink)
      : first_(first), count_(count), sink_(sink) {}
  void Put(std::size_t index, std::int32_t level) override {
    if (index - first_ < count_) sink_.Put(index, level);
  }
  void PutRun(std::size_t index, std::span<const std::int32_t> levels) override {
    const std::size_t begin = std::clamp(first_, index, index + levels.size()) - index;
    const std::size_t end = std::clamp(first_ + count_, index, index + levels.size()) - index;
    if (begin < end) sink_.PutRun(index + begin, levels.subspan(begin, end - begin));
  }
  void PutPlaces(std::size_t to, std::span<const std::uint32_t> places,
                 std::span<const std::int32_t> levels) override {
    const bool inside =
        !places.empty() && to + places.front() >= first_ && to + places.back() < first_ + count_;
    if (inside) return sink_.PutPlaces(to, places, levels);
    LevelSink::PutPlaces(to, places, levels);
  }

 private:
  std::size_t first_;
  std::size_t count_;
  LevelSink& sink_;
};

// Passes levels on, and keeps them.
class KeepingSink final : public LevelSink {
 public:
  KeepingSink(SparseLevels& kept, LevelSink& sink) : kept_(kept), sink_(sink) {}
  void Put(std::size_t index, std::int32_t level) override {
    kept_.Add(index, level);
    sink_.Put(index, level);
  }
  void PutPlaces(std::size_t to, std::span<const std::uint32_t> places,
                 std::span<const std::int32_t> levels) override {
    for (std::size_t i = 0; i < places.size(); ++i) kept_.Add(to + places[i], levels[i]);
    sink_.PutPlaces(to, places, levels);
  }

 private:
  SparseLevels& kept_;
  LevelSink& sink_;
};

LevelArray ArrayOf(const LevelSpace& space, std::uint8_t kind) {
  return {space.columns, space.max, kind};
}

void WritePart(LevelCode code, std::span<const std::int16_t> levels, std::size_t first,
               const LevelArray& array, ByteWriter& out) {
  if (code == LevelCode::kRice) return WriteRiceLevels(levels, array.max, out);
  if (code == LevelCode::kTrits) return WriteTritLevels(levels, out);
  EncodePart(levels, first, array, out);
}

// The coded parts of all levels, and how each was written.
struct WrittenPart {
  Bytes bytes;
  bool plain = false;
};
std::vector<WrittenPart> WriteParts(LevelCode code, LevelSource& levels, const LevelArray& array,
                                    const PartSizes& sizes) {
  std::vector<WrittenPart> parts;
  std::vector<std::int16_t> buffer(sizes.Largest());
  levels.Restart();
  for (std::size_t i = 0; i < sizes.parts; ++i) {
    const auto part = std::span(buffer).first(sizes.Count(i));
    levels.Next(part);
    ByteWriter coded;
    WritePart(code, part, sizes.First(i), array, coded);
    const bool plain = coded.size() >= PlainBytes(part.size(), array.max);
    if (plain) {
      coded = ByteWriter();
      PlainWriter writer(array.max, coded);
      writer.Write(part);
      writer.Finish();
    }
    parts.push_back({std::move(coded).Take(), plain});
  }
  return parts;
}

void WriteAllPlain(LevelSource& levels, const LevelSpace& space, ByteWriter& out) {
  PlainWriter writer(space.max, out);
  ForLevelBlocks(levels, space.count, [&](std::size_t /*at*/, std::span<const std::int16_t> block) {
    writer.Write(block);
  });
  writer.Finish();
}

void WriteRans(LevelSource& levels, const LevelSpace& space, const RansCounts& counts,
               std::uint8_t kind, ByteWriter& out) {
  const RansTable table = RansTable::Of(counts, space.max);
  const PartSizes sizes(LevelCode::kRans, kind, space.count);
  ByteWriter head;
  table.Write(head);
  ByteWriter coded;
  coded.WriteVarint(head.size());
  coded.WriteSpan(head.bytes());
  ByteWriter parts;
  RansEncoder encoder(table);
  std::vector<std::int16_t> buffer(sizes.Largest());
  levels.Restart();
  for (std::size_t i = 0; i < sizes.parts; ++i) {
    const auto part = std::span(buffer).first(sizes.Count(i));
    levels.Next(part);
    const std::size_t before = parts.size();
    encoder.Encode(part, parts);
    if (sizes.parts > 1) coded.WriteVarint(2 * (parts.size() - before));
  }
  const bool plain = coded.size() + parts.size() >= PlainBytes(space.count, space.max);
  out.Write(static_cast<std::uint8_t>(kind + (plain ? kPlainFlag : 0)));
  if (plain) return WriteAllPlain(levels, space, out);
  out.WriteSpan(coded.bytes());
  out.WriteSpan(parts.bytes());
}

Error Malformed(const std::string& what) {
  return {ErrorCode::kMalformed, what, ErrorDetail::kCodeDamaged};
}

}  // namespace

std::size_t LevelBytesMax(const LevelSpace& space) {
  const std::size_t parts = space.count / PartCoordinates(127, 1) + 1;
  const std::size_t plain = PlainBytes(space.count, space.max) + parts;
  return 2 + plain + parts * VarintSize(2 * plain);
}

void WriteLevels(LevelCode code, LevelSource& levels, const LevelSpace& space, ByteWriter& out) {
  FL_CHECK(code != LevelCode::kTrits || space.max == 1, "trits are of three levels");
  RansCounter counter;
  std::uint64_t activity = 0;
  ForLevelBlocks(levels, space.count, [&](std::size_t /*at*/, std::span<const std::int16_t> block) {
    if (code == LevelCode::kRans) {
      counter.Add(block);
    } else {
      activity += ActivityOf(block);
    }
  });
  const RansCounts counts = counter.counts();
  if (code == LevelCode::kRans) activity = ActivityOf(counts);
  if (activity == 0) return;
  if (code == LevelCode::kPack) return WriteAllPlain(levels, space, out);
  const std::uint8_t kind = LevelKind(activity, space.count);
  if (code == LevelCode::kRans) return WriteRans(levels, space, counts, kind, out);
  const PartSizes sizes(code, kind, space.count);
  const auto parts = WriteParts(code, levels, ArrayOf(space, kind), sizes);
  const bool flagged = parts.size() == 1 && parts[0].plain;
  out.Write(static_cast<std::uint8_t>(kind + (flagged ? kPlainFlag : 0)));
  if (parts.size() > 1) {
    for (const WrittenPart& part : parts)
      out.WriteVarint(2 * part.bytes.size() + (part.plain ? 1 : 0));
  }
  for (const WrittenPart& part : parts) out.WriteSpan(part.bytes);
}

void WriteLevels(LevelCode code, std::span<const std::int32_t> levels, const LevelSpace& space,
                 ByteWriter& out) {
  FL_CHECK(levels.size() == space.count, "an array of levels is made for one number of levels");
  ArraySource source(levels);
  WriteLevels(code, source, space, out);
}

void WriteSmallest(LevelSource& levels, const LevelSpace& space, ByteWriter& out) {
  ByteWriter best;
  for (const LevelCode code :
       {LevelCode::kPack, LevelCode::kRice, LevelCode::kRans, LevelCode::kContext}) {
    ByteWriter tried;
    tried.Write(static_cast<std::uint8_t>(code));
    WriteLevels(code, levels, space, tried);
    if (tried.size() == 1) return;  // All levels are zero.
    if (best.size() == 0 || tried.size() < best.size()) best = std::move(tried);
  }
  out.WriteSpan(best.bytes());
}

Result<ParsedLevels> ParsedLevels::Parse(LevelCode code, ByteSpan bytes, const LevelSpace& space) {
  ParsedLevels parsed;
  parsed.code_ = code;
  parsed.space_ = space;
  if (bytes.empty()) return parsed;
  if (code == LevelCode::kPack) {
    parsed.parts_.push_back({0, space.count, bytes, true, {}});
  } else {
    FL_TRY_OK(parsed.ReadParts(bytes));
  }
  FL_TRY(const Content content, parsed.table_.empty() ? parsed.CheckParts() : parsed.CheckRans());
  parsed.largest_ = content.largest;
  const bool known = code == LevelCode::kPack || parsed.largest_ == 0 ||
                     LevelKind(content.activity, space.count) == parsed.kind_;
  if (known && parsed.largest_ != 0) return parsed;
  return Malformed("expected levels of the kind that is declared and not zeros alone");
}

Result<ParsedLevels> ParsedLevels::ParseTagged(ByteSpan bytes, const LevelSpace& space) {
  if (bytes.empty()) return Parse(LevelCode::kPack, bytes, space);
  const auto code = static_cast<LevelCode>(bytes[0]);
  if (code > LevelCode::kContext) {
    return Malformed("expected a code of levels, found " +
                     std::to_string(std::to_integer<unsigned>(bytes[0])));
  }
  if (bytes.size() == 1) return Malformed("expected levels after their code's number");
  return Parse(code, bytes.subspan(1), space);
}

Result<> ParsedLevels::ReadParts(ByteSpan bytes) {
  ByteReader reader(bytes);
  FL_TRY(const auto head, reader.Read<std::uint8_t>());
  kind_ = head % kPlainFlag;
  const PartSizes sizes(code_, kind_, space_.count);
  const bool all_plain = code_ == LevelCode::kRans && head >= kPlainFlag;
  if (code_ == LevelCode::kRans && !all_plain) {
    if (reader.remaining() >= PlainBytes(space_.count, space_.max))
      return Malformed("expected levels whose code is no shorter to be plain");
    FL_TRY(const std::uint64_t size, reader.ReadVarint());
    FL_TRY(table_, reader.ReadSpan(size));
    if (table_.empty()) return Malformed("expected a table of symbols");
  }
  if (sizes.parts == 1 || all_plain) {
    FL_TRY(const ByteSpan part, reader.ReadSpan(reader.remaining()));
    parts_.push_back({0, space_.count, part, head >= kPlainFlag, {}});
    return {};
  }
  if (head >= kPlainFlag) return Malformed("expected a kind below 128 where there are parts");
  if (reader.remaining() < sizes.parts) return Malformed("expected the size of each part");
  std::vector<std::uint64_t> lengths(sizes.parts);
  for (std::uint64_t& length : lengths) {
    FL_TRY(length, reader.ReadVarint());
  }
  for (std::size_t i = 0; i < sizes.parts; ++i) {
    FL_TRY(const ByteSpan part, reader.ReadSpan(lengths[i] / 2));
    parts_.push_back({sizes.First(i), sizes.Count(i), part, lengths[i] % 2 == 1, {}});
  }
  return reader.ExpectEnd();
}

Result<ParsedLevels::Content> ParsedLevels::CheckRans() const {
  FL_TRY(const RansTable table, RansTable::Read(table_, space_.max));
  SymbolSink symbols;
  for (const Part& part : parts_) {
    if (part.plain) return Malformed("expected no plain part behind a table");
    FL_TRY_OK(table.Decode(part.bytes, part.count, part.first, symbols));
  }
  const RansCounts counts = symbols.counts();
  if (table == RansTable::Of(counts, space_.max))
    return Content{symbols.largest(), ActivityOf(counts)};
  return Malformed("expected the table of the levels that it codes");
}

// Decoding costs far more than checking what was decoded: so it is done once, where that takes not
// much more room than the part itself.
Result<> ParsedLevels::CheckContext(Part& part, LevelSink& sink) const {
  constexpr std::size_t kRoom = 3;
  SparseLevels decoded(part.first, kRoom * part.bytes.size());
  KeepingSink keeping(decoded, sink);
  FL_TRY_OK(DecodePart(part.bytes, part.first, part.count, ArrayOf(space_, kind_), keeping));
  if (decoded.complete()) part.decoded = std::move(decoded);
  return {};
}

Result<> ParsedLevels::CheckPart(Part& part, LevelSink& sink) const {
  const std::size_t plain_bytes = PlainBytes(part.count, space_.max);
  if (part.plain ? part.bytes.size() != plain_bytes : part.bytes.size() >= plain_bytes) {
    return Malformed("expected " + std::string(part.plain ? "" : "fewer than ") +
                     std::to_string(plain_bytes) + " bytes, found " +
                     std::to_string(part.bytes.size()));
  }
  if (part.plain) {
    FL_TRY_OK(CheckPlain(part.bytes, part.count, space_.max));
    ReadPlain(part.bytes, space_.max, 0, part.count, part.first, sink);
    return {};
  }
  if (code_ == LevelCode::kRice)
    return DecodeRiceLevels(part.bytes, part.count, space_.max, part.first, sink);
  if (code_ == LevelCode::kTrits) return DecodeTritLevels(part.bytes, part.count, part.first, sink);
  return CheckContext(part, sink);
}

Result<ParsedLevels::Content> ParsedLevels::CheckParts() {
  CountingSink counts;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const auto checked = CheckPart(parts_[i], counts);
    if (!checked) return checked.error().At("part " + std::to_string(i));
  }
  return Content{counts.largest(), counts.activity()};
}

void ParsedLevels::Read(std::size_t first, std::size_t count, LevelSink& sink) const {
  RangeSink range(first, count, sink);
  if (!table_.empty()) return ReadRans(first, count, sink);
  for (const Part& part : parts_) {
    if (part.first >= first + count || part.first + part.count <= first) continue;
    const std::size_t begin = std::max(first, part.first) - part.first;
    const std::size_t end = std::min(first + count - part.first, part.count);
    if (part.decoded) {
      part.decoded->Read(first, count, sink);
    } else if (part.plain) {
      ReadPlain(part.bytes, space_.max, begin, end - begin, part.first + begin, sink);
    } else if (code_ == LevelCode::kRice) {
      ReadRiceLevels(part.bytes, part.count, end, space_.max, part.first,
                     begin == 0 && end == part.count ? sink : range);
    } else if (code_ == LevelCode::kTrits) {
      ReadTritLevels(part.bytes, part.count, end, part.first,
                     begin == 0 && end == part.count ? sink : range);
    } else {
      DecodeAcceptedPart(part.bytes, part.first, part.count, end, ArrayOf(space_, kind_), range);
    }
  }
}

void ParsedLevels::ReadRans(std::size_t first, std::size_t count, LevelSink& sink) const {
  const auto table = RansTable::Read(table_, space_.max);
  for (const Part& part : parts_) {
    if (part.first >= first + count || part.first + part.count <= first) continue;
    const bool inside = first <= part.first && part.first + part.count <= first + count;
    RangeSink range(first, count, sink);
    LevelSink& wanted = inside ? sink : range;
    const auto read = table->Decode(part.bytes, part.count, part.first, wanted);
    FL_CHECK(read.has_value(), "the part was accepted");
  }
}

}  // namespace fl
