#include "fl/compression/why_not_summed.h"

#include <algorithm>
#include <string_view>

namespace fl {
namespace {

constexpr const char* kSharedGrid = "quantize 8 scale=shared range=X";

bool IsOneOf(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

bool HasOption(const Stage& stage, const char* key, const char* value) {
  return std::ranges::find(stage.options, std::pair<std::string, std::string>(key, value)) !=
         stage.options.end();
}

// Empty where the stage is not in the way.
std::string WhyNotSummed(const Stage& stage) {
  const std::string& name = stage.name;
  if (IsOneOf(name, {"top_k", "threshold"})) {
    return name +
           " is chosen by each client, so it cannot be summed under secure aggregation; use "
           "shared_mask or announced";
  }
  if (name == "auto") {
    return name +
           " chooses by each client's own values, so it cannot be summed under secure aggregation; "
           "use shared_mask";
  }
  if (name == "low_rank" && HasOption(stage, "basis", "shared")) {
    return name +
           " basis=shared sends a factor, which only its basis makes a sum of values of, so it "
           "cannot be summed under secure aggregation; use shared_mask or announced";
  }
  if (IsOneOf(name, {"low_rank", "tucker"})) {
    return name +
           " sends factors, and the product of sums is not the sum of products, so it cannot be "
           "summed under secure aggregation; use shared_mask, or train fewer parameters";
  }
  if (name == "sketch") {
    return name +
           " sends the cells of a table, which secure aggregation does not sum in this version; "
           "use shared_mask";
  }
  if (name == "hadamard" && !HasOption(stage, "seed", "shared")) {
    return name +
           " turns each client's values by a seed of its own, so they cannot be summed under "
           "secure "
           "aggregation; use hadamard N seed=shared | " +
           kSharedGrid;
  }
  if (IsOneOf(name, {"rice", "rans", "context", "trits"})) {
    return name +
           " spends bits by the levels, and levels under a mask are all alike to it, so it cannot "
           "work under secure aggregation; leave it out and use " +
           kSharedGrid;
  }
  if (name == "quantize" && !HasOption(stage, "scale", "shared")) {
    return name +
           " has a grid of each client's own, so its levels cannot be summed under secure "
           "aggregation; use " +
           kSharedGrid;
  }
  if (IsOneOf(name, {"raw", "fp16", "bf16", "natural", "sign", "lloyd", "eden", "dead_zone",
                     "ternary"})) {
    return name +
           " writes no levels of a grid that all clients share, so it cannot be summed under "
           "secure aggregation; use " +
           kSharedGrid;
  }
  return "";
}

}  // namespace

std::string WhyNotSummed(const Recipe& recipe) {
  // An entropy code is named before the levels that it writes.
  for (const Stage& stage : recipe.stages) {
    const bool entropy = IsOneOf(stage.name, {"rice", "rans", "context", "trits"});
    const bool shapes = IsOneOf(
        stage.name, {"auto", "top_k", "threshold", "low_rank", "tucker", "sketch", "hadamard"});
    if (!entropy && !shapes) continue;
    std::string why = WhyNotSummed(stage);
    if (!why.empty()) return why;
  }
  for (const Stage& stage : recipe.stages) {
    std::string why = WhyNotSummed(stage);
    if (!why.empty()) return why;
  }
  if (!recipe.rest.empty()) {
    return "what one recipe leaves out for another, joined by +, is each client's own, so it "
           "cannot "
           "be summed under secure aggregation; use one recipe";
  }
  return "without a value stage values are raw, which cannot be summed under secure aggregation; "
         "add " +
         std::string(kSharedGrid);
}

}  // namespace fl
