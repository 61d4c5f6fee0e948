#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fl {

// Extents, outermost first, row-major; at most 8, each >= 1. An empty shape is a scalar.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::size_t> extents) : extents_(extents) {}
  explicit Shape(std::vector<std::size_t> extents) : extents_(std::move(extents)) {}

  std::size_t rank() const { return extents_.size(); }
  std::size_t operator[](std::size_t axis) const { return extents_[axis]; }
  std::span<const std::size_t> extents() const { return extents_; }
  // The product of the extents.
  std::size_t count() const;
  // "28x28x1"; "scalar" when empty.
  std::string ToText() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::vector<std::size_t> extents_;
};

struct TensorSpec {
  std::string name;
  Shape shape;
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// The names and shapes of a model's (or an update's) tensors in their fixed order, and where each
// lies in one flat vector.
class TensorLayout {
 public:
  TensorLayout() = default;
  explicit TensorLayout(std::vector<TensorSpec> specs);

  std::size_t size() const { return specs_.size(); }
  const TensorSpec& operator[](std::size_t i) const { return specs_[i]; }
  std::span<const TensorSpec> specs() const { return specs_; }
  // Index of the tensor's first coordinate in the flat vector.
  std::size_t offset(std::size_t i) const { return offsets_[i]; }
  // Coordinates in all.
  std::size_t total() const { return offsets_.empty() ? 0 : offsets_.back(); }
  std::optional<std::size_t> Find(std::string_view name) const;
  friend bool operator==(const TensorLayout&, const TensorLayout&) = default;

 private:
  std::vector<TensorSpec> specs_;
  std::vector<std::size_t> offsets_ = {0};  // One more than tensors.
};

// Named fp32 tensors, one after the other in one flat vector: a model's parameters, a delta, a
// residual.
struct NamedTensors {
  TensorLayout layout;
  std::vector<float> values;  // layout.total() of them.

  NamedTensors() = default;
  // All zero.
  explicit NamedTensors(TensorLayout tensors)
      : layout(std::move(tensors)), values(layout.total()) {}

  std::span<float> tensor(std::size_t i) {
    return std::span(values).subspan(layout.offset(i), layout[i].shape.count());
  }
  std::span<const float> tensor(std::size_t i) const {
    return std::span(values).subspan(layout.offset(i), layout[i].shape.count());
  }
  friend bool operator==(const NamedTensors&, const NamedTensors&) = default;
};

// Square root of the sum of squares, summed in double in index order.
double NormL2(std::span<const float> values);
bool AllFinite(std::span<const float> values);

}  // namespace fl
