#include "fl/common/base/bytes.h"
#include "fl/common/data/csv.h"

// Whatever a table holds, it is refused or makes a data set.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fl::AsText(std::as_bytes(std::span(data, size)));
  fl::data::CsvOptions options;
  options.fill_missing = size % 2 == 0;
  options.regression = size % 3 == 0;
  if (size % 5 == 0) options.categorical = {"c"};
  auto samples = fl::data::ParseCsv(text, options, {.values_max = 1U << 20});
  if (samples)
    FL_CHECK(fl::data::Dataset::Create(std::move(samples).value()),
             "what was parsed is a data set");
  static_cast<void>(fl::data::ParseCsvIds(text, "c", {}).has_value());
  return 0;
}
