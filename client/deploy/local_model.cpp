#include "fl/client/deploy/local_model.h"

#include <cmath>
#include <utility>

#include "fl/common/nn/evaluate.h"

namespace fl::client {
namespace {

// The softmax probability of the largest output.
float Confidence(std::span<const float> outputs, std::size_t index) {
  double sum = 0;
  for (const float output : outputs) {
    sum += std::exp(static_cast<double>(output) - static_cast<double>(outputs[index]));
  }
  return static_cast<float>(1.0 / sum);
}

}  // namespace

Result<LocalModel> LocalModel::Load(ByteSpan model_file) {
  FL_TRY(nn::ModelFile file, nn::ParseModelFile(model_file));
  return FromFile(std::move(file));
}

Result<LocalModel> LocalModel::FromFile(nn::ModelFile file) {
  data::Normalization normalization;
  if (!file.normalization.empty()) {
    FL_TRY(normalization, data::Normalization::Parse(file.normalization));
  }
  if (const auto* integers = std::get_if<nn::QuantizedModel>(&file.model)) {
    FL_TRY(nn::IntegerSession session, nn::IntegerSession::Create(*integers, 1));
    return LocalModel(std::move(session), {}, std::move(file.labels), std::move(normalization));
  }
  auto& floats = std::get<nn::FloatModel>(file.model);
  FL_TRY(nn::Session session, nn::Session::Create(floats.graph, 1));
  return LocalModel(std::move(session), std::move(floats.parameters), std::move(file.labels),
                    std::move(normalization));
}

const nn::Graph& LocalModel::graph() const {
  return std::visit([](const auto& session) -> const nn::Graph& { return session.graph(); },
                    session_);
}

Result<Prediction> LocalModel::Predict(std::span<const float> sample) {
  if (sample.size() != graph().input_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "sample: expected " +
                                                std::to_string(graph().input_shape().count()) +
                                                " values, found " + std::to_string(sample.size())};
  }
  Prediction prediction;
  prediction.outputs.resize(graph().output_shape().count());
  if (auto* integers = std::get_if<nn::IntegerSession>(&session_)) {
    integers->Run(sample, 1, prediction.outputs);
  } else {
    std::get<nn::Session>(session_).Run(parameters_, sample, 1, prediction.outputs);
  }
  prediction.index = nn::ArgMax(prediction.outputs);
  prediction.confidence = Confidence(prediction.outputs, prediction.index);
  return prediction;
}

}  // namespace fl::client
