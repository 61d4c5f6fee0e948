#include "fl/common/data/idx.h"

// Whatever an IDX file holds, it is refused or makes a data set, here of one class.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto array = fl::data::ParseIdx(std::as_bytes(std::span(data, size)));
  if (!array) return 0;
  const std::vector<std::int32_t> labels(array->extents.front(), 0);
  static_cast<void>(fl::data::IdxIntegers(*array).has_value());
  auto samples = fl::data::CombineIdx(std::move(array).value(), labels, false, 0);
  if (samples)
    FL_CHECK(fl::data::Dataset::Create(std::move(samples).value()),
             "what was parsed is a data set");
  return 0;
}
