#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fl/common/base/result.h"

// The plans that the server is measured with.
namespace fl::bench {

// [model] of an update of 4 KB, of 0.80 MB (199,210 parameters) and of about 8 MB.
inline constexpr const char* kSmallModel = "input = [100]\nlayers = [\"dense 10\"]\n";
inline constexpr const char* kLargeModel =
    "input = [784]\nlayers = [\"dense 200\", \"relu\", \"dense 200\", \"relu\", \"dense 10\"]\n";
inline constexpr const char* kPiecesModel =  // 1.2 MB: two pieces.
    "input = [784]\nlayers = [\"dense 400\", \"relu\", \"dense 10\"]\n";
inline constexpr const char* kHugeModel =
    "input = [1024]\nlayers = [\"dense 1024\", \"relu\", \"dense 1024\"]\n";

// Rounds of that many devices, each of whom is asked for an update in each.
std::string UpdatePlan(const std::string& model, std::size_t devices);
// More devices are waited for than there are: every check-in is idle.
std::string IdlePlan();
// A model of 1 KB, measured by the server after each round on a file that WriteEvaluationData made.
std::string LatencyPlan(std::size_t devices, const std::filesystem::path& evaluation);
Result<> WriteEvaluationData(const std::filesystem::path& path, std::uint64_t seed);

}  // namespace fl::bench
