#include "fl/common/data/cifar.h"

// Whatever a CIFAR-10 file holds, it is refused or makes a data set.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto samples = fl::data::ParseCifar10(std::as_bytes(std::span(data, size)));
  if (samples)
    FL_CHECK(fl::data::Dataset::Create(std::move(samples).value()),
             "what was parsed is a data set");
  return 0;
}
