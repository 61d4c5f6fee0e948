#include "fl/compression/rate/encode_within.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/compression/rate/candidates.h"

namespace fl::rate {
namespace {

constexpr double kFill = 0.95;    // Of the budget, at least.
constexpr double kAim = 0.978;    // A little below the middle of what is good, as above it is lost.
constexpr int kPassesMax = 8;     // Encodings of all segments.
constexpr double kFarOff = 1.25;  // Sizes beyond this times the aim change what is chosen.
constexpr double kExponent = 0.7;  // Bytes fall about with this power of the steps.

double BytesOf(std::span<const Written> written) {
  double bytes = 0;
  for (const Written& each : written)
    bytes += static_cast<double>(each.payload.size() + VarintSize(each.payload.size()));
  return bytes;
}

// Candidates that a price makes the best.
using Chosen = std::vector<const Candidate*>;

Chosen ChooseAt(const std::vector<Candidates>& segments, double price) {
  Chosen chosen;
  for (const Candidates& segment : segments) {
    const auto cost = [&](const Candidate& each) {
      return segment.weight * each.lost + price * each.bits;
    };
    chosen.push_back(&*std::ranges::min_element(segment.all, {}, cost));
  }
  return chosen;
}

double BitsOf(const Chosen& chosen) {
  return std::accumulate(chosen.begin(), chosen.end(), 0.0,
                         [](double sum, const Candidate* each) { return sum + each->bits; });
}

// The candidates whose bits are the nearest to a budget, from either side: the steps make up for
// the rest.
Chosen ChooseFor(const std::vector<Candidates>& segments, double bits) {
  constexpr int kBisections = 60;
  double low = -80;  // Logarithms to base 2 of prices: too cheap, so that too many bits are taken,
  double high = 40;  // and too dear.
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (BitsOf(ChooseAt(segments, std::exp2(middle))) > bits ? low : high) = middle;
  }
  Chosen above = ChooseAt(segments, std::exp2(low));
  Chosen below = ChooseAt(segments, std::exp2(high));
  return BitsOf(above) * BitsOf(below) < bits * bits ? above : below;
}

// Searches the one multiple of all steps whose size is in the budget.
class StepSearch {
 public:
  double multiple() const { return std::exp2(now_); }
  // The size, over the one aimed at, that the multiple has led to.
  void Learn(double size_ratio) {
    const double error = std::log2(size_ratio);
    (error > 0 ? fine_ : coarse_) = Point{now_, error};
    if (fine_ && coarse_) {
      const double share = fine_->error / (fine_->error - coarse_->error);
      // Never close to an end: sizes have jumps.
      now_ = fine_->place + std::clamp(share, 0.15, 0.85) * (coarse_->place - fine_->place);
    } else {
      now_ += error / kExponent + (error > 0 ? 0.02 : -0.02);
    }
  }
  // Where the search begins: at what has `model_ratio` times the size aimed at, by the model.
  void Restart(double model_ratio) {
    fine_.reset();
    coarse_.reset();
    now_ = std::log2(model_ratio) / kExponent;
  }

 private:
  struct Point {
    double place;
    double error;
  };
  double now_ = 0;               // log2 of the multiple.
  std::optional<Point> fine_;    // Too many bytes.
  std::optional<Point> coarse_;  // Too few.
};

std::vector<Written> EncodeAll(std::span<const Source> sources,
                               const std::vector<Candidates>& segments, const Chosen& chosen,
                               double multiple) {
  std::vector<Written> written(sources.size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const Source& source = sources[i];
    written[i].decoded.assign(source.values.size(), 0.0F);
    written[i].setting = "nothing";
    if (!chosen[i]->setting) continue;
    AdaptiveSetting setting = Coarser(*chosen[i]->setting, multiple);
    if (setting.choice == AdaptiveChoice::kQuantize || setting.choice == AdaptiveChoice::kDeadZone)
      setting.parameter = std::max(setting.parameter, segments[i].step_min);
    written[i].payload = source.codec.EncodeAs(setting, source.values, written[i].decoded,
                                               source.rng.Child("payload"));
    if (!written[i].payload.empty()) written[i].setting = ToText(setting);
  }
  return written;
}

std::vector<Written> EncodeRaw(std::span<const Source> sources) {
  std::vector<Written> written(sources.size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const AdaptiveSetting raw;
    written[i].decoded.resize(sources[i].values.size());
    written[i].payload = sources[i].codec.EncodeAs(raw, sources[i].values, written[i].decoded,
                                                   sources[i].rng.Child("payload"));
    written[i].setting = written[i].payload.empty() ? "nothing" : ToText(raw);
  }
  return written;
}

std::size_t RawBytes(std::span<const Source> sources) {
  std::size_t bytes = 0;
  for (const Source& source : sources) {
    const std::size_t payload = 1 + sizeof(float) * source.values.size();
    bytes += payload + VarintSize(payload);
  }
  return bytes;
}

// The last way: whole segments are left out, the largest payloads first.
void LeaveOut(std::vector<Written>& written, double bytes) {
  while (BytesOf(written) > bytes) {
    const auto largest = std::ranges::max_element(
        written, {}, [](const Written& each) { return each.payload.size(); });
    FL_CHECK(!largest->payload.empty(), "a budget has room for payloads of no bytes");
    *largest = {{}, std::vector<float>(largest->decoded.size()), "nothing"};
  }
}

}  // namespace

std::vector<Written> EncodeWithin(std::span<const Source> sources, std::size_t bytes,
                                  std::size_t* passes) {
  if (passes != nullptr) *passes = 1;
  if (RawBytes(sources) <= bytes) return EncodeRaw(sources);
  const auto budget = static_cast<double>(bytes);
  const double aim = kAim * budget;
  std::vector<Candidates> segments;
  for (const Source& source : sources) {
    segments.push_back(
        FindCandidates(source.codec, source.values, 8 * budget, source.rng.Child("sketch")));
  }
  double model_bits = 8 * (aim - static_cast<double>(sources.size()));
  Chosen chosen = ChooseFor(segments, model_bits);
  StepSearch search;
  search.Restart(std::max(BitsOf(chosen), 1.0) / model_bits);
  std::vector<Written> best;
  double best_bytes = -1;
  for (int pass = 1; pass <= kPassesMax; ++pass) {
    if (passes != nullptr) *passes = static_cast<std::size_t>(pass);
    const double multiple = search.multiple();
    std::vector<Written> written = EncodeAll(sources, segments, chosen, multiple);
    const double size = BytesOf(written);
    if (size <= budget && size > best_bytes) {
      best = std::move(written);
      best_bytes = size;
    } else if (best_bytes < 0 && pass == kPassesMax) {
      LeaveOut(written, budget);
      return written;
    }
    if (best_bytes >= kFill * budget) break;
    const double ratio = std::max(size, 1.0) / aim;
    if (pass == 1 && std::max(ratio, 1 / ratio) > kFarOff) {
      model_bits /= ratio;
      chosen = ChooseFor(segments, model_bits);
      search.Restart(std::max(BitsOf(chosen), 1.0) / model_bits);
    } else {
      search.Learn(ratio);
      if (search.multiple() == multiple) break;
    }
  }
  return best;
}

}  // namespace fl::rate
