#include "fl/compression/codecs/grouped.h"

#include <algorithm>
#include <string>

namespace fl {

std::size_t Grouped::SizeOf(std::size_t index, std::size_t count) const {
  return std::min(group_, count - index * group_);
}

ByteSpan Grouped::GroupOf(ByteSpan payload, std::size_t index, std::size_t size) const {
  return payload.subspan(index * values_->EncodedBytes(group_), values_->EncodedBytes(size));
}

std::size_t Grouped::EncodedBytes(std::size_t count) const {
  const std::size_t rest = count % group_;
  return count / group_ * values_->EncodedBytes(group_) +
         (rest == 0 ? 0 : values_->EncodedBytes(rest));
}

void Grouped::Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const {
  for (std::size_t first = 0; first < values.size(); first += group_)
    values_->Encode(values.subspan(first, std::min(group_, values.size() - first)), rng, out);
}

Result<> Grouped::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  for (std::size_t index = 0; index * group_ < count; ++index) {
    const std::size_t size = SizeOf(index, count);
    const auto checked = values_->Check(GroupOf(payload, index, size), size, limits);
    if (!checked) return checked.error().At("group " + std::to_string(index));
  }
  return {};
}

void Grouped::DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                        std::span<float> out) const {
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t index = (first + done) / group_;
    const std::size_t inside = first + done - index * group_;
    const std::size_t size = SizeOf(index, count);
    const std::size_t run = std::min(size - inside, out.size() - done);
    values_->DecodeAdd(GroupOf(payload, index, size), size, inside, scale, out.subspan(done, run));
    done += run;
  }
}

}  // namespace fl
