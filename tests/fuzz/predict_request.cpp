#include "fl/client/serve/predict_request.h"

#include "fl/common/base/bytes.h"

// Whatever a program asks the local service, it is refused or makes a data set of the shape.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fl::AsText(std::as_bytes(std::span(data, size)));
  const fl::Shape shape{1 + size % 4};
  auto samples = fl::client::ParsePredictRequest(text, shape, {.samples_max = 8});
  if (samples) {
    FL_CHECK(samples->count() >= 1 && samples->count() <= 8, "as many samples as are allowed");
    FL_CHECK(fl::data::Dataset::Create(std::move(samples).value()),
             "what was parsed is a data set");
  }
  return 0;
}
