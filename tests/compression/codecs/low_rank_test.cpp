#include <cmath>

#include <Eigen/Eigenvalues>

#include "fl/compression/codecs/factorize.h"
#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;
using testing::RelativeError;

// rows x columns with singular values that fall like 1 / (1 + k / 2).
std::vector<float> FallingSpectrum(std::size_t rows, std::size_t columns, RngStream rng) {
  std::vector<float> values(rows * columns);
  for (std::size_t k = 0; k < std::min(rows, columns); ++k) {
    const std::vector<float> left = testing::NormalValues(rows, rng.Child("left", k));
    const std::vector<float> right = testing::NormalValues(columns, rng.Child("right", k));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] += left[i / columns] * right[i % columns] / (1 + 0.5F * static_cast<float>(k));
    }
  }
  return values;
}

// What no matrix of that rank can do better than (Eckart and Young 1936).
double BestError(std::span<const float> values, std::size_t rows, std::size_t columns,
                 std::size_t rank) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const Matrix> matrix(values.data(), static_cast<Eigen::Index>(rows),
                                        static_cast<Eigen::Index>(columns));
  const Eigen::MatrixXd wide = matrix.cast<double>();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(wide.transpose() * wide,
                                                              Eigen::EigenvaluesOnly);
  const Eigen::VectorXd& squares = solver.eigenvalues();  // Of the singular values, rising.
  return squares.head(squares.size() - static_cast<Eigen::Index>(rank)).sum() / squares.sum();
}

TEST_CASE("LowRank: two iterations come within a tenth of the best error of the rank") {
  const std::vector<float> values = FallingSpectrum(120, 80, RngStream(3));
  for (const std::size_t rank : {1U, 2U, 4U, 8U}) {
    CAPTURE(rank);
    const auto codec = MakeCodec("low_rank " + std::to_string(rank), {120, 80});
    const auto encoded = EncodeValues(*codec, values, RngStream(4));
    CHECK(RelativeError(values, encoded.decoded) <= 1.1 * BestError(values, 120, 80, rank));
  }
}

TEST_CASE("LowRank: a matrix of that rank comes back") {
  const std::vector<float> left = testing::NormalValues(50, RngStream(1));
  const std::vector<float> right = testing::NormalValues(30, RngStream(2));
  std::vector<float> values(1500);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = left[i / 30] * right[i % 30];
  // The ridge of the fit shrinks by 1e-4, so the squared error is 1e-8 of the energy.
  CHECK(RelativeError(
            values,
            EncodeValues(*MakeCodec("low_rank 3", {50, 30}), values, RngStream(4)).decoded) < 1e-6);
}

// With levels of 4 bits the factors lose about 1 % each, and V is fitted to the rounded P.
TEST_CASE("LowRank: factors of four bits add a few percent to the error of the rank") {
  const std::vector<float> values = FallingSpectrum(200, 100, RngStream(3));
  const double exact = RelativeError(
      values, EncodeValues(*MakeCodec("low_rank 2", {200, 100}), values, RngStream(4)).decoded);
  const double rounded = RelativeError(
      values, EncodeValues(*MakeCodec("low_rank 2 | quantize 4", {200, 100}), values, RngStream(4))
                  .decoded);
  CHECK(rounded < exact + 0.04);
  CHECK(rounded >= exact - 0.01);
}

// What a coder loses of P comes back in part, since V is fitted to the rounded P; what it loses of
// V adds: D of one factor and a little more, D being the coder's error of normal values.
TEST_CASE("LowRank: any value coder may write the factors") {
  const std::vector<float> values = FallingSpectrum(200, 100, RngStream(3));
  const auto error_of = [&](const std::string& coder) {
    return RelativeError(
        values,
        EncodeValues(*MakeCodec("low_rank 4" + coder, {200, 100}), values, RngStream(4)).decoded);
  };
  const double exact = error_of("");
  CHECK(error_of(" | bf16") < exact + 0.001);
  CHECK(error_of(" | fp16") < exact + 0.001);
  CHECK(error_of(" | lloyd 4") < exact + 2 * 0.0095 + 0.005);
  CHECK(error_of(" | lloyd 3") < exact + 2 * 0.0345 + 0.01);
  CHECK(error_of(" | eden 4") < exact + 2 * 0.0096 + 0.005);
  CHECK(error_of(" | natural") < exact + 2 * 0.125);
  CHECK(error_of(" | quantize 8 stochastic") < exact + 0.001);
  CHECK(error_of(" | sign") < exact + 2 * 0.363 + 0.02);
}

// A row of V has a scale of its own: with one for all, the levels of a direction a thousand times
// smaller than the first are all zero, or far too large.
TEST_CASE("LowRank: small directions are as exact as large ones") {
  std::vector<float> values(60 * 40);
  const std::vector<float> left = testing::NormalValues(60, RngStream(1));
  const std::vector<float> right = testing::NormalValues(40, RngStream(2));
  const auto small = [](std::size_t i) { return i / 40 >= 30 && i % 40 >= 20; };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool large = i / 40 < 30 && i % 40 < 20;
    values[i] = left[i / 40] * right[i % 40] * (large ? 1000.0F : small(i) ? 1.0F : 0.0F);
  }
  const auto codec = MakeCodec("low_rank 2 | quantize 8 stochastic", {60, 40});
  CHECK(codec->EncodedBytesMax() == 2 + 120 + 2 * (2 + 40));
  const auto encoded = EncodeValues(*codec, values, RngStream(4));
  std::vector<float> of_small;
  std::vector<float> decoded;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!small(i)) continue;
    of_small.push_back(values[i]);
    decoded.push_back(encoded.decoded[i]);
  }
  CHECK(RelativeError(of_small, decoded) < 0.01);
}

TEST_CASE("LowRank: the rank is the least that keeps the share of the energy, or the most") {
  const std::vector<float> values = FallingSpectrum(120, 80, RngStream(3));
  for (const int percent : {30, 60, 80, 90}) {
    CAPTURE(percent);
    const auto codec =
        MakeCodec("low_rank energy=" + std::to_string(percent) + "% iterations=8", {120, 80});
    const auto encoded = EncodeValues(*codec, values, RngStream(4));
    const auto rank = std::to_integer<std::size_t>(encoded.payload.front());
    const double left_out = 1 - 0.01 * percent;
    CHECK(encoded.payload.size() == 1 + rank * 4 * 200);
    // The ridge of the fit costs 1e-8, an unfinished iteration a little.
    CHECK(RelativeError(values, encoded.decoded) <= left_out + 1e-6);
    CHECK(BestError(values, 120, 80, rank - 1) > left_out - 0.005);
  }
  const auto bounded = MakeCodec("low_rank energy=99% max=5", {120, 80});
  const auto encoded = EncodeValues(*bounded, values, RngStream(4));
  CHECK(encoded.payload.front() == std::byte{5});
  CHECK(encoded.payload.size() == bounded->EncodedBytesMax());
}

TEST_CASE("LowRank: zeros have rank zero, and one direction rank one") {
  const std::vector<float> zeros(600);
  std::vector<float> one(600);
  const std::vector<float> right = testing::NormalValues(20, RngStream(2));
  for (std::size_t i = 0; i < one.size(); ++i)
    one[i] = right[i % 20] * static_cast<float>(i / 20 % 3);
  for (const char* recipe : {"low_rank energy=99%", "low_rank energy=99% | quantize 4",
                             "low_rank energy=99% | quantize step=1"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {30, 20});
    CHECK(EncodeValues(*codec, zeros, RngStream(1)).payload == Bytes{std::byte{0}});
    CHECK(EncodeValues(*codec, one, RngStream(1)).payload.front() == std::byte{1});
  }
}

TEST_CASE("LowRank: the rank fills the bytes, and the next would not fit") {
  const std::vector<float> values = testing::NormalValues(120 * 80, RngStream(3));
  const auto rank_of = [&](const std::string& recipe, std::size_t bytes) {
    const auto codec = MakeCodec(recipe, {120, 80});
    const auto encoded = EncodeValues(*codec, values, RngStream(4));
    CHECK(encoded.payload.size() <= bytes);
    CHECK(codec->EncodedBytesMax() <= bytes);
    return std::to_integer<unsigned>(encoded.payload.front());
  };
  // A direction of fp16 takes 400 bytes.
  CHECK(rank_of("low_rank bytes=1200 | fp16", 1200) == 2);
  CHECK(rank_of("low_rank bytes=1.201KB | fp16", 1201) == 3);
  CHECK(rank_of("low_rank bytes=1MB max=4 | fp16", 1601) == 4);
  const unsigned coded = rank_of("low_rank bytes=500 | quantize step=2", 500);
  const auto next = MakeCodec(
      "low_rank energy=99.99% max=" + std::to_string(coded + 1) + " | quantize step=2", {120, 80});
  CHECK(EncodeValues(*next, values, RngStream(4)).payload.size() > 480);
  CHECK(coded > 5);
}

TEST_CASE("LowRank: a rank beyond the most and bytes that do not match it are refused") {
  const auto codec = MakeCodec("low_rank bytes=40 max=2 | quantize 4", {2, 2});
  const auto code_of = [&](const std::vector<int>& payload) {
    Bytes bytes;
    for (const int byte : payload) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, {}, {}));
  };
  CHECK(code_of({1, 0x8E, 0x80, 0x3F, 0x79}) == ErrorCode::kOk);
  CHECK(code_of({0}) == ErrorCode::kOk);
  CHECK(code_of({}) == ErrorCode::kMalformed);
  CHECK(code_of({0, 0}) == ErrorCode::kMalformed);
  CHECK(code_of({2, 0x8E, 0x80, 0x3F, 0x79}) == ErrorCode::kMalformed);
  CHECK(code_of({3, 0x8E, 0x80, 0x3F, 0x79}) == ErrorCode::kMalformed);
  CHECK(code_of({1, 0x8E, 0x80, 0x3F}) == ErrorCode::kMalformed);
  const auto coded = MakeCodec("low_rank energy=50% | quantize step=1", {2, 2});
  CHECK(testing::CodeOf(coded->Parse(Bytes{std::byte{1}}, {}, {})) == ErrorCode::kMalformed);
}

// 784 + 200 normal levels of six directions at two standard deviations: 1.25 bits each.
TEST_CASE("LowRank: coded factors of a 784 by 200 layer take at most 960 bytes at rank six") {
  const auto codec = MakeCodec("low_rank 6 | quantize step=2", {784, 200});
  const auto encoded =
      EncodeValues(*codec, testing::NormalValues(784 * 200, RngStream(5)), RngStream(6));
  CHECK(encoded.payload.size() <= 960);
  CHECK(testing::DecodeAll(*codec, encoded) == encoded.decoded);
}

TEST_CASE("LowRank: two iterations keep 98 percent of the best energy of a noisy matrix") {
  std::vector<float> values = testing::NormalValues(200 * 100, RngStream(1));
  for (std::size_t k = 0; k < 4; ++k) {
    const std::vector<float> left = testing::NormalValues(200, RngStream(20 + k));
    const std::vector<float> right = testing::NormalValues(100, RngStream(30 + k));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += left[i / 100] * right[i % 100];
  }
  const auto exact = EncodeValues(*MakeCodec("low_rank 4", {200, 100}), values, RngStream(4));
  const double kept = 1 - RelativeError(values, exact.decoded);
  CHECK(kept >= 0.98 * (1 - BestError(values, 200, 100, 4)));
}

TEST_CASE("LowRank: zeros take no bytes and a single direction keeps most of its energy") {
  const auto codec = MakeCodec("low_rank 3 | quantize step=0.5 | context", {40, 30});
  const std::vector<float> zeros(1200);
  CHECK(EncodeValues(*codec, zeros, RngStream(1)).payload.empty());
  const std::vector<float> left = testing::NormalValues(40, RngStream(1));
  const std::vector<float> right = testing::NormalValues(30, RngStream(2));
  std::vector<float> one(1200);
  for (std::size_t i = 0; i < one.size(); ++i) one[i] = left[i / 30] * right[i % 30];
  CHECK(RelativeError(one, EncodeValues(*codec, one, RngStream(1)).decoded) < 0.05);
}

TEST_CASE("LowRank: steps out of range and other words after the step are refused") {
  for (const char* text : {"low_rank 2 | quantize step=0.05", "low_rank 2 | quantize step=9",
                           "low_rank 2 | quantize step=x", "low_rank 2 | quantize 4 step=2",
                           "low_rank 2 | quantize step=2 per=channel"}) {
    CAPTURE(text);
    CHECK(testing::CodeOf(BuildCodec(testing::Get(ParseRecipe(text)), {20, 10})) ==
          ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("LowRank: coded factors beyond the limits or the bound are refused") {
  const auto codec = MakeCodec("low_rank 1 | quantize step=2", {12, 8});
  std::vector<float> large = testing::NormalValues(96, RngStream(2));
  for (float& value : large) value *= 1e5F;
  const auto encoded = EncodeValues(*codec, large, RngStream(1));
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {.magnitude_max = 1e3F})) ==
        ErrorCode::kLimitExceeded);
  CHECK(testing::CodeOf(codec->Parse(Bytes(codec->EncodedBytesMax() + 1), {}, {})) ==
        ErrorCode::kMalformed);
}

TEST_CASE("LowRank: a convolution is a matrix of its output channels") {
  // 3 * 3 * 8 rows and 16 columns: 4 bits each, rank 2, two scales.
  CHECK(MakeCodec("low_rank 2 | quantize 4", {3, 3, 8, 16})->EncodedBytesMax() == 72 + 4 + 16);
}

TEST_CASE("LowRank: an update of the 784-200-200-10 network takes at most 2100 bytes") {
  const TensorLayout layout({{"dense1.weight", {784, 200}},
                             {"dense1.bias", {200}},
                             {"dense2.weight", {200, 200}},
                             {"dense2.bias", {200}},
                             {"dense3.weight", {200, 10}},
                             {"dense3.bias", {10}}});
  CompressionConfig compression;
  compression.rules = {{{"*", {}}, {"low_rank 2 | quantize 4", {}}}};
  const auto plan = testing::Get(SegmentPlan::Create(compression, layout));
  constexpr std::size_t kEnvelope = 64;  // Header, directory and trailer.
  CHECK(plan.EncodedBytesMax() + kEnvelope <= 2100);
}

TEST_CASE("LowRank: the rank of a small matrix is what it can have") {
  CHECK(MakeCodec("low_rank 64 | quantize 8", {6, 5})->EncodedBytesMax() == 30 + 10 + 25);
}

TEST_CASE("LowRank: bad levels, scales and products are refused") {
  const auto codec = MakeCodec("low_rank 1 | quantize 4", {2, 2});
  const auto code_of = [&](const std::vector<int>& payload) {
    Bytes bytes;
    for (const int byte : payload) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, {}, {}));
  };
  CHECK(code_of({0x8E, 0x80, 0x3F, 0x79}) == ErrorCode::kOk);
  CHECK(code_of({0x8F, 0x80, 0x3F, 0x79}) == ErrorCode::kMalformed);
  CHECK(code_of({0x8E, 0x80, 0x3F, 0xF9}) == ErrorCode::kMalformed);
  CHECK(code_of({0x8E, 0x80, 0xBF, 0x79}) == ErrorCode::kMalformed);
  CHECK(code_of({0x8E, 0x80, 0x7F, 0x79}) == ErrorCode::kNotFinite);
  CHECK(code_of({0x8E, 0x00, 0x7F, 0x79}) == ErrorCode::kLimitExceeded);
  CHECK(code_of({0x8E, 0x00, 0x00, 0x79}) == ErrorCode::kMalformed);
  CHECK(code_of({0x8E, 0x00, 0x00, 0x77}) == ErrorCode::kOk);
}

TEST_CASE("BestStep: the step of zeros is zero and of a grid is the grid's") {
  CHECK(internal::BestStep(std::vector<float>(4), 7) == 0);
  CHECK(internal::BestStep(std::vector<float>{-7, 3, 1, 0, 5}, 7) == 1);
}

}  // namespace
}  // namespace fl
