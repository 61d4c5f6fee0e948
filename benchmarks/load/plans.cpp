#include "fl/benchmarks/load/plans.h"

#include "fl/common/base/file.h"
#include "fl/common/random/rng_stream.h"

namespace fl::bench {
namespace {

constexpr std::size_t kFeatures = 24;
constexpr std::size_t kSamples = 20000;

std::string Plan(const std::string& model, std::size_t population, std::size_t goal) {
  const std::string wanted = std::to_string(goal);
  return "name = \"bench\"\nseed = 1\n[model]\n" + model +
         "[rounds]\ncount = 1000000\npopulation_min = " + std::to_string(population) +
         "\ngoal = " + wanted + "\nmin_report = " + wanted + "\ndeadline_s = 600\nwait_s = 1\n";
}

}  // namespace

std::string UpdatePlan(const std::string& model, std::size_t devices) {
  return Plan(model, devices, devices);
}

std::string IdlePlan() {
  return Plan(kSmallModel, 1000000, 100);
}

std::string LatencyPlan(std::size_t devices, const std::filesystem::path& evaluation) {
  return Plan("input = [" + std::to_string(kFeatures) + "]\nlayers = [\"dense 10\"]\n", devices,
              devices) +
         "[evaluation]\ndata = \"csv:" + evaluation.string() + "\"\n";
}

Result<> WriteEvaluationData(const std::filesystem::path& path, std::uint64_t seed) {
  RngStream rng = RngStream(seed).Child("evaluation");
  std::string text;
  for (std::size_t i = 0; i < kFeatures; ++i) text += "x" + std::to_string(i) + ",";
  text += "label\n";
  for (std::size_t sample = 0; sample < kSamples; ++sample) {
    for (std::size_t i = 0; i < kFeatures; ++i) {
      text += std::to_string(rng.UniformInteger(1000)) + ",";
    }
    text += std::to_string(sample % 10) + "\n";
  }
  return WriteFileAtomically(path, AsBytes(text));
}

}  // namespace fl::bench
