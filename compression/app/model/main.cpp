#include <cstdio>
#include <exception>

#include "fl/compression/app/model/command_line.h"

int main(int argc, char** argv) {
  try {
    return fl::model_app::RunCommandLine(argc, argv);
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "fl-model: %s\n", error.what());
    return 1;
  }
}
