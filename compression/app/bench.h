#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/config/plan.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/recipe.h"

namespace fl::codec_app {

// What a recipe costs on some tensors, all of them together, on one thread. Times are the shortest
// of several passes, in seconds.
struct BenchRow {
  std::string recipe;
  std::size_t count = 0;  // Values.
  std::size_t bytes = 0;  // Of the payloads.
  double nmse = 0;        // Squared error over energy.
  double encode = 0;      // Codec::Encode.
  double check = 0;       // Codec::Parse.
  double add = 0;         // Codec::DecodeAdd.
  double axpy = 0;        // kernels::Axpy over as many values, measured around the three.

  double bits() const { return 8 * static_cast<double>(bytes) / static_cast<double>(count); }
};

struct BenchOptions {
  double seconds = 0.2;  // How long each of the three is repeated, at least three passes.
  std::uint64_t seed = 1;
};

// The errors of EncodeTensors.
Result<BenchRow> Bench(const SegmentPlan& plan, const CompressionConfig& compression,
                       const NamedTensors& tensors, const BenchOptions& options);

// A matrix as updates have them: heavy-tailed noise whose rows and columns differ in size, and a
// part of rank 4 with as much energy.
NamedTensors SyntheticDelta(std::size_t rows, std::size_t columns, std::uint64_t seed);

// A table for people: speeds in MB/s of fp32 values and as parts of axpy's.
std::string DrawBench(const std::vector<BenchRow>& rows);
std::string BenchToJson(const std::vector<BenchRow>& rows);

}  // namespace fl::codec_app
