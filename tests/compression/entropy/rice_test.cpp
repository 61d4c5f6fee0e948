#include "fl/compression/entropy/rice.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

TEST_CASE("WriteIndices: indices come back whatever their density") {
  testing::ForAll(60, [](RngStream& rng) {
    const std::size_t size = 1 + rng.UniformInteger(65536);
    const double chance = rng.UniformDouble() * rng.UniformDouble();
    std::vector<std::uint32_t> indices;
    for (std::uint32_t i = 0; i < size; ++i) {
      if (rng.UniformDouble() < chance) indices.push_back(i);
    }
    ByteWriter out;
    WriteIndices(indices, size, out);
    IndexReader reader(out.bytes(), indices.size(), size);
    for (const std::uint32_t index : indices) CHECK(testing::Get(reader.Next()) == index);
    CHECK(reader.bytes_read() == out.size());
    CHECK(reader.PaddingIsZero());
  });
}

TEST_CASE("WriteIndices: the first and the last index of a block come back alone") {
  for (const std::uint32_t index : {0U, 65535U}) {
    ByteWriter out;
    WriteIndices(std::vector<std::uint32_t>{index}, 65536, out);
    CHECK(testing::Get(IndexReader(out.bytes(), 1, 65536).Next()) == index);
  }
}

TEST_CASE("IndexReader: ends of the bits and of the block are seen") {
  const Bytes ones(40, std::byte{0xFF});
  CHECK(testing::CodeOf(IndexReader(ones, 1, 65536).Next()) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(IndexReader(Bytes{}, 1, 10).Next()) == ErrorCode::kMalformed);
  ByteWriter out;
  WriteIndices(std::vector<std::uint32_t>{9}, 10, out);
  CHECK(testing::CodeOf(IndexReader(out.bytes(), 1, 10).Next()) == ErrorCode::kOk);
  CHECK(testing::CodeOf(IndexReader(out.bytes(), 1, 9).Next()) == ErrorCode::kMalformed);
}

TEST_CASE("RiceWidth: it follows the mean gap") {
  CHECK(RiceWidth(0, 100) == 0);
  CHECK(RiceWidth(100, 100) == 0);
  CHECK(RiceWidth(655, 65536) == 6);
  CHECK(RiceWidth(1, 65536) == 15);
}

}  // namespace
}  // namespace fl
