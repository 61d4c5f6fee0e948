#include "fl/compression/app/model/machine_instruments.h"

#include <chrono>
#include <fstream>

namespace fl::model_app {
namespace {

std::int64_t SteadyNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The first processor's package (RAPL); negative where it cannot be read.
double PackageMicrojoules() {
  std::ifstream file("/sys/class/powercap/intel-rapl:0/energy_uj");
  double value = -1;
  return file >> value ? value : -1;
}

}  // namespace

deploy::Instruments MachineInstruments() {
  return {.nanoseconds = SteadyNanoseconds, .microjoules = PackageMicrojoules};
}

}  // namespace fl::model_app
