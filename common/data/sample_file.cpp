#include "fl/common/data/sample_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

#include "fl/common/base/file.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::data {
namespace {

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "samples: " + std::move(message)};
}

template <typename T, typename Out>
std::vector<Out> Convert(const StoredTensor& tensor) {
  std::vector<Out> values(tensor.shape.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value{};
    std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
    values[i] = Out{value};
  }
  return values;
}

Result<std::vector<std::int64_t>> Integers(const StoredTensor& tensor) {
  switch (tensor.dtype) {
    case DType::kU8:
      return Convert<std::uint8_t, std::int64_t>(tensor);
    case DType::kI8:
      return Convert<std::int8_t, std::int64_t>(tensor);
    case DType::kI16:
      return Convert<std::int16_t, std::int64_t>(tensor);
    case DType::kI32:
      return Convert<std::int32_t, std::int64_t>(tensor);
    case DType::kI64:
      return Convert<std::int64_t, std::int64_t>(tensor);
    default:
      return Error{ErrorCode::kUnsupported, "tensor '" + tensor.name +
                                                "': expected whole numbers, found " +
                                                std::string(DTypeName(tensor.dtype))};
  }
}

bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

Result<> ReadFeatures(const StoredTensor& x, Samples& samples) {
  samples.shape =
      Shape(std::vector<std::size_t>(x.shape.extents().begin() + 1, x.shape.extents().end()));
  if (x.dtype == DType::kU8) {
    samples.features = Convert<std::uint8_t, std::uint8_t>(x);
  } else if (IsFloat(x.dtype)) {
    FL_TRY(samples.features, LoadFloats(x));
  } else {
    FL_TRY(const std::vector<std::int64_t> integers, Integers(x));
    std::vector<float> floats(integers.size());
    std::ranges::transform(integers, floats.begin(),
                           [](std::int64_t value) { return static_cast<float>(value); });
    samples.features = std::move(floats);
  }
  return {};
}

// The number of classes that the file declares, else `fallback`.
Result<std::size_t> DeclaredClasses(const SafetensorsFile& file, std::size_t fallback) {
  const auto found = file.metadata.find("classes");
  if (found == file.metadata.end()) return fallback;
  const std::string& text = found->second;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) {
    return Malformed("expected a number in the metadata 'classes', found '" + text + "'");
  }
  return value;
}

Result<> ReadLabels(const StoredTensor& y, std::size_t classes, const DataLimits& limits,
                    Samples& samples) {
  FL_TRY(const std::vector<std::int64_t> values, Integers(y));
  const std::int64_t largest = *std::ranges::max_element(values);
  if (*std::ranges::min_element(values) < 0) return Malformed("expected labels of at least 0");
  if (static_cast<std::uint64_t>(largest) >= limits.classes_max || classes > limits.classes_max) {
    return Error{ErrorCode::kLimitExceeded, "samples: more classes than accepted"};
  }
  samples.classes = classes > 0 ? classes : static_cast<std::size_t>(largest) + 1;
  if (static_cast<std::size_t>(largest) >= samples.classes) {
    return Malformed("expected labels below " + std::to_string(samples.classes) + ", found " +
                     std::to_string(largest));
  }
  samples.labels.assign(values.size(), 0);
  std::ranges::transform(values, samples.labels.begin(),
                         [](std::int64_t value) { return static_cast<std::int32_t>(value); });
  return {};
}

Result<> ReadTargets(const StoredTensor& y, Samples& samples) {
  if (IsFloat(y.dtype)) {
    FL_TRY(samples.targets, LoadFloats(y));
    return {};
  }
  FL_TRY(const std::vector<std::int64_t> values, Integers(y));
  for (const std::int64_t value : values) samples.targets.push_back(static_cast<float>(value));
  return {};
}

}  // namespace

Result<Samples> ParseSampleFile(ByteSpan bytes, bool regression, std::size_t classes,
                                const DataLimits& limits) {
  FL_TRY(const SafetensorsFile file,
         ParseSafetensors(bytes, {.data_bytes_max = limits.file_bytes_max}));
  const StoredTensor* x = file.Find("x");
  const StoredTensor* y = file.Find("y");
  if (x == nullptr || y == nullptr) return Malformed("expected the tensors 'x' and 'y'");
  if (x->shape.rank() == 0 || y->shape.count() != x->shape[0]) {
    return Malformed("expected one value of 'y' for each sample of 'x', found shapes " +
                     x->shape.ToText() + " and " + y->shape.ToText());
  }
  if (x->shape[0] > limits.samples_max || x->shape.count() > limits.values_max) {
    return Error{ErrorCode::kLimitExceeded, "samples: more samples or values than accepted"};
  }
  Samples samples;
  FL_TRY_OK(ReadFeatures(*x, samples));
  if (regression || IsFloat(y->dtype)) {
    FL_TRY_OK(ReadTargets(*y, samples));
    return samples;
  }
  FL_TRY(const std::size_t declared, DeclaredClasses(file, classes));
  FL_TRY_OK(ReadLabels(*y, declared, limits, samples));
  return samples;
}

Bytes SerializeSampleFile(const Subset& subset) {
  const Samples samples = subset.Extract();
  FL_CHECK(samples.count() > 0, "a file of samples holds at least one");
  std::vector<std::size_t> extents = {samples.count()};
  extents.insert(extents.end(), samples.shape.extents().begin(), samples.shape.extents().end());
  SafetensorsFile file;
  StoredTensor x{.name = "x", .dtype = DType::kF32, .shape = Shape(extents), .data = {}};
  if (std::holds_alternative<std::vector<std::uint8_t>>(samples.features)) x.dtype = DType::kU8;
  std::visit(
      [&x](const auto& values) {
        const ByteSpan content = std::as_bytes(std::span(values));
        x.data.assign(content.begin(), content.end());
      },
      samples.features);
  StoredTensor y{.name = "y", .dtype = DType::kF32, .shape = {samples.count()}, .data = {}};
  ByteSpan labels = std::as_bytes(std::span(samples.targets));
  if (samples.classes > 0) {
    y.dtype = DType::kI32;
    labels = std::as_bytes(std::span(samples.labels));
    file.metadata["classes"] = std::to_string(samples.classes);
  }
  y.data.assign(labels.begin(), labels.end());
  file.tensors.push_back(std::move(y));  // First, so that its words are aligned.
  file.tensors.push_back(std::move(x));
  return SerializeSafetensors(file);
}

Result<> SaveSafetensors(const Subset& subset, const std::filesystem::path& path) {
  if (subset.empty())
    return Error{ErrorCode::kInvalidArgument, path.string() + ": there is no sample to write"};
  return WriteFileAtomically(path, SerializeSampleFile(subset));
}

}  // namespace fl::data
