#include "fl/client/train/calibrate_samples.h"

#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/materialize.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/federation_ranges.h"

namespace fl::client {

Result<CalibratedSamples> CalibrateSamples(const CheckedPlan& plan, const NamedTensors& model,
                                           const LocalData& data) {
  FL_CHECK(plan.calibration.has_value(), "a task to calibrate is of a plan that asks for it");
  FL_TRY(const nn::FloatModel received, nn::Materialize(plan.graph, model.values));
  FL_TRY(const nn::FloatModel looked_at,
         deploy::ModelToCalibrate(plan.passes, {received.graph, received.parameters}));
  const deploy::SampleBlock samples =
      deploy::CalibrationSamples(data.calibration, data.training, plan.calibration->samples);
  CalibratedSamples calibrated{{wire::kStreamCalibration, {}}, 0, {}};
  const auto calibration =
      nn::Calibrate(looked_at.graph, looked_at.parameters, samples.values, samples.count);
  if (!calibration) {
    calibrated.detail = "nothing to send: " + calibration.error().message;
    return calibrated;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < calibration->histograms.size(); ++i) {
    calibrated.stream.entries.push_back({i, calibration->histograms[i].Encode()});
    bytes += calibrated.stream.entries.back().payload.size();
  }
  calibrated.samples = samples.count;
  calibrated.detail = "values of " + std::to_string(calibration->histograms.size()) +
                      " nodes counted on " + std::to_string(samples.count) + " samples, " +
                      std::to_string(bytes) + " bytes";
  return calibrated;
}

}  // namespace fl::client
