#include "fl/client/state/device_state.h"

#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "fl/common/crypto/sha256.h"

namespace fl::client {
namespace {

// body    = client:text federation:text plan:digest? model:held? residual staged counters speed
// held    = version:varint digest
// residual= graph:digest tensors? round:varint velocity:tensors?
// staged  = 0:u8 | 1:u8 task:u64 kind:u8 round:varint plan:digest parameters:text digest
//           update:text residual:tensors? velocity:tensors?
// speed   = upload_bytes_per_second:f64 training_s:f64
// tensors = count:varint { name:text rank:varint { extent:varint } } { value:f32 }
// text    = bytes:varint ...     x? = 0:u8 | 1:u8 x
constexpr std::string_view kMagic = "FLDS";
constexpr std::size_t kRankMax = 8;

void WriteText(std::string_view text, ByteWriter& out) {
  out.WriteVarint(text.size());
  out.WriteSpan(AsBytes(text));
}

void WriteDigest(const std::optional<Digest>& digest, ByteWriter& out) {
  out.Write<std::uint8_t>(digest ? 1 : 0);
  if (digest) out.WriteSpan(digest->bytes);
}

void WriteTensors(const NamedTensors* tensors, ByteWriter& out) {
  out.Write<std::uint8_t>(tensors != nullptr ? 1 : 0);
  if (tensors == nullptr) return;
  out.WriteVarint(tensors->layout.size());
  for (const TensorSpec& spec : tensors->layout.specs()) {
    WriteText(spec.name, out);
    out.WriteVarint(spec.shape.rank());
    for (const std::size_t extent : spec.shape.extents()) out.WriteVarint(extent);
  }
  out.WriteSpan(std::as_bytes(std::span(tensors->values)));
}

void WriteStaged(const std::optional<StagedUpdate>& staged, ByteWriter& out) {
  out.Write<std::uint8_t>(staged ? 1 : 0);
  if (!staged) return;
  out.Write(staged->task);
  out.Write(static_cast<std::uint8_t>(staged->kind));
  out.WriteVarint(staged->round);
  out.WriteSpan(staged->plan.bytes);
  out.WriteVarint(staged->round_parameters.size());
  out.WriteSpan(staged->round_parameters);
  out.WriteSpan(crypto::Sha256(staged->update).bytes);
  out.WriteVarint(staged->update.size());
  out.WriteSpan(staged->update);
  WriteTensors(staged->residual.get(), out);
  WriteTensors(staged->velocity.get(), out);
}

// All eight, in the order of their declaration; a new one is appended under a new schema.
std::array<std::uint64_t*, 8> Fields(DeviceCounters& counters) {
  return {&counters.check_ins,
          &counters.trained,
          &counters.evaluated,
          &counters.deployed,
          &counters.accepted,
          &counters.refused,
          &counters.residual_tensors_dropped,
          &counters.bytes_up};
}

class StateReader {
 public:
  StateReader(ByteSpan bytes, std::uint16_t schema, const DeviceStateLimits& limits)
      : reader_(bytes), schema_(schema), limits_(limits) {}

  Result<DeviceState> Read() {
    DeviceState state;
    FL_TRY(state.client, ReadText());
    FL_TRY(state.federation, ReadText());
    FL_TRY(state.plan, ReadOptionalDigest());
    FL_TRY(const bool has_model, ReadFlag());
    if (has_model) {
      HeldModel model;
      FL_TRY(model.version, reader_.ReadVarint());
      FL_TRY(model.digest, ReadDigest());
      state.model = model;
    }
    FL_TRY(state.residual_graph, ReadDigest());
    FL_TRY(state.residual, ReadTensors());
    if (schema_ >= 2) {
      FL_TRY(state.residual_round, reader_.ReadVarint());
    }
    if (schema_ >= 3) {
      FL_TRY(state.velocity, ReadTensors());
    }
    FL_TRY(state.staged, ReadStaged());
    for (std::uint64_t* field : Fields(state.counters)) {
      FL_TRY(*field, reader_.ReadVarint());
    }
    if (schema_ >= 4) {
      FL_TRY(state.speed.upload_bytes_per_second, ReadAverage());
      FL_TRY(state.speed.training_s, ReadAverage());
    }
    FL_TRY_OK(reader_.ExpectEnd());
    return state;
  }

 private:
  Result<bool> ReadFlag() {
    FL_TRY(const std::uint8_t flag, reader_.Read<std::uint8_t>());
    if (flag > 1) {
      return Error{ErrorCode::kMalformed, "expected 0 or 1, found " + std::to_string(flag)};
    }
    return flag == 1;
  }

  Result<double> ReadAverage() {
    FL_TRY(const double value, reader_.Read<double>());
    if (!std::isfinite(value)) return Error{ErrorCode::kNotFinite, "speed: an infinite average"};
    if (value < 0) return Error{ErrorCode::kMalformed, "speed: a negative average"};
    return value;
  }

  Result<std::string> ReadText() {
    FL_TRY(const std::uint64_t size, reader_.ReadVarint());
    if (size > limits_.text_bytes_max) {
      return Error{ErrorCode::kLimitExceeded, "a text of " + std::to_string(size) + " bytes"};
    }
    FL_TRY(const ByteSpan text, reader_.ReadSpan(size));
    return std::string(AsText(text));
  }

  Result<Bytes> ReadBytes() {
    FL_TRY(const std::uint64_t size, reader_.ReadVarint());
    FL_TRY(const ByteSpan bytes, reader_.ReadSpan(size));
    return Bytes(bytes.begin(), bytes.end());
  }

  Result<Digest> ReadDigest() {
    Digest digest;
    FL_TRY(const ByteSpan bytes, reader_.ReadSpan(digest.bytes.size()));
    std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
    return digest;
  }

  Result<std::optional<Digest>> ReadOptionalDigest() {
    FL_TRY(const bool present, ReadFlag());
    if (!present) return std::optional<Digest>();
    FL_TRY(const Digest digest, ReadDigest());
    return std::optional<Digest>(digest);
  }

  Result<TensorSpec> ReadSpec() {
    TensorSpec spec;
    FL_TRY(spec.name, ReadText());
    FL_TRY(const std::uint64_t rank, reader_.ReadVarint());
    if (rank > kRankMax) return Error{ErrorCode::kMalformed, spec.name + ": more than 8 extents"};
    std::vector<std::size_t> extents(rank);
    std::uint64_t count = 1;
    for (std::size_t& extent : extents) {
      FL_TRY(extent, reader_.ReadVarint());
      if (extent == 0 || extent > limits_.bytes_max / count) {
        return Error{ErrorCode::kLimitExceeded, spec.name + ": an extent out of range"};
      }
      count *= extent;
    }
    spec.shape = Shape(std::move(extents));
    return spec;
  }

  Result<std::shared_ptr<const NamedTensors>> ReadTensors() {
    FL_TRY(const bool present, ReadFlag());
    if (!present) return std::shared_ptr<const NamedTensors>();
    FL_TRY(const std::uint64_t count, reader_.ReadVarint());
    if (count > limits_.tensors_max || count > reader_.remaining()) {
      return Error{ErrorCode::kLimitExceeded, std::to_string(count) + " tensors"};
    }
    std::vector<TensorSpec> specs(count);
    std::uint64_t values = 0;
    for (TensorSpec& spec : specs) {
      FL_TRY(spec, ReadSpec());
      values += spec.shape.count();
      // Each value takes four bytes of what remains, so nothing is sized beyond the input.
      if (values > reader_.remaining() / sizeof(float)) {
        return Error{ErrorCode::kMalformed, spec.name + ": more values than bytes"};
      }
    }
    auto tensors = std::make_shared<NamedTensors>(TensorLayout(std::move(specs)));
    FL_TRY(const ByteSpan bytes, reader_.ReadSpan(values * sizeof(float)));
    if (values > 0) std::memcpy(tensors->values.data(), bytes.data(), bytes.size());
    if (!AllFinite(tensors->values))
      return Error{ErrorCode::kNotFinite, "a residual or a velocity"};
    return std::shared_ptr<const NamedTensors>(std::move(tensors));
  }

  Result<std::optional<StagedUpdate>> ReadStaged() {
    FL_TRY(const bool present, ReadFlag());
    if (!present) return std::optional<StagedUpdate>();
    StagedUpdate staged;
    FL_TRY(staged.task, reader_.Read<std::uint64_t>());
    FL_TRY(const std::uint8_t kind, reader_.Read<std::uint8_t>());
    if (kind < 1 || kind > 4) {
      return Error{ErrorCode::kMalformed, "task kind " + std::to_string(kind)};
    }
    staged.kind = static_cast<wire::TaskKind>(kind);
    FL_TRY(staged.round, reader_.ReadVarint());
    FL_TRY(staged.plan, ReadDigest());
    FL_TRY(staged.round_parameters, ReadBytes());
    FL_TRY(const Digest digest, ReadDigest());
    FL_TRY(staged.update, ReadBytes());
    if (crypto::Sha256(staged.update) != digest) {
      return Error{ErrorCode::kDigestMismatch, "the staged update's digest is of other bytes"};
    }
    FL_TRY(staged.residual, ReadTensors());
    if (schema_ >= 3) {
      FL_TRY(staged.velocity, ReadTensors());
    }
    return std::optional<StagedUpdate>(std::move(staged));
  }

  ByteReader reader_;
  std::uint16_t schema_;
  const DeviceStateLimits& limits_;
};

}  // namespace

Bytes DeviceState::Encode() const {
  ByteWriter out;
  out.WriteSpan(AsBytes(kMagic));
  out.Write(kSchema);
  WriteText(client, out);
  WriteText(federation, out);
  WriteDigest(plan, out);
  out.Write<std::uint8_t>(model ? 1 : 0);
  if (model) {
    out.WriteVarint(model->version);
    out.WriteSpan(model->digest.bytes);
  }
  out.WriteSpan(residual_graph.bytes);
  WriteTensors(residual.get(), out);
  out.WriteVarint(residual_round);
  WriteTensors(velocity.get(), out);
  WriteStaged(staged, out);
  DeviceCounters copy = counters;
  for (const std::uint64_t* field : Fields(copy)) out.WriteVarint(*field);
  out.Write(speed.upload_bytes_per_second);
  out.Write(speed.training_s);
  out.Write(Crc32(out.bytes()));
  return std::move(out).Take();
}

Result<DeviceState> DeviceState::Decode(ByteSpan bytes, const DeviceStateLimits& limits) {
  constexpr std::size_t kHead = kMagic.size() + sizeof(std::uint16_t);
  if (bytes.size() > limits.bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "device state: " + std::to_string(bytes.size()) +
                                                " bytes, expected at most " +
                                                std::to_string(limits.bytes_max)};
  }
  if (bytes.size() < kHead + sizeof(std::uint32_t) ||
      AsText(bytes.first(kMagic.size())) != kMagic) {
    return Error{ErrorCode::kMalformed, "device state: expected a file that begins with FLDS"};
  }
  ByteReader head(bytes.subspan(kMagic.size()));
  FL_TRY(const std::uint16_t schema, head.Read<std::uint16_t>());
  if (schema < 1 || schema > kSchema) {
    return Error{ErrorCode::kWrongVersion,
                 "device state: expected schema 1 to " + std::to_string(kSchema) + ", found " +
                     std::to_string(schema) + ", which another version of this program wrote"};
  }
  ByteReader tail(bytes.last(sizeof(std::uint32_t)));
  FL_TRY(const std::uint32_t crc, tail.Read<std::uint32_t>());
  if (crc != Crc32(bytes.first(bytes.size() - sizeof(crc)))) {
    return Error{ErrorCode::kDigestMismatch, "device state: the checksum does not fit the content"};
  }
  auto state =
      StateReader(bytes.subspan(kHead, bytes.size() - kHead - sizeof(crc)), schema, limits).Read();
  if (!state) return state.error().At("device state");
  return state;
}

Digest LayoutDigest(const TensorLayout& layout) {
  ByteWriter out;
  for (const TensorSpec& spec : layout.specs()) {
    WriteText(spec.name, out);
    WriteText(spec.shape.ToText(), out);
  }
  return crypto::Sha256(out.bytes());
}

Digest ModelDigest(std::span<const float> values) {
  return crypto::Sha256(std::as_bytes(values));
}

}  // namespace fl::client
