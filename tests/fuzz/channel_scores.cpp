#include <cmath>
#include <cstdint>

#include "fl/compression/deploy/own_scores.h"

// Scores are read or refused; what is read names layers and holds finite numbers.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto scores = fl::deploy::ParseScores(std::as_bytes(std::span(data, size)));
  if (!scores) return 0;
  for (const auto& [layer, values] : *scores) {
    for (const double value : values) FL_CHECK(std::isfinite(value), "scores are finite");
  }
  return 0;
}
