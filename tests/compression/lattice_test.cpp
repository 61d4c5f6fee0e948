#include "fl/compression/lattice.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/compression/entropy/density_levels.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::ForAll;
using testing::Get;

TensorLayout SmallLayout() {
  return TensorLayout({{"a.weight", {12, 10}}, {"a.bias", {10}}});
}

Lattice SmallLattice(RngStream& rng) {
  std::vector<float> origin(SmallLayout().total());
  rng.FillUniform(origin);
  return {SmallLayout(), origin, 0.0625};
}

std::vector<float> Moved(std::vector<float> model, double size, RngStream& rng) {
  for (float& value : model) value += static_cast<float>(size * (rng.UniformDouble() - 0.5));
  return model;
}

TEST_CASE("Lattice: a change between any two versions gives the later one bit for bit") {
  ForAll(20, [](RngStream& rng) {
    const Lattice lattice = SmallLattice(rng);
    std::vector<Lattice::Point> points = {Lattice::Point(lattice.layout().total(), 0)};
    std::vector<float> wanted = lattice.ModelAt(points[0]);
    for (int version = 1; version < 8; ++version) {
      wanted = Moved(std::move(wanted), 0.5, rng);
      points.push_back(lattice.Approach(points.back(), wanted));
    }
    for (std::size_t from = 0; from < points.size(); ++from) {
      for (std::size_t to = 0; to < points.size(); ++to) {
        const Bytes bytes =
            EncodeLatticeChange(ChangeBetween(points[from], points[to], 0), lattice.layout());
        const auto held = Get(lattice.PointOf(lattice.ModelAt(points[from])));
        const auto change = Get(DecodeLatticeChange(bytes, lattice.layout()));
        CHECK(lattice.ModelAt(Get(ApplyChange(held, change))) == lattice.ModelAt(points[to]));
        CHECK(EncodeLatticeChange(change, lattice.layout()) == bytes);
      }
    }
  });
}

TEST_CASE("Lattice: a released model is reached from any published one") {
  ForAll(20, [](RngStream& rng) {
    const Lattice lattice = SmallLattice(rng);
    const Lattice::Point start(lattice.layout().total(), 0);
    const std::vector<float> wanted = Moved(lattice.ModelAt(start), 3, rng);
    const Lattice::Point from = lattice.Approach(start, wanted);
    const std::vector<float> average = Moved(wanted, 0.1, rng);
    const Lattice::Point released = lattice.Nearest(average);
    const LatticeChange change = ChangeBetween(from, released, kReleasedFineness);
    const auto decoded =
        Get(DecodeLatticeChange(EncodeLatticeChange(change, lattice.layout()), lattice.layout()));
    CHECK(decoded == change);
    const std::vector<float> model =
        lattice.ModelAt(Get(ApplyChange(from, decoded)), kReleasedFineness);
    for (std::size_t i = 0; i < model.size(); ++i) {
      CHECK(std::abs(model[i] - average[i]) <= 0.0625F / 32 + 1e-6F);
    }
    CHECK(Get(lattice.PointOf(model, kReleasedFineness)) == released);
  });
}

TEST_CASE("Lattice: moves by whole steps and leaves the zero bin where it is") {
  const Lattice lattice(TensorLayout({{"m", {1, 4}}, {"v", {1}}}), {0, 0, 0, 0, 0}, 1.0);
  const Lattice::Point start(5, 0);
  CHECK(lattice.Approach(start, std::vector<float>{0.59F, 0.61F, -1.61F, 2.59F, 0.31F}) ==
        Lattice::Point{0, 1, -2, 2, 1});
  CHECK(lattice.ModelAt(Lattice::Point{0, 1, -2, 2, 1}) == std::vector<float>{0, 1, -2, 2, 0.5F});
}

TEST_CASE("Lattice: moves by strides of several steps") {
  const Lattice lattice(TensorLayout({{"m", {1, 4}}}), {0, 0, 0, 0}, 1.0);
  const std::vector<float> wanted = {2.3F, 2.5F, -9.7F, 1e30F};
  CHECK(lattice.Approach(Lattice::Point{0, 0, 0, 1}, wanted, 2) ==
        Lattice::Point{0, 4, -8, kLatticePointMax - 3});
  // In sixteenths of a step.
  CHECK(lattice.Nearest(wanted, 2) == Lattice::Point{36, 40, -156, kLatticePointMax * 16});
}

TEST_CASE("Lattice: keeps within its bounds whatever is wanted") {
  const Lattice lattice(TensorLayout({{"m", {1, 4}}}), {0, 0, 0, 0}, 1.0);
  const float infinite = std::numeric_limits<float>::infinity();
  const std::vector<float> wild = {std::numeric_limits<float>::quiet_NaN(), infinite, 1e30F,
                                   -1e30F};
  CHECK(lattice.Approach(Lattice::Point{1, 2, 3, 4}, wild) ==
        Lattice::Point{1, 2, kLatticePointMax, -kLatticePointMax});
  CHECK(lattice.Nearest(wild)[0] == 0);
}

TEST_CASE("Lattice: refuses a model beside it") {
  const Lattice lattice(TensorLayout({{"m", {1, 2}}}), {0.25F, 0.5F}, 1.0);
  CHECK(CodeOf(lattice.PointOf(std::vector<float>{1.25F, 0.75F})) == ErrorCode::kMalformed);
  CHECK(CodeOf(lattice.PointOf(std::vector<float>{1e30F, 0.5F})) == ErrorCode::kMalformed);
  CHECK(Get(lattice.PointOf(std::vector<float>{1.25F, 0.5F})) == Lattice::Point{1, 0});
}

TEST_CASE("ApplyChange: refuses a point outside of the bounds") {
  const Lattice::Point edge = {kLatticePointMax};
  CHECK(CodeOf(ApplyChange(edge, {0, {1}})) == ErrorCode::kLimitExceeded);
  CHECK(CodeOf(ApplyChange(edge, {0, {-2 * kLatticePointMax - 1}})) == ErrorCode::kLimitExceeded);
  CHECK(Get(ApplyChange(edge, {0, {0}})) == edge);
}

TEST_CASE("DecodeLatticeChange: refuses what is not one") {
  const TensorLayout layout = SmallLayout();
  LatticeChange change{0, std::vector<std::int32_t>(layout.total())};
  for (std::size_t i = 0; i < change.levels.size(); i += 3) change.levels[i] = i % 2 == 0 ? 1 : -2;
  const Bytes good = EncodeLatticeChange(change, layout);
  REQUIRE(Get(DecodeLatticeChange(good, layout)) == change);
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Bytes bytes = good;
    bytes[at] = std::byte{value};
    return CodeOf(DecodeLatticeChange(bytes, layout));
  };
  CHECK(with(0, 'G') == ErrorCode::kMalformed);
  CHECK(with(3, 1) == ErrorCode::kWrongVersion);
  CHECK(with(4, 3) == ErrorCode::kMalformed);
  CHECK(with(5, 20) == ErrorCode::kMalformed);
  CHECK(with(6, 7) == ErrorCode::kShapeMismatch);
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK(CodeOf(DecodeLatticeChange(ByteSpan(good).first(size), layout)) == ErrorCode::kMalformed);
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  CHECK(CodeOf(DecodeLatticeChange(longer, layout)) == ErrorCode::kMalformed);
}

TEST_CASE("EncodeLatticeChange: a common power of two costs nothing") {
  const TensorLayout layout = SmallLayout();
  LatticeChange fine{0, std::vector<std::int32_t>(layout.total())};
  for (std::size_t i = 0; i < fine.levels.size(); i += 3) fine.levels[i] = i % 2 == 0 ? 1 : -2;
  LatticeChange coarse = fine;
  for (std::int32_t& level : coarse.levels) level *= 1 << 10;
  const Bytes bytes = EncodeLatticeChange(coarse, layout);
  CHECK(Get(DecodeLatticeChange(bytes, layout)) == coarse);
  CHECK(bytes.size() == EncodeLatticeChange(fine, layout).size());
}

TEST_CASE("DecodeLatticeChange: refuses a shift that is not the largest") {
  const TensorLayout layout({{"m", {1, 2}}});
  CHECK(CodeOf(DecodeLatticeChange(*FromHex("464c4c0200010200"), layout)) ==
        ErrorCode::kMalformed);  // Zeros.
  // The level 2 written as itself.
  ByteWriter code;
  EncodeLevels(std::vector<std::int32_t>{2, 0}, 2, 1U << 19, code);
  Bytes bytes = *FromHex("464c4c02000002");
  bytes.push_back(static_cast<std::byte>(code.size()));
  bytes.insert(bytes.end(), code.bytes().begin(), code.bytes().end());
  CHECK(CodeOf(DecodeLatticeChange(bytes, layout)) == ErrorCode::kMalformed);
}

TEST_CASE("EncodeLatticeChange: writes the documented bytes") {
  const TensorLayout layout({{"m", {4, 6}}, {"v", {3}}});
  LatticeChange change{0, std::vector<std::int32_t>(27)};
  CHECK(ToHex(EncodeLatticeChange(change, layout)) == "464c4c0200001b0000");
  for (std::size_t i = 0; i < 27; i += 3) {
    change.levels[i] = static_cast<std::int32_t>(i % 5) - 2;
  }
  CHECK(ToHex(EncodeLatticeChange(change, layout)) == "464c4c0200001b065aef447c7f1c025daf");
  change.fineness = kReleasedFineness;
  for (std::size_t i = 0; i < 27; ++i) {
    change.levels[i] = static_cast<std::int32_t>(i * 7 % 23) - 11;
  }
  CHECK(ToHex(EncodeLatticeChange(change, layout)) ==
        "464c4c0204001b1469ffeff8d211050f42713d932227d49753c0b1200469f52fdc");
}

}  // namespace
}  // namespace fl
