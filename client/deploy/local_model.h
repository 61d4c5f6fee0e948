#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/data/normalization.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/session.h"

namespace fl::client {

// What the local model says about one sample.
struct Prediction {
  std::size_t index = 0;  // Class of the largest output, the lowest on ties.
  float confidence = 0;   // Its probability (softmax of the outputs), in [0, 1].
  std::vector<float> outputs;
};

// An installed model file, ready to predict: an int8 one on the integer engine, whose answers are
// the same bits on every machine, or an fp32 one. Thread safety: distinct objects safe, shared
// objects unsafe.
class LocalModel {
 public:
  // nn::ParseModelFile's and data::Normalization::Parse's errors.
  static Result<LocalModel> Load(ByteSpan model_file);
  static Result<LocalModel> FromFile(nn::ModelFile file);

  const nn::Graph& graph() const;
  bool is_integer() const { return std::holds_alternative<nn::IntegerSession>(session_); }
  // Names of the classes; may be empty.
  const std::vector<std::string>& labels() const { return labels_; }
  // How raw samples become its input.
  const data::Normalization& normalization() const { return normalization_; }

  // kShapeMismatch unless `sample` has as many values as the model's input; they are normalized.
  Result<Prediction> Predict(std::span<const float> sample);

 private:
  using Session = std::variant<nn::IntegerSession, nn::Session>;
  LocalModel(Session session, std::vector<float> parameters, std::vector<std::string> labels,
             data::Normalization normalization)
      : session_(std::move(session)),
        parameters_(std::move(parameters)),
        labels_(std::move(labels)),
        normalization_(std::move(normalization)) {}

  Session session_;
  std::vector<float> parameters_;  // Of an fp32 model.
  std::vector<std::string> labels_;
  data::Normalization normalization_;
};

}  // namespace fl::client
