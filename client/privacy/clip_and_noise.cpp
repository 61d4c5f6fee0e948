#include "fl/client/privacy/clip_and_noise.h"

#include "fl/common/base/check.h"

namespace fl::client {

void ClipAndNoise(NamedTensors& update, const PrivacyConfig& privacy, const RngStream& /*rng*/) {
  FL_CHECK(privacy.noise_multiplier == 0, "a plan with noise passed its check");
  if (privacy.clip_norm <= 0) return;
  const double norm_l2 = NormL2(update.values);
  if (norm_l2 <= privacy.clip_norm) return;
  const double factor = privacy.clip_norm / norm_l2;
  for (float& value : update.values) {
    value = static_cast<float>(static_cast<double>(value) * factor);
  }
}

}  // namespace fl::client
