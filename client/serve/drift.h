#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/client/deploy/local_model.h"
#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"

namespace fl::client {

// How far what a model sees and says has moved from what it saw and said when it was deployed. The
// input (normalized, as the network gets it) is cut into groups of neighbouring features, at most
// kDriftGroups; of each sample and group the mean is taken. A group's reference is the mean m and
// the deviation s of these means over the device's own samples, and how many of them fell into each
// of five bins, cut at m - 1.5 s, m - 0.5 s, m + 0.5 s, m + 1.5 s. With the shares p of what was
// served and q of the reference (half a count added to each bin) the population stability index is
//   PSI = sum over bins (p - q) ln(p / q),
// whose expectation without any drift is (bins - 1) (1 / n_p + 1 / n_q): that much is taken off,
// down to 0. The drift is the larger of the classes' PSI and the mean of the groups'. Usual
// reading: below 0.1 nothing, above 0.25 a change.
inline constexpr std::size_t kDriftGroups = 8;
inline constexpr std::size_t kDriftBins = 5;
// Fewer samples than these are not judged.
inline constexpr std::uint64_t kDriftSamplesMin = 200;
// All counts are halved when they reach so many, so that what is newer weighs more.
inline constexpr std::uint64_t kDriftSamplesMax = 2000;

// The note of a model file that holds its reference.
inline constexpr std::string_view kDriftNote = "drift_reference";

// Counts of a set of samples.
struct DriftCounts {
  std::uint64_t samples = 0;
  double confidence = 0;  // Sum over the samples.
  std::vector<std::uint64_t> classes;
  std::vector<std::array<std::uint64_t, kDriftBins>> groups;
  friend bool operator==(const DriftCounts&, const DriftCounts&) = default;
};

// What was measured at deployment.
struct DriftReference {
  std::vector<float> mean;       // One for each group.
  std::vector<float> deviation;  // Each >= 0.
  DriftCounts counts;

  // One line for a model file's notes; numbers are read back to their bits.
  std::string ToText() const;
  // kMalformed unless it is such a line.
  static Result<DriftReference> Parse(std::string_view text);
  friend bool operator==(const DriftReference&, const DriftReference&) = default;
};

// Whether it has the groups and the classes of a model of this graph.
bool Fits(const DriftReference& reference, const nn::Graph& graph);

// The model's reference on these samples (at most 1,000 of them, the first ones); kInvalidArgument
// without samples. They must be of the model's input.
Result<DriftReference> MeasureDriftReference(LocalModel& model, const data::Subset& samples);

// Adds one sample, and what was said of it, to the counts, which fit the reference.
void CountSample(const DriftReference& reference, std::span<const float> sample,
                 const Prediction& prediction, DriftCounts& counts);

struct Drift {
  double classes = 0;  // PSI of the classes, >= 0.
  double inputs = 0;   // Mean PSI of the groups, >= 0.
  double score() const { return classes > inputs ? classes : inputs; }
};
// 0 with fewer than kDriftSamplesMin samples.
Drift MeasureDrift(const DriftReference& reference, const DriftCounts& counts);

}  // namespace fl::client
