#include "fl/common/nn/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "fl/common/base/error_detail.h"

namespace fl::nn {
namespace {

constexpr std::uint64_t kCountMax = 1ULL << 53U;  // Whole numbers up to it are exact doubles.
constexpr std::size_t kHeader = 3;                // low, high, zeros.

std::int64_t BinAt(float value, int exponent) {
  return static_cast<std::int64_t>(std::floor(std::ldexp(static_cast<double>(value), -exponent)));
}

// Of the window that holds both extremes with the narrowest bins.
int ExponentOf(float low, float high) {
  const double reach = std::max(-static_cast<double>(low), static_cast<double>(high));
  if (!(reach > 0)) return Histogram::kExponentLeast;
  // 2048 bins of this width are too few by far for reach alone; a few steps up and they hold both.
  int exponent = std::max(Histogram::kExponentLeast, std::ilogb(reach) - 11);
  while (BinAt(high, exponent) - BinAt(low, exponent) >=
         static_cast<std::int64_t>(Histogram::kBins))
    ++exponent;
  return exponent;
}

// Floor of i / 2^shift.
std::int64_t Halved(std::int64_t i, int shift) {
  return shift >= 63 ? (i < 0 ? -1 : 0) : i >> shift;
}

}  // namespace

double Histogram::width() const {
  return std::ldexp(1.0, exponent_);
}

double Histogram::Middle(std::size_t i) const {
  return std::ldexp(static_cast<double>(first_ + static_cast<std::int64_t>(i)) + 0.5, exponent_);
}

std::uint64_t Histogram::count() const {
  return std::accumulate(bins_.begin(), bins_.end(), zeros_);
}

void Histogram::WidenTo(float low, float high) {
  low_ = std::min(low_, low);
  high_ = std::max(high_, high);
  const int exponent = std::max(exponent_, ExponentOf(low_, high_));
  const std::int64_t first = BinAt(low_, exponent);
  if (exponent == exponent_ && first == first_) return;
  std::array<std::uint64_t, kBins> bins{};
  for (std::size_t i = 0; i < kBins; ++i) {
    if (bins_[i] == 0) continue;
    const std::int64_t bin =
        Halved(first_ + static_cast<std::int64_t>(i), exponent - exponent_) - first;
    bins[static_cast<std::size_t>(bin)] += bins_[i];
  }
  bins_ = bins;
  exponent_ = exponent;
  first_ = first;
}

Result<> Histogram::Add(std::span<const float> values) {
  float low = 0;
  float high = 0;
  for (const float value : values) {
    if (!std::isfinite(value))
      return Error{ErrorCode::kNotFinite, "histogram: a value is NaN or infinite",
                   ErrorDetail::kValueNotFinite};
    low = std::min(low, value);
    high = std::max(high, value);
  }
  WidenTo(low, high);
  const double scale = std::ldexp(1.0, -exponent_);
  for (const float value : values) {
    if (value == 0) {
      ++zeros_;
      continue;
    }
    const auto bin = static_cast<std::int64_t>(std::floor(static_cast<double>(value) * scale));
    ++bins_[static_cast<std::size_t>(bin - first_)];
  }
  return {};
}

void Histogram::Merge(const Histogram& other) {
  WidenTo(other.low_, other.high_);
  Histogram widened = other;
  widened.WidenTo(low_, high_);
  zeros_ += widened.zeros_;
  for (std::size_t i = 0; i < kBins; ++i) bins_[i] += widened.bins_[i];
}

std::vector<double> Histogram::ToNumbers() const {
  std::vector<double> numbers = {static_cast<double>(low_), static_cast<double>(high_),
                                 static_cast<double>(zeros_)};
  for (const std::uint64_t bin : bins_) numbers.push_back(static_cast<double>(bin));
  return numbers;
}

Result<Histogram> Histogram::FromNumbers(std::span<const double> numbers) {
  if (numbers.size() != kHeader + kBins) {
    return Error{ErrorCode::kMalformed,
                 "histogram: expected " + std::to_string(kHeader + kBins) + " numbers, found " +
                     std::to_string(numbers.size()),
                 ErrorDetail::kCalibrationBins};
  }
  constexpr auto kFloatMax = static_cast<double>(std::numeric_limits<float>::max());
  if (!(numbers[0] <= 0 && numbers[1] >= 0 && numbers[0] >= -kFloatMax &&
        numbers[1] <= kFloatMax)) {
    return Error{ErrorCode::kMalformed,
                 "histogram: expected finite extremes around zero, found " +
                     std::to_string(numbers[0]) + " and " + std::to_string(numbers[1]),
                 ErrorDetail::kCalibrationBins};
  }
  for (const double count : numbers.subspan(2)) {
    if (!(count >= 0 && count <= static_cast<double>(kCountMax) && std::floor(count) == count)) {
      return Error{ErrorCode::kMalformed,
                   "histogram: expected whole counts in [0, 2^53], found " + std::to_string(count),
                   ErrorDetail::kCalibrationBins};
    }
  }
  Histogram histogram;
  histogram.WidenTo(static_cast<float>(numbers[0]), static_cast<float>(numbers[1]));
  histogram.zeros_ = static_cast<std::uint64_t>(numbers[2]);
  const auto last =
      static_cast<std::size_t>(BinAt(histogram.high_, histogram.exponent_) - histogram.first_);
  for (std::size_t i = 0; i < kBins; ++i) {
    histogram.bins_[i] = static_cast<std::uint64_t>(numbers[kHeader + i]);
    if (i > last && histogram.bins_[i] > 0) {
      return Error{ErrorCode::kMalformed,
                   "histogram: bin " + std::to_string(i) + " counts values above the largest, " +
                       std::to_string(numbers[1]),
                   ErrorDetail::kCalibrationBins};
    }
  }
  return histogram;
}

Bytes Histogram::Encode() const {
  ByteWriter out;
  out.Write(low_);
  out.Write(high_);
  out.WriteVarint(zeros_);
  out.WriteVarint(static_cast<std::uint64_t>(
      std::ranges::count_if(bins_, [](std::uint64_t bin) { return bin > 0; })));
  std::size_t next = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    if (bins_[i] == 0) continue;
    out.WriteVarint(i - next);
    out.WriteVarint(bins_[i]);
    next = i + 1;
  }
  return std::move(out).Take();
}

Result<Histogram> Histogram::Decode(ByteSpan bytes) {
  ByteReader reader(bytes);
  FL_TRY(const auto low, reader.Read<float>());
  FL_TRY(const auto high, reader.Read<float>());
  if (!std::isfinite(low) || !std::isfinite(high))
    return Error{ErrorCode::kNotFinite, "histogram: an extreme is NaN or infinite",
                 ErrorDetail::kValueNotFinite};
  FL_TRY(const std::uint64_t zeros, reader.ReadVarint());
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  if (count > kBins) {
    return Error{ErrorCode::kLimitExceeded,
                 "histogram: expected at most " + std::to_string(kBins) + " bins, found " +
                     std::to_string(count),
                 ErrorDetail::kCalibrationBins};
  }
  std::vector<double> numbers(kHeader + kBins);
  numbers[0] = static_cast<double>(low);
  numbers[1] = static_cast<double>(high);
  numbers[2] = static_cast<double>(zeros);
  std::uint64_t left = kCountMax - std::min(kCountMax, zeros);
  bool fits = zeros <= kCountMax;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    FL_TRY(const std::uint64_t step, reader.ReadVarint());
    FL_TRY(const std::uint64_t values, reader.ReadVarint());
    if (step >= kBins - next || values == 0) {
      return Error{ErrorCode::kMalformed,
                   "histogram: expected counts of bins below " + std::to_string(kBins) +
                       ", ascending, found " + std::to_string(values) + " values " +
                       std::to_string(step) + " bins behind bin " + std::to_string(next),
                   ErrorDetail::kCalibrationBins};
    }
    fits = fits && values <= left;
    left -= std::min(left, values);
    next += step + 1;
    numbers[kHeader + next - 1] = static_cast<double>(values);
  }
  FL_TRY_OK(reader.ExpectEnd());
  if (!fits)
    return Error{ErrorCode::kLimitExceeded, "histogram: expected at most 2^53 values, found more",
                 ErrorDetail::kCalibrationBins};
  return FromNumbers(numbers);
}

}  // namespace fl::nn
