#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fl::server {

// How much of the earlier versions the running average keeps at version t >= 1:
// min(decay_max, (t - 1) / (t + 3)), so that the first versions, far from the goal, are soon
// forgotten.
double AverageDecay(std::uint64_t version, double decay_max);

// The running average of the wanted models up to version t (Polyak & Juditsky 1992, with an
// exponential window): decay x average + (1 - decay) x wanted, computed in double, coordinate by
// coordinate. `average` is that of version t - 1; at t = 1 it counts nothing.
std::vector<float> AverageModel(std::span<const float> average, std::span<const float> wanted,
                                double decay);

}  // namespace fl::server
