#pragma once

#include "fl/compression/deploy/measure_model.h"

namespace fl::model_app {

// The machine's steady clock and, where /sys/class/powercap is readable, its energy meter.
deploy::Instruments MachineInstruments();

}  // namespace fl::model_app
