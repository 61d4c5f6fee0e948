#include "fl/compression/codecs/shared_mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"

namespace fl {
namespace {

constexpr std::size_t kBlockMax = 65536;

std::uint64_t SeedOf(ByteSpan part) {
  std::uint64_t seed = 0;
  FL_CHECK(part.size() == sizeof(seed), "a part has the size that its rule names");
  std::memcpy(&seed, part.data(), sizeof(seed));
  return seed;
}

Bytes PartOf(std::uint64_t seed) {
  ByteWriter out;
  out.Write(seed);
  return std::move(out).Take();
}

}  // namespace

SharedMask::SharedMask(const SharedMaskConfig& config)
    : config_(config), all_((config.count + config.block - 1) / config.block) {
  const double wanted = std::ceil(config.share * static_cast<double>(all_));
  kept_ = std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, all_);
}

Bytes SharedMask::Initial() const {
  return PartOf(config_.initial);
}

Bytes SharedMask::Next(ByteSpan part, std::span<const float> /*aggregate*/) const {
  return PartOf(RngStream(SeedOf(part)).Child("next_mask").NextU64());
}

Result<std::vector<std::uint32_t>> SharedMask::Choose(ByteSpan part) const {
  return DrawSubset(RngStream(SeedOf(part)).Child("shared_mask"), all_, kept_);
}

Result<std::unique_ptr<Codec>> BuildSharedMask(const Chain& chain, const Shape& shape,
                                               std::size_t parameters_offset) {
  const Stage& stage = *chain.shape;
  constexpr std::array<std::string_view, 1> kKnown = {"block"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  FL_TRY(const double share, ReadShare(stage, 2));
  const bool unbiased = stage.arguments.size() == 2 && stage.arguments.back() == "unbiased";
  if (stage.arguments.size() == 2 && !unbiased) {
    return RefuseStage(stage, "expected unbiased or nothing after the share, found \"" +
                                  stage.arguments[1] + "\"");
  }
  SharedMaskConfig config{.count = shape.count(), .share = share};
  if (const std::string* text = options.Find("block")) {
    const auto block = ParseNumber<std::size_t>(*text);
    if (!block || *block < 1 || *block > kBlockMax) {
      return RefuseStage(stage, "block: expected 1 to 65536 coordinates, found \"" + *text + "\"");
    }
    config.block = *block;
  }
  config.initial = 1 + std::uint64_t{parameters_offset};
  return BuildMasked(chain, shape, std::make_unique<SharedMask>(config), unbiased,
                     parameters_offset);
}

}  // namespace fl
