#include "fl/client/serve/drift.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

namespace fl::client {
namespace {

constexpr std::size_t kReferenceSamplesMax = 1000;
constexpr std::size_t kClassesMax = 1U << 16;
constexpr std::string_view kFormat = "1";

std::size_t GroupCount(std::size_t features) {
  return std::min(features, kDriftGroups);
}

// The means of a sample's groups, whose number is out.size().
void GroupMeans(std::span<const float> sample, std::span<float> out) {
  for (std::size_t group = 0; group < out.size(); ++group) {
    const std::size_t first = group * sample.size() / out.size();
    const std::size_t last = (group + 1) * sample.size() / out.size();
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) sum += static_cast<double>(sample[i]);
    out[group] = static_cast<float>(sum / static_cast<double>(last - first));
  }
}

std::size_t BinOf(float value, float mean, float deviation) {
  const float distance = value - mean;
  std::size_t bin = 0;
  for (const float edge : {-1.5F, -0.5F, 0.5F, 1.5F}) bin += distance > edge * deviation ? 1U : 0U;
  // A group that never varied: whatever lies beside its value is far away.
  if (deviation == 0 && distance == 0) return kDriftBins / 2;
  return bin;
}

void Halve(DriftCounts& counts) {
  counts.samples /= 2;
  counts.confidence /= 2;
  for (std::uint64_t& count : counts.classes) count /= 2;
  for (auto& group : counts.groups) {
    for (std::uint64_t& count : group) count /= 2;
  }
}

double Sum(std::span<const std::uint64_t> counts) {
  double sum = 0;
  for (const std::uint64_t count : counts) sum += static_cast<double>(count);
  return sum;
}

double StabilityIndex(std::span<const std::uint64_t> served,
                      std::span<const std::uint64_t> before) {
  const auto bins = static_cast<double>(served.size());
  const double served_sum = Sum(served);
  const double before_sum = Sum(before);
  if (served_sum == 0 || before_sum == 0) return 0;
  double index = 0;
  for (std::size_t i = 0; i < served.size(); ++i) {
    const double p = (static_cast<double>(served[i]) + 0.5) / (served_sum + 0.5 * bins);
    const double q = (static_cast<double>(before[i]) + 0.5) / (before_sum + 0.5 * bins);
    index += (p - q) * std::log(p / q);
  }
  return std::max(0.0, index - (bins - 1) * (1 / served_sum + 1 / before_sum));
}

template <typename T>
void Append(std::string& text, T value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  if (!text.empty()) text += ' ';
  text.append(buffer, end);
}

// Reads numbers that single spaces separate.
class Words {
 public:
  explicit Words(std::string_view text) : text_(text) {}

  template <typename T>
  bool Read(T& value) {
    if (!is_first_) {
      if (text_.empty() || text_.front() != ' ') return false;
      text_.remove_prefix(1);
    }
    is_first_ = false;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc()) return false;
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    if constexpr (std::is_floating_point_v<T>) return std::isfinite(value);
    return true;
  }
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
  bool is_first_ = true;
};

bool ReadReference(Words& words, DriftReference& reference) {
  std::uint64_t format = 0;
  std::uint64_t classes = 0;
  std::uint64_t groups = 0;
  DriftCounts& counts = reference.counts;
  if (!words.Read(format) || format != 1 || !words.Read(counts.samples) ||
      !words.Read(counts.confidence) || !words.Read(classes) || classes > kClassesMax ||
      !words.Read(groups) || groups == 0 || groups > kDriftGroups) {
    return false;
  }
  for (std::uint64_t i = 0; i < classes; ++i) {
    if (!words.Read(counts.classes.emplace_back())) return false;
  }
  for (std::uint64_t i = 0; i < groups; ++i) {
    if (!words.Read(reference.mean.emplace_back())) return false;
    float& deviation = reference.deviation.emplace_back();
    if (!words.Read(deviation) || deviation < 0) return false;
    for (std::uint64_t& count : counts.groups.emplace_back()) {
      if (!words.Read(count)) return false;
    }
  }
  return words.at_end();
}

}  // namespace

std::string DriftReference::ToText() const {
  std::string text(kFormat);
  Append(text, counts.samples);
  Append(text, counts.confidence);
  Append(text, counts.classes.size());
  Append(text, mean.size());
  for (const std::uint64_t count : counts.classes) Append(text, count);
  for (std::size_t i = 0; i < mean.size(); ++i) {
    Append(text, mean[i]);
    Append(text, deviation[i]);
    for (const std::uint64_t count : counts.groups[i]) Append(text, count);
  }
  return text;
}

Result<DriftReference> DriftReference::Parse(std::string_view text) {
  Words words(text);
  DriftReference reference;
  if (ReadReference(words, reference)) return reference;
  return Error{ErrorCode::kMalformed, "drift reference: expected its numbers, found \"" +
                                          std::string(text.substr(0, 40)) + "\""};
}

bool Fits(const DriftReference& reference, const nn::Graph& graph) {
  return reference.mean.size() == GroupCount(graph.input_shape().count()) &&
         reference.counts.classes.size() == graph.output_shape().count();
}

Result<DriftReference> MeasureDriftReference(LocalModel& model, const data::Subset& samples) {
  const std::size_t count = std::min(samples.count(), kReferenceSamplesMax);
  if (count == 0)
    return Error{ErrorCode::kInvalidArgument, "drift reference: expected samples, found none"};
  const std::size_t features = samples.dataset().features();
  const std::size_t groups = GroupCount(features);
  std::vector<float> means(count * groups);
  std::vector<float> sample(features);
  for (std::size_t i = 0; i < count; ++i) {
    samples.CopySample(i, sample);
    GroupMeans(sample, std::span(means).subspan(i * groups, groups));
  }
  DriftReference reference;
  for (std::size_t group = 0; group < groups; ++group) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(means[i * groups + group]);
    const double mean = sum / static_cast<double>(count);
    double squares = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double distance = static_cast<double>(means[i * groups + group]) - mean;
      squares += distance * distance;
    }
    reference.mean.push_back(static_cast<float>(mean));
    reference.deviation.push_back(
        static_cast<float>(std::sqrt(squares / static_cast<double>(count))));
  }
  for (std::size_t i = 0; i < count; ++i) {
    samples.CopySample(i, sample);
    FL_TRY(const Prediction prediction, model.Predict(sample));
    CountSample(reference, sample, prediction, reference.counts);
  }
  return reference;
}

void CountSample(const DriftReference& reference, std::span<const float> sample,
                 const Prediction& prediction, DriftCounts& counts) {
  const std::size_t groups = reference.mean.size();
  counts.classes.resize(prediction.outputs.size());
  counts.groups.resize(groups);
  std::array<float, kDriftGroups> means{};
  GroupMeans(sample, std::span(means).first(groups));
  for (std::size_t i = 0; i < groups; ++i) {
    counts.groups[i][BinOf(means[i], reference.mean[i], reference.deviation[i])] += 1;
  }
  counts.classes[prediction.index] += 1;
  counts.confidence += static_cast<double>(prediction.confidence);
  counts.samples += 1;
  if (counts.samples >= kDriftSamplesMax) Halve(counts);
}

Drift MeasureDrift(const DriftReference& reference, const DriftCounts& counts) {
  Drift drift;
  if (counts.samples < kDriftSamplesMin) return drift;
  const DriftCounts& before = reference.counts;
  if (counts.classes.size() == before.classes.size() && counts.classes.size() > 1) {
    drift.classes = StabilityIndex(counts.classes, before.classes);
  }
  for (std::size_t i = 0; i < counts.groups.size(); ++i) {
    drift.inputs += StabilityIndex(counts.groups[i], before.groups[i]) /
                    static_cast<double>(counts.groups.size());
  }
  return drift;
}

}  // namespace fl::client
