#include "fl/compression/codecs/tucker.h"

#include <cmath>

#include <Eigen/Eigenvalues>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;
using testing::RelativeError;

const Shape kKernel{3, 3, 20, 24};

// A kernel of multilinear ranks `in` and `out` in its channels.
std::vector<float> MixedKernel(std::size_t in, std::size_t out, RngStream rng) {
  const std::size_t places = kKernel[0] * kKernel[1];
  const auto left = testing::NormalValues(kKernel[2] * in, rng.Child("in"));
  const auto right = testing::NormalValues(kKernel[3] * out, rng.Child("out"));
  const auto core = testing::NormalValues(places * in * out, rng.Child("core"));
  std::vector<float> values(kKernel.count());
  for (std::size_t at = 0; at < values.size(); ++at) {
    const std::size_t o = at % kKernel[3];
    const std::size_t i = at / kKernel[3] % kKernel[2];
    const std::size_t p = at / kKernel[3] / kKernel[2];
    for (std::size_t a = 0; a < in; ++a) {
      for (std::size_t b = 0; b < out; ++b) {
        values[at] += left[i * in + a] * core[(p * in + a) * out + b] * right[o * out + b];
      }
    }
  }
  return values;
}

// The energy outside of the leading directions of one axis of channels: no kernel of that rank
// leaves out less.
double LeftOut(std::span<const float> values, bool of_inputs, std::size_t rank) {
  const auto extent = static_cast<Eigen::Index>(of_inputs ? kKernel[2] : kKernel[3]);
  const std::size_t places = kKernel[0] * kKernel[1];
  Eigen::MatrixXd rows(extent, static_cast<Eigen::Index>(values.size()) / extent);
  for (std::size_t at = 0; at < values.size(); ++at) {
    const std::size_t o = at % kKernel[3];
    const std::size_t i = at / kKernel[3] % kKernel[2];
    const std::size_t p = at / kKernel[3] / kKernel[2];
    const std::size_t row = of_inputs ? i : o;
    const std::size_t column = of_inputs ? o * places + p : i * places + p;
    rows(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(column)) =
        static_cast<double>(values[at]);
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(rows * rows.transpose(),
                                                              Eigen::EigenvaluesOnly);
  const Eigen::VectorXd& squares = solver.eigenvalues();
  return squares.head(extent - static_cast<Eigen::Index>(rank)).sum() / squares.sum();
}

TEST_CASE("Tucker: a kernel of those ranks comes back") {
  const auto values = MixedKernel(3, 5, RngStream(1));
  // The ridges of the fits shrink by 1e-4 each.
  CHECK(RelativeError(
            values, EncodeValues(*MakeCodec("tucker 3 5", kKernel), values, RngStream(4)).decoded) <
        1e-6);
}

TEST_CASE("Tucker: of a noisy one it keeps nearly all that the ranks can") {
  auto values = MixedKernel(6, 8, RngStream(2));
  const auto noise = testing::NormalValues(values.size(), RngStream(3));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += noise[i];
  for (const auto& [in, out] : {std::pair{2U, 2U}, {4U, 4U}, {6U, 8U}, {20U, 8U}}) {
    CAPTURE(in);
    CAPTURE(out);
    const auto codec =
        MakeCodec("tucker " + std::to_string(in) + " " + std::to_string(out), kKernel);
    const auto decoded = EncodeValues(*codec, values, RngStream(4)).decoded;
    const double kept = 1 - RelativeError(values, decoded);
    // What is lost on either axis alone, added up, is the most that HOSVD leaves out (De Lathauwer
    // et al. 2000).
    CHECK(kept >= 0.98 * (1 - LeftOut(values, true, in) - LeftOut(values, false, out)));
    CHECK(kept <= 1.001 * (1 - std::max(LeftOut(values, true, in), LeftOut(values, false, out))));
  }
}

TEST_CASE("Tucker: its size is that of its factors' values") {
  const std::size_t values = 20 * 4 + 24 * 6 + 9 * 4 * 6;
  CHECK(MakeCodec("tucker 4 6", kKernel)->EncodedBytesMax() == 4 * values);
  CHECK(MakeCodec("tucker 4 6 | fp16", kKernel)->EncodedBytesMax() == 2 * values);
  CHECK(MakeCodec("tucker 4 6 | quantize 4", kKernel)->EncodedBytesMax() == values / 2 + 3 * 2);
  // Ranks are no larger than the axes.
  CHECK(MakeCodec("tucker 64 2", kKernel)->EncodedBytesMax() ==
        4 * (20 * 20 + 24 * 2 + 9 * 20 * 2));
}

TEST_CASE("Tucker: malformed payloads are refused") {
  const auto codec = MakeCodec("tucker 4 6 | fp16", kKernel);
  const auto encoded = EncodeValues(*codec, MixedKernel(4, 6, RngStream(5)), RngStream(6));
  Bytes payload = encoded.payload;
  const auto code = [&](ByteSpan bytes, float most) {
    const auto parsed = codec->Parse(bytes, {}, {.magnitude_max = most});
    return parsed ? ErrorCode::kOk : parsed.error().code;
  };
  CHECK(codec->Parse(payload, {}, {}));
  CHECK(code(ByteSpan(payload).first(payload.size() - 1), 1e9F) == ErrorCode::kMalformed);
  payload.push_back(std::byte{0});
  CHECK(code(payload, 1e9F) == ErrorCode::kMalformed);
  payload.pop_back();
  CHECK(code(payload, 1.0F) == ErrorCode::kLimitExceeded);
  payload[payload.size() - 1] = std::byte{0x7C};
  payload[payload.size() - 2] = std::byte{0};
  CHECK(code(payload, 1e9F) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl
