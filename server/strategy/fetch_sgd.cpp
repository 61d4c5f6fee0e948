#include "fl/server/strategy/fetch_sgd.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/largest_magnitudes.h"
#include "fl/compression/codecs/sketch.h"

namespace fl::server {
namespace {

// What the tensor held after the last round; zeros before the first one.
std::vector<float>& Kept(StateTensors& state, const std::string& name, std::size_t size) {
  std::vector<float>& tensor = state.try_emplace(name, size).first->second;
  FL_CHECK(tensor.size() == size, "the state is of the plan's segments");
  return tensor;
}

// momentum = factor * momentum + change.
void Accumulate(std::span<const float> change, float factor, std::span<float> momentum) {
  for (std::size_t i = 0; i < momentum.size(); ++i) {
    momentum[i] = factor * momentum[i] + change[i];
  }
}

void AddScaled(std::span<const float> values, float factor, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += factor * values[i];
}

std::size_t KeptOf(double keep, std::size_t all, std::size_t columns) {
  double wanted = keep;
  if (keep == 0) wanted = std::floor(static_cast<double>(columns) / 8);
  if (keep > 0 && keep < 1) wanted = std::ceil(keep * static_cast<double>(all));
  return std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, all);
}

}  // namespace

std::vector<float> FetchSgd::Step(std::span<const float> model, const StreamAggregate& delta,
                                  StateTensors& state) const {
  FL_CHECK(model.size() == delta.values.size(), "model and delta have one layout");
  const auto factor = static_cast<float>(config_.momentum);
  const auto server_step = static_cast<float>(config_.server_step);
  std::vector<float> wanted(model.begin(), model.end());
  std::size_t columns = 0;
  std::vector<float> told;  // Of all sketched segments, one after the other.
  const auto segments = segments_.segments();
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const CountSketch* sketch = SketchOf(*segments[s].codec);
    std::vector<float> own(sketch != nullptr ? 0 : segments[s].codec->count());
    if (sketch == nullptr) segments_.Gather(s, delta.values, own);
    const std::vector<float>& change = sketch != nullptr ? delta.sums[s] : own;
    std::vector<float>& momentum = Kept(state, "momentum/" + segments[s].name, change.size());
    Accumulate(change, factor, momentum);
    if (sketch == nullptr) {
      std::vector<float> step(own.size());
      AddScaled(momentum, server_step, step);
      segments_.Scatter(s, step, wanted);
      continue;
    }
    std::vector<float>& error = Kept(state, "error/" + segments[s].name, change.size());
    AddScaled(momentum, server_step, error);
    columns += sketch->columns();
    told.resize(told.size() + sketch->count());
    sketch->Estimate(error, 0, std::span(told).last(sketch->count()));
  }
  const auto kept = internal::LargestMagnitudes(told, KeptOf(config_.keep, told.size(), columns));
  auto next = kept.begin();
  std::size_t first = 0;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const CountSketch* sketch = SketchOf(*segments[s].codec);
    if (sketch == nullptr) continue;
    std::vector<float>& error = state.at("error/" + segments[s].name);
    std::vector<float> step(sketch->count());
    for (; next != kept.end() && *next < first + step.size(); ++next) {
      step[*next - first] = told[*next];
      sketch->AddOne(*next - first, -told[*next], error);
    }
    segments_.Scatter(s, step, wanted);
    first += step.size();
  }
  return wanted;
}

}  // namespace fl::server
