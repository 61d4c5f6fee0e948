#include "fl/common/data/sample_file.h"

// What is accepted as a file of samples is written as it was read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto samples = fl::data::ParseSampleFile(std::as_bytes(std::span(data, size)), size % 2 == 0, 0);
  if (!samples) return 0;
  auto dataset = fl::data::Dataset::Create(std::move(samples).value());
  FL_CHECK(dataset, "what was parsed is a data set");
  const auto shared = std::make_shared<const fl::data::Dataset>(std::move(dataset).value());
  const fl::Bytes bytes = fl::data::SerializeSampleFile(fl::data::Subset(shared));
  const auto again = fl::data::ParseSampleFile(bytes, shared->classes() == 0, 0);
  FL_CHECK(again && *again == shared->samples(),
           "decoding what was encoded gives the samples again");
  return 0;
}
