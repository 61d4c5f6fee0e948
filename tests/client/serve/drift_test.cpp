#include "fl/client/serve/drift.h"

#include <memory>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/client/serve/small_models.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::SmallModel;

// Samples of four features, each uniform in [offset, offset + 1).
data::Subset MakeSamples(std::size_t count, float offset, std::uint64_t seed) {
  RngStream rng(seed);
  data::Samples samples;
  samples.shape = Shape{4};
  std::vector<float> values;
  for (std::size_t i = 0; i < count * 4; ++i) values.push_back(offset + rng.Uniform());
  samples.features = std::move(values);
  samples.labels.assign(count, 0);
  samples.classes = 3;
  return data::Subset(
      std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples)))));
}

// The class of the largest of the first three features.
LocalModel MakeModel() {
  nn::FloatModel model = SmallModel(0);
  model.parameters[12] = 0;
  return Get(LocalModel::FromFile({std::move(model), {}, {}, {}}));
}

DriftCounts Count(const DriftReference& reference, LocalModel& model, const data::Subset& samples) {
  DriftCounts counts;
  std::vector<float> sample(4);
  for (std::size_t i = 0; i < samples.count(); ++i) {
    samples.CopySample(i, sample);
    CountSample(reference, sample, Get(model.Predict(sample)), counts);
  }
  return counts;
}

TEST_CASE("MeasureDrift: samples like those of the deployment do not drift, others do") {
  LocalModel model = MakeModel();
  const DriftReference reference = Get(MeasureDriftReference(model, MakeSamples(300, 0, 1)));
  CHECK(reference.counts.samples == 300);
  CHECK(reference.mean.size() == 4);
  CHECK(reference.mean[0] == doctest::Approx(0.5).epsilon(0.1));
  CHECK(reference.deviation[0] == doctest::Approx(0.289).epsilon(0.1));
  for (std::uint64_t seed = 2; seed < 12; ++seed) {
    CAPTURE(seed);
    const Drift same = MeasureDrift(reference, Count(reference, model, MakeSamples(400, 0, seed)));
    CHECK(same.score() < 0.1);
    const Drift moved =
        MeasureDrift(reference, Count(reference, model, MakeSamples(400, 0.5F, seed)));
    CHECK(moved.inputs > 0.25);
    CHECK(moved.classes < 0.1);
  }
}

TEST_CASE("MeasureDrift: a class that comes more often than before is a drift of the classes") {
  LocalModel model = MakeModel();
  const DriftReference reference = Get(MeasureDriftReference(model, MakeSamples(300, 0, 1)));
  DriftCounts counts = reference.counts;
  CHECK(MeasureDrift(reference, counts).classes == 0);
  counts.classes = {280, 10, 10};
  // (p - q) ln(p / q) over shares of about (0.93, 0.03, 0.03) and a third each, by hand 1.9.
  CHECK(MeasureDrift(reference, counts).classes == doctest::Approx(1.9).epsilon(0.15));
  CHECK(MeasureDrift(reference, counts).inputs == 0);
}

TEST_CASE("MeasureDrift: few samples are not judged") {
  LocalModel model = MakeModel();
  const DriftReference reference = Get(MeasureDriftReference(model, MakeSamples(300, 0, 1)));
  const auto score = [&](std::size_t count) {
    return MeasureDrift(reference, Count(reference, model, MakeSamples(count, 5, 2))).score();
  };
  CHECK(score(kDriftSamplesMin - 1) == 0);
  CHECK(score(kDriftSamplesMin) > 0.25);
}

TEST_CASE("CountSample: counts are halved so that what is newer weighs more") {
  LocalModel model = MakeModel();
  const DriftReference reference = Get(MeasureDriftReference(model, MakeSamples(300, 0, 1)));
  const DriftCounts counts = Count(reference, model, MakeSamples(kDriftSamplesMax, 0, 2));
  CHECK(counts.samples == kDriftSamplesMax / 2);
  CHECK(counts.confidence <= static_cast<double>(kDriftSamplesMax) / 2);
}

TEST_CASE("MeasureDriftReference: a feature that never varied is told from one that moved") {
  LocalModel model = MakeModel();
  data::Samples constant;
  constant.shape = Shape{4};
  constant.features = std::vector<float>(std::size_t{4} * 250, 0.1F);
  constant.labels.assign(250, 0);
  constant.classes = 1;
  const data::Subset samples(
      std::make_shared<const data::Dataset>(Get(data::Dataset::Create(constant))));
  const DriftReference reference = Get(MeasureDriftReference(model, samples));
  CHECK(MeasureDrift(reference, Count(reference, model, samples)).score() == 0);
  CHECK(MeasureDrift(reference, Count(reference, model, MakeSamples(250, 3, 1))).inputs > 0.25);
  CHECK(CodeOf(MeasureDriftReference(model, data::Subset(samples.shared_dataset(), {}))) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("DriftReference: its line is read back, all else is refused") {
  LocalModel model = MakeModel();
  const DriftReference reference = Get(MeasureDriftReference(model, MakeSamples(50, 0, 1)));
  const std::string text = reference.ToText();
  CHECK(Get(DriftReference::Parse(text)) == reference);
  for (std::size_t size = 0; size < text.size(); ++size) {
    if (text[size] != ' ') continue;
    CHECK(CodeOf(DriftReference::Parse(text.substr(0, size))) == ErrorCode::kMalformed);
  }
  for (const char* other : {"", "x", "2 1 1 0 1 0 0 0 0 0 0 0", "1 1 1 99999999 1", "1 1 nan 0 1",
                            "1 1 1 0 1 0 -1 0 0 0 0 0", "1 1 1 0 0", "1 1 1 0 9"}) {
    CAPTURE(other);
    CHECK(CodeOf(DriftReference::Parse(other)) == ErrorCode::kMalformed);
  }
  CHECK(CodeOf(DriftReference::Parse(text + " 1")) == ErrorCode::kMalformed);
  CHECK(Fits(reference, model.graph()));
  DriftReference narrow = reference;
  narrow.counts.classes.pop_back();
  CHECK_FALSE(Fits(narrow, model.graph()));
}

}  // namespace
}  // namespace fl::client
