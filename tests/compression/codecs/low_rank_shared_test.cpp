#include "fl/compression/codecs/low_rank_shared.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <Eigen/SVD>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::Get;
using testing::MakeCodec;

constexpr std::size_t kRows = 40;
constexpr std::size_t kColumns = 24;
constexpr std::size_t kHead = 9;  // Bytes in front of the basis.

// Singular values that fall by a third each, in directions that look like any others.
std::vector<float> FallingMatrix(std::uint64_t seed) {
  std::vector<float> matrix(kRows * kColumns);
  float size = 1;
  for (std::uint64_t k = 0; k < 12; ++k) {
    const auto left = testing::NormalValues(kRows, RngStream(seed).Child("left", k));
    const auto right = testing::NormalValues(kColumns, RngStream(seed).Child("right", k));
    for (std::size_t i = 0; i < matrix.size(); ++i)
      matrix[i] += size * left[i / kColumns] * right[i % kColumns];
    size *= 2.0F / 3.0F;
  }
  return matrix;
}

// The share of the energy that the best matrix of that rank leaves out.
double BestError(const std::vector<float>& matrix, Eigen::Index rank) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::MatrixXd dense =
      Eigen::Map<const RowMajor>(matrix.data(), kRows, kColumns).cast<double>();
  const Eigen::VectorXd energies =
      Eigen::JacobiSVD<Eigen::MatrixXd>(dense).singularValues().array().square();
  return energies.tail(energies.size() - rank).sum() / energies.sum();
}

struct Played {
  std::vector<float> decoded;
  Bytes payload;
};
Played Play(const Codec& codec, const std::vector<float>& values,
            const RoundParameters& parameters) {
  Played played{std::vector<float>(values.size()), {}};
  ByteWriter out;
  codec.Encode(values, played.decoded, parameters, RngStream(1), out);
  played.payload = std::move(out).Take();
  return played;
}

RoundParameters Next(const Codec& codec, const RoundParameters& parameters,
                     std::span<const float> aggregate) {
  RoundFeedback feedback;
  feedback.aggregate = aggregate;
  return {codec.NextParameters(parameters.bytes, feedback), parameters.round + 1};
}

TEST_CASE("LowRankShared: on either side the decoder sees what Encode said it would see") {
  const std::vector<float> values = FallingMatrix(1);
  for (const char* recipe :
       {"low_rank 3 basis=shared", "low_rank 3 basis=shared | fp16",
        "low_rank 3 basis=shared | quantize 4", "low_rank 3 basis=shared | quantize step=1",
        "low_rank 3 basis=shared | natural"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {kRows, kColumns});
    RoundParameters parameters{codec->InitialParameters()};
    for (int side = 0; side < 2; ++side) {
      const Played played = Play(*codec, values, parameters);
      CHECK(played.payload.size() <= codec->EncodedBytesMax());
      std::vector<float> seen(values.size());
      codec->DecodeAdd(*Get(codec->Parse(played.payload, parameters, {})), 0, 1.0F, seen);
      CHECK(seen == played.decoded);
      parameters = Next(*codec, parameters, played.decoded);
      CHECK(Get(codec->CheckParameters(parameters)) == Ok{});
      CHECK(parameters.bytes[kHead - 1] == static_cast<std::byte>(side == 0 ? 1 : 0));
    }
  }
}

TEST_CASE("LowRankShared: rounds on one matrix come to its best matrix of that rank") {
  const std::vector<float> values = FallingMatrix(2);
  const auto codec = MakeCodec("low_rank 4 basis=shared", {kRows, kColumns});
  CHECK(codec->traits().server_state);
  CHECK(codec->traits().wants_residual());
  CHECK(codec->traits().contraction() == std::nullopt);
  const double best = BestError(values, 4);
  RoundParameters parameters{codec->InitialParameters()};
  std::vector<double> errors;
  for (int round = 0; round < 16; ++round) {
    const Played played = Play(*codec, values, parameters);
    errors.push_back(testing::RelativeError(values, played.decoded));
    if (round > 0) CHECK(errors.back() <= errors[errors.size() - 2] * (1 + 1e-5));
    parameters = Next(*codec, parameters, played.decoded);
  }
  CHECK(errors[3] < 1.2 * best);
  CHECK(errors.back() < 1.002 * best);
  CHECK(errors.back() > 0.999 * best);
}

TEST_CASE("LowRankShared: what is sent is a projection, and what it leaves out is outside") {
  const std::vector<float> values = FallingMatrix(3);
  const auto codec = MakeCodec("low_rank 4 basis=shared", {kRows, kColumns});
  RoundParameters parameters{codec->InitialParameters()};
  for (int side = 0; side < 2; ++side) {
    const Played once = Play(*codec, values, parameters);
    CHECK(testing::RelativeError(values, once.decoded) < 1);
    const Played twice = Play(*codec, once.decoded, parameters);
    CHECK(testing::RelativeError(once.decoded, twice.decoded) < 1e-12);
    parameters = Next(*codec, parameters, once.decoded);
  }
}

TEST_CASE("LowRankShared: a message takes one factor's bytes") {
  const std::vector<float> values = FallingMatrix(4);
  const auto sizes = [&](const char* recipe) {
    const auto codec = MakeCodec(recipe, {kRows, kColumns});
    const RoundParameters first{codec->InitialParameters()};
    const Played played = Play(*codec, values, first);
    return std::pair(played.payload.size(),
                     Play(*codec, values, Next(*codec, first, played.decoded)).payload.size());
  };
  CHECK(sizes("low_rank 3 basis=shared") == std::pair(3 * kRows * 4, 3 * kColumns * 4));
  CHECK(sizes("low_rank 3 basis=shared | fp16") == std::pair(3 * kRows * 2, 3 * kColumns * 2));
  CHECK(sizes("low_rank 3 basis=shared | quantize 4") ==
        std::pair(3 * (2 + kRows / 2), 3 * (2 + kColumns / 2)));
  CHECK(MakeCodec("low_rank 3 basis=shared", {kRows, kColumns})->EncodedBytesMax() ==
        3 * kRows * 4);
  const auto own = MakeCodec("low_rank 3 | quantize step=2", {kRows, kColumns});
  const auto [left, right] = sizes("low_rank 3 basis=shared | quantize step=2");
  CHECK(left + right <= testing::EncodeValues(*own, values, RngStream(1)).payload.size() + 4);
}

TEST_CASE("LowRankShared: directions that an aggregate does not have are drawn anew") {
  const auto codec = MakeCodec("low_rank 5 basis=shared", {kRows, kColumns});
  std::vector<float> aggregate(kRows * kColumns);
  RoundParameters parameters{codec->InitialParameters()};
  const RoundParameters from_zeros = Next(*codec, parameters, aggregate);
  CHECK(CodeOf(codec->CheckParameters(from_zeros)) == ErrorCode::kOk);
  CHECK(from_zeros.bytes == Next(*codec, parameters, aggregate).bytes);
  CHECK(Next(*codec, Next(*codec, from_zeros, aggregate), aggregate).bytes != from_zeros.bytes);
  // Rank 2, and once too small to be exact.
  for (const float size : {1.0F, 1e-42F}) {
    CAPTURE(size);
    for (std::size_t i = 0; i < aggregate.size(); ++i) {
      const std::size_t row = i / kColumns;
      const std::size_t column = i % kColumns;
      aggregate[i] = size * static_cast<float>(1 + (row * 7 + column % 2 * row * row) % 11);
    }
    parameters = {codec->InitialParameters()};
    for (int round = 0; round < 6; ++round) {
      parameters = Next(*codec, parameters, aggregate);
      CHECK(CodeOf(codec->CheckParameters(parameters)) == ErrorCode::kOk);
    }
    const Played played = Play(*codec, aggregate, parameters);
    CHECK(testing::RelativeError(aggregate, played.decoded) < (size == 1 ? 1e-10 : 0.1));
  }
}

TEST_CASE("LowRankShared: parameters that are no orthonormal basis are refused") {
  const auto codec = MakeCodec("low_rank 3 basis=shared", {kRows, kColumns});
  const RoundParameters good{codec->InitialParameters()};
  REQUIRE(good.bytes.size() == kHead + 3 * kRows * sizeof(float));
  const Bytes payload(3 * kRows * sizeof(float));
  CHECK(CodeOf(codec->CheckParameters(good)) == ErrorCode::kOk);
  CHECK(CodeOf(codec->Parse(payload, good, {})) == ErrorCode::kOk);
  const auto refused = [&](const RoundParameters& wrong) {
    CHECK(CodeOf(codec->CheckParameters(wrong)) == ErrorCode::kInvalidArgument);
    CHECK(CodeOf(codec->Parse(payload, wrong, {})) == ErrorCode::kInvalidArgument);
  };
  const auto with = [&](std::size_t value, float other) {
    RoundParameters wrong = good;
    std::memcpy(wrong.bytes.data() + kHead + value * sizeof(float), &other, sizeof(float));
    return wrong;
  };
  const auto value_at = [&](std::size_t value) {
    float found = 0;
    std::memcpy(&found, good.bytes.data() + kHead + value * sizeof(float), sizeof(float));
    return found;
  };
  refused({});
  RoundParameters wrong = good;
  wrong.bytes.pop_back();
  refused(wrong);
  wrong = good;
  wrong.bytes[kHead - 1] = std::byte{2};
  refused(wrong);
  wrong.bytes[kHead - 1] = std::byte{1};  // The columns' directions are too short for rows.
  refused(wrong);
  refused(with(3 * kColumns, 1e-30F));  // Behind the basis.
  refused(with(5, std::numeric_limits<float>::quiet_NaN()));
  refused(with(5, std::numeric_limits<float>::infinity()));
  refused(with(5, std::numeric_limits<float>::max()));
  refused(with(5, value_at(5) + 0.1F));
  CHECK(CodeOf(codec->CheckParameters(with(5, value_at(5) + 1e-5F))) == ErrorCode::kOk);
  wrong = good;  // A direction twice.
  std::copy_n(good.bytes.begin() + kHead, kColumns * sizeof(float),
              wrong.bytes.begin() + kHead + kColumns * sizeof(float));
  refused(wrong);
}

TEST_CASE("LowRankShared: a factor of another round's side is refused") {
  const std::vector<float> values = FallingMatrix(5);
  const auto codec = MakeCodec("low_rank 3 basis=shared | fp16", {kRows, kColumns});
  const RoundParameters first{codec->InitialParameters()};
  const Played played = Play(*codec, values, first);
  const RoundParameters second = Next(*codec, first, played.decoded);
  CHECK(CodeOf(codec->Parse(played.payload, second, {})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
