#include "fl/client/serve/served_model.h"

#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/model_file.h"

namespace fl::client {
namespace {

using nlohmann::ordered_json;

std::string ToText(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// In the fewest digits that are read back to the same float.
void AppendNumber(std::string& json, float value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  json.append(buffer, end);
}

void AppendNumbers(std::string& json, std::span<const float> values) {
  json += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) json += ',';
    AppendNumber(json, values[i]);
  }
  json += ']';
}

std::vector<float> Softmax(std::span<const float> outputs, std::size_t largest) {
  std::vector<double> powers(outputs.size());
  double sum = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    powers[i] = std::exp(static_cast<double>(outputs[i]) - static_cast<double>(outputs[largest]));
    sum += powers[i];
  }
  std::vector<float> result(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) result[i] = static_cast<float>(powers[i] / sum);
  return result;
}

// A number that the notes keep as text, or null.
ordered_json NumberNote(const std::map<std::string, std::string>& notes, const std::string& key) {
  const auto found = notes.find(key);
  if (found == notes.end()) return nullptr;
  const auto number = ordered_json::parse(found->second, nullptr, false);
  return number.is_number() ? number : ordered_json(nullptr);
}

// In the words of the file's "fl.precision".
std::string_view PrecisionOf(const nn::ModelFile& file) {
  const auto* floats = std::get_if<nn::FloatModel>(&file.model);
  if (floats == nullptr) return "int8";
  switch (floats->storage) {
    case nn::FloatStorage::kFp32:
      return "fp32";
    case nn::FloatStorage::kFp16:
      return "fp16";
    case nn::FloatStorage::kBf16:
      return "bf16";
  }
  return "fp32";
}

std::string MakeCard(const nn::ModelFile& file, const Digest& digest, std::size_t bytes,
                     const std::string& installed) {
  const nn::Graph& graph = file.graph();
  const auto federation = file.notes.find("federation");
  ordered_json card;
  card["name"] = federation != file.notes.end() ? federation->second : "local model";
  card["model_sha256"] = digest.ToHex();
  card["installed"] = installed;
  card["model_version"] = NumberNote(file.notes, "model_version");
  card["accuracy"] = NumberNote(file.notes, "accuracy");
  card["global_accuracy"] = NumberNote(file.notes, "global_accuracy");
  card["bytes"] = bytes;
  card["precision"] = PrecisionOf(file);
  card["parameters"] = graph.parameters.total();
  card["input"] = ordered_json::array();
  for (std::size_t i = 0; i < graph.input_shape().rank(); ++i) {
    card["input"].push_back(graph.input_shape()[i]);
  }
  card["outputs"] = graph.output_shape().count();
  card["loss"] = nn::LossName(graph.loss);
  card["layers"] = nn::DescribeLayers(graph);
  card["labels"] = file.labels;
  card["normalization"] = file.normalization;
  card["notes"] = file.notes;
  card["notes"].erase(std::string(kDriftNote));
  return ToText(card);
}

// The reference in the file's notes, where it fits the model.
std::optional<DriftReference> FindReference(const nn::ModelFile& file) {
  const auto found = file.notes.find(std::string(kDriftNote));
  if (found == file.notes.end()) return std::nullopt;
  auto reference = DriftReference::Parse(found->second);
  if (!reference || !Fits(*reference, file.graph())) return std::nullopt;
  return *std::move(reference);
}

}  // namespace

Result<std::shared_ptr<ServedModel>> ServedModel::Load(ByteSpan model_file,
                                                       const std::string& installed) {
  FL_TRY(nn::ModelFile file, nn::ParseModelFile(model_file));
  const Digest digest = crypto::Sha256(model_file);
  std::string card = MakeCard(file, digest, model_file.size(), installed);
  std::optional<DriftReference> reference = FindReference(file);
  FL_TRY(LocalModel model, LocalModel::FromFile(std::move(file)));
  FL_TRY_OK(model.normalization().Validate(model.graph().input_shape()));
  std::shared_ptr<ServedModel> served(new ServedModel(std::move(model), digest));
  served->card_ = std::move(card);
  served->reference_ = std::move(reference);
  return served;
}

Result<std::string> ServedModel::Answer(data::Samples samples) {
  const bool is_regression = model_.graph().loss == nn::LossKind::kMeanSquaredError;
  FL_TRY(const data::Dataset dataset,
         data::Dataset::Create(std::move(samples), model_.normalization()));
  std::string json = "{\"model_sha256\":\"" + digest_.ToHex() + "\",\"predictions\":[";
  std::vector<float> sample(dataset.features());
  for (std::size_t i = 0; i < dataset.count(); ++i) {
    dataset.CopySample(i, sample);
    FL_TRY(const Prediction prediction, model_.Predict(sample));
    for (const float output : prediction.outputs) {
      if (std::isfinite(output)) continue;
      return Error{ErrorCode::kNotFinite, "sample " + std::to_string(i) +
                                              ": expected values that the model can answer "
                                              "with finite numbers, found larger ones"};
    }
    if (reference_) CountSample(*reference_, sample, prediction, counts_);
    if (i > 0) json += ',';
    if (is_regression) {
      json += "{\"outputs\":";
      AppendNumbers(json, prediction.outputs);
      json += '}';
    } else {
      AppendPrediction(prediction, json);
    }
  }
  json += "]}";
  return json;
}

void ServedModel::AppendPrediction(const Prediction& prediction, std::string& json) const {
  const std::vector<std::string>& labels = model_.labels();
  const std::string number = std::to_string(prediction.index);
  json += "{\"class\":" + number + ",\"label\":";
  json += ToText(prediction.index < labels.size() ? labels[prediction.index] : number);
  json += ",\"confidence\":";
  AppendNumber(json, prediction.confidence);
  json += ",\"probabilities\":";
  AppendNumbers(json, Softmax(prediction.outputs, prediction.index));
  json += '}';
}

}  // namespace fl::client
