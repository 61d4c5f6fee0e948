#include "fl/compression/kernels/partial_sums.h"

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/partial_sums.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// Without vectors everything is left to the references.
std::size_t AddSquaresVectors(std::span<const float>, double*) {
  return 0;
}
std::size_t AddProductsVectors(std::span<const float>, const float*, double*) {
  return 0;
}
#else

using SumTag = hn::CappedTag<double, 8>;
using Sums = hn::Vec<SumTag>;

HWY_INLINE Sums LoadTerms(const float* at) {
  const hn::Rebind<float, SumTag> df;
  return hn::PromoteTo(SumTag(), hn::LoadU(df, at));
}

struct Squares {
  HWY_INLINE Sums operator()(Sums sum, std::size_t i) const {
    const Sums value = LoadTerms(values + i);
    return hn::MulAdd(value, value, sum);
  }
  const float* values;
};

struct Products {
  HWY_INLINE Sums operator()(Sums sum, std::size_t i) const {
    return hn::MulAdd(LoadTerms(values + i), LoadTerms(factors + i), sum);
  }
  const float* values;
  const float* factors;
};

// Eight terms at a time: one vector, two or four of them. Gives back the first index left over.
template <typename Add>
HWY_INLINE std::size_t AddEights(std::size_t count, double* sums, Add add) {
  const SumTag d;
  const std::size_t lanes = hn::Lanes(d);
  if (lanes < 2) return 0;
  // Where there are fewer vectors than four, the others are copies that nobody keeps.
  auto first = hn::LoadU(d, sums);
  auto second = hn::LoadU(d, sums + lanes % 8);
  auto third = hn::LoadU(d, sums + 2 * lanes % 8);
  auto fourth = hn::LoadU(d, sums + 3 * lanes % 8);
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    first = add(first, i);
    if (lanes <= 4) second = add(second, i + lanes);
    if (lanes <= 2) {
      third = add(third, i + 2 * lanes);
      fourth = add(fourth, i + 3 * lanes);
    }
  }
  hn::StoreU(first, d, sums);
  if (lanes <= 4) hn::StoreU(second, d, sums + lanes);
  if (lanes <= 2) {
    hn::StoreU(third, d, sums + 2 * lanes);
    hn::StoreU(fourth, d, sums + 3 * lanes);
  }
  return i;
}

std::size_t AddSquaresVectors(std::span<const float> values, double* sums) {
  return AddEights(values.size(), sums, Squares{values.data()});
}
std::size_t AddProductsVectors(std::span<const float> values, const float* factors, double* sums) {
  return AddEights(values.size(), sums, Products{values.data(), factors});
}
#endif

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(AddSquaresVectors);
HWY_EXPORT(AddProductsVectors);

}  // namespace

double Total(const PartialSums& sums) {
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void AddProductsReference(std::span<const float> values, std::span<const float> factors,
                          PartialSums& sums) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double product = static_cast<double>(values[i]) * static_cast<double>(factors[i]);
    sums[i % sums.size()] += product;
  }
}

void AddSquaresReference(std::span<const float> values, PartialSums& sums) {
  AddProductsReference(values, values, sums);
}

void AddSquares(std::span<const float> values, PartialSums& sums) {
  const std::size_t done = HWY_DYNAMIC_DISPATCH(AddSquaresVectors)(values, sums.data());
  AddSquaresReference(values.subspan(done), sums);
}

void AddProducts(std::span<const float> values, std::span<const float> factors, PartialSums& sums) {
  FL_CHECK(values.size() == factors.size(), "a factor for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddProductsVectors)(values, factors.data(), sums.data());
  AddProductsReference(values.subspan(done), factors.subspan(done), sums);
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
