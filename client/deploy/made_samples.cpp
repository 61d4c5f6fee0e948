#include "fl/client/deploy/made_samples.h"

#include <cstdio>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/session.h"
#include "fl/compression/deploy/data_free.h"

namespace fl::client {
namespace {

constexpr std::uint32_t kMade = 1000;
constexpr std::uint32_t kMadeForTraining = 800;

// The samples as the teacher takes them, one after the other.
std::vector<float> ValuesOf(const data::Subset& samples) {
  std::vector<std::uint32_t> positions(samples.count());
  std::iota(positions.begin(), positions.end(), 0U);
  std::vector<float> values(samples.count() * samples.dataset().features());
  samples.CopySamples(positions, values);
  return values;
}

// The teacher's answer to each sample.
Result<std::vector<std::int32_t>> AnswersOf(const deploy::Teacher& teacher,
                                            std::span<const float> samples) {
  FL_TRY(nn::Session session, nn::Session::Create(teacher.graph, 1));
  const std::size_t features = teacher.graph.input_shape().count();
  std::vector<float> output(teacher.graph.output_shape().count());
  std::vector<std::int32_t> answers;
  for (std::size_t first = 0; first < samples.size(); first += features) {
    session.Run(teacher.parameters, samples.subspan(first, features), 1, output);
    answers.push_back(static_cast<std::int32_t>(nn::ArgMax(output)));
  }
  return answers;
}

// A data set that grows part by part.
class Collection {
 public:
  Collection(const Shape& shape, std::size_t classes) {
    samples_.shape = shape;
    samples_.classes = classes;
  }

  // Returns where the samples lie in it.
  std::vector<std::uint32_t> Add(std::span<const float> values,
                                 std::span<const std::int32_t> labels) {
    std::vector<std::uint32_t> indices(labels.size());
    std::iota(indices.begin(), indices.end(), static_cast<std::uint32_t>(samples_.labels.size()));
    values_.insert(values_.end(), values.begin(), values.end());
    samples_.labels.insert(samples_.labels.end(), labels.begin(), labels.end());
    return indices;
  }
  std::vector<std::uint32_t> Add(const data::Subset& own) {
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < own.count(); ++i) labels.push_back(own.label(i));
    return Add(ValuesOf(own), labels);
  }
  Result<std::shared_ptr<const data::Dataset>> Finish() && {
    samples_.features = std::move(values_);
    FL_TRY(data::Dataset dataset, data::Dataset::Create(std::move(samples_)));
    return std::make_shared<const data::Dataset>(std::move(dataset));
  }

 private:
  data::Samples samples_;
  std::vector<float> values_;
};

}  // namespace

Result<DeploymentData> WithMadeSamples(const LocalData& own, std::uint32_t made_below,
                                       const deploy::Teacher& teacher, const RngStream& rng,
                                       const std::atomic<bool>& stop) {
  const std::size_t count = own.training.count() + own.holdout.count();
  if (count >= made_below || own.training.dataset().classes() == 0)
    return DeploymentData{own.training, own.calibration, own.verification, {}};
  std::vector<float> known = ValuesOf(own.training);
  const std::vector<float> calibration = ValuesOf(own.calibration);
  known.insert(known.end(), calibration.begin(), calibration.end());
  FL_TRY(deploy::DataStatistics statistics,
         deploy::StatisticsFor(teacher, known, own.training.count() + own.calibration.count()));
  statistics.class_shares.clear();  // So few samples lack classes: made ones are of all.
  FL_TRY(const data::Subset made,
         deploy::SynthesizeSamples(teacher, statistics, {.samples = kMade}, rng, stop));
  const std::vector<float> values = ValuesOf(made);
  FL_TRY(const std::vector<std::int32_t> answers, AnswersOf(teacher, values));

  Collection all(teacher.graph.input_shape(), teacher.graph.output_shape().count());
  std::vector<std::uint32_t> training = all.Add(own.training);
  std::vector<std::uint32_t> calibrating = all.Add(own.calibration);
  std::vector<std::uint32_t> verifying = all.Add(own.verification);
  const std::vector<std::uint32_t> added = all.Add(values, answers);
  training.insert(training.end(), added.begin(), added.begin() + kMadeForTraining);
  verifying.insert(verifying.end(), added.begin() + kMadeForTraining, added.end());
  FL_TRY(const auto dataset, std::move(all).Finish());
  return DeploymentData{data::Subset(dataset, std::move(training)),
                        data::Subset(dataset, std::move(calibrating)),
                        data::Subset(dataset, std::move(verifying)),
                        "made samples: " + std::to_string(kMadeForTraining) + " to train on and " +
                            std::to_string(kMade - kMadeForTraining) +
                            " to verify agreement with the global model, since the device has " +
                            std::to_string(count) + " of its own"};
}

}  // namespace fl::client
