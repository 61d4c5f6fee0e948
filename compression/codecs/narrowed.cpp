#include "fl/compression/codecs/narrowed.h"

#include <algorithm>

#include "fl/common/base/check.h"

namespace fl {
namespace {

struct ParsedNarrowed final : ParsedPayload {
  std::shared_ptr<const std::vector<std::uint32_t>> coordinates;
  std::unique_ptr<ParsedPayload> narrow;
};

// The trained ones inside [first, first + count).
std::span<const std::uint32_t> Inside(const std::vector<std::uint32_t>& trained, std::size_t first,
                                      std::size_t count) {
  return {std::ranges::lower_bound(trained, first),
          std::ranges::lower_bound(trained, first + count)};
}

}  // namespace

// What updates add up as: the segment's values, then their weights.
class Narrowed::Weighted final : public Codec {
 public:
  explicit Weighted(const Narrowed& values) : values_(values) {}

  CodecTraits traits() const override { return values_.traits(); }
  std::size_t count() const override { return 2 * values_.count(); }
  std::size_t EncodedBytesMax() const override { return values_.EncodedBytesMax(); }
  void Encode(std::span<const float> /*values*/, std::span<float> /*decoded*/,
              const RoundParameters& /*parameters*/, RngStream /*rng*/,
              ByteWriter& /*out*/) const override {
    CheckFailed("Encode", "weights are told by the round, not sent");
  }
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override {
    return values_.Parse(payload, parameters, limits);
  }
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override {
    const std::size_t all = values_.count();
    const std::size_t own = first < all ? std::min(out.size(), all - first) : 0;
    if (own > 0) values_.DecodeAdd(payload, first, scale, out.first(own));
    const std::span<float> weights = out.subspan(own);
    if (weights.empty()) return;
    const std::size_t from = first + own - all;
    const auto& parsed = static_cast<const ParsedNarrowed&>(payload);
    for (const std::uint32_t at : Inside(*parsed.coordinates, from, weights.size()))
      weights[at - from] += scale;
  }

 private:
  const Narrowed& values_;
};

Narrowed::Narrowed(std::size_t count, TrainedCoordinates trained, std::unique_ptr<Codec> narrow)
    : count_(count),
      trained_(std::move(trained)),
      narrow_(std::move(narrow)),
      weighted_(std::make_unique<const Weighted>(*this)) {
  FL_CHECK(narrow_->summed() == nullptr && narrow_->InitialParameters().empty(),
           "the recipes of a narrowed model are checked where its plan is");
}

Narrowed::~Narrowed() = default;

CodecTraits Narrowed::traits() const {
  CodecTraits traits = narrow_->traits();
  traits.lossless = false;
  traits.unbiased = false;
  traits.linear = false;
  traits.granularity = 1;
  traits.needs_round_parameters = true;  // Their round.
  traits.shared_randomness = true;
  // What a round does not train is left out whole.
  if (traits.relative_error) traits.relative_error = std::max(1.0, *traits.relative_error);
  return traits;
}

Narrowed::Coordinates Narrowed::CoordinatesOf(std::uint64_t round) const {
  Coordinates known = remembered_.With(
      [&](const Remembered& last) { return last.round == round ? last.coordinates : nullptr; });
  if (known != nullptr) return known;
  auto drawn = std::make_shared<const std::vector<std::uint32_t>>(trained_(round));
  FL_CHECK(drawn->size() == narrow_->count() && drawn->back() < count_,
           "each round trains as much of a segment");
  remembered_.With([&](Remembered& last) { last = {round, drawn}; });
  return drawn;
}

void Narrowed::Encode(std::span<const float> values, std::span<float> decoded,
                      const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const Coordinates coordinates = CoordinatesOf(parameters.round);
  std::vector<float> part(coordinates->size());
  std::vector<float> part_decoded(wanted ? part.size() : 0);
  for (std::size_t i = 0; i < part.size(); ++i) part[i] = values[(*coordinates)[i]];
  narrow_->Encode(part, part_decoded, parameters, rng, out);
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  for (std::size_t i = 0; i < part.size(); ++i) decoded[(*coordinates)[i]] = part_decoded[i];
}

Result<std::unique_ptr<ParsedPayload>> Narrowed::Parse(ByteSpan payload,
                                                       const RoundParameters& parameters,
                                                       const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedNarrowed>();
  FL_TRY(parsed->narrow, narrow_->Parse(payload, parameters, limits));
  parsed->coordinates = CoordinatesOf(parameters.round);
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void Narrowed::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                         std::span<float> out) const {
  FL_CHECK(first + out.size() <= count_, "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedNarrowed&>(payload);
  const auto coordinates = Inside(*parsed.coordinates, first, out.size());
  if (coordinates.empty()) return;
  std::vector<float> part(coordinates.size());
  const auto rank = static_cast<std::size_t>(coordinates.data() - parsed.coordinates->data());
  narrow_->DecodeAdd(*parsed.narrow, rank, 1.0F, part);
  for (std::size_t i = 0; i < part.size(); ++i) out[coordinates[i] - first] += scale * part[i];
}

const Codec* Narrowed::summed() const {
  return weighted_.get();
}

void Narrowed::Estimate(std::span<const float> sum, std::size_t first, std::span<float> out) const {
  FL_CHECK(sum.size() == 2 * count_ && first + out.size() <= count_,
           "a block of coordinates lies inside its segment");
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float weight = sum[count_ + first + i];
    out[i] = weight > 0 ? sum[first + i] / weight : 0.0F;
  }
}

}  // namespace fl
