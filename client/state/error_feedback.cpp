#include "fl/client/state/error_feedback.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>

namespace fl::client {
namespace {

// What we encoded ourselves has no bound.
constexpr wire::UpdateLimits kOwnUpdate{.bytes_max = std::numeric_limits<std::uint64_t>::max(),
                                        .streams_max = 1U << 16,
                                        .segments_max = 1U << 24,
                                        .examples_max = std::numeric_limits<std::uint64_t>::max()};
constexpr PayloadLimits kOwnPayload{std::numeric_limits<float>::max()};

// The tensors of `all` that segments cover.
std::shared_ptr<const NamedTensors> Covered(std::shared_ptr<const NamedTensors> all,
                                            const SegmentPlan& recipe) {
  if (recipe.covered() == recipe.layout()) return all;
  std::size_t not_covered = 0;
  return RemapResidual(all, recipe.covered(), not_covered);
}

// Of what `auto` wrote.
struct Energy {
  double all = 0;
  double lost = 0;
  double kept() const { return all > 0 ? 1 - lost / all : 1; }
};

Energy EnergyOf(const EncodedSegment& segment) {
  Energy energy;
  for (std::size_t i = 0; i < segment.values.size(); ++i) {
    const double value = segment.values[i];
    const double left_out = value - segment.decoded[i];
    energy.all += value * value;
    energy.lost += left_out * left_out;
  }
  return energy;
}

// "low_rank 6 | quantize step=2 | context, 310 bytes, 81.2 % of the energy kept".
std::string DescribeSegment(const EncodedSegment& segment, const Energy& energy) {
  std::array<char, 48> kept{};
  std::snprintf(kept.data(), kept.size(), ", %.1f %% of the energy kept", 100 * energy.kept());
  return segment.setting + ", " + std::to_string(segment.payload.size()) + " bytes" + kept.data();
}

}  // namespace

void AddScaled(const std::shared_ptr<const NamedTensors>& tensors, float factor,
               NamedTensors& out) {
  if (tensors == nullptr) return;
  for (std::size_t i = 0; i < out.layout.size(); ++i) {
    const auto found = tensors->layout.Find(out.layout[i].name);
    if (!found || tensors->layout[*found].shape != out.layout[i].shape) continue;
    const std::span<float> to = out.tensor(i);
    const std::span<const float> from = tensors->tensor(*found);
    for (std::size_t k = 0; k < to.size(); ++k) to[k] += factor * from[k];
  }
}

void ErrorFeedback::Compensate(NamedTensors& delta) const {
  AddScaled(residual_, 1.0F, delta);
}

EncodedDelta ErrorFeedback::Encode(const NamedTensors& update, const SegmentPlan& recipe,
                                   const RoundParameters& parameters, const RngStream& rng,
                                   const UpdateRoom& room) const {
  EncodedDelta encoded;
  encoded.entries.resize(recipe.segments().size());
  auto residual = std::make_shared<NamedTensors>(active_ ? update.layout : TensorLayout());
  std::vector<float> left_out;
  Energy energy;
  const auto take = [&](EncodedSegment segment) {
    if (!segment.setting.empty()) {
      const Energy of_segment = EnergyOf(segment);
      energy.all += of_segment.all;
      energy.lost += of_segment.lost;
      encoded.settings.push_back(recipe.segments()[segment.segment].name + ": " +
                                 DescribeSegment(segment, of_segment));
    }
    encoded.entries[segment.segment] = {segment.segment, std::move(segment.payload)};
    if (!active_) return;
    left_out.resize(segment.values.size());
    std::ranges::transform(segment.values, segment.decoded, left_out.begin(), std::minus());
    recipe.Scatter(segment.segment, left_out, residual->values);
  };
  // What `auto` kept is reported, residual or not.
  const bool with_decoded = active_ || recipe.budget().has_value();
  EncodeSegments(recipe, update.values, parameters, rng, {room, with_decoded}, take);
  encoded.kept = energy.kept();
  if (active_) encoded.residual = Covered(std::move(residual), recipe);
  return encoded;
}

Result<std::shared_ptr<const NamedTensors>> ErrorFeedback::DecodeOwn(
    ByteSpan update, const SegmentPlan& recipe, const RoundParameters& parameters) {
  auto sent = std::make_shared<NamedTensors>(recipe.layout());
  FL_TRY(const wire::UpdateView view, wire::DecodeUpdate(update, kOwnUpdate));
  for (const wire::UpdateStreamView& stream : view.streams) {
    if (stream.id != wire::kStreamDelta) continue;
    for (const wire::UpdateEntryView& entry : stream.entries) {
      if (entry.segment >= recipe.segments().size()) {
        return Error{ErrorCode::kMalformed, "segment " + std::to_string(entry.segment)};
      }
      const Codec& codec = *recipe.segments()[entry.segment].codec;
      FL_TRY(const std::unique_ptr<ParsedPayload> payload,
             codec.Parse(entry.payload, parameters, kOwnPayload));
      std::vector<float> decoded(codec.count());
      codec.DecodeAdd(*payload, 0, 1.0F, decoded);
      recipe.Scatter(entry.segment, decoded, sent->values);
    }
  }
  return Covered(std::move(sent), recipe);
}

Result<std::shared_ptr<const NamedTensors>> ErrorFeedback::GiveBack(
    ByteSpan update, const std::shared_ptr<const NamedTensors>& left_out, const SegmentPlan& recipe,
    const RoundParameters& parameters) {
  if (left_out != nullptr && left_out->layout != recipe.covered()) {
    return Error{ErrorCode::kShapeMismatch, "residual: expected the tensors of the recipe"};
  }
  FL_TRY(const std::shared_ptr<const NamedTensors> sent, DecodeOwn(update, recipe, parameters));
  if (left_out == nullptr) return sent;
  auto whole = std::make_shared<NamedTensors>(*sent);
  ErrorFeedback(left_out, true).Compensate(*whole);
  return std::shared_ptr<const NamedTensors>(std::move(whole));
}

std::shared_ptr<const NamedTensors> RemapResidual(
    const std::shared_ptr<const NamedTensors>& residual, const TensorLayout& layout,
    std::size_t& dropped) {
  if (residual == nullptr || residual->layout == layout) return residual;
  auto mapped = std::make_shared<NamedTensors>(layout);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const auto found = residual->layout.Find(layout[i].name);
    if (!found || residual->layout[*found].shape != layout[i].shape) continue;
    std::ranges::copy(residual->tensor(*found), mapped->tensor(i).begin());
    ++kept;
  }
  dropped += residual->layout.size() - kept;
  if (kept == 0) return nullptr;
  return mapped;
}

}  // namespace fl::client
