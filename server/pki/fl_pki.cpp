#include "fl/server/pki/command_line.h"

int main(int argc, char** argv) {
  return fl::pki::RunCommandLine(argc, argv);
}
