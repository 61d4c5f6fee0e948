#include <cstdint>
#include <vector>

#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/operator.h"

namespace {

// An integer model that was accepted also runs, where it is small.
void RunOnce(const fl::nn::QuantizedModel& model) {
  const fl::nn::OperatorCost cost = fl::nn::CostOf(model.graph);
  if (cost.flops + cost.activation_bytes + cost.parameter_bytes > 1e6) return;
  auto session = fl::nn::IntegerSession::Create(model, 1);
  FL_CHECK(session, "a valid model has a session");
  std::vector<float> output(model.graph.output_shape().count());
  session->Run(std::vector<float>(model.graph.input_shape().count(), 0.5F), 1, output);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  const auto file = fl::nn::ParseModelFile(bytes);
  if (!file) return 0;
  // What is accepted is written and read back as the same bytes.
  const fl::Bytes once = fl::nn::SerializeModelFile(*file);
  const auto again = fl::nn::ParseModelFile(once);
  FL_CHECK(again && fl::nn::SerializeModelFile(*again) == once, "a model file has one form");
  if (const auto* model = std::get_if<fl::nn::QuantizedModel>(&file->model)) RunOnce(*model);
  return 0;
}
