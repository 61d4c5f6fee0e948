#include "fl/common/wire/update.h"

#include <algorithm>
#include <array>

#include "fl/common/base/error_detail.h"

namespace fl::wire {
namespace {

constexpr std::array<std::byte, 3> kMagic = {std::byte{'F'}, std::byte{'L'}, std::byte{'U'}};
constexpr std::uint8_t kVersion = 1;

Error Malformed(ErrorDetail detail, std::string message) {
  return {ErrorCode::kMalformed, "update: " + std::move(message), detail};
}

Result<std::uint64_t> ReadBounded(ByteReader& reader, std::uint64_t value_max,
                                  std::string_view what, ErrorDetail detail) {
  FL_TRY(const std::uint64_t value, reader.ReadVarint());
  if (value > value_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "update: expected at most " + std::to_string(value_max) + " " + std::string(what) +
                     ", found " + std::to_string(value),
                 detail};
  }
  return value;
}

// Reads the CRC that covers everything before it.
Result<> ReadCrc(ByteReader& reader, ByteSpan bytes, std::string_view what, ErrorDetail detail) {
  const std::uint32_t computed = Crc32(bytes.first(reader.position()));
  FL_TRY(const auto declared, reader.Read<std::uint32_t>());
  if (declared == computed) return {};
  return Error{ErrorCode::kDigestMismatch,
               "update: the " + std::string(what) + "'s CRC does not match its bytes", detail};
}

struct Header {
  UpdateView update;
  std::uint64_t streams = 0;
};

Result<Header> ReadHeader(ByteReader& reader, ByteSpan bytes, const UpdateLimits& limits) {
  FL_TRY(const ByteSpan magic, reader.ReadSpan(kMagic.size()));
  if (!std::ranges::equal(magic, kMagic))
    return Malformed(ErrorDetail::kMagic, "expected the magic \"FLU\"");
  FL_TRY(const auto version, reader.Read<std::uint8_t>());
  if (version != kVersion) {
    return Error{ErrorCode::kWrongVersion,
                 "update: expected format version " + std::to_string(kVersion) + ", found " +
                     std::to_string(version),
                 ErrorDetail::kFormatVersion};
  }
  Header header;
  FL_TRY(header.update.task.value, reader.Read<std::uint64_t>());
  FL_TRY(header.update.base, reader.Read<std::uint64_t>());
  FL_TRY(header.update.recipe, reader.Read<std::uint64_t>());
  FL_TRY(header.update.examples,
         ReadBounded(reader, limits.examples_max, "examples", ErrorDetail::kExamplesCount));
  FL_TRY(header.streams,
         ReadBounded(reader, limits.streams_max, "streams", ErrorDetail::kStreamCount));
  FL_TRY_OK(ReadCrc(reader, bytes, "header", ErrorDetail::kHeaderCrc));
  return header;
}

Result<UpdateStreamView> ReadStream(ByteReader& reader, const UpdateLimits& limits) {
  UpdateStreamView stream;
  FL_TRY(stream.id, reader.ReadVarint());
  FL_TRY(
      const std::uint64_t entries,
      ReadBounded(reader, limits.segments_max, "segments in a stream", ErrorDetail::kSegmentCount));
  if (entries > limits.entries_max) {
    return Error{ErrorCode::kShapeMismatch,
                 "update: expected at most " + std::to_string(limits.entries_max) +
                     " segments in a stream, found " + std::to_string(entries),
                 ErrorDetail::kSegmentCount};
  }
  if (entries > reader.remaining() / 2)
    return Malformed(ErrorDetail::kEntriesBeyondEnd, "more segments than its bytes can hold");
  stream.entries.reserve(entries);
  std::vector<std::uint64_t> sizes(entries);
  std::uint64_t next = 0;
  for (std::uint64_t& size : sizes) {
    FL_TRY(const std::uint64_t step,
           ReadBounded(reader, limits.segments_max, "segments", ErrorDetail::kSegmentCount));
    FL_TRY(size, reader.ReadVarint());
    stream.entries.push_back({next + step, {}});
    next += step + 1;
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > reader.remaining())
      return Malformed(ErrorDetail::kPayloadBeyondEnd, "a payload longer than what remains");
    FL_TRY(stream.entries[i].payload, reader.ReadSpan(static_cast<std::size_t>(sizes[i])));
  }
  return stream;
}

}  // namespace

Bytes EncodeUpdate(const Update& update) {
  ByteWriter writer;
  writer.WriteSpan(kMagic);
  writer.Write(kVersion);
  writer.Write(update.task.value);
  writer.Write(update.base);
  writer.Write(update.recipe);
  writer.WriteVarint(update.examples);
  writer.WriteVarint(update.streams.size());
  writer.Write(Crc32(writer.bytes()));
  for (const UpdateStream& stream : update.streams) {
    writer.WriteVarint(stream.id);
    writer.WriteVarint(stream.entries.size());
    std::uint64_t next = 0;
    for (const UpdateEntry& entry : stream.entries) {
      FL_CHECK(entry.segment >= next, "segments are written in increasing order");
      writer.WriteVarint(entry.segment - next);
      writer.WriteVarint(entry.payload.size());
      next = entry.segment + 1;
    }
    for (const UpdateEntry& entry : stream.entries) writer.WriteSpan(entry.payload);
  }
  writer.Write(Crc32(writer.bytes()));
  return std::move(writer).Take();
}

Result<UpdateView> DecodeUpdate(ByteSpan bytes, const UpdateLimits& limits) {
  if (bytes.size() > limits.bytes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "update: expected at most " + std::to_string(limits.bytes_max) + " bytes, found " +
                     std::to_string(bytes.size()),
                 ErrorDetail::kUpdateBytes};
  }
  ByteReader reader(bytes);
  FL_TRY(Header header, ReadHeader(reader, bytes, limits));
  UpdateView update = std::move(header.update);
  for (std::uint64_t i = 0; i < header.streams; ++i) {
    FL_TRY(UpdateStreamView stream, ReadStream(reader, limits));
    if (!update.streams.empty() && stream.id <= update.streams.back().id) {
      return Malformed(ErrorDetail::kStreamOrder,
                       "expected stream ids in strictly increasing order");
    }
    update.streams.push_back(std::move(stream));
  }
  FL_TRY_OK(ReadCrc(reader, bytes, "trailer", ErrorDetail::kBodyCrc));
  FL_TRY_OK(reader.ExpectEnd());
  return update;
}

}  // namespace fl::wire
