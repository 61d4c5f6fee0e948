#include <doctest/doctest.h>

#include "fl/common/data/cifar.h"
#include "fl/common/data/idx.h"
#include "fl/common/data/internal/gzip.h"
#include "fl/common/data/sample_file.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

using namespace data;  // NOLINT(google-build-using-namespace): the tests of one library.

// gzip of "hello": Python's gzip.compress(b"hello", mtime=0).
constexpr std::string_view kHelloGzip = "1f8b0800000000000203cb48cdc9c9070086a6103605000000";

Bytes Hello() {
  return Get(FromHex(kHelloGzip));
}

Result<IdxArray> Idx(std::string_view hex, const DataLimits& limits = {}) {
  return ParseIdx(Get(FromHex(hex)), limits);
}

}  // namespace

TEST_CASE("Gzip: members are decompressed one after the other") {
  Bytes twice = Hello();
  CHECK(AsText(Get(internal::DecompressGzip(twice, 5))) == "hello");
  const Bytes once = twice;
  twice.insert(twice.end(), once.begin(), once.end());
  CHECK(AsText(Get(internal::DecompressGzip(twice, 10))) == "hellohello");
  CHECK(CodeOf(internal::DecompressGzip(twice, 9)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("Gzip: damage and cuts and trailing bytes are malformed") {
  const Bytes good = Hello();
  CHECK(internal::IsGzip(good));
  CHECK(!internal::IsGzip(AsBytes("P")));
  for (std::size_t length = 0; length < good.size(); ++length) {
    CHECK(CodeOf(internal::DecompressGzip(ByteSpan(good).first(length), 100)) ==
          ErrorCode::kMalformed);
  }
  Bytes damaged = good;
  damaged[damaged.size() - 8] ^= std::byte{1};  // The CRC.
  CHECK(CodeOf(internal::DecompressGzip(damaged, 100)) == ErrorCode::kMalformed);
  Bytes trailing = good;
  trailing.push_back(std::byte{1});
  CHECK(CodeOf(internal::DecompressGzip(trailing, 100)) == ErrorCode::kMalformed);
}

TEST_CASE("ParseIdx: bytes and 16-bit and 32-bit numbers are big-endian") {
  const IdxArray bytes = Get(Idx("000008020000000200000001ff01"));
  CHECK(bytes.extents == std::vector<std::size_t>{2, 1});
  CHECK(std::get<0>(bytes.values) == std::vector<std::uint8_t>{255, 1});
  CHECK(std::get<1>(Get(Idx("00000b0100000002fffe0102")).values) ==
        std::vector<std::int32_t>{-2, 258});
  CHECK(std::get<1>(Get(Idx("00000c0100000001fffffffd")).values) == std::vector<std::int32_t>{-3});
}

TEST_CASE("ParseIdx: what does not follow the format is refused") {
  CHECK(CodeOf(Idx("")) == ErrorCode::kMalformed);
  CHECK(CodeOf(Idx("0100080100000001ff")) == ErrorCode::kMalformed);
  CHECK(CodeOf(Idx("00000d010000000100000000")) == ErrorCode::kUnsupported);
  CHECK(CodeOf(Idx("00000800")) == ErrorCode::kUnsupported);
  CHECK(CodeOf(Idx("00000809")) == ErrorCode::kUnsupported);
  CHECK(CodeOf(Idx("0000080100000000")) == ErrorCode::kMalformed);
  CHECK(CodeOf(Idx("0000080100000002ff")) == ErrorCode::kMalformed);
  CHECK(CodeOf(Idx("0000080100000001ffff")) == ErrorCode::kMalformed);
  CHECK(CodeOf(Idx("00000803ffffffffffffffffffffffff")) == ErrorCode::kLimitExceeded);
  CHECK(CodeOf(Idx("0000080100000002ffff", {.samples_max = 2, .values_max = 2})) == ErrorCode::kOk);
  CHECK(CodeOf(Idx("0000080100000002ffff", {.samples_max = 1})) == ErrorCode::kLimitExceeded);
  CHECK(CodeOf(Idx("0000080100000002ffff", {.values_max = 1})) == ErrorCode::kLimitExceeded);
}

TEST_CASE("CombineIdx: labels become classes or targets") {
  const IdxArray array = Get(Idx("000008020000000200000001ff01"));
  const Samples samples = Get(CombineIdx(array, {0, 4}, false, 0));
  CHECK(samples.classes == 5);
  CHECK(samples.shape == Shape{1});
  CHECK(Get(CombineIdx(array, {0, 4}, true, 0)).targets == std::vector<float>{0, 4});
  CHECK(Get(CombineIdx(array, {0, 4}, false, 7)).classes == 7);
  CHECK(CodeOf(CombineIdx(array, {0, 4}, false, 4)) == ErrorCode::kMalformed);
  CHECK(CodeOf(CombineIdx(array, {0, -1}, false, 0)) == ErrorCode::kMalformed);
  CHECK(CodeOf(CombineIdx(array, {0}, false, 0)) == ErrorCode::kMalformed);
  CHECK(CodeOf(CombineIdx(array, {0, 1 << 30}, false, 0)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("ParseCifar10: channels are put last") {
  Bytes record(3073, std::byte{0});
  record[0] = std::byte{9};
  record[1 + 1] = std::byte{11};
  record[1 + 1024 + 1] = std::byte{22};
  record[1 + 2048 + 1] = std::byte{33};
  const Samples samples = Get(ParseCifar10(record));
  const auto& features = std::get<0>(samples.features);
  CHECK(features[3] == 11);
  CHECK(features[4] == 22);
  CHECK(features[5] == 33);
  CHECK(samples.labels == std::vector<std::int32_t>{9});
  CHECK(samples.shape == Shape{32, 32, 3});
  record[0] = std::byte{10};
  CHECK(CodeOf(ParseCifar10(record)) == ErrorCode::kMalformed);
  record.pop_back();
  CHECK(CodeOf(ParseCifar10(record)) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseCifar10({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseCifar10(Bytes(2 * 3073), {.samples_max = 1})) == ErrorCode::kLimitExceeded);
}

TEST_CASE("Sample file: a share has the bits of the samples that it was taken from") {
  Samples samples{.shape = {2},
                  .features = std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6},
                  .labels = {0, 2, 1},
                  .targets = {},
                  .classes = 5};
  const auto dataset = std::make_shared<const Dataset>(
      Get(Dataset::Create(samples, {.kind = Normalization::Kind::kUnit})));
  const Subset share(dataset, {2, 0});
  const Samples read = Get(ParseSampleFile(SerializeSampleFile(share), false, 0));
  CHECK(read == share.Extract());
  CHECK(read.classes == 5);
  CHECK(std::get<0>(read.features) == std::vector<std::uint8_t>{5, 6, 1, 2});
  Samples numbers{.shape = {},
                  .features = std::vector<float>{0.1F, 0.2F},
                  .labels = {},
                  .targets = {3, 4.5F},
                  .classes = 0};
  const Subset all(std::make_shared<const Dataset>(Get(Dataset::Create(numbers))));
  CHECK(Get(ParseSampleFile(SerializeSampleFile(all), true, 0)) == numbers);
}

TEST_CASE("Sample file: labels and shapes that do not fit are refused") {
  const auto parse = [](StoredTensor x, StoredTensor y, const std::string& classes,
                        const DataLimits& limits) {
    SafetensorsFile file;
    if (!classes.empty()) file.metadata["classes"] = classes;
    file.tensors = {std::move(x), std::move(y)};
    return CodeOf(ParseSampleFile(SerializeSafetensors(file), false, 0, limits));
  };
  const StoredTensor x{"x", DType::kU8, {2, 1}, ToBytes("ab")};
  const auto y = [](std::uint8_t value) {
    return StoredTensor{"y", DType::kU8, {2}, {std::byte{0}, std::byte{value}}};
  };
  CHECK(parse(x, y(1), "2", {}) == ErrorCode::kOk);
  CHECK(parse(x, y(1), "", {}) == ErrorCode::kOk);
  CHECK(parse(x, y(2), "2", {}) == ErrorCode::kMalformed);
  CHECK(parse(x, y(1), "two", {}) == ErrorCode::kMalformed);
  CHECK(parse(x, y(1), "0", {}) == ErrorCode::kMalformed);
  CHECK(parse(x, {"y", DType::kI8, {2}, {std::byte{0}, std::byte{255}}}, "", {}) ==
        ErrorCode::kMalformed);
  CHECK(parse(x, {"y", DType::kU8, {1}, Bytes(1)}, "", {}) == ErrorCode::kMalformed);
  CHECK(parse(x, {"z", DType::kU8, {2}, Bytes(2)}, "", {}) == ErrorCode::kMalformed);
  CHECK(parse({"x", DType::kU8, {}, Bytes(1)}, {"y", DType::kU8, {1}, Bytes(1)}, "", {}) ==
        ErrorCode::kMalformed);
  CHECK(parse(x, y(9), "", {.classes_max = 9}) == ErrorCode::kLimitExceeded);
  CHECK(parse(x, y(1), "", {.samples_max = 1}) == ErrorCode::kLimitExceeded);
  CHECK(parse(x, y(1), "", {.values_max = 1}) == ErrorCode::kLimitExceeded);
}

}  // namespace fl::testing
