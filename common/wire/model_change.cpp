#include "fl/common/wire/model_change.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <vector>

namespace fl::wire {
namespace {

constexpr std::string_view kMagic = "FLM";
constexpr std::uint8_t kVersion = 1;
constexpr unsigned kPlanes = 4;

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

Bytes Deflate(std::span<const std::uint8_t> plane) {
  uLongf size = compressBound(static_cast<uLong>(plane.size()));
  Bytes out(size);
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()), &size, plane.data(),
                               static_cast<uLong>(plane.size()), Z_BEST_SPEED);
  FL_CHECK(status == Z_OK, "zlib compresses into a buffer of its own bound");
  out.resize(size);
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

Bytes EncodeModelChange(std::span<const float> base, std::span<const float> next) {
  FL_CHECK(base.size() == next.size(), "a change is between models of one size");
  ByteWriter out;
  out.WriteSpan(AsBytes(kMagic));
  out.Write(kVersion);
  out.WriteVarint(base.size());
  std::vector<std::uint8_t> plane(base.size());
  for (unsigned k = 0; k < kPlanes; ++k) {
    for (std::size_t i = 0; i < base.size(); ++i) {
      plane[i] = static_cast<std::uint8_t>(Difference(base[i], next[i]) >> (8 * k));
    }
    const Bytes stream = Deflate(plane);
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
