#pragma once

#include <filesystem>

#include "fl/benchmarks/measure.h"
#include "fl/common/base/result.h"

namespace fl::bench {

// One matrix of independent values of unit variance.
Matrices NormalMatrix(std::size_t rows, std::size_t columns, std::uint64_t seed);
Matrices LaplaceMatrix(std::size_t rows, std::size_t columns, std::uint64_t seed);

// All matrices of the deltas that fl-sim recorded below a folder, by file name and then in the
// model's order; vectors (biases) are left out. kIo, kMalformed.
Result<Matrices> RecordedMatrices(const std::filesystem::path& folder);

}  // namespace fl::bench
