// Runs a fuzz target over the files of its corpus: a plain test on builds without libFuzzer.
#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "fl/common/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  int inputs = 0;
  LLVMFuzzerTestOneInput(nullptr, 0);
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    const auto content = fl::ReadFile(entry.path(), 1U << 24);
    if (!content) return 1;
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(content->data()), content->size());
    ++inputs;
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
