// Runs a model file, as a program outside this project would.
#include "fl/common/nn/infer/infer.h"

#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2) return 1;
  const auto model = fl::infer::Model::LoadFile(argv[1]);
  if (!model) return 1;
  auto session = fl::infer::Session::Create(*model);
  if (!session) return 1;
  const std::vector<float> input(model->input_shape().count());
  std::vector<float> output(model->output_shape().count());
  if (!session->Run(input, output)) return 1;
  const fl::Shape& shape = model->input_shape();
  std::printf("%zu x %zu x %zu to %zu\n", shape[0], shape[1], shape[2], output.size());
  return 0;
}
