#include "fl/common/wire/model_change.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::wire {
namespace {

using testing::CodeOf;
using testing::ForAll;

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

std::vector<float> AnyFloats(std::size_t count, RngStream& rng) {
  std::vector<float> values(count);
  for (float& value : values) value = std::bit_cast<float>(rng.NextU32());
  return values;
}

TEST_CASE("ModelChange: gives back any bits from any base") {
  ForAll(20, [](RngStream& rng) {
    const std::size_t count = rng.UniformInteger(500);
    const std::vector<float> base = AnyFloats(count, rng);
    const std::vector<float> next = AnyFloats(count, rng);
    std::vector<float> out(count);
    REQUIRE(ApplyModelChange(EncodeModelChange(base, next), base, out));
    CHECK(SameBits(out, next));
  });
}

TEST_CASE("ModelChange: the same bytes on any number of threads") {
  RngStream rng(3);
  const std::vector<float> base = AnyFloats(3000, rng);
  const std::vector<float> next = AnyFloats(3000, rng);
  for (const std::size_t threads : {0U, 3U}) {
    ThreadPool pool(threads);
    CHECK(EncodeModelChange(base, next, &pool) == EncodeModelChange(base, next));
  }
}

TEST_CASE("ModelChange: keeps zeros of both signs and infinities") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> base = {0.0F, -0.0F, infinity, -infinity, 1.0F};
  const std::vector<float> next = {-0.0F, 0.0F, -infinity, std::nanf("1"), 1.0F};
  std::vector<float> out(base.size());
  REQUIRE(ApplyModelChange(EncodeModelChange(base, next), base, out));
  CHECK(SameBits(out, next));
}

TEST_CASE("ModelChange: a sparse change is much smaller than the model") {
  RngStream rng(1);
  std::vector<float> base(20000);
  rng.FillNormal(base);
  std::vector<float> next = base;
  for (std::size_t i = 0; i < next.size(); i += 100) next[i] += 0.01F * rng.Normal();
  CHECK(EncodeModelChange(base, next).size() < base.size() * sizeof(float) / 20);
}

TEST_CASE("ModelChange: a change for another size is refused") {
  const std::vector<float> three(3);
  std::vector<float> four(4);
  const Bytes change = EncodeModelChange(three, three);
  CHECK(CodeOf(ApplyModelChange(change, std::vector<float>(4), four)) == ErrorCode::kShapeMismatch);
}

TEST_CASE("ModelChange: another version is refused") {
  std::vector<float> values(3);
  Bytes change = EncodeModelChange(values, values);
  change[3] = std::byte{2};
  CHECK(CodeOf(ApplyModelChange(change, std::vector<float>(3), values)) ==
        ErrorCode::kWrongVersion);
}

TEST_CASE("ModelChange: every truncation and a longer one are refused") {
  const std::vector<float> base = {1.0F, 2.0F, 3.0F};
  const std::vector<float> next = {1.5F, -2.0F, 3.0F};
  Bytes change = EncodeModelChange(base, next);
  std::vector<float> out(base.size());
  for (std::size_t size = 0; size < change.size(); ++size) {
    CAPTURE(size);
    CHECK(CodeOf(ApplyModelChange(ByteSpan(change).first(size), base, out)) ==
          ErrorCode::kMalformed);
  }
  change.push_back(std::byte{0});
  CHECK(CodeOf(ApplyModelChange(change, base, out)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::wire
