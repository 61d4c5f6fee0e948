#include "fl/benchmarks/zoo_models.h"

#include <filesystem>

#include "fl/common/base/file.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/onnx/export_onnx.h"

namespace fl::bench {
namespace {

constexpr std::size_t kCalibration = 4;

}  // namespace

Result<MeasuredModel> MakeMeasuredModel(std::string_view name, const RunConditions& conditions) {
  MeasuredModel model;
  FL_TRY(model.graph, nn::BuildZooModel(name, {.folded = true}));
  const RngStream rng(conditions.seed);
  model.parameters = nn::InitializeParameters(model.graph, rng.Child("model")).values;
  const std::size_t features = model.graph.input_shape().count();
  std::vector<float> samples(kCalibration * features);
  rng.Child("samples").FillUniform(samples);
  FL_TRY(const std::vector<nn::ActivationRange> ranges,
         nn::ObserveRanges(model.graph, model.parameters, samples, kCalibration,
                           nn::RangeMethod::kMinMax));
  FL_TRY(model.integer, nn::Quantize(model.graph, model.parameters, ranges));
  FL_TRY(model.dynamic, nn::QuantizeDynamic(model.graph, model.parameters));
  samples.resize(features);
  model.input = std::move(samples);
  return model;
}

Result<> WriteMeasuredModels(const std::string& folder, std::string_view only,
                             const RunConditions& conditions) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  for (const nn::ZooModel& zoo : nn::ZooModels()) {
    if (zoo.name.find(only) == std::string_view::npos) continue;
    FL_TRY(MeasuredModel model, MakeMeasuredModel(zoo.name, conditions));
    nn::ModelFile file;
    file.model = std::move(model.integer);
    FL_TRY(const onnx::OnnxModel exported, onnx::ExportOnnx(file));
    const auto path = std::filesystem::path(folder) / (std::string(zoo.name) + ".onnx");
    FL_TRY_OK(WriteFileAtomically(path.string(), onnx::SerializeOnnx(exported)));
  }
  return {};
}

}  // namespace fl::bench
