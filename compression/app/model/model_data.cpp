#include "fl/compression/app/model/model_data.h"

#include <utility>

#include "fl/common/base/file.h"
#include "fl/common/data/source.h"
#include "fl/common/nn/materialize.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::model_app {
namespace {

constexpr std::uint64_t kFileBytesMax = 1ULL << 33;

Result<data::Normalization> NormalizationOf(const nn::ModelFile& model,
                                            const DataOptions& options) {
  const std::string& text = options.normalize.empty() ? model.normalization : options.normalize;
  if (text.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the model file does not say how its samples are normalized; expected "
                 "--normalize none, unit, or \"standard mean M... scale S...\""};
  }
  auto parsed = data::Normalization::Parse(text);
  if (!parsed && !options.normalize.empty())
    return Error{ErrorCode::kInvalidArgument, "--normalize: " + parsed.error().message};
  return parsed;
}

}  // namespace

Result<nn::ModelFile> ReadModel(const std::string& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kFileBytesMax));
  auto file = nn::ParseModelFile(bytes);
  if (!file) return file.error().At(path);
  return file;
}

Result<std::shared_ptr<const data::Dataset>> OpenData(const nn::ModelFile& model,
                                                      const DataOptions& options) {
  const nn::Graph& graph = model.graph();
  data::SourceOptions reading;
  reading.shape = graph.input_shape();
  reading.regression = graph.loss == nn::LossKind::kMeanSquaredError;
  reading.classes = reading.regression ? 0 : graph.output_shape().count();
  reading.csv.label = options.label;
  FL_TRY(reading.normalization, NormalizationOf(model, options));
  FL_TRY(std::shared_ptr<const data::Dataset> dataset, data::OpenSource(options.source, reading));
  FL_TRY_OK(CheckFits(*dataset, graph));
  return dataset;
}

DataParts SplitForPasses(const std::shared_ptr<const data::Dataset>& dataset, std::uint64_t seed,
                         const std::shared_ptr<const data::Dataset>& unseen) {
  const RngStream rng(seed);
  if (unseen != nullptr) {
    auto own = data::SplitHoldOut(data::Subset(dataset), 0.1, rng.Child("calibration"));
    auto other = data::SplitHoldOut(data::Subset(unseen), 0.5, rng.Child("verification"));
    return {std::move(own.training), std::move(own.holdout), std::move(other.holdout),
            std::move(other.training)};
  }
  auto held = data::SplitHoldOut(data::Subset(dataset), 0.2, rng.Child("verification"));
  auto rest = data::SplitHoldOut(held.training, 0.1, rng.Child("calibration"));
  return {std::move(rest.training), rest.holdout, std::move(held.holdout), rest.holdout};
}

Result<CompressInputs> ReadCompressInputs(const std::string& path, const DataOptions& data,
                                          std::uint64_t seed) {
  FL_TRY(nn::ModelFile file, ReadModel(path));
  const auto* floats = std::get_if<nn::FloatModel>(&file.model);
  if (floats == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 path + ": expected an fp32 model, found one that is quantized already"};
  }
  FL_TRY(nn::FloatModel teacher, nn::Materialize(floats->graph, floats->parameters));
  teacher.graph.frozen.clear();
  FL_TRY(const auto dataset, OpenData(file, data));
  std::shared_ptr<const data::Dataset> unseen;
  if (!data.unseen.empty()) {
    DataOptions other = data;
    other.source = data.unseen;
    FL_TRY(unseen, OpenData(file, other));
  }
  DataParts parts = SplitForPasses(dataset, seed, unseen);
  return CompressInputs{std::move(file), std::move(teacher), std::move(parts),
                        dataset->normalization().ToText()};
}

}  // namespace fl::model_app
