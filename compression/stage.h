#pragma once

#include <charconv>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fl/common/base/result.h"

// What a codec reads of the recipe that asks for it.
namespace fl {

// A parsed stage: name { argument | key=value }.
struct Stage {
  std::string name;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> options;
  std::size_t column = 0;  // Offset of the name in the recipe's text.
};

// A recipe's stages by what they do, at most one of each, once their order has been checked;
// absent: null. At least one of the first two is there. Refers to the recipe, which outlives it.
struct Chain {
  const Stage* shape = nullptr;    // Chooses or transforms what is sent: top_k, low_rank.
  const Stage* values = nullptr;   // Rounds it: raw, fp16, quantize.
  const Stage* entropy = nullptr;  // Writes bits: pack.
};

// kInvalidArgument: "at character N: NAME: REASON".
Error RefuseStage(const Stage& stage, const std::string& reason);

// Refuses arguments and options.
Result<> TakesNothing(const Stage& stage);

// The share, in (0, 1], that a stage's first argument names, such as 1%. kInvalidArgument when it
// does not, or when there are more than `arguments_max`.
Result<double> ReadShare(const Stage& stage, std::size_t arguments_max = 1);

// The number that is the whole of `text`, if it is one.
template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A stage's options by key.
class StageOptions {
 public:
  // Refuses a key that is not in `known` or is given twice. The stage outlives the result.
  static Result<StageOptions> Read(const Stage& stage, std::span<const std::string_view> known);
  // Null where it is not given.
  const std::string* Find(std::string_view key) const;

 private:
  explicit StageOptions(const Stage& stage) : stage_(&stage) {}
  const Stage* stage_;
};

}  // namespace fl
