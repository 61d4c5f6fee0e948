#include "fl/compression/deploy/search/trial.h"

#include <utility>

namespace fl::deploy {

Result<Trial> MeasureTrial(const Trainee& trainee, std::uint8_t bits, const Measured& teacher,
                           bool timed) {
  const PassInputs& inputs = trainee.inputs();
  FL_TRY(FinishedModel finished, trainee.Finish(bits));
  Trial trial{.name = trainee.name(), .kind = KindOf(trainee.proposal()), .bits = bits};
  if (bits < kBitsMost) trial.name += ", " + std::to_string(bits) + " bits";
  trial.steps = trainee.steps();
  trial.list = std::move(finished.list);
  trial.measured = teacher;
  trial.measured.bytes = finished.file.size();
  FL_TRY(trial.measured.local_accuracy, AccuracyOf(finished.model, inputs.verification));
  trial.result = {trial.measured.local_accuracy, trial.measured.bytes, trainee.microseconds()};
  if (timed && inputs.instruments != nullptr) {
    FL_TRY(trial.latency, MeasureLatency(finished.model, inputs.verification, *inputs.instruments));
  }
  return trial;
}

}  // namespace fl::deploy
