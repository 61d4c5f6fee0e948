#include "fl/compression/deploy/factor_layer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::CodeOf;
using testing::Get;

constexpr std::array kMethods = {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd,
                                 LowRankMethod::kTucker, LowRankMethod::kCp};

struct Weight {
  std::vector<float> values;
  LayerWeight shape;

  Weight(std::size_t height, std::size_t width, std::size_t inputs, std::size_t outputs,
         RngStream rng)
      : values(height * width * inputs * outputs), shape{height, width, inputs, outputs, {}} {
    rng.FillNormal(values);
    shape.values = values;
  }
};

// A sum of `rank` products of one vector for each axis, and noise.
Weight Planted(std::size_t rank, float noise, RngStream rng) {
  Weight weight(3, 3, 12, 16, rng.Child("noise"));
  for (float& value : weight.values) value *= noise;
  for (std::size_t r = 0; r < rank; ++r) {
    const Weight a(3, 1, 1, 1, rng.Child("a", r));
    const Weight b(3, 1, 1, 1, rng.Child("b", r));
    const Weight c(12, 1, 1, 1, rng.Child("c", r));
    const Weight d(16, 1, 1, 1, rng.Child("d", r));
    for (std::size_t i = 0; i < weight.values.size(); ++i) {
      weight.values[i] += a.values[i / (3 * 12 * 16)] * b.values[i / (12 * 16) % 3] *
                          c.values[i / 16 % 12] * d.values[i % 16];
    }
  }
  weight.shape.values = weight.values;
  return weight;
}

// Inputs that vary along few directions, around a mean that is not zero.
LayerInputs Correlated(std::size_t width, std::size_t rows, RngStream rng) {
  LayerInputs inputs{rows, std::vector<float>(rows * width)};
  std::vector<float> directions(4 * width);
  rng.FillNormal(directions);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t k = 0; k < 4; ++k) {
      const float strength = rng.Normal() * static_cast<float>(4 - k);
      for (std::size_t i = 0; i < width; ++i)
        inputs.values[row * width + i] += strength * directions[k * width + i];
    }
    for (std::size_t i = 0; i < width; ++i)
      inputs.values[row * width + i] += 0.3F * rng.Normal() + 1.0F;
  }
  return inputs;
}

LayerFactorizer Make(LowRankMethod method, const LayerWeight& weight,
                     const LayerInputs& inputs = {}, bool separable = true) {
  return Get(LayerFactorizer::Create(method, weight, inputs, separable, RngStream(8)));
}

// Mean square over rows and outputs of X W + b - X V - c.
double OutputError(const LayerWeight& weight, const LayerInputs& inputs,
                   const Factorization& factorization) {
  double sum = 0;
  for (std::size_t row = 0; row < inputs.rows; ++row) {
    for (std::size_t o = 0; o < weight.outputs; ++o) {
      double difference = -static_cast<double>(factorization.bias_shift[o]);
      for (std::size_t i = 0; i < weight.rows(); ++i) {
        difference += static_cast<double>(inputs.values[row * weight.rows() + i]) *
                      static_cast<double>(weight.values[i * weight.outputs + o] -
                                          factorization.product[i * weight.outputs + o]);
      }
      sum += difference * difference;
    }
  }
  return sum / static_cast<double>(inputs.rows * weight.outputs);
}

double LargestDifference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i] - b[i])));
  return largest;
}

TEST_CASE("LayerFactorizer: at full rank the factors are the weight, with and without inputs") {
  const Weight weight(3, 2, 5, 7, RngStream(1));
  for (const LowRankMethod method : kMethods) {
    if (method == LowRankMethod::kCp) continue;
    for (const LayerInputs& inputs : {LayerInputs{}, Correlated(30, 200, RngStream(2))}) {
      const LayerFactorizer factorizer = Make(method, weight.shape, inputs);
      const Factorization whole = factorizer.Factorize(factorizer.RanksOf(factorizer.level_max()));
      CHECK(LargestDifference(whole.product, weight.values) < 1e-5);
      CHECK(whole.error < 1e-10);
      for (const float shift : whole.bias_shift) CHECK(std::abs(shift) < 1e-4F);
    }
  }
}

TEST_CASE("LayerFactorizer: every method finds the planted structure") {
  const Weight weight = Planted(2, 0.0F, RngStream(12));
  for (const LowRankMethod method : kMethods) {
    for (const bool separable : {true, false}) {
      const LayerFactorizer factorizer = Make(method, weight.shape, {}, separable);
      const Factorization found = factorizer.Factorize({2, 2});
      CHECK(found.error < 1e-4);
      CHECK(factorizer.Factorize({1, 1}).error > 0.01);
    }
  }
}

TEST_CASE("LayerFactorizer: the product is what the factors make of it") {
  const Weight weight(3, 3, 4, 6, RngStream(3));
  const Factorization svd = Make(LowRankMethod::kSvd, weight.shape).Factorize({3, 3});
  REQUIRE(svd.factors.size() == 2);
  const Factor& first = svd.factors[0];
  const Factor& last = svd.factors[1];
  CHECK(first.weight.size() + first.outputs == first.parameters());
  std::vector<float> product(weight.values.size());
  for (std::size_t i = 0; i < 36; ++i) {
    for (std::size_t o = 0; o < 6; ++o) {
      for (std::size_t r = 0; r < 3; ++r)
        product[i * 6 + o] += first.weight[i * 3 + r] * last.weight[r * 6 + o];
    }
  }
  CHECK(LargestDifference(product, svd.product) < 1e-5);
}

TEST_CASE("LayerFactorizer: a factor's shape is what ShapesOf says") {
  const Weight weight(3, 5, 8, 6, RngStream(4));
  for (const LowRankMethod method : kMethods) {
    for (const bool separable : {true, false}) {
      const LayerFactorizer factorizer = Make(method, weight.shape, {}, separable);
      const Ranks ranks = factorizer.RanksOf(3);
      const Factorization made = factorizer.Factorize(ranks);
      const std::vector<Factor> shapes = factorizer.ShapesOf(ranks);
      REQUIRE(made.factors.size() == shapes.size());
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        CHECK(made.factors[i].depthwise == shapes[i].depthwise);
        CHECK(made.factors[i].inputs == shapes[i].inputs);
        CHECK(made.factors[i].outputs == shapes[i].outputs);
        CHECK(made.factors[i].weight.size() + shapes[i].outputs == shapes[i].parameters());
      }
    }
  }
}

TEST_CASE("LayerFactorizer: inputs make the outputs better at equal rank, by every method") {
  const Weight weight(3, 3, 6, 16, RngStream(5));
  const LayerInputs inputs = Correlated(54, 400, RngStream(6));
  for (const LowRankMethod method : kMethods) {
    const Factorization plain = Make(method, weight.shape).Factorize({4, 4});
    const Factorization weighted = Make(method, weight.shape, inputs).Factorize({4, 4});
    // Without inputs nothing is known of the mean.
    const double plain_error = OutputError(weight.shape, inputs, plain);
    CHECK(OutputError(weight.shape, inputs, weighted) < 0.5 * plain_error);
  }
}

TEST_CASE("LayerFactorizer: no other factors of that rank lose less than the weighted SVD") {
  const Weight weight(1, 1, 30, 20, RngStream(5));
  const LayerInputs inputs = Correlated(30, 400, RngStream(6));
  const LayerFactorizer factorizer = Make(LowRankMethod::kSvd, weight.shape, inputs);
  for (std::size_t rank = 1; rank < 20; ++rank) {
    CHECK(factorizer.ErrorOf({rank, rank}) ==
          doctest::Approx(factorizer.Factorize({rank, rank}).error).epsilon(1e-6));
    CHECK(factorizer.ErrorOf({rank + 1, rank + 1}) < factorizer.ErrorOf({rank, rank}));
  }
  CHECK(factorizer.ErrorOf({4, 4}) < 0.02);
}

TEST_CASE("LayerFactorizer: ranks by energy keep as much as asked for, and not more") {
  const Weight weight = Planted(5, 0.1F, RngStream(7));
  for (const LowRankMethod method : kMethods) {
    const LayerFactorizer factorizer = Make(method, weight.shape);
    const Ranks ranks = factorizer.EnergyRanks(0.8);
    CHECK(ranks.in <= factorizer.level_max());
    if (method == LowRankMethod::kTucker) continue;  // A share of each mode.
    CHECK(factorizer.ErrorOf(ranks) <= 0.2);
    CHECK(factorizer.ErrorOf({ranks.in - 1, ranks.in - 1}) > 0.2);
  }
  const LayerFactorizer svd = Make(LowRankMethod::kSvd, weight.shape);
  CHECK(svd.EnergyRanks(1.0).in == svd.level_max());
}

TEST_CASE("LayerFactorizer: ranks by variational Bayes are the planted ones") {
  const Weight weight = Planted(3, 0.2F, RngStream(9));
  for (const LowRankMethod method : kMethods)
    CHECK(Make(method, weight.shape).VariationalRanks() == Ranks{3, 3});
  const Weight noise(3, 3, 12, 16, RngStream(10));
  CHECK(Make(LowRankMethod::kTucker, noise.shape).VariationalRanks() == Ranks{1, 1});
}

TEST_CASE("LayerFactorizer: a zero weight, and inputs that are constant, do no harm") {
  Weight zero(3, 3, 4, 4, RngStream(11));
  zero.values.assign(zero.values.size(), 0.0F);
  const Weight weight(3, 3, 4, 4, RngStream(11));
  const LayerInputs constant{5, std::vector<float>(5 * 36, 2.0F)};
  for (const LowRankMethod method : kMethods) {
    const Factorization nothing = Make(method, zero.shape).Factorize({2, 2});
    CHECK(nothing.error == 0);
    for (const float value : nothing.product) CHECK(value == 0.0F);
    const Factorization plain = Make(method, weight.shape).Factorize({2, 2});
    const Factorization same = Make(method, weight.shape, constant).Factorize({2, 2});
    CHECK(plain.product == same.product);
    // What the mean loses goes into the bias: the constant's output is kept.
    CHECK(OutputError(weight.shape, constant, same) < 1e-8);
  }
}

TEST_CASE("LayerFactorizer: what does not fit is refused") {
  Weight weight(3, 3, 4, 4, RngStream(11));
  const auto code = [](LowRankMethod method, const LayerWeight& shape, const LayerInputs& inputs) {
    return CodeOf(LayerFactorizer::Create(method, shape, inputs, true, RngStream(1)));
  };
  LayerWeight longer = weight.shape;
  longer.outputs = 5;
  CHECK(code(LowRankMethod::kSvd, longer, {}) == ErrorCode::kInvalidArgument);
  CHECK(code(LowRankMethod::kSvd, weight.shape, {1, {1.0F, 2.0F}}) == ErrorCode::kInvalidArgument);
  LayerWeight dense{1, 1, 36, 4, weight.values};
  CHECK(code(LowRankMethod::kSvd, dense, {}) == ErrorCode::kOk);
  CHECK(code(LowRankMethod::kTucker, dense, {}) == ErrorCode::kInvalidArgument);
  LayerInputs inputs{1, std::vector<float>(36, 1.0F)};
  inputs.values[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(code(LowRankMethod::kSvd, weight.shape, inputs) == ErrorCode::kNotFinite);
  weight.values[3] = std::numeric_limits<float>::infinity();
  CHECK(code(LowRankMethod::kSvd, weight.shape, {}) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
