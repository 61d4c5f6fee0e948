#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fl/client/deploy/local_model.h"
#include "fl/client/serve/drift.h"
#include "fl/common/base/bytes.h"
#include "fl/common/base/digest.h"
#include "fl/common/base/result.h"
#include "fl/common/data/dataset.h"

namespace fl::client {

// A local model as it is served: ready to predict, with its digest, what stands on its card, and
// counts of what it saw. Thread safety: Answer one call at a time; all else from any thread.
class ServedModel {
 public:
  // `installed`: since when it is installed, UTC, for the card. LocalModel::Load's errors.
  static Result<std::shared_ptr<ServedModel>> Load(ByteSpan model_file,
                                                   const std::string& installed);

  const Digest& digest() const { return digest_; }
  const Shape& input_shape() const { return input_shape_; }

  // Predicts raw samples, one after the other: the answer to POST /predict, as JSON,
  //   {"model_sha256": HEX, "predictions": [{"class": 3, "label": "3", "confidence": 0.9,
  //   "probabilities": [...]}, ...]}
  // of a regression {"outputs": [...]} each. Dataset::Create's errors; kNotFinite when the model
  // answers with values that are not.
  Result<std::string> Answer(data::Samples samples);

  // The answer to GET /model, as JSON.
  const std::string& card() const { return card_; }

  // What it was when it was deployed; nothing where its file does not say.
  const std::optional<DriftReference>& reference() const { return reference_; }
  // What it saw since it is served.
  const DriftCounts& counts() const { return counts_; }

 private:
  ServedModel(LocalModel model, const Digest& digest)
      : model_(std::move(model)), digest_(digest), input_shape_(model_.graph().input_shape()) {}

  void AppendPrediction(const Prediction& prediction, std::string& json) const;

  LocalModel model_;
  Digest digest_;
  Shape input_shape_;
  std::string card_;
  std::optional<DriftReference> reference_;
  DriftCounts counts_;
};

}  // namespace fl::client
