#include "fl/compression/lattice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/compression/entropy/density_levels.h"

namespace fl {
namespace {

constexpr std::string_view kMagic = "FLL";
constexpr std::uint8_t kVersion = 2;

constexpr std::int32_t PointMax(unsigned fineness) {
  return kLatticePointMax << fineness;
}

// A change between two points within their bounds.
constexpr std::uint32_t LevelMax(unsigned fineness) {
  return 2U * static_cast<std::uint32_t>(PointMax(fineness));
}

std::size_t ColumnsOf(const Shape& shape) {
  return shape.rank() == 0 ? 1 : shape.extents().back();
}

float ValueAt(float origin, double step, std::int32_t point) {
  if (point == 0) return origin;
  return static_cast<float>(double{origin} + step * static_cast<double>(point));
}

// `steps` as an integer within the bounds; what is no number counts as no step.
std::int32_t Bounded(double steps, std::int32_t max) {
  if (std::isnan(steps)) return 0;
  return static_cast<std::int32_t>(std::clamp<double>(steps, -max, max));
}

// `from` moved by `moved`, a whole number of strides, or as far of them as the bounds allow.
std::int32_t BoundedStride(std::int32_t from, double moved, double stride) {
  const double at = from;
  const double room = moved < 0 ? kLatticePointMax + at : kLatticePointMax - at;
  const double most = std::floor(room / stride) * stride;
  return from + static_cast<std::int32_t>(std::clamp(moved, -most, most));
}

// The largest power of two that divides all levels; 0 where all are 0.
unsigned CommonShift(std::span<const std::int32_t> levels) {
  std::uint32_t any = 0;
  for (const std::int32_t level : levels) any |= static_cast<std::uint32_t>(level);
  return any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
}

}  // namespace

Lattice::Lattice(TensorLayout layout, std::vector<float> origin, double step)
    : layout_(std::move(layout)), origin_(std::move(origin)), step_(step) {
  FL_CHECK(origin_.size() == layout_.total(), "version 0 has the layout's coordinates");
  FL_CHECK(step > 0, "a lattice has a step");
}

template <typename Visitor>
void Lattice::ForEach(unsigned fineness, Visitor&& visit) const {
  for (std::size_t t = 0; t < layout_.size(); ++t) {
    const double step =
        std::ldexp(layout_[t].shape.rank() < 2 ? step_ / 2 : step_, -static_cast<int>(fineness));
    for (std::size_t i = layout_.offset(t); i < layout_.offset(t + 1); ++i) visit(i, step);
  }
}

std::vector<float> Lattice::ModelAt(std::span<const std::int32_t> point, unsigned fineness) const {
  FL_CHECK(point.size() == origin_.size(), "a point has the layout's coordinates");
  std::vector<float> model(origin_.size());
  ForEach(fineness,
          [&](std::size_t i, double step) { model[i] = ValueAt(origin_[i], step, point[i]); });
  return model;
}

Result<Lattice::Point> Lattice::PointOf(std::span<const float> model, unsigned fineness) const {
  FL_CHECK(model.size() == origin_.size(), "a model has the layout's coordinates");
  Point point(model.size());
  std::size_t wrong = model.size();
  ForEach(fineness, [&](std::size_t i, double step) {
    const double steps = std::floor((double{model[i]} - double{origin_[i]}) / step + 0.5);
    point[i] = Bounded(steps, PointMax(fineness));
    const auto bits = std::bit_cast<std::uint32_t>(ValueAt(origin_[i], step, point[i]));
    if (bits != std::bit_cast<std::uint32_t>(model[i])) wrong = std::min(wrong, i);
  });
  if (wrong == model.size()) return point;
  return Error{ErrorCode::kMalformed, "lattice: coordinate " + std::to_string(wrong) +
                                          ": expected a whole number of steps from version 0"};
}

Lattice::Point Lattice::Approach(std::span<const std::int32_t> from, std::span<const float> wanted,
                                 unsigned shift) const {
  constexpr double kRoundUp = 0.4;
  FL_CHECK(shift <= kLatticeShiftMax, "a stride has a bound");
  FL_CHECK(from.size() == origin_.size() && wanted.size() == origin_.size(),
           "a point and a model have the layout's coordinates");
  const double stride = 1U << shift;
  Point next(from.begin(), from.end());
  ForEach(0, [&](std::size_t i, double step) {
    const double left = double{wanted[i]} - double{ValueAt(origin_[i], step, from[i])};
    const double x = left / (step * stride);
    const double moved = std::copysign(std::floor(std::abs(x) + kRoundUp), x);
    if (std::isfinite(moved)) next[i] = BoundedStride(from[i], moved * stride, stride);
  });
  return next;
}

Lattice::Point Lattice::Nearest(std::span<const float> wanted, unsigned shift) const {
  FL_CHECK(wanted.size() == origin_.size(), "a model has the layout's coordinates");
  FL_CHECK(shift <= kLatticeShiftMax, "a stride has a bound");
  const double stride = 1U << shift;
  Point point(wanted.size());
  ForEach(kReleasedFineness, [&](std::size_t i, double step) {
    const double strides =
        std::floor((double{wanted[i]} - double{origin_[i]}) / (step * stride) + 0.5);
    point[i] = Bounded(strides * stride, PointMax(kReleasedFineness));
  });
  return point;
}

LatticeChange ChangeBetween(std::span<const std::int32_t> from, std::span<const std::int32_t> to,
                            unsigned fineness) {
  FL_CHECK(from.size() == to.size(), "a change is between models of one layout");
  LatticeChange change{fineness, std::vector<std::int32_t>(to.size())};
  const std::int32_t scale = 1 << fineness;
  for (std::size_t i = 0; i < to.size(); ++i) change.levels[i] = to[i] - scale * from[i];
  return change;
}

Result<Lattice::Point> ApplyChange(std::span<const std::int32_t> from,
                                   const LatticeChange& change) {
  FL_CHECK(from.size() == change.levels.size(), "a change leaves the model's size");
  Lattice::Point to(from.size());
  const std::int32_t scale = 1 << change.fineness;
  const std::int32_t max = PointMax(change.fineness);
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i] = scale * from[i] + change.levels[i];
    if (to[i] >= -max && to[i] <= max) continue;
    return Error{ErrorCode::kLimitExceeded, "lattice change: coordinate " + std::to_string(i) +
                                                ": expected at most " + std::to_string(max) +
                                                " steps, found " + std::to_string(to[i])};
  }
  return to;
}

Bytes EncodeLatticeChange(const LatticeChange& change, const TensorLayout& layout) {
  FL_CHECK(change.levels.size() == layout.total(), "a change has the layout's coordinates");
  const unsigned shift = CommonShift(change.levels);
  std::vector<std::int32_t> shifted(change.levels.size());
  std::ranges::transform(change.levels, shifted.begin(),
                         [shift](std::int32_t level) { return level >> shift; });
  ByteWriter out;
  out.WriteSpan(AsBytes(kMagic));
  out.Write(kVersion);
  out.Write(static_cast<std::uint8_t>(change.fineness));
  out.Write(static_cast<std::uint8_t>(shift));
  out.WriteVarint(layout.total());
  for (std::size_t t = 0; t < layout.size(); ++t) {
    const Shape& shape = layout[t].shape;
    const auto levels = std::span(shifted).subspan(layout.offset(t), shape.count());
    ByteWriter code;
    EncodeLevels(levels, ColumnsOf(shape), LevelMax(change.fineness) >> shift, code);
    out.WriteVarint(code.size());
    out.WriteSpan(code.bytes());
  }
  return std::move(out).Take();
}

bool IsLatticeChange(ByteSpan bytes) {
  return bytes.size() >= kMagic.size() && AsText(bytes.first(kMagic.size())) == kMagic;
}

namespace {

struct Head {
  unsigned fineness = 0;
  unsigned shift = 0;
};

// Once all of it was found right.
Result<Head> ReadHead(ByteReader& reader, const TensorLayout& layout) {
  FL_TRY(const ByteSpan magic, reader.ReadSpan(kMagic.size()));
  if (AsText(magic) != kMagic) {
    return Error{ErrorCode::kMalformed, "lattice change: expected FLL at its start"};
  }
  FL_TRY(const std::uint8_t version, reader.Read<std::uint8_t>());
  if (version != kVersion) {
    return Error{ErrorCode::kWrongVersion,
                 "lattice change: expected version 2, found " + std::to_string(version)};
  }
  FL_TRY(const std::uint8_t fineness, reader.Read<std::uint8_t>());
  if (fineness != 0 && fineness != kReleasedFineness) {
    return Error{ErrorCode::kMalformed,
                 "lattice change: expected fineness 0 or 4, found " + std::to_string(fineness)};
  }
  FL_TRY(const std::uint8_t shift, reader.Read<std::uint8_t>());
  if (shift > std::bit_width(LevelMax(fineness)) - 1) {
    return Error{ErrorCode::kMalformed,
                 "lattice change: found a shift of " + std::to_string(shift)};
  }
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  if (count != layout.total()) {
    return Error{ErrorCode::kShapeMismatch, "lattice change: expected " +
                                                std::to_string(layout.total()) +
                                                " coordinates, found " + std::to_string(count)};
  }
  return Head{fineness, shift};
}

}  // namespace

Result<LatticeChange> DecodeLatticeChange(ByteSpan bytes, const TensorLayout& layout) {
  ByteReader reader(bytes);
  LatticeChange change;
  FL_TRY(const Head head, ReadHead(reader, layout));
  change.fineness = head.fineness;
  change.levels.resize(layout.total());
  for (std::size_t t = 0; t < layout.size(); ++t) {
    const Shape& shape = layout[t].shape;
    const auto levels = std::span(change.levels).subspan(layout.offset(t), shape.count());
    FL_TRY(const std::uint64_t size, reader.ReadVarint());
    FL_TRY(const ByteSpan code, reader.ReadSpan(size));
    const Result<> decoded =
        DecodeLevels(code, ColumnsOf(shape), LevelMax(head.fineness) >> head.shift, levels);
    if (!decoded) return decoded.error().At("lattice change: tensor " + layout[t].name);
  }
  FL_TRY_OK(reader.ExpectEnd());
  for (std::int32_t& level : change.levels) level *= std::int32_t{1} << head.shift;
  if (CommonShift(change.levels) == head.shift) return change;
  return Error{ErrorCode::kMalformed, "lattice change: expected a shift of " +
                                          std::to_string(CommonShift(change.levels)) + ", found " +
                                          std::to_string(head.shift)};
}

}  // namespace fl
