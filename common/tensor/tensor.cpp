#include "fl/common/tensor/tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "fl/common/base/check.h"

namespace fl {

std::size_t Shape::count() const {
  std::size_t product = 1;
  for (const std::size_t extent : extents_) product *= extent;
  return product;
}

std::string Shape::ToText() const {
  if (extents_.empty()) return "scalar";
  std::string text;
  for (const std::size_t extent : extents_) {
    if (!text.empty()) text += 'x';
    text += std::to_string(extent);
  }
  return text;
}

TensorLayout::TensorLayout(std::vector<TensorSpec> specs) : specs_(std::move(specs)) {
  for (const TensorSpec& spec : specs_) offsets_.push_back(offsets_.back() + spec.shape.count());
}

std::optional<std::size_t> TensorLayout::Find(std::string_view name) const {
  const auto found = std::ranges::find(specs_, name, &TensorSpec::name);
  if (found == specs_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - specs_.begin());
}

double NormL2(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

bool AllFinite(std::span<const float> values) {
  constexpr std::size_t kBlock = 16;  // A length that the compiler knows, for vectors.
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::array<std::uint32_t, kBlock> found{};
  std::array<std::uint32_t, kBlock> bits{};
  for (; values.size() >= kBlock; values = values.subspan(kBlock)) {
    std::memcpy(bits.data(), values.data(), sizeof(bits));
    for (std::size_t k = 0; k < kBlock; ++k)
      found[k] |= (bits[k] & kExponent) == kExponent ? 1U : 0U;
  }
  return std::ranges::all_of(found, [](std::uint32_t any) { return any == 0; }) &&
         std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace fl
