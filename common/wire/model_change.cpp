#include "fl/common/wire/model_change.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <vector>

namespace fl::wire {
namespace {

constexpr std::string_view kMagic = "FLM";
constexpr std::uint8_t kVersion = 1;
constexpr unsigned kPlanes = 4;
constexpr std::size_t kPieceMax = std::size_t{1} << 30U;

// Bits as integers in the order of the floats, and back: the map is its own inverse.
std::uint32_t Reorder(std::uint32_t bits) {
  return (bits >> 31) != 0 ? bits ^ 0x7FFFFFFFU : bits;
}

std::uint32_t ZigZag(std::uint32_t value) {
  return (value << 1) ^ (0U - (value >> 31));
}
std::uint32_t UnZigZag(std::uint32_t value) {
  return (value >> 1) ^ (0U - (value & 1U));
}

std::uint32_t Difference(float base, float next) {
  return ZigZag(Reorder(std::bit_cast<std::uint32_t>(next)) -
                Reorder(std::bit_cast<std::uint32_t>(base)));
}

// Looks for runs alone, twice as fast as for all repetitions: a plane is noise but for its zeros,
// and what repeats by chance costs more to say than it saves.
Bytes Deflate(std::span<const std::uint8_t> plane) {
  constexpr int kWindowBits = 15;  // These two are zlib's defaults.
  constexpr int kMemoryLevel = 8;
  z_stream stream{};
  FL_CHECK(
      deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kWindowBits, kMemoryLevel, Z_RLE) == Z_OK,
      "zlib has memory");
  Bytes out(deflateBound(&stream, static_cast<uLong>(plane.size())));
  std::size_t taken = 0;
  std::size_t written = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    // zlib counts in 32 bits.
    const std::size_t in = std::min<std::size_t>(plane.size() - taken, kPieceMax);
    const std::size_t room = std::min<std::size_t>(out.size() - written, kPieceMax);
    stream.next_in = const_cast<Bytef*>(plane.data() + taken);
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + written);
    stream.avail_out = static_cast<uInt>(room);
    status = deflate(&stream, taken + in == plane.size() ? Z_FINISH : Z_NO_FLUSH);
    taken += in - stream.avail_in;
    written += room - stream.avail_out;
  }
  deflateEnd(&stream);
  FL_CHECK(status == Z_STREAM_END && taken == plane.size(),
           "zlib compresses into a buffer of its own bound");
  out.resize(written);
  return out;
}

// Exactly plane.size() bytes come out of exactly the bytes of `stream`.
Result<> Inflate(ByteSpan stream, std::span<std::uint8_t> plane) {
  uLongf size = static_cast<uLongf>(plane.size());
  uLong used = static_cast<uLong>(stream.size());
  // zlib refuses a null buffer, which an empty span has.
  std::uint8_t none = 0;
  const int status = uncompress2(plane.empty() ? &none : plane.data(), &size,
                                 reinterpret_cast<const Bytef*>(stream.data()), &used);
  if (status == Z_OK && size == plane.size() && used == stream.size()) return {};
  return Error{ErrorCode::kMalformed, "model change: expected a zlib stream of " +
                                          std::to_string(plane.size()) + " bytes"};
}

Result<std::uint64_t> ReadHead(ByteReader& reader) {
  FL_TRY(const ByteSpan magic, reader.ReadSpan(kMagic.size()));
  if (AsText(magic) != kMagic) {
    return Error{ErrorCode::kMalformed, "model change: expected FLM at its start"};
  }
  FL_TRY(const std::uint8_t version, reader.Read<std::uint8_t>());
  if (version != kVersion) {
    return Error{ErrorCode::kWrongVersion,
                 "model change: expected version 1, found " + std::to_string(version)};
  }
  return reader.ReadVarint();
}

}  // namespace

Bytes EncodeModelChange(std::span<const float> base, std::span<const float> next,
                        ThreadPool* pool) {
  FL_CHECK(base.size() == next.size(), "a change is between models of one size");
  ByteWriter out;
  out.WriteSpan(AsBytes(kMagic));
  out.Write(kVersion);
  out.WriteVarint(base.size());
  std::vector<std::uint32_t> difference(base.size());
  std::ranges::transform(base, next, difference.begin(), Difference);
  std::array<Bytes, kPlanes> streams;
  const auto encode = [&](std::size_t k) {
    std::vector<std::uint8_t> plane(base.size());
    std::ranges::transform(difference, plane.begin(), [k](std::uint32_t value) {
      return static_cast<std::uint8_t>(value >> (8 * k));
    });
    streams[k] = Deflate(plane);
  };
  if (pool == nullptr) {
    for (std::size_t k = 0; k < kPlanes; ++k) encode(k);
  } else {
    pool->ParallelFor(kPlanes, encode);
  }
  for (const Bytes& stream : streams) {
    out.WriteVarint(stream.size());
    out.WriteSpan(stream);
  }
  return std::move(out).Take();
}

Result<> ApplyModelChange(ByteSpan change, std::span<const float> base, std::span<float> out) {
  FL_CHECK(base.size() == out.size(), "a change leaves the model's size");
  ByteReader reader(change);
  FL_TRY(const std::uint64_t count, ReadHead(reader));
  if (count != base.size()) {
    return Error{ErrorCode::kShapeMismatch, "model change: expected " +
                                                std::to_string(base.size()) + " values, found " +
                                                std::to_string(count)};
  }
  std::vector<std::uint32_t> difference(base.size());
  std::vector<std::uint8_t> plane(base.size());
  for (unsigned k = 0; k < kPlanes; ++k) {
    FL_TRY(const std::uint64_t size, reader.ReadVarint());
    FL_TRY(const ByteSpan stream, reader.ReadSpan(size));
    FL_TRY_OK(Inflate(stream, plane));
    for (std::size_t i = 0; i < plane.size(); ++i) {
      difference[i] |= std::uint32_t{plane[i]} << (8 * k);
    }
  }
  FL_TRY_OK(reader.ExpectEnd());
  for (std::size_t i = 0; i < base.size(); ++i) {
    out[i] = std::bit_cast<float>(
        Reorder(Reorder(std::bit_cast<std::uint32_t>(base[i])) + UnZigZag(difference[i])));
  }
  return {};
}

}  // namespace fl::wire
