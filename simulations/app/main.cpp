#include "fl/simulations/app/command_line.h"

int main(int argc, char** argv) {
  return fl::sim::RunCommandLine(argc, argv);
}
