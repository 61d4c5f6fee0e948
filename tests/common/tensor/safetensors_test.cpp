#include "fl/common/tensor/safetensors.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

const std::filesystem::path kGolden = FL_TEST_SOURCE_DIR "/tests/golden/safetensors";

Bytes FileOf(std::string_view header, std::size_t data_bytes) {
  ByteWriter writer;
  writer.Write<std::uint64_t>(header.size());
  writer.WriteSpan(AsBytes(header));
  writer.WriteSpan(Bytes(data_bytes));
  return std::move(writer).Take();
}

ErrorCode Refusal(std::string_view header, std::size_t data_bytes,
                  const SafetensorsLimits& limits = {}) {
  return CodeOf(ParseSafetensors(FileOf(header, data_bytes), limits));
}

SafetensorsFile SmallFile() {
  SafetensorsFile file;
  file.metadata = {{"format", "fl"}, {"note", "a \"quoted\"\nline"}};
  file.tensors.push_back(
      StoreFloats("dense1.weight", {2, 3}, std::vector<float>{1, -2, 3.5F, 0, 0.25F, -1e-3F}));
  file.tensors.push_back({"bytes", DType::kU8, {3}, ToBytes("abc")});
  file.tensors.push_back(StoreFloats("scalar", {}, std::vector<float>{42}));
  return file;
}

}  // namespace

TEST_CASE("Safetensors: the file's bytes are the golden ones") {
  const Bytes golden = Get(ReadFile(kGolden / "small.safetensors", 1U << 20));
  CHECK(SerializeSafetensors(SmallFile()) == golden);
  CHECK(Get(ParseSafetensors(golden)) == SmallFile());
}

TEST_CASE("Safetensors: data begins at a multiple of 64 bytes") {
  for (std::size_t length = 1; length < 70; ++length) {
    SafetensorsFile file;
    file.tensors.push_back(StoreFloats(std::string(length, 'n'), {1}, std::vector<float>{1}));
    const Bytes bytes = SerializeSafetensors(file);
    CHECK((bytes.size() - 4) % 64 == 0);
  }
}

TEST_CASE("Safetensors: a file without tensors can be written and read") {
  const SafetensorsFile empty;
  CHECK(Get(ParseSafetensors(SerializeSafetensors(empty))) == empty);
}

TEST_CASE("Safetensors: what was written is read again") {
  ForAll(100, [](RngStream& rng) {
    SafetensorsFile file;
    const std::size_t tensors = rng.UniformInteger(6);
    for (std::size_t i = 0; i < tensors; ++i) {
      const auto dtype = static_cast<DType>(rng.UniformInteger(8));
      std::vector<std::size_t> extents(rng.UniformInteger(4));
      for (std::size_t& extent : extents) extent = 1 + rng.UniformInteger(4);
      Shape shape(extents);
      Bytes data(shape.count() * DTypeBytes(dtype));
      for (std::byte& byte : data) byte = static_cast<std::byte>(rng.UniformInteger(256));
      file.tensors.push_back(
          {"tensor " + std::to_string(i), dtype, std::move(shape), std::move(data)});
      file.metadata["key" + std::to_string(rng.UniformInteger(3))] = std::to_string(rng.NextU32());
    }
    const Bytes bytes = SerializeSafetensors(file);
    CHECK(Get(ParseSafetensors(bytes)) == file);
    // Whatever is cut off at the end is missed.
    CHECK(CodeOf(ParseSafetensors(ByteSpan(bytes).first(rng.UniformInteger(bytes.size())))) ==
          ErrorCode::kMalformed);
  });
}

TEST_CASE("Safetensors: tensors come in the order of their data") {
  const Bytes bytes = FileOf(
      R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]},"a":{"data_offsets":[0,1],"shape":[],"dtype":"U8"}}   )",
      3);
  const SafetensorsFile file = Get(ParseSafetensors(bytes));
  REQUIRE(file.tensors.size() == 2);
  CHECK(file.tensors[0].name == "a");
  CHECK(file.Find("b") == &file.tensors[1]);
  CHECK(file.Find("c") == nullptr);
}

TEST_CASE("Safetensors: damaged headers are malformed") {
  CHECK(Refusal("", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(" {}", 0) == ErrorCode::kMalformed);
  CHECK(Refusal("[]", 0) == ErrorCode::kMalformed);
  CHECK(Refusal("{", 0) == ErrorCode::kMalformed);
  CHECK(Refusal("{} {}", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":1})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{}})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1]}})", 1) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1) ==
        ErrorCode::kMalformed);
  CHECK(Refusal(R"({"__metadata__":{"a":1}})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"__metadata__":{"a":{}}})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal("{\"__metadata__\":{\"a\":\"\xFF\"}}", 0) == ErrorCode::kMalformed);
}

TEST_CASE("Safetensors: names that occur twice are malformed") {
  const std::string tensor = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  CHECK(Refusal("{\"a\":" + tensor + ",\"a\":" + tensor + "}", 1) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"__metadata__":{"k":"1","k":"2"}})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"__metadata__":{},"__metadata__":{}})", 0) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kMalformed);
}

TEST_CASE("Safetensors: offsets leave neither gaps nor overlaps and match the shape") {
  const auto two = [](std::string_view second) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[)" +
           std::string(second) + "]}}";
  };
  CHECK(Refusal(two("2,4"), 4) == ErrorCode::kOk);
  CHECK(Refusal(two("1,3"), 3) == ErrorCode::kMalformed);
  CHECK(Refusal(two("3,5"), 5) == ErrorCode::kMalformed);
  CHECK(Refusal(two("2,3"), 3) == ErrorCode::kMalformed);
  CHECK(Refusal(two("2,1"), 4) == ErrorCode::kMalformed);
  CHECK(Refusal(two("2,4"), 3) == ErrorCode::kMalformed);
  CHECK(Refusal(two("2,4"), 5) == ErrorCode::kMalformed);
  CHECK(Refusal(two("2,18446744073709551615"), 4) == ErrorCode::kMalformed);
  CHECK(Refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
                0) == ErrorCode::kMalformed);
}

TEST_CASE("Safetensors: element types and shapes that we do not have are unsupported") {
  CHECK(Refusal(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8) ==
        ErrorCode::kUnsupported);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0) ==
        ErrorCode::kUnsupported);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kOk);
  CHECK(Refusal(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1) ==
        ErrorCode::kUnsupported);
}

TEST_CASE("Safetensors: each limit is kept") {
  const std::string header = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  CHECK(Refusal(header, 2, {.header_bytes_max = header.size()}) == ErrorCode::kOk);
  CHECK(Refusal(header, 2, {.header_bytes_max = header.size() - 1}) == ErrorCode::kLimitExceeded);
  CHECK(Refusal(header, 2, {.data_bytes_max = 2}) == ErrorCode::kOk);
  CHECK(Refusal(header, 2, {.data_bytes_max = 1}) == ErrorCode::kLimitExceeded);
  CHECK(Refusal(header, 2, {.tensors_max = 1}) == ErrorCode::kOk);
  CHECK(Refusal(header, 2, {.tensors_max = 0}) == ErrorCode::kLimitExceeded);
}

TEST_CASE("Safetensors: the refused inputs are refused") {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden / "refused")) {
    CAPTURE(entry.path().string());
    CHECK(!ParseSafetensors(Get(ReadFile(entry.path(), 1U << 20))));
    ++inputs;
  }
  CHECK(inputs >= 4);
}

TEST_CASE("LoadFloats: halves are converted and whole numbers refused") {
  CHECK(Get(LoadFloats({"h", DType::kF16, {2}, Get(FromHex("003c00c0"))})) ==
        std::vector<float>{1, -2});
  CHECK(Get(LoadFloats({"b", DType::kBF16, {2}, Get(FromHex("803f00c0"))})) ==
        std::vector<float>{1, -2});
  CHECK(CodeOf(LoadFloats({"i", DType::kI32, {1}, Bytes(4)})) == ErrorCode::kUnsupported);
}

TEST_CASE("LoadFloats: values that are not finite are refused with their place") {
  const std::vector<float> values = {0, std::numeric_limits<float>::quiet_NaN()};
  const auto result = LoadFloats(StoreFloats("w", {2}, values));
  REQUIRE(CodeOf(result) == ErrorCode::kNotFinite);
  CHECK(result.error().message == "tensor 'w': element 1 is not finite");
  CHECK(CodeOf(LoadFloats({"h", DType::kF16, {1}, Get(FromHex("007c"))})) == ErrorCode::kNotFinite);
}

TEST_CASE("ExtractTensors: the layout's tensors come in its order and others are left") {
  NamedTensors tensors(TensorLayout({{"a", {2}}, {"b", {3}}}));
  tensors.values = {1, 2, 3, 4, 5};
  SafetensorsFile file;
  AppendTensors(tensors, file);
  CHECK(Get(ExtractTensors(file, tensors.layout)) == tensors);
  CHECK(Get(ExtractTensors(file, TensorLayout({{"b", {3}}}))).values ==
        std::vector<float>{3, 4, 5});
  CHECK(CodeOf(ExtractTensors(file, TensorLayout({{"b", {1, 3}}}))) == ErrorCode::kShapeMismatch);
  CHECK(CodeOf(ExtractTensors(file, TensorLayout({{"c", {3}}}))) == ErrorCode::kShapeMismatch);
}

}  // namespace fl::testing
