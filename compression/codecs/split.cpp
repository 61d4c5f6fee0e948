#include "fl/compression/codecs/split.h"

#include <algorithm>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"

namespace fl {
namespace {

struct ParsedSplit final : ParsedPayload {
  std::vector<std::unique_ptr<ParsedPayload>> parts;
};

}  // namespace

Split::Split(std::vector<std::unique_ptr<Codec>> parts) : parts_(std::move(parts)) {
  FL_CHECK(parts_.size() >= 2, "one recipe alone is not split");
  for (const auto& part : parts_) {
    FL_CHECK(part->count() == count() && !part->traits().linear,
             "parts are of one segment, and their integers cannot be summed");
  }
}

CodecTraits Split::traits() const {
  CodecTraits traits{.unbiased = parts_.back()->traits().unbiased};
  for (const auto& part : parts_) {
    const CodecTraits own = part->traits();
    traits.deterministic = traits.deterministic && own.deterministic;
    traits.needs_round_parameters = traits.needs_round_parameters || own.needs_round_parameters;
  }
  return traits;
}

std::size_t Split::EncodedBytesMax() const {
  std::size_t bytes = 0;
  for (const auto& part : parts_) {
    const std::size_t own = part->EncodedBytesMax();
    bytes += own + (part == parts_.back() ? 0 : VarintSize(own));
  }
  return bytes;
}

Bytes Split::InitialParameters() const {
  Bytes bytes;
  for (const auto& part : parts_) {
    const Bytes own = part->InitialParameters();
    bytes.insert(bytes.end(), own.begin(), own.end());
  }
  return bytes;
}

Bytes Split::NextParameters(ByteSpan part, const RoundFeedback& feedback) const {
  Bytes bytes;
  for (const auto& each : parts_) {
    const std::size_t size = each->InitialParameters().size();
    const Bytes own = each->NextParameters(part.subspan(bytes.size(), size), feedback);
    FL_CHECK(own.size() == size, "a codec's part of the parameters keeps its size");
    bytes.insert(bytes.end(), own.begin(), own.end());
  }
  return bytes;
}

Result<> Split::CheckParameters(const RoundParameters& parameters) const {
  for (const auto& part : parts_) FL_TRY_OK(part->CheckParameters(parameters));
  return {};
}

void Split::Encode(std::span<const float> values, std::span<float> decoded,
                   const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  std::vector<float> left(values.begin(), values.end());
  std::vector<float> seen(count());
  std::ranges::fill(decoded, 0.0F);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    ByteWriter own;
    const bool last = i + 1 == parts_.size();
    if (last && !wanted) seen.clear();
    parts_[i]->Encode(left, seen, parameters, rng.Child("part", i), own);
    if (!last) out.WriteVarint(own.size());
    out.WriteSpan(own.bytes());
    for (std::size_t at = 0; at < seen.size(); ++at) {
      left[at] -= seen[at];
      if (wanted) decoded[at] += seen[at];
    }
  }
}

Result<std::unique_ptr<ParsedPayload>> Split::Parse(ByteSpan payload,
                                                    const RoundParameters& parameters,
                                                    const PayloadLimits& limits) const {
  const PayloadLimits share{.magnitude_max =
                                limits.magnitude_max / static_cast<float>(parts_.size())};
  auto parsed = std::make_unique<ParsedSplit>();
  ByteReader reader(payload);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    std::uint64_t size = reader.remaining();
    if (i + 1 < parts_.size()) {
      FL_TRY(size, reader.ReadVarint());
    }
    const std::string where = "part " + std::to_string(i + 1);
    if (size > parts_[i]->EncodedBytesMax()) {
      return Error{ErrorCode::kMalformed,
                   where + ": expected at most " + std::to_string(parts_[i]->EncodedBytesMax()) +
                       " bytes, found " + std::to_string(size),
                   ErrorDetail::kPayloadBytes};
    }
    FL_TRY(const ByteSpan bytes, reader.ReadSpan(static_cast<std::size_t>(size)));
    auto part = parts_[i]->Parse(bytes, parameters, share);
    if (!part) return part.error().At(where);
    parsed->parts.push_back(std::move(part).value());
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void Split::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                      std::span<float> out) const {
  const auto& parsed = static_cast<const ParsedSplit&>(payload);
  for (std::size_t i = 0; i < parts_.size(); ++i)
    parts_[i]->DecodeAdd(*parsed.parts[i], first, scale, out);
}

}  // namespace fl
