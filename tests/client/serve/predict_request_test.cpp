#include "fl/client/serve/predict_request.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using testing::CodeOf;
using testing::Get;

const Shape kShape{2};

std::vector<float> Values(const data::Samples& samples) {
  return std::get<std::vector<float>>(samples.features);
}

struct Refused {
  const char* json;
  ErrorCode code;
  const char* words;
};

TEST_CASE("ParsePredictRequest: one sample or several, of whatever JSON calls a number") {
  const data::Samples one = Get(ParsePredictRequest(R"({"sample": [1, -2.5e1]})", kShape));
  CHECK(Values(one) == std::vector<float>{1, -25});
  CHECK(one.count() == 1);
  CHECK(one.shape == kShape);
  const data::Samples two =
      Get(ParsePredictRequest(R"( {"samples":[[0.5,18446744073709551615],[ -1 , 0 ]]} )", kShape));
  CHECK(two.count() == 2);
  CHECK(Values(two) == std::vector<float>{0.5F, 18446744073709551616.0F, -1, 0});
  CHECK(Get(ParsePredictRequest(R"({"samples": [[1, 2]]})", kShape)).count() == 1);
}

TEST_CASE("ParsePredictRequest: what is refused is named with what was expected") {
  using enum ErrorCode;
  const std::vector<Refused> cases = {
      {"", kMalformed, "expected JSON"},
      {"{", kMalformed, "expected JSON"},
      {"[[1, 2]]", kMalformed, "expected an object"},
      {"7", kMalformed, "expected an object"},
      {"null", kMalformed, "found null"},
      {"{}", kMalformed, "found none"},
      {R"({"samples": []})", kMalformed, "found none"},
      {R"({"image": [1, 2]})", kMalformed, "found \"image\""},
      {R"({"sample": 1})", kMalformed, "expected a list of numbers, found a number"},
      {R"({"sample": {}})", kMalformed, "found an object"},
      {R"({"samples": [1, 2]})", kMalformed, "each sample as a list"},
      {R"({"sample": [1, 2], "samples": [[1, 2]]})", kMalformed, "found two"},
      {R"({"sample": [1, 2], "sample": [1, 2]})", kMalformed, "found two"},
      {R"({"sample": [1, 2]} x)", kMalformed, "expected JSON"},
      {R"({"sample": [1, "2"]})", kMalformed, "sample 0: expected a number, found the text \"2\""},
      {R"({"sample": [1, null]})", kMalformed, "found null"},
      {R"({"sample": [1, true]})", kMalformed, "found true"},
      {R"({"sample": [[1], 2]})", kMalformed, "found a list"},
      {R"({"sample": [1, NaN]})", kMalformed, "byte 16"},
      {R"({"sample": [1, Infinity]})", kMalformed, "expected JSON"},
      {R"({"sample": [1, 1e999]})", kNotFinite, "range of fp32"},
      {R"({"sample": [1, -1e39]})", kNotFinite, "range of fp32"},
      {R"({"sample": [1]})", kShapeMismatch, "sample 0: expected 2 values, found 1"},
      {R"({"sample": []})", kShapeMismatch, "expected 2 values, found 0"},
      {R"({"samples": [[1, 2], [1, 2, 3]]})", kShapeMismatch,
       "sample 1: expected 2 values, found more"},
  };
  for (const Refused& refused : cases) {
    CAPTURE(refused.json);
    const auto parsed = ParsePredictRequest(refused.json, kShape);
    REQUIRE(CodeOf(parsed) == refused.code);
    CHECK_MESSAGE(parsed.error().message.find(refused.words) != std::string::npos,
                  parsed.error().message);
  }
}

TEST_CASE("ParsePredictRequest: no more samples than allowed") {
  const PredictLimits limits{.samples_max = 3};
  const auto parse = [&](std::size_t count) {
    std::string json = R"({"samples":[)";
    for (std::size_t i = 0; i < count; ++i) json += i == 0 ? "[1,2]" : ",[1,2]";
    return ParsePredictRequest(json + "]}", kShape, limits);
  };
  CHECK(Get(parse(2)).count() == 2);
  CHECK(Get(parse(3)).count() == 3);
  CHECK(CodeOf(parse(4)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("ParsePredictRequest: a deep nest of brackets ends at the first that does not belong") {
  CHECK(CodeOf(ParsePredictRequest(R"({"sample":)" + std::string(1 << 20, '['), kShape)) ==
        ErrorCode::kMalformed);
  CHECK(CodeOf(ParsePredictRequest(std::string(1 << 20, '['), kShape)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::client
