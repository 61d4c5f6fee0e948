#include "fl/compression/app/update_file.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fl::codec_app {
namespace {

constexpr std::array<std::byte, 3> kMagic = {std::byte{'F'}, std::byte{'L'}, std::byte{'C'}};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kExtentsMax = 8;

void WriteText(ByteWriter& writer, std::string_view text) {
  writer.WriteVarint(text.size());
  writer.WriteSpan(AsBytes(text));
}

Result<std::uint64_t> ReadBounded(ByteReader& reader, std::uint64_t most, const char* what) {
  FL_TRY(const std::uint64_t value, reader.ReadVarint());
  if (value > most) {
    return Error{ErrorCode::kLimitExceeded, "expected at most " + std::to_string(most) + " " +
                                                what + ", found " + std::to_string(value)};
  }
  return value;
}

Result<std::string> ReadText(ByteReader& reader, const UpdateFileLimits& limits) {
  FL_TRY(const std::uint64_t size, ReadBounded(reader, limits.text_bytes_max, "bytes of text"));
  FL_TRY(const ByteSpan text, reader.ReadSpan(static_cast<std::size_t>(size)));
  return std::string(AsText(text));
}

// `left`: coordinates that may still come.
Result<Shape> ReadShape(ByteReader& reader, std::uint64_t& left) {
  FL_TRY(const std::uint64_t rank, ReadBounded(reader, kExtentsMax, "extents"));
  std::vector<std::size_t> extents;
  std::uint64_t count = 1;
  for (std::uint64_t i = 0; i < rank; ++i) {
    FL_TRY(const std::uint64_t extent, ReadBounded(reader, left / count, "coordinates"));
    if (extent == 0) return Error{ErrorCode::kMalformed, "expected extents of at least 1"};
    extents.push_back(static_cast<std::size_t>(extent));
    count *= extent;
  }
  if (count > left) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected at most " + std::to_string(left) + " more coordinates"};
  }
  left -= count;
  return Shape(std::move(extents));
}

Result<TensorLayout> ReadLayout(ByteReader& reader, const UpdateFileLimits& limits) {
  FL_TRY(const std::uint64_t tensors, ReadBounded(reader, limits.tensors_max, "tensors"));
  std::uint64_t left = limits.coordinates_max;
  std::vector<TensorSpec> specs;
  std::set<std::string> names;
  for (std::uint64_t i = 0; i < tensors; ++i) {
    FL_TRY(std::string name, ReadText(reader, limits));
    if (!names.insert(name).second)
      return Error{ErrorCode::kMalformed, "expected one tensor named " + name + ", found two"};
    FL_TRY(Shape shape, ReadShape(reader, left));
    specs.push_back({std::move(name), std::move(shape)});
  }
  return TensorLayout(std::move(specs));
}

Result<CompressionConfig> ReadCompression(ByteReader& reader, const UpdateFileLimits& limits) {
  CompressionConfig compression;
  FL_TRY(const std::uint64_t gather_below,
         ReadBounded(reader, 0xFFFFFFFFU, "as the size below which tensors are gathered"));
  compression.gather_below = static_cast<std::uint32_t>(gather_below);
  FL_TRY(compression.gathered.text, ReadText(reader, limits));
  FL_TRY(const std::uint64_t rules, ReadBounded(reader, limits.rules_max, "rules"));
  for (std::uint64_t i = 0; i < rules; ++i) {
    RecipeRule rule;
    FL_TRY(rule.tensors.text, ReadText(reader, limits));
    FL_TRY(rule.recipe.text, ReadText(reader, limits));
    compression.rules.push_back(std::move(rule));
  }
  return compression;
}

Result<UpdateFile> Read(ByteSpan bytes, const UpdateFileLimits& limits) {
  if (!IsUpdateFile(bytes)) return Error{ErrorCode::kMalformed, "expected the magic \"FLC\""};
  ByteReader reader(bytes.subspan(kMagic.size()));
  FL_TRY(const auto version, reader.Read<std::uint8_t>());
  if (version != kVersion) {
    return Error{ErrorCode::kWrongVersion, "expected format version " + std::to_string(kVersion) +
                                               ", found " + std::to_string(version)};
  }
  UpdateFile file;
  FL_TRY(file.layout, ReadLayout(reader, limits));
  FL_TRY(file.compression, ReadCompression(reader, limits));
  const std::uint32_t computed = Crc32(bytes.first(kMagic.size() + reader.position()));
  FL_TRY(const auto declared, reader.Read<std::uint32_t>());
  if (declared != computed)
    return Error{ErrorCode::kDigestMismatch, "the CRC of the head does not match its bytes"};
  FL_TRY(const ByteSpan update, reader.ReadSpan(reader.remaining()));
  file.update.assign(update.begin(), update.end());
  return file;
}

}  // namespace

Bytes SerializeUpdateFile(const UpdateFile& file) {
  ByteWriter writer;
  writer.WriteSpan(kMagic);
  writer.Write(kVersion);
  writer.WriteVarint(file.layout.size());
  for (const TensorSpec& spec : file.layout.specs()) {
    WriteText(writer, spec.name);
    writer.WriteVarint(spec.shape.rank());
    for (const std::size_t extent : spec.shape.extents()) writer.WriteVarint(extent);
  }
  writer.WriteVarint(file.compression.gather_below);
  WriteText(writer, file.compression.gathered.text);
  writer.WriteVarint(file.compression.rules.size());
  for (const RecipeRule& rule : file.compression.rules) {
    WriteText(writer, rule.tensors.text);
    WriteText(writer, rule.recipe.text);
  }
  writer.Write(Crc32(writer.bytes()));
  writer.WriteSpan(file.update);
  return std::move(writer).Take();
}

Result<UpdateFile> ParseUpdateFile(ByteSpan bytes, const UpdateFileLimits& limits) {
  Result<UpdateFile> file = Read(bytes, limits);
  if (!file) return file.error().At("update file");
  return file;
}

bool IsUpdateFile(ByteSpan bytes) {
  return bytes.size() >= kMagic.size() && std::ranges::equal(bytes.first(kMagic.size()), kMagic);
}

}  // namespace fl::codec_app
