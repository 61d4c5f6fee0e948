#include "fl/common/data/csv.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

using data::CsvOptions;
using data::ParseCsv;
using data::Samples;

std::vector<float> Features(const Samples& samples) {
  return std::get<std::vector<float>>(samples.features);
}

Error ErrorOf(std::string_view text, const CsvOptions& options = {},
              const data::DataLimits& limits = {}) {
  const auto result = ParseCsv(text, options, limits);
  return result ? Error{ErrorCode::kOk, ""} : result.error();
}

}  // namespace

TEST_CASE("ParseCsv: numbers are features and the last column is the label") {
  const Samples samples = Get(ParseCsv("a,b,label\n1,-2.5,0\r\n 3e1 ,4,2\n\n", {}));
  CHECK(samples.shape == Shape{2});
  CHECK(Features(samples) == std::vector<float>{1, -2.5F, 30, 4});
  CHECK(samples.labels == std::vector<std::int32_t>{0, 2});
  CHECK(samples.classes == 3);
}

TEST_CASE("ParseCsv: labels that are words are classes in sorted order") {
  CHECK(Get(ParseCsv("x,y\n1,cat\n2,ant\n3,cat\n", {})).labels ==
        std::vector<std::int32_t>{1, 0, 1});
  CHECK(Get(ParseCsv("x,y\n1,10\n2,b\n", {})).labels == std::vector<std::int32_t>{0, 1});
}

TEST_CASE("ParseCsv: classes are those of all rows where a filter leaves some out") {
  const CsvOptions test{
      .label = {}, .categorical = {"c"}, .ignore = {}, .filter = {{"split", "test"}}};
  const Samples samples = Get(ParseCsv("split,c,y\ntrain,u,a\ntest,v,b\ntrain,w,c\n", test));
  CHECK(samples.labels == std::vector<std::int32_t>{1});
  CHECK(samples.classes == 3);
  CHECK(Features(samples) == std::vector<float>{0, 1, 0});
}

TEST_CASE("ParseCsv: a regression's label is its target") {
  const Samples samples = Get(
      ParseCsv("y,x\n1.5,1\n-2,2\n",
               {.label = "y", .categorical = {}, .ignore = {}, .filter = {}, .regression = true}));
  CHECK(samples.targets == std::vector<float>{1.5F, -2});
  CHECK(samples.classes == 0);
  CHECK(samples.labels.empty());
}

TEST_CASE("ParseCsv: quoted fields may hold commas and quotes and line feeds") {
  const CsvOptions options{.label = "y", .categorical = {"c"}, .ignore = {}, .filter = {}};
  const Samples samples = Get(ParseCsv("\"c\",y,x\n\"a,\"\"b\n\",0,1\nz,1,2\n", options));
  CHECK(Features(samples) == std::vector<float>{1, 0, 1, 0, 1, 2});
  CHECK(ErrorOf("x,y\n\"1,2\n").message == "line 2: expected a closing quote");
  CHECK(ErrorOf("x,y\n\"1\"2,0\n").code == ErrorCode::kMalformed);
  CHECK(ErrorOf("x,y\n1\"2,0\n").code == ErrorCode::kMalformed);
}

TEST_CASE("ParseCsv: declared categories give the same features whatever occurs") {
  const CsvOptions options{.label = {}, .categorical = {"c=u|v|w"}, .ignore = {}, .filter = {}};
  CHECK(Features(Get(ParseCsv("c,y\nv,0\n", options))) == std::vector<float>{0, 1, 0});
  CHECK(ErrorOf("c,y\nt,0\n", options).message ==
        "line 2: column 'c': expected one of the declared categories, found 't'");
}

TEST_CASE("ParseCsv: missing fields are refused or filled as the options say") {
  const std::string_view text = "n,c,y\n1,u,0\n?,,1\n3,v,1\n";
  CsvOptions options{.label = {}, .categorical = {"c"}, .ignore = {}, .filter = {}};
  CHECK(ErrorOf(text, options).message ==
        "line 3: column 'n': expected a value, found none (the plan refuses missing values)");
  options.fill_missing = true;
  CHECK(Features(Get(ParseCsv(text, options))) ==
        std::vector<float>{1, 1, 0, 0, 2, 0, 0, 1, 3, 0, 1, 0});
  CHECK(ErrorOf("n,y\n1,\n", options.fill_missing ? CsvOptions{.label = {},
                                                               .categorical = {},
                                                               .ignore = {},
                                                               .fill_missing = true,
                                                               .filter = {}}
                                                  : options)
            .code == ErrorCode::kMalformed);
}

TEST_CASE("ParseCsv: ignored columns may hold anything") {
  const CsvOptions options{
      .label = "y", .categorical = {}, .ignore = {"name", "absent"}, .filter = {}};
  CHECK(Features(Get(ParseCsv("name,x,y\nJo,5,1\n", options))) == std::vector<float>{5});
}

TEST_CASE("ParseCsv: errors name the line") {
  CHECK(ErrorOf("x,y\n1,0\n1,0,0\n").message == "line 3: expected 2 fields, found 3");
  CHECK(ErrorOf("x,y\n1,0\none,0\n").message ==
        "line 3: column 'x': expected a finite number, found 'one'");
  CHECK(ErrorOf("x,y\nnan,0\n").code == ErrorCode::kMalformed);
  CHECK(ErrorOf("x,y\n1e39,0\n").code == ErrorCode::kMalformed);
  CHECK(ErrorOf("x,x\n1,0\n").code == ErrorCode::kMalformed);
  CHECK(ErrorOf("").code == ErrorCode::kMalformed);
  CHECK(ErrorOf("x,y\n").code == ErrorCode::kInvalidArgument);
  CHECK(ErrorOf("y\n1\n").code == ErrorCode::kInvalidArgument);
  CHECK(ErrorOf("x,y\n1,0\n", {.label = "z", .categorical = {}, .ignore = {}, .filter = {}}).code ==
        ErrorCode::kInvalidArgument);
  CHECK(ErrorOf("x,y\n1,5\n",
                {.label = {}, .categorical = {}, .ignore = {}, .filter = {}, .classes = 5})
            .code == ErrorCode::kMalformed);
}

TEST_CASE("ParseCsv: each limit is kept") {
  const std::string_view text = "c,y\nu,0\nv,1\n";
  const CsvOptions options{.label = {}, .categorical = {"c"}, .ignore = {}, .filter = {}};
  CHECK(ErrorOf(text, options,
                {.samples_max = 2,
                 .values_max = 4,
                 .classes_max = 2,
                 .columns_max = 2,
                 .categories_max = 2,
                 .field_bytes_max = 1})
            .code == ErrorCode::kOk);
  CHECK(ErrorOf(text, options, {.samples_max = 1}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf(text, options, {.values_max = 3}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf(text, options, {.classes_max = 1}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf(text, options, {.columns_max = 1}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf(text, options, {.categories_max = 1}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf("xx,y\n1,0\n", {}, {.field_bytes_max = 1}).code == ErrorCode::kLimitExceeded);
  CHECK(ErrorOf("x,y\n1,2000000000\n").code == ErrorCode::kLimitExceeded);
}

TEST_CASE("ParseCsvIds: whole numbers stand for themselves and words for their rank") {
  const std::string_view text = "client,split\n-7,a\n3,b\n3,a\n";
  CHECK(Get(data::ParseCsvIds(text, "client", {})) == std::vector<std::int32_t>{-7, 3, 3});
  CHECK(Get(data::ParseCsvIds(text, "client", {{"split", "a"}})) ==
        std::vector<std::int32_t>{-7, 3});
  CHECK(Get(data::ParseCsvIds(text, "split", {})) == std::vector<std::int32_t>{0, 1, 0});
  CHECK(CodeOf(data::ParseCsvIds(text, "who", {})) == ErrorCode::kInvalidArgument);
}

}  // namespace fl::testing
