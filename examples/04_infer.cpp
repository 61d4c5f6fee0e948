// Runs a model file: only fl::infer is linked, so this is the whole of what a device needs.
//
//   04_infer MODEL [SAMPLE]      SAMPLE: raw little-endian fp32 values, one sample's input
//
// Prints what the model is and which output is largest; without a sample, for an input of zeros.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "fl/common/nn/infer/infer.h"

namespace {

int Fail(const char* what) {
  std::fprintf(stderr, "04_infer: %s\n", what);
  return 1;
}

bool ReadSample(const char* path, std::vector<float>& to) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  const std::size_t count = std::fread(to.data(), sizeof(float), to.size(), file);
  std::fclose(file);
  return count == to.size();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return Fail("expected the path of a model file");
  // A program that serves many requests keeps one model, and a session for each thread.
  const auto model = fl::infer::Model::LoadFile(argv[1]);
  if (!model) return Fail(model.error().message.c_str());
  auto session = fl::infer::Session::Create(*model);
  if (!session) return Fail(session.error().message.c_str());

  std::vector<float> input(model->input_shape().count());
  if (argc > 2 && !ReadSample(argv[2], input)) return Fail("expected one sample's values");
  std::vector<float> output(model->output_shape().count());
  const auto done = session->Run(input, output);
  if (!done) return Fail(done.error().message.c_str());

  const auto largest = std::max_element(output.begin(), output.end()) - output.begin();
  std::printf("%s, input %s, %zu outputs\n", model->integer() ? "int8" : "fp32",
              model->input_shape().ToText().c_str(), output.size());
  const auto index = static_cast<std::size_t>(largest);
  const char* label = index < model->labels().size() ? model->labels()[index].c_str() : "";
  std::printf("largest output: %zu %s\n", index, label);
  return 0;
}
