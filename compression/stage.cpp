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

}  // namespace fl
