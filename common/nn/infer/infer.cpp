#include "fl/common/nn/infer/infer.h"

#include <variant>

#include "fl/common/base/file.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/session.h"

namespace fl::infer {
namespace internal {

struct LoadedModel {
  nn::ModelFile file;
};

struct Engine {
  std::variant<nn::Session, nn::IntegerSession> session;
  std::shared_ptr<const LoadedModel> weights;  // Of fp32, which reads them in each run.
  std::size_t input_count;
  std::size_t output_count;
  std::size_t batch_max;
};

}  // namespace internal

namespace {

constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 34;

Error WrongLengths(const internal::Engine& engine, std::size_t input, std::size_t output) {
  return {ErrorCode::kInvalidArgument, "infer: expected 1 to " + std::to_string(engine.batch_max) +
                                           " samples of " + std::to_string(engine.input_count) +
                                           " values and " + std::to_string(engine.output_count) +
                                           " outputs for each, found " + std::to_string(input) +
                                           " values and " + std::to_string(output) + " outputs"};
}

}  // namespace

Model::Model(std::shared_ptr<const internal::LoadedModel> loaded) : loaded_(std::move(loaded)) {}

Result<Model> Model::Load(ByteSpan bytes) {
  FL_TRY(nn::ModelFile file, nn::ParseModelFile(bytes));
  return Model(std::make_shared<const internal::LoadedModel>(std::move(file)));
}

Result<Model> Model::LoadFile(const std::string& path) {
  FL_TRY(Bytes bytes, ReadFile(path, kFileBytesMax));
  Result<nn::ModelFile> file = nn::ParseModelFile(std::move(bytes));
  if (!file) return file.error().At(path);
  return Model(
      std::make_shared<const internal::LoadedModel>(internal::LoadedModel{*std::move(file)}));
}

const Shape& Model::input_shape() const {
  return loaded_->file.graph().input_shape();
}

const Shape& Model::output_shape() const {
  return loaded_->file.graph().output_shape();
}

bool Model::integer() const {
  return std::holds_alternative<nn::QuantizedModel>(loaded_->file.model);
}

std::span<const std::string> Model::labels() const {
  return loaded_->file.labels;
}

const std::string& Model::normalization() const {
  return loaded_->file.normalization;
}

Session::Session(std::unique_ptr<internal::Engine> engine) : engine_(std::move(engine)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::Create(const Model& model, const SessionOptions& options) {
  const nn::ModelFile& file = model.loaded_->file;
  const std::size_t input = model.input_shape().count();
  const std::size_t output = model.output_shape().count();
  const auto wrap = [&](auto session, std::shared_ptr<const internal::LoadedModel> weights) {
    return Session(std::unique_ptr<internal::Engine>(new internal::Engine{
        std::move(session), std::move(weights), input, output, options.batch_max}));
  };
  if (const auto* quantized = std::get_if<nn::QuantizedModel>(&file.model)) {
    FL_TRY(nn::IntegerSession session, nn::IntegerSession::Create(*quantized, options.batch_max));
    return wrap(std::move(session), nullptr);
  }
  FL_TRY(nn::Session session, nn::Session::Create(file.graph(), options.batch_max));
  return wrap(std::move(session), model.loaded_);
}

Result<> Session::Run(std::span<const float> input, std::span<float> output) {
  internal::Engine& engine = *engine_;
  const std::size_t batch = input.size() / engine.input_count;
  if (batch == 0 || batch > engine.batch_max || input.size() != batch * engine.input_count ||
      output.size() != batch * engine.output_count) {
    return WrongLengths(engine, input.size(), output.size());
  }
  if (auto* integers = std::get_if<nn::IntegerSession>(&engine.session)) {
    integers->Run(input, batch, output);
  } else {
    const auto& weights = std::get<nn::FloatModel>(engine.weights->file.model);
    std::get<nn::Session>(engine.session).Run(weights.parameters, input, batch, output);
  }
  return {};
}

}  // namespace fl::infer
