#include <cstdio>
#include <exception>

#include "fl/compression/app/command_line.h"

int main(int argc, char** argv) {
  try {
    return fl::codec_app::RunCommandLine(argc, argv);
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "fl-codec: %s\n", error.what());
    return 1;
  }
}
