#pragma once

#include <memory>

#include "fl/compression/codecs/count_sketch.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

// `sketch ROWSxCOLUMNS [seed=1] [| values]`: the segment's count sketch (codecs/count_sketch.h) is
// sent instead of its values. The hash functions are the recipe's, so that all clients of all
// rounds have the same: their cells can be added, and so can those of different rounds. Made for
// clients that take part once and keep nothing: what a sketch does not tell yet stays in the sum
// that the server keeps (FetchSGD: Rothchild et al. 2020, arXiv:2007.07682).
//
//   sketch     = values        the cells, row by row, as their stage writes a matrix of ROWS x
//                              COLUMNS: raw (where none is named), fp16, bf16, quantize ...
//   parameters = parameters of the values
//
// Updates add up as cells (summed()); values are estimated once, from the sum. With a grid that all
// clients share, cells are summed as integers. What one update's decoder sees is the estimate from
// its own cells: DecodeAdd reads all cells for each block that it is asked for, so that large
// blocks are cheapest, and has a temporary of their number. The table has fewer cells than the
// segment has values.
class Sketch final : public Codec {
 public:
  // `cells`: a codec for sketch.cells() values.
  Sketch(const CountSketchConfig& config, std::unique_ptr<Codec> cells);

  const CountSketch& sketch() const { return sketch_; }

  CodecTraits traits() const override;
  std::size_t count() const override { return sketch_.count(); }
  std::size_t EncodedBytesMax() const override { return cells_->EncodedBytesMax(); }
  Bytes InitialParameters() const override { return cells_->InitialParameters(); }
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;
  const Codec* summed() const override { return cells_.get(); }
  void Estimate(std::span<const float> sum, std::size_t first, std::span<float> out) const override;

 private:
  CountSketch sketch_;
  std::unique_ptr<Codec> cells_;
};

// The sketch that the codec's cells are of; null for other codecs.
const CountSketch* SketchOf(const Codec& codec);

// The codec that a chain asks for, its head being sketch.
Result<std::unique_ptr<Codec>> BuildSketch(const Chain& chain, const Shape& shape,
                                           std::size_t parameters_offset);

}  // namespace fl
