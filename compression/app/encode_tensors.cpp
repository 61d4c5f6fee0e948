#include "fl/compression/app/encode_tensors.h"

#include <limits>
#include <utility>

#include "fl/compression/encode_segments.h"
#include "fl/compression/glob.h"

namespace fl::codec_app {
namespace {

SegmentRow Measure(const Segment& segment, std::span<const float> values,
                   std::span<const float> decoded) {
  SegmentRow row;
  row.name = segment.name;
  row.shape = segment.shape.ToText();
  row.count = values.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    const double error = value - static_cast<double>(decoded[i]);
    row.energy += value * value;
    row.error += error * error;
  }
  return row;
}

}  // namespace

SegmentRow EncodedTensors::Total() const {
  SegmentRow total;
  total.name = "all";
  for (const SegmentRow& row : rows) {
    total.count += row.count;
    total.bytes += row.bytes;
    total.energy += row.energy;
    total.error += row.error;
  }
  return total;
}

std::string RecipeOf(const CompressionConfig& compression, const Segment& segment) {
  if (segment.name == "gathered" || segment.tensors.size() > 1) return compression.gathered.text;
  for (const RecipeRule& rule : compression.rules) {
    if (GlobMatches(rule.tensors.text, segment.name)) return rule.recipe.text;
  }
  return "raw";
}

Result<EncodedTensors> EncodeTensors(const SegmentPlan& plan, const CompressionConfig& compression,
                                     const NamedTensors& tensors, std::uint64_t seed) {
  for (std::size_t i = 0; i < tensors.layout.size(); ++i) {
    if (AllFinite(tensors.tensor(i))) continue;
    return Error{ErrorCode::kNotFinite,
                 tensors.layout[i].name + ": expected finite values, found NaN or infinity"};
  }
  EncodedTensors encoded;
  encoded.update.recipe = plan.digest().prefix();
  encoded.update.streams.push_back({wire::kStreamDelta, {}});
  const RoundParameters parameters = plan.InitialRoundParameters();
  const RngStream rng = RngStream(seed).Child("encode", std::uint64_t{0});
  const std::size_t segments = plan.segments().size();
  const std::size_t other_bytes =
      wire::EncodeUpdate(encoded.update).size() - VarintSize(0) + VarintSize(segments);
  encoded.rows.resize(segments);
  encoded.update.streams.front().entries.resize(segments);
  const auto take = [&](EncodedSegment each) {
    const Segment& segment = plan.segments()[each.segment];
    SegmentRow& row = encoded.rows[each.segment];
    row = Measure(segment, each.values, each.decoded);
    row.recipe = RecipeOf(compression, segment);
    if (!each.setting.empty()) row.recipe += ": " + each.setting;
    row.bytes = each.payload.size();
    encoded.update.streams.front().entries[each.segment] = {each.segment, std::move(each.payload)};
  };
  EncodeSegments(plan, tensors.values, parameters, rng, {{other_bytes, {}}}, take);
  return encoded;
}

Result<NamedTensors> DecodeTensors(const SegmentPlan& plan, const wire::UpdateView& update) {
  NamedTensors tensors(plan.layout());
  const RoundParameters parameters = plan.InitialRoundParameters();
  constexpr PayloadLimits kAnyMagnitude{std::numeric_limits<float>::max()};
  for (const wire::UpdateStreamView& stream : update.streams) {
    if (stream.id != wire::kStreamDelta) continue;
    for (const wire::UpdateEntryView& entry : stream.entries) {
      if (entry.segment >= plan.segments().size()) {
        return Error{ErrorCode::kShapeMismatch, "expected segments below " +
                                                    std::to_string(plan.segments().size()) +
                                                    ", found " + std::to_string(entry.segment)};
      }
      const Segment& segment = plan.segments()[entry.segment];
      const auto payload = segment.codec->Parse(entry.payload, parameters, kAnyMagnitude);
      if (!payload) return payload.error().At(segment.name);
      std::vector<float> decoded(segment.codec->count());
      segment.codec->DecodeAdd(**payload, 0, 1.0F, decoded);
      plan.Scatter(entry.segment, decoded, tensors.values);
    }
  }
  return tensors;
}

}  // namespace fl::codec_app
