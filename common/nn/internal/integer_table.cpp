#include "fl/common/nn/internal/integer_table.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/check.h"

namespace fl::nn::internal {
namespace {

double Sigmoid(double x) {
  return 1 / (1 + Exponential(-x));
}

double FunctionOf(OpKind kind, double x) {
  switch (kind) {
    case OpKind::kSigmoid:
      return Sigmoid(x);
    case OpKind::kTanh:
      return 2 * Sigmoid(2 * x) - 1;
    case OpKind::kHardSwish:
      return x * std::clamp(x + 3, 0.0, 6.0) / 6;
    default:
      CheckFailed("FunctionTable", "an operator that is no function of one value");
  }
}

}  // namespace

// e^x = (e^(x / 2^k))^(2^k) with |x / 2^k| <= 1/2: a Taylor series of 20 terms, then squarings
// (each doubles the relative error, about 2^-53 at first).
double Exponential(double x) {
  if (x < -700) return 0;
  double rest = std::min(x, 700.0);
  int squarings = 0;
  for (; rest > 0.5 || rest < -0.5; ++squarings) rest /= 2;
  double sum = 1;
  for (int term = 20; term >= 1; --term) sum = 1 + sum * rest / term;
  for (; squarings > 0; --squarings) sum *= sum;
  return sum;
}

std::array<std::int8_t, 256> FunctionTable(OpKind kind, const ActivationScale& input,
                                           const ActivationScale& output) {
  std::array<std::int8_t, 256> table{};
  for (std::int32_t q = -128; q <= 127; ++q) {
    const double x = static_cast<double>(input.scale) * (q - input.zero_point);
    const double units = FunctionOf(kind, x) / static_cast<double>(output.scale);
    const double least = -128.0 - output.zero_point;
    const double rounded = std::nearbyint(std::clamp(units, least, least + 255));
    table[static_cast<std::size_t>(q) + 128] =
        static_cast<std::int8_t>(static_cast<std::int32_t>(rounded) + output.zero_point);
  }
  return table;
}

}  // namespace fl::nn::internal
