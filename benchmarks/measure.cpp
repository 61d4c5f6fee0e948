#include "fl/benchmarks/measure.h"

#include <ctime>

#include "fl/common/base/check.h"

namespace fl::bench {

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double ThreadSeconds() {
  timespec now{};
  FL_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "threads have clocks");
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::unique_ptr<Codec> MakeCodec(std::string_view recipe, const Shape& shape) {
  const auto parsed = ParseRecipe(recipe);
  FL_CHECK(parsed.has_value(), "a benchmark's recipe is well-formed");
  auto codec = BuildCodec(*parsed, shape);
  FL_CHECK(codec.has_value(), "a benchmark's recipe fits its shape");
  return std::move(codec).value();
}

Coded Code(std::string_view recipe, const Matrices& matrices, std::uint64_t seed) {
  Coded coded;
  double error = 0;
  double energy = 0;
  std::size_t bytes = 0;
  std::size_t count = 0;
  for (std::size_t m = 0; m < matrices.values.size(); ++m) {
    const std::span<const float> values = matrices.values[m];
    const auto codec = MakeCodec(recipe, matrices.shapes[m]);
    std::vector<float> decoded(values.size());
    ByteWriter out;
    codec->Encode(values, decoded, {codec->InitialParameters()}, RngStream(seed).Child("matrix", m),
                  out);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double value = static_cast<double>(values[i]);
      const double difference = value - static_cast<double>(decoded[i]);
      error += difference * difference;
      energy += value * value;
    }
    bytes += out.size();
    count += values.size();
    coded.payloads.push_back(std::move(out).Take());
  }
  coded.bits = 8 * static_cast<double>(bytes) / static_cast<double>(count);
  coded.nmse = energy > 0 ? error / energy : 0;
  return coded;
}

void AddInBlocks(const Codec& codec, const ParsedPayload& payload, float scale,
                 std::span<float> out) {
  for (std::size_t at = 0; at < out.size(); at += kFoldBlock)
    codec.DecodeAdd(payload, at, scale, out.subspan(at, std::min(kFoldBlock, out.size() - at)));
}

}  // namespace fl::bench
