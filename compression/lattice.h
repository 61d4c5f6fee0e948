#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"

// Published models whose distance from version 0 is a whole number of steps in each coordinate: the
// change between any two of them is an array of integers, exact and the same for every device, and
// however many versions lie between, it is one array. Its entropy grows like a union of supports,
// not like a sum of messages.
//
// The step of a tensor of two or more extents is s, that of the others s / 2. With w0 version 0 and
// q a point (one integer a coordinate), the model at the point is w0 where q is 0, and elsewhere
// w0 + (s / 2^fineness) q, each operation in double and the sum rounded once to fp32. Published
// models have fineness 0, released ones kReleasedFineness: a running average lies between the
// points of the versions.
//
//   change = "FLL" version:u8 fineness:u8 shift:u8 count:varint { bytes:varint code }
//   code   = the levels of entropy/density_levels.h of a tensor, the last extent as columns
//
// Its integers, in steps of s / 2^fineness, are q of the new model minus q x 2^fineness of the old;
// 2^shift, the largest power of two that divides them all (1 where all are 0), is divided out. So a
// publisher that moves by a multiple of the step pays for that multiple only.
namespace fl {

// The step of a lattice whose publisher chooses the multiple, round by round.
inline constexpr double kFinestLatticeStep = 0x1p-12;
// The largest multiple that a publisher moves by is 2^kLatticeShiftMax steps.
inline constexpr unsigned kLatticeShiftMax = 14;

inline constexpr unsigned kReleasedFineness = 4;
// Largest magnitude of a published model's coordinate, in steps. Far enough within fp32 that a
// point is found again from its model.
inline constexpr std::int32_t kLatticePointMax = 1 << 18;

// Thread safety: shared objects safe.
class Lattice {
 public:
  using Point = std::vector<std::int32_t>;

  // `origin` is version 0: layout.total() finite values, each of magnitude at most step x 2^18.
  Lattice(TensorLayout layout, std::vector<float> origin, double step);

  const TensorLayout& layout() const { return layout_; }

  // The model at a point of published models, or of released ones.
  std::vector<float> ModelAt(std::span<const std::int32_t> point, unsigned fineness = 0) const;
  // The point that a model is at. kMalformed when it is at none.
  Result<Point> PointOf(std::span<const float> model, unsigned fineness = 0) const;

  // The next published point, a multiple of 2^shift steps from the last one in each coordinate:
  // with strides of 2^shift steps, x = (wanted - the model at `from`) / stride moves a coordinate
  // by sgn(x) floor(|x| + 0.4) strides, so that less than 0.6 of one moves nothing (a wide zero
  // bin: what is left out is not lost, since the server goes on from `wanted`). A coordinate that
  // is not finite, or would leave the bounds, stays within them. shift <= kLatticeShiftMax.
  Point Approach(std::span<const std::int32_t> from, std::span<const float> wanted,
                 unsigned shift = 0) const;
  // The nearest of the released points whose coordinates are multiples of 2^shift.
  Point Nearest(std::span<const float> wanted, unsigned shift = 0) const;

 private:
  // Calls visit(index, step) for each coordinate in order.
  template <typename Visitor>
  void ForEach(unsigned fineness, Visitor&& visit) const;

  TensorLayout layout_;
  std::vector<float> origin_;
  double step_;
};

struct LatticeChange {
  unsigned fineness = 0;             // Of the new model: 0 or kReleasedFineness.
  std::vector<std::int32_t> levels;  // layout.total() of them.
  friend bool operator==(const LatticeChange&, const LatticeChange&) = default;
};

// The change from the published point `from` to the point `to` of the given fineness.
LatticeChange ChangeBetween(std::span<const std::int32_t> from, std::span<const std::int32_t> to,
                            unsigned fineness);
// The point that the change makes of `from`. kLimitExceeded when it lies outside of the bounds.
Result<Lattice::Point> ApplyChange(std::span<const std::int32_t> from, const LatticeChange& change);

Bytes EncodeLatticeChange(const LatticeChange& change, const TensorLayout& layout);
// True for bytes that begin like one.
bool IsLatticeChange(ByteSpan bytes);
// Allocates layout.total() integers, whatever the bytes say. kMalformed (also for bytes that
// EncodeLatticeChange would not write); kWrongVersion; kShapeMismatch when the change was made for
// another number of coordinates.
Result<LatticeChange> DecodeLatticeChange(ByteSpan bytes, const TensorLayout& layout);

}  // namespace fl
