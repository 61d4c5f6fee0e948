#include "fl/compression/encode_segments.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/rate/encode_within.h"

namespace fl {

void EncodeSegments(const SegmentPlan& plan, std::span<const float> flat,
                    const RoundParameters& parameters, const RngStream& rng,
                    const EncodeSegmentsOptions& options,
                    const std::function<void(EncodedSegment)>& take) {
  std::vector<std::size_t> adaptive;
  std::vector<float> buffer;
  std::vector<float> decoded;
  std::size_t spent =
      options.room.other_bytes + plan.segments().size();  // A step to each segment is 1 byte.
  for (std::size_t s = 0; s < plan.segments().size(); ++s) {
    const Codec& codec = *plan.segments()[s].codec;
    if (dynamic_cast<const AdaptiveCodec*>(&codec) != nullptr) {
      adaptive.push_back(s);
      continue;
    }
    const std::span<const float> values = plan.Values(s, flat, buffer);
    decoded.resize(options.with_decoded ? codec.count() : 0);
    ByteWriter payload;
    codec.Encode(values, decoded, parameters, rng.Child("segment", s), payload);
    spent += payload.size() + VarintSize(payload.size());
    take({s, std::move(payload).Take(), values, decoded, {}});
  }
  if (adaptive.empty()) return;
  std::vector<std::vector<float>> gathered(adaptive.size());
  std::vector<rate::Source> sources;
  for (std::size_t i = 0; i < adaptive.size(); ++i) {
    const std::size_t s = adaptive[i];
    const auto& codec = dynamic_cast<const AdaptiveCodec&>(*plan.segments()[s].codec);
    sources.push_back({codec, plan.Values(s, flat, gathered[i]), rng.Child("segment", s)});
  }
  // Where all else takes more than a short time allows, the segments stay empty.
  const auto budget = static_cast<std::size_t>(options.room.bytes.value_or(plan.budget()->bytes));
  const std::size_t left = std::max(budget, spent + adaptive.size()) - spent;
  std::vector<rate::Written> written = rate::EncodeWithin(sources, left);
  for (std::size_t i = 0; i < adaptive.size(); ++i) {
    take({adaptive[i], std::move(written[i].payload), sources[i].values, written[i].decoded,
          std::move(written[i].setting)});
  }
}

}  // namespace fl
