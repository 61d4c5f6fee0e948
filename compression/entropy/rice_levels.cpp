#include "fl/compression/entropy/rice_levels.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/bit_writer.h"
#include "fl/compression/entropy/nonzero_blocks.h"
#include "fl/compression/entropy/rice.h"

namespace fl {
namespace {

std::uint32_t Magnitude(std::int32_t level) {
  return static_cast<std::uint32_t>(level < 0 ? -level : level);
}

// The Elias gamma code of a magnitude.
void WriteGamma(std::uint32_t magnitude, BitWriter& bits) {
  unsigned length = 0;
  while ((magnitude >> length) > 1) ++length;
  bits.WriteOnes(length);
  bits.Write(0, 1);
  bits.Write(magnitude - (1U << length), length);
}

// Reads the Elias gamma codes of magnitudes up to 32767.
class GammaReader {
 public:
  explicit GammaReader(ByteSpan bytes) : bytes_(bytes) {}

  // 0 where the bits end or none of the magnitudes is meant.
  std::uint32_t Next() {
    unsigned length = 0;
    while (length < 15 && Bit()) ++length;
    if (length == 15) return 0;
    std::uint32_t magnitude = 1U << length;
    for (unsigned i = 0; i < length; ++i) magnitude |= static_cast<std::uint32_t>(Bit()) << i;
    return bit_ > bytes_.size() * 8 ? 0 : magnitude;
  }
  // Whether the rest is less than a byte, of zeros.
  bool AtEnd() {
    if ((bit_ + 7) / 8 != bytes_.size()) return false;
    while (bit_ % 8 != 0) {
      if (Bit()) return false;
    }
    return true;
  }

 private:
  bool Bit() {
    const std::size_t at = bit_++;
    return at < bytes_.size() * 8 &&
           ((std::to_integer<unsigned>(bytes_[at / 8]) >> (at % 8)) & 1U) != 0;
  }

  ByteSpan bytes_;
  std::size_t bit_ = 0;
};

// Where the pieces of a code lie; `rest` begins with the gaps.
struct Pieces {
  std::size_t nonzeros = 0;
  ByteSpan signs;
  ByteSpan rest;
};

Result<Pieces> Split(ByteSpan bytes, std::size_t count) {
  Pieces pieces;
  ByteReader reader(bytes);
  FL_TRY(const std::uint64_t nonzeros, reader.ReadVarint());
  if (nonzeros > count) {
    return Error{ErrorCode::kMalformed,
                 "expected at most " + std::to_string(count) + " levels that are not zero, found " +
                     std::to_string(nonzeros),
                 ErrorDetail::kLevelCount};
  }
  pieces.nonzeros = nonzeros;
  FL_TRY(pieces.signs, reader.ReadSpan((nonzeros + 7) / 8));
  if (nonzeros % 8 != 0 && (std::to_integer<unsigned>(pieces.signs.back()) >> (nonzeros % 8)) != 0)
    return Error{ErrorCode::kMalformed, "expected zero bits after the last sign",
                 ErrorDetail::kPaddingBits};
  pieces.rest = bytes.subspan(reader.position());
  return pieces;
}

constexpr std::size_t kRun = 256;  // Levels that are read at once; a multiple of 8.
struct Run {
  std::array<std::uint32_t, kRun> places;
  std::array<std::int32_t, kRun> levels;
};

// 1, or -1 where the sign says so, for `size` levels from `first` on, a multiple of 8.
void ReadSigns(ByteSpan signs, std::size_t first, std::size_t size, Run& run) {
  for (std::size_t i = 0; i < size; ++i) {
    const unsigned byte = std::to_integer<unsigned>(signs[(first + i) / 8]);
    run.levels[i] = 1 - 2 * static_cast<std::int32_t>((byte >> (i % 8)) & 1U);
  }
}

// How many bytes the gaps take.
Result<std::size_t> GapBytes(const Pieces& pieces, std::size_t count) {
  IndexReader indices(pieces.rest, pieces.nonzeros, count);
  Run run;
  for (std::size_t i = 0; i < pieces.nonzeros; i += kRun)
    FL_TRY_OK(indices.Next(std::span(run.places).first(std::min(kRun, pieces.nonzeros - i))));
  if (indices.PaddingIsZero()) return indices.bytes_read();
  return Error{ErrorCode::kMalformed, "expected zero bits after the last index",
               ErrorDetail::kPaddingBits};
}

Result<> MultiplyMagnitudes(GammaReader& magnitudes, std::uint32_t max, std::size_t first,
                            std::span<std::int32_t> levels) {
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const std::uint32_t magnitude = magnitudes.Next();
    if (magnitude == 0 || magnitude > max) {
      return Error{
          ErrorCode::kMalformed,
          "magnitude " + std::to_string(first + i) + ": expected 1 to " + std::to_string(max),
          ErrorDetail::kLevelUnknown};
    }
    levels[i] *= static_cast<std::int32_t>(magnitude);
  }
  return {};
}

Error TooLong() {
  return {ErrorCode::kMalformed, "expected the end of the levels after the last magnitude",
          ErrorDetail::kCodeDamaged};
}

// Levels of magnitude 1, in one pass.
Result<> DecodeUnits(const Pieces& pieces, std::size_t count, std::size_t to, LevelSink& sink) {
  IndexReader indices(pieces.rest, pieces.nonzeros, count);
  Run run;
  for (std::size_t i = 0; i < pieces.nonzeros; i += kRun) {
    const std::size_t size = std::min(kRun, pieces.nonzeros - i);
    FL_TRY_OK(indices.Next(std::span(run.places).first(size)));
    ReadSigns(pieces.signs, i, size, run);
    sink.PutPlaces(to, std::span(run.places).first(size), std::span(run.levels).first(size));
  }
  if (!indices.PaddingIsZero())
    return Error{ErrorCode::kMalformed, "expected zero bits after the last index",
                 ErrorDetail::kPaddingBits};
  if (indices.bytes_read() == pieces.rest.size()) return {};
  return TooLong();
}

}  // namespace

void WriteRiceLevels(std::span<const std::int16_t> levels, std::uint32_t max, ByteWriter& out) {
  std::vector<std::uint32_t> indices;
  ByteWriter signs;
  BitWriter sign_bits(signs);
  ByteWriter magnitudes;
  BitWriter magnitude_bits(magnitudes);
  ForNonzeroBlocks(levels, [&](std::size_t at, std::span<const std::int16_t> block) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      if (block[i] == 0) continue;
      indices.push_back(static_cast<std::uint32_t>(at + i));
      sign_bits.Write(block[i] < 0 ? 1 : 0, 1);
      if (max > 1) WriteGamma(Magnitude(block[i]), magnitude_bits);
    }
  });
  sign_bits.Finish();
  magnitude_bits.Finish();
  out.WriteVarint(indices.size());
  out.WriteSpan(signs.bytes());
  WriteIndices(indices, levels.size(), out);
  out.WriteSpan(magnitudes.bytes());
}

Result<> DecodeRiceLevels(ByteSpan bytes, std::size_t count, std::uint32_t max, std::size_t to,
                          LevelSink& sink) {
  FL_TRY(const Pieces pieces, Split(bytes, count));
  if (max == 1) return DecodeUnits(pieces, count, to, sink);
  FL_TRY(const std::size_t gap_bytes, GapBytes(pieces, count));
  IndexReader indices(pieces.rest, pieces.nonzeros, count);
  GammaReader magnitudes(pieces.rest.subspan(gap_bytes));
  Run run;
  for (std::size_t i = 0; i < pieces.nonzeros; i += kRun) {
    const std::size_t size = std::min(kRun, pieces.nonzeros - i);
    indices.NextChecked(std::span(run.places).first(size));
    ReadSigns(pieces.signs, i, size, run);
    FL_TRY_OK(MultiplyMagnitudes(magnitudes, max, i, std::span(run.levels).first(size)));
    sink.PutPlaces(to, std::span(run.places).first(size), std::span(run.levels).first(size));
  }
  if (magnitudes.AtEnd()) return {};
  return TooLong();
}

void ReadRiceLevels(ByteSpan bytes, std::size_t count, std::size_t stop, std::uint32_t max,
                    std::size_t to, LevelSink& sink) {
  if (max > 1) {
    const auto read = DecodeRiceLevels(bytes, count, max, to, sink);
    FL_CHECK(read.has_value(), "these bytes were accepted");
    return;
  }
  const Pieces pieces = Split(bytes, count).value();
  IndexReader indices(pieces.rest, pieces.nonzeros, count);
  Run run;
  for (std::size_t i = 0; i < pieces.nonzeros; i += kRun) {
    const std::size_t size = std::min(kRun, pieces.nonzeros - i);
    indices.NextChecked(std::span(run.places).first(size));
    ReadSigns(pieces.signs, i, size, run);
    sink.PutPlaces(to, std::span(run.places).first(size), std::span(run.levels).first(size));
    if (run.places[size - 1] >= stop) return;
  }
}

}  // namespace fl
