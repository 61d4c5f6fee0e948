#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

Result<> ApplyMasks(const nn::Graph& graph,
                    const std::map<std::string, std::vector<std::uint8_t>>& masks,
                    std::span<float> parameters) {
  for (const auto& [name, mask] : masks) {
    const auto tensor = graph.parameters.Find(name);
    if (!tensor)
      return Error{ErrorCode::kNotFound, "masks: the model has no tensor \"" + name + "\""};
    const TensorSpec& spec = graph.parameters[*tensor];
    const auto values = parameters.subspan(graph.parameters.offset(*tensor), spec.shape.count());
    if (mask.size() != values.size()) {
      return Error{ErrorCode::kShapeMismatch, "masks: expected " + std::to_string(values.size()) +
                                                  " entries for \"" + name + "\", found " +
                                                  std::to_string(mask.size())};
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (mask[i] == 0) values[i] = 0;
    }
  }
  return {};
}

nn::ModelFile ToModelFile(const WorkingModel& model) {
  if (model.quantized) return {*model.quantized, {}, {}, {}};
  const std::span<const float> values = model.current_parameters();
  return {nn::FloatModel{model.graph, {values.begin(), values.end()}, model.storage}, {}, {}, {}};
}

}  // namespace fl::deploy
