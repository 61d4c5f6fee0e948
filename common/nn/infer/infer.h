#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/tensor/tensor.h"

// Inference alone, for the smallest devices: reads a model file (fp32 or int8, of `fl-model`,
// fl-server or fl-client) and runs it. The target fl::infer (libfl_infer) needs neither TLS nor
// Boost nor OpenSSL, and nothing of training; fl_infer.h is the same for C and for other languages'
// foreign function interfaces. Bytes are checked for their grammar and their limits, not for who
// wrote them: check a digest or a signature before, where that matters.
//
//   auto model = fl::infer::Model::LoadFile("model.safetensors");
//   auto session = fl::infer::Session::Create(*model);
//   auto done = session->Run(pixels, outputs);      // No allocation.
namespace fl::infer {

namespace internal {
struct LoadedModel;
struct Engine;
}  // namespace internal

// A model as it was read: immutable, and cheap to copy. Thread safety: shared objects safe.
class Model {
 public:
  // kMalformed, kLimitExceeded, kUnsupported, kShapeMismatch, kNotFinite: the file is no model file
  // of ours, or a damaged one; the message says what was expected and what was found.
  static Result<Model> Load(ByteSpan bytes);
  // The same from a file; kNotFound or kIo in addition.
  static Result<Model> LoadFile(const std::string& path);

  const Shape& input_shape() const;   // Of one sample: {features} or {height, width, channels}.
  const Shape& output_shape() const;  // Of one sample.
  bool integer() const;               // int8 and not fp32.
  std::span<const std::string> labels() const;  // One for each output, or none.
  const std::string& normalization() const;     // How raw data becomes the input; may be empty.

 private:
  friend class Session;
  explicit Model(std::shared_ptr<const internal::LoadedModel> loaded);
  std::shared_ptr<const internal::LoadedModel> loaded_;
};

struct SessionOptions {
  std::size_t batch_max = 1;  // The most samples in one Run, at least 1.
};

// A model ready to run: weights packed for this processor, all memory allocated. An int8 session
// does not need its model any more; an fp32 one shares its weights. The outputs of an int8 model
// are the same to the last bit on every processor. Thread safety: distinct sessions (of one model,
// too) safe, a shared one unsafe.
class Session {
 public:
  // kInvalidArgument or kLimitExceeded: a batch that there is no memory for.
  static Result<Session> Create(const Model& model, const SessionOptions& options = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // input: samples x input_shape; output: samples x output_shape (logits, no softmax); 1 to
  // batch_max samples. kInvalidArgument when the spans' lengths are not those. Allocates nothing
  // when it succeeds.
  Result<> Run(std::span<const float> input, std::span<float> output);

 private:
  explicit Session(std::unique_ptr<internal::Engine> engine);
  std::unique_ptr<internal::Engine> engine_;
};

}  // namespace fl::infer
