#include "fl/compression/app/model/probe.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <numeric>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/operator.h"
#include "fl/compression/app/model/model_samples.h"

namespace fl::model_app {
namespace {

struct Layer {
  const char* line;
  std::array<std::size_t, 3> image;  // Height 0: a vector of image[2] features.
};

// Small and large cases of each operator with arithmetic whose output has the shape of its input,
// so that they can stand in a chain; ReLU for the way in and out.
constexpr Layer kLayers[] = {
    {"conv 8 5x5 same", {14, 14, 8}},
    {"conv 16 3x3 same", {16, 16, 16}},
    {"conv 32 3x3 same", {16, 16, 32}},
    {"conv 32 5x5 same", {14, 14, 32}},
    {"conv 64 3x3 same", {8, 8, 64}},
    {"conv 64 3x3 same", {16, 16, 64}},
    {"conv 64 1x1", {25, 5, 64}},
    {"conv 128 1x1", {6, 6, 128}},
    {"depthwise 3x3 same", {25, 5, 64}},
    {"depthwise 3x3 same", {48, 48, 16}},
    {"depthwise 3x3 same", {6, 6, 128}},
    {"dense 64", {0, 0, 64}},
    {"dense 200", {0, 0, 200}},
    {"dense 512", {0, 0, 512}},
    {"dense 1024", {0, 0, 1024}},
    {"maxpool 3x3 stride=1 same", {14, 14, 32}},
    {"avgpool 3x3 stride=1 same", {14, 14, 32}},
    {"hard_swish", {14, 14, 32}},
    {"sigmoid", {14, 14, 32}},
    {"tanh", {14, 14, 32}},
    {"relu", {0, 0, 64}},
    {"relu", {28, 28, 1}},
    {"relu", {32, 32, 3}},
};

// Microseconds of a graph of so many copies of a layer; int8 0 where the integer engine has none.
Result<OperatorTime> TimeChain(const Shape& input, const std::string& line, std::size_t copies,
                               const deploy::Instruments& instruments) {
  deploy::WorkingModel model;
  FL_TRY(model.graph,
         nn::BuildGraph(input, std::vector<std::string>(copies, line), "mean_squared_error"));
  model.parameters = nn::InitializeParameters(model.graph, RngStream(1)).values;
  OperatorTime row{line, {input.extents().begin(), input.extents().end()}};
  row.multiply_accumulates = nn::CostOf(model.graph).flops / 2;
  FL_TRY(const data::Subset samples, DrawSamples(model.graph));
  FL_TRY(const auto fp32, deploy::MeasureLatency(model, samples, instruments));
  if (!fp32) return Error{ErrorCode::kInvalidArgument, "probe: expected a clock"};
  row.fp32_us = fp32->median_us;
  if (!QuantizeBy(samples, model).has_value()) return row;
  const auto int8 = deploy::MeasureLatency(model, samples, instruments);
  if (int8 && *int8) row.int8_us = (*int8)->median_us;
  return row;
}

// What one more copy in a chain takes, so that the way in and out does not count; where noise hides
// it, a hundredth of the whole.
Result<OperatorTime> Time(const Layer& layer, const deploy::Instruments& instruments) {
  constexpr std::size_t kMore = 4;
  const auto& [height, width, channels] = layer.image;
  const Shape input = height == 0 ? Shape{channels} : Shape{height, width, channels};
  FL_TRY(OperatorTime row, TimeChain(input, layer.line, 1, instruments));
  if (row.layer == "relu") return row;
  FL_TRY(const OperatorTime chain, TimeChain(input, layer.line, 1 + kMore, instruments));
  row.fp32_us = std::max((chain.fp32_us - row.fp32_us) / kMore, row.fp32_us / 100);
  if (row.int8_us > 0 && chain.int8_us > 0)
    row.int8_us = std::max((chain.int8_us - row.int8_us) / kMore, row.int8_us / 100);
  return row;
}

// The number before the K of "48K", in bytes; 0 where the file cannot be read.
std::size_t ReadCacheFile(const std::string& path) {
  std::ifstream file(path);
  std::size_t kilobytes = 0;
  return file >> kilobytes ? kilobytes * 1024 : 0;
}

// Of data, by level, as Linux tells.
std::vector<std::size_t> CacheBytes() {
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    std::ifstream type_file(folder + "type");
    std::string type;
    if (!(type_file >> type) || type == "Instruction") continue;
    if (const std::size_t bytes = ReadCacheFile(folder + "size"); bytes > 0) sizes.push_back(bytes);
  }
  return sizes;
}

// Gigabytes read in a second: the best of three.
double MemoryRate(const deploy::Instruments& instruments) {
  constexpr std::size_t kWords = (std::size_t{128} << 20) / sizeof(std::uint64_t);
  const std::vector<std::uint64_t> words(kWords, 1);
  double best = 0;
  std::uint64_t sum = 0;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t begin = instruments.nanoseconds();
    sum += std::accumulate(words.begin(), words.end(), std::uint64_t{0});
    const std::int64_t end = instruments.nanoseconds();
    if (end > begin)
      best = std::max(best, static_cast<double>(kWords * 8) / static_cast<double>(end - begin));
  }
  return sum == 3 * kWords ? best : 0;  // The sum is looked at, so that it is computed.
}

// Channels that one step of the widest kernels takes.
std::uint32_t ChannelMultiple(nn::InstructionSet set) {
  switch (set) {
    case nn::InstructionSet::kX86V4:
      return 16;
    case nn::InstructionSet::kX86V3:
      return 8;
    default:
      return 4;
  }
}

}  // namespace

Result<HardwareProfile> ProbeMachine(const deploy::Instruments& instruments) {
  if (instruments.nanoseconds == nullptr)
    return Error{ErrorCode::kInvalidArgument, "probe: expected a clock"};
  HardwareProfile profile;
  profile.instruction_set = nn::InstructionSetName(nn::BestInstructionSet());
  profile.integer_instruction_set = nn::InstructionSetName(nn::BestIntegerInstructionSet());
  profile.cache_bytes = CacheBytes();
  profile.channel_multiple = ChannelMultiple(nn::BestInstructionSet());
  profile.memory_gbps = MemoryRate(instruments);
  for (const Layer& layer : kLayers) {
    FL_TRY(const OperatorTime row, Time(layer, instruments));
    profile.operators.push_back(row);
    // Smaller ones are over before the clock knows. 2 operations a multiply-accumulate; 1,000 of
    // them a microsecond are a giga of them a second.
    constexpr double kLarge = 2e6;
    if (row.multiply_accumulates < kLarge) continue;
    const double operations = 2e-3 * row.multiply_accumulates;
    profile.fp32_gflops = std::max(profile.fp32_gflops, operations / row.fp32_us);
    if (row.int8_us > 0) profile.int8_gops = std::max(profile.int8_gops, operations / row.int8_us);
  }
  return profile;
}

}  // namespace fl::model_app
