#include "fl/compression/codecs/announced.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/largest_magnitudes.h"

namespace fl {
namespace {

constexpr std::size_t kSeedBytes = sizeof(std::uint64_t);

void SetBit(std::span<std::byte> bytes, std::size_t bit) {
  bytes[bit / 8] |= std::byte{1} << (bit % 8);
}

bool BitOf(ByteSpan bytes, std::size_t bit) {
  return (bytes[bit / 8] >> (bit % 8) & std::byte{1}) != std::byte{0};
}

std::uint64_t SeedOf(ByteSpan part) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, part.data(), kSeedBytes);
  return seed;
}

// Adds `more` of the numbers below `all` that are not among `places`; both stay ascending.
void AddDrawn(RngStream rng, std::size_t all, std::size_t more,
              std::vector<std::uint32_t>& places) {
  const std::vector<std::uint32_t> ranks = DrawSubset(rng, all - places.size(), more);
  std::vector<std::uint32_t> drawn;
  drawn.reserve(ranks.size());
  std::size_t below = 0;  // Of the places, those that come before the number.
  for (const std::uint32_t rank : ranks) {
    while (below < places.size() && places[below] <= rank + below) ++below;
    drawn.push_back(static_cast<std::uint32_t>(rank + below));
  }
  const auto middle = static_cast<std::ptrdiff_t>(places.size());
  places.insert(places.end(), drawn.begin(), drawn.end());
  std::inplace_merge(places.begin(), places.begin() + middle, places.end());
}

}  // namespace

Announced::Announced(const AnnouncedConfig& config) : config_(config) {
  const double count = static_cast<double>(config.count);
  const std::size_t kept = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::ceil(config.share * count)), 1, config.count);
  explored_ = std::min(
      kept, static_cast<std::size_t>(std::ceil(config.explore * static_cast<double>(kept))));
  announced_ = kept - explored_;
  if (announced_ > 0) {
    width_ = static_cast<unsigned>(std::bit_width(config.count / announced_)) - 1;
  }
}

std::size_t Announced::ParametersBytes() const {
  return kSeedBytes + low_bytes() + (high_bits() + 7) / 8;
}

Bytes Announced::Initial() const {
  return PartOf(config_.initial, {});
}

Bytes Announced::Next(ByteSpan part, std::span<const float> aggregate) const {
  return PartOf(RngStream(SeedOf(part)).Child("next_mask").NextU64(),
                internal::LargestMagnitudes(aggregate, announced_));
}

Bytes Announced::PartOf(std::uint64_t seed, std::vector<std::uint32_t> places) const {
  AddDrawn(RngStream(seed).Child("fill"), config_.count, announced_ - places.size(), places);
  ByteWriter head;
  head.Write(seed);
  Bytes part = std::move(head).Take();
  part.resize(ParametersBytes());
  const auto low = std::span(part).subspan(kSeedBytes, low_bytes());
  const auto high = std::span(part).subspan(kSeedBytes + low_bytes());
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (unsigned bit = 0; bit < width_; ++bit) {
      if ((places[i] >> bit & 1U) != 0) SetBit(low, i * width_ + bit);
    }
    SetBit(high, (places[i] >> width_) + i);
  }
  return part;
}

Result<std::vector<std::uint32_t>> Announced::Choose(ByteSpan part) const {
  FL_CHECK(part.size() == ParametersBytes(), "a part has the size that its rule names");
  const ByteSpan low = part.subspan(kSeedBytes, low_bytes());
  const ByteSpan high = part.subspan(kSeedBytes + low_bytes());
  std::vector<std::uint32_t> places;
  bool right = true;
  for (std::size_t bit = 0; bit < high_bits() && right; ++bit) {
    if (!BitOf(high, bit)) continue;
    const std::size_t i = places.size();
    right = i < announced_;
    if (!right) break;
    std::size_t place = (bit - i) << width_;
    for (unsigned k = 0; k < width_; ++k) {
      if (BitOf(low, i * width_ + k)) place += std::size_t{1} << k;
    }
    right = place < config_.count && (i == 0 || places.back() < place);
    places.push_back(static_cast<std::uint32_t>(place));
  }
  if (!right || places.size() != announced_) {
    return Error{ErrorCode::kInvalidArgument,
                 "round parameters: expected " + std::to_string(announced_) +
                     " ascending places below " + std::to_string(config_.count)};
  }
  AddDrawn(RngStream(SeedOf(part)).Child("explore"), config_.count, explored_, places);
  return places;
}

Result<std::unique_ptr<Codec>> BuildAnnounced(const Chain& chain, const Shape& shape,
                                              std::size_t parameters_offset) {
  const Stage& stage = *chain.shape;
  constexpr std::array<std::string_view, 1> kKnown = {"explore"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  FL_TRY(const double share, ReadShare(stage));
  AnnouncedConfig config{.count = shape.count(), .share = share};
  if (const std::string* text = options.Find("explore")) {
    const std::string_view digits = std::string_view(*text).substr(0, text->size() - 1);
    const auto percent = text->ends_with('%') ? ParseNumber<double>(digits) : std::nullopt;
    if (!percent || !(*percent > 0) || *percent > 100) {
      return RefuseStage(stage,
                         "explore: expected the share of what is sent that is drawn at random, "
                         "above 0% and up to 100%, found \"" +
                             *text + "\"");
    }
    config.explore = *percent / 100;
  }
  config.initial = 1 + std::uint64_t{parameters_offset};
  return BuildMasked(chain, shape, std::make_unique<Announced>(config), false, parameters_offset);
}

}  // namespace fl
