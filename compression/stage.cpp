#include "fl/compression/stage.h"

#include <algorithm>

namespace fl {

Error RefuseStage(const Stage& stage, const std::string& reason) {
  return {ErrorCode::kInvalidArgument,
          "at character " + std::to_string(stage.column + 1) + ": " + stage.name + ": " + reason};
}

Result<> TakesNothing(const Stage& stage) {
  if (stage.arguments.empty() && stage.options.empty()) return {};
  return RefuseStage(stage, "takes no arguments and no options");
}

Result<StageOptions> StageOptions::Read(const Stage& stage,
                                        std::span<const std::string_view> known) {
  for (auto option = stage.options.begin(); option != stage.options.end(); ++option) {
    const std::string& key = option->first;
    if (std::ranges::find(known, key) == known.end()) {
      std::string list;
      for (const std::string_view name : known)
        list += (list.empty() ? "" : ", ") + std::string(name);
      return RefuseStage(stage, "unknown option \"" + key + "\"; expected " +
                                    (list.empty() ? "none" : "one of " + list));
    }
    const bool twice = std::any_of(stage.options.begin(), option,
                                   [&](const auto& earlier) { return earlier.first == key; });
    if (twice) return RefuseStage(stage, "option \"" + key + "\" is given twice");
  }
  return StageOptions(stage);
}

const std::string* StageOptions::Find(std::string_view key) const {
  for (const auto& [name, value] : stage_->options) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<double> ReadShare(const Stage& stage, std::size_t arguments_max) {
  const bool right = !stage.arguments.empty() && stage.arguments.size() <= arguments_max;
  const std::string_view text = right ? std::string_view(stage.arguments.front()) : "";
  const auto percent =
      text.ends_with('%') ? ParseNumber<double>(text.substr(0, text.size() - 1)) : std::nullopt;
  if (percent && *percent > 0 && *percent <= 100) return *percent / 100;
  return RefuseStage(stage, "expected the share that is kept, above 0% and up to 100%, such as " +
                                stage.name + " 1%, found \"" + std::string(text) + "\"");
}

}  // namespace fl
