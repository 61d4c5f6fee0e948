#pragma once

#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/thread_pool.h"

// How a device that holds one version of a model gets the bits of another:
//
//   change = "FLM" version:u8 count:varint { bytes:varint plane }     four planes
//   plane  = a zlib stream of `count` bytes
//
// Seen as integers of the same order as the floats, the new value minus the base's is written in
// zigzag (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) and cut into four bytes; plane k holds byte k of
// each coordinate, the lowest first. Coordinates that did not change are zeros in all planes, and a
// small step is zeros in the upper ones.
namespace fl::wire {

// Any two models of the same size; lossless for every bit pattern, NaN included. The same bytes
// with a pool and without.
Bytes EncodeModelChange(std::span<const float> base, std::span<const float> next,
                        ThreadPool* pool = nullptr);

// out = the model that `change` makes of `base`; out.size() == base.size(). Allocates no more than
// that many bytes, whatever the change says. kMalformed; kWrongVersion; kShapeMismatch when it was
// made for another number of values. On an error `out` is unspecified.
Result<> ApplyModelChange(ByteSpan change, std::span<const float> base, std::span<float> out);

}  // namespace fl::wire
