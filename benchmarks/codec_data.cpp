#include "fl/benchmarks/codec_data.h"

#include <cmath>

#include "fl/compression/app/codec_files.h"

namespace fl::bench {

Matrices NormalMatrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Matrices matrices{{Shape{rows, columns}}, {std::vector<float>(rows * columns)}};
  RngStream(seed).Child("normal").FillNormal(matrices.values[0]);
  return matrices;
}

Matrices LaplaceMatrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Matrices matrices{{Shape{rows, columns}}, {std::vector<float>(rows * columns)}};
  RngStream rng = RngStream(seed).Child("laplace");
  for (float& value : matrices.values[0]) {
    const float magnitude = -std::log1p(-rng.Uniform()) / std::sqrt(2.0F);
    value = rng.Uniform() < 0.5F ? -magnitude : magnitude;
  }
  return matrices;
}

Result<Matrices> RecordedMatrices(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code failed;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, failed)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  if (failed || files.empty()) {
    return Error{ErrorCode::kIo,
                 folder.string() + ": expected deltas that fl-sim run --record-updates wrote"};
  }
  std::ranges::sort(files);
  Matrices matrices;
  for (const auto& file : files) {
    FL_TRY(const NamedTensors tensors, codec_app::ReadTensors(file.string()));
    for (std::size_t i = 0; i < tensors.layout.size(); ++i) {
      const TensorSpec& tensor = tensors.layout[i];
      if (tensor.shape.rank() < 2) continue;
      const auto values = tensors.tensor(i);
      matrices.shapes.push_back(tensor.shape);
      matrices.values.emplace_back(values.begin(), values.end());
    }
  }
  return matrices;
}

}  // namespace fl::bench
