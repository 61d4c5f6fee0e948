#include "fl/compression/deploy/pass_list.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <type_traits>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::deploy {
namespace {

Error Refuse(const Location& location, const std::string& message,
             ErrorCode code = ErrorCode::kInvalidArgument) {
  return {code,
          std::to_string(location.line) + ":" + std::to_string(location.column) + ": " + message};
}

// Reads a pass's fields one by one and remembers the first error; what nobody read is unknown.
class Fields {
 public:
  explicit Fields(const PassConfig& pass) : pass_(pass) {}

  template <typename T>
  void Number(std::string_view key, T& out, double least, double most) {
    const PassConfig::Field* field = Take(key);
    if (field == nullptr) return;
    const auto* integer = std::get_if<std::int64_t>(&field->value);
    const auto* real = std::get_if<double>(&field->value);
    const double value = integer != nullptr ? static_cast<double>(*integer)
                         : real != nullptr  ? *real
                                            : NAN;
    if (std::is_integral_v<T> && integer == nullptr) return Fail(*field, "expected a whole number");
    if (!(value >= least && value <= most))
      return Fail(*field, "expected a number from " + ToText(least) + " to " + ToText(most));
    out = static_cast<T>(value);
  }
  // One of the words, by its index.
  std::size_t Word(std::string_view key, std::span<const std::string_view> words,
                   std::size_t otherwise) {
    const PassConfig::Field* field = Take(key);
    if (field == nullptr) return otherwise;
    const auto* text = std::get_if<std::string>(&field->value);
    std::string list;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (text != nullptr && *text == words[i]) return i;
      list += (i == 0 ? "\"" : " or \"") + std::string(words[i]) + "\"";
    }
    Fail(*field, "expected " + list);
    return otherwise;
  }
  Location Lines(std::string_view key, std::vector<std::string>& out) {
    const PassConfig::Field* field = Take(key);
    if (field == nullptr) return pass_.name.location;
    const auto* lines = std::get_if<std::vector<std::string>>(&field->value);
    if (lines == nullptr || lines->empty()) {
      Fail(*field, "expected a list of layers, such as [\"dense 10\"]");
    } else {
      out = *lines;
    }
    return field->location;
  }
  // The first error, or the first field that no call asked for.
  Result<> Finish() const {
    if (error_) return *error_;
    for (const PassConfig::Field& field : pass_.fields) {
      if (std::ranges::find(known_, field.key) != known_.end()) continue;
      std::string list;
      for (const std::string& key : known_) list += (list.empty() ? "" : ", ") + key;
      return Refuse(field.location, "unknown key \"" + field.key + "\"; " + pass_.name.text +
                                        " has " + (list.empty() ? "none" : list));
    }
    return {};
  }

 private:
  static std::string ToText(double value) {
    std::string text = std::to_string(value);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return text;
  }
  const PassConfig::Field* Take(std::string_view key) {
    known_.emplace_back(key);
    const auto found = std::ranges::find(pass_.fields, key, &PassConfig::Field::key);
    return found == pass_.fields.end() ? nullptr : &*found;
  }
  void Fail(const PassConfig::Field& field, const std::string& message) {
    if (!error_)
      error_ = Refuse(field.location, pass_.name.text + "." + field.key + ": " + message);
  }

  const PassConfig& pass_;
  std::vector<std::string> known_;
  std::optional<Error> error_;
};

Result<DistilConfig> ReadDistil(const PassConfig& pass, const nn::Graph& teacher) {
  DistilConfig config;
  Fields fields(pass);
  const Location layers = fields.Lines("layers", config.layers);
  fields.Number("epochs", config.epochs, 1, 10000);
  fields.Number("steps", config.steps, 0, 1e7);
  fields.Number("batch", config.batch, 1, 65536);
  fields.Number("learning_rate", config.learning_rate, 1e-6, 100);
  fields.Number("momentum", config.momentum, 0, 0.999);
  fields.Number("alpha", config.alpha, 0, 1);
  fields.Number("temperature", config.temperature, 1, 20);
  fields.Number("warmup", config.warmup, 0, 1e6);
  fields.Number("clip", config.clip, 1e-6, 1e6);
  FL_TRY_OK(fields.Finish());
  if (config.layers.empty()) {
    config.student = teacher;
    return config;
  }
  auto student = nn::BuildGraph(teacher.input_shape(), config.layers, nn::LossName(teacher.loss));
  if (!student)
    return Refuse(layers, "distil.layers: " + student.error().message, student.error().code);
  if (const auto plain = nn::ExpectPlain(*student, "distil.layers"); !plain)
    return Refuse(layers, plain.error().message, plain.error().code);
  if (student->output_shape() != teacher.output_shape()) {
    return Refuse(layers, "distil.layers: expected the model's output " +
                              teacher.output_shape().ToText() + ", found " +
                              student->output_shape().ToText());
  }
  config.student = std::move(student).value();
  return config;
}

Result<PtqStaticConfig> ReadPtqStatic(const PassConfig& pass) {
  PtqStaticConfig config;
  Fields fields(pass);
  fields.Number("samples", config.samples, 1, 1e6);
  constexpr std::array<std::string_view, 2> kObservers = {"minmax", "mse"};
  config.observer =
      fields.Word("observer", kObservers, 1) == 0 ? Observer::kMinMax : Observer::kMse;
  constexpr std::array<std::string_view, 1> kWeights = {"channel"};
  fields.Word("weights", kWeights, 0);
  FL_TRY_OK(fields.Finish());
  return config;
}

Result<Pass> ReadPass(const PassConfig& config, const nn::Graph& teacher) {
  Pass pass{config.name.text, config.name.location, VerifyConfig{}};
  if (pass.name == "distil") {
    FL_TRY(pass.config, ReadDistil(config, teacher));
  } else if (pass.name == "ptq_static") {
    FL_TRY(pass.config, ReadPtqStatic(config));
  } else if (pass.name == "verify") {
    FL_TRY_OK(Fields(config).Finish());
  } else {
    return Refuse(pass.location,
                  "unknown pass \"" + pass.name + "\"; this version has distil, ptq_static, verify",
                  ErrorCode::kUnsupported);
  }
  return pass;
}

// The order that makes sense: what changes weights, then their rounding, then the measurement.
Result<> CheckOrder(const PassList& passes) {
  for (std::size_t i = 1; i < passes.size(); ++i) {
    const std::size_t before = passes[i - 1].config.index();
    const std::size_t here = passes[i].config.index();
    if (here == before)
      return Refuse(passes[i].location, passes[i].name + ": a pass list has each pass once");
    if (here < before) {
      return Refuse(
          passes[i].location,
          passes[i].name + " must come before " + passes[i - 1].name +
              ": distil changes weights, ptq_static rounds them, verify measures the outcome");
    }
  }
  const Pass& last = passes.back();
  if (!std::holds_alternative<VerifyConfig>(last.config)) {
    return Refuse(last.location, "expected verify after " + last.name +
                                     ": nothing is installed that was not measured");
  }
  if (passes.size() < 2 ||
      !std::holds_alternative<PtqStaticConfig>(passes[passes.size() - 2].config)) {
    return Refuse(last.location,
                  "expected ptq_static before verify: it measures the integer model");
  }
  return {};
}

}  // namespace

Result<PassList> ParsePassList(const DeploymentConfig& deployment, const nn::Graph& teacher) {
  PassList passes;
  if (deployment.passes.empty()) return passes;
  const Location& first = deployment.passes.front().name.location;
  if (deployment.version != 1) {
    return Refuse(
        first,
        "deployment.version: this version has 1, found " + std::to_string(deployment.version),
        ErrorCode::kUnsupported);
  }
  if (teacher.loss != nn::LossKind::kSoftmaxCrossEntropy) {
    return Refuse(first,
                  "passes are accepted by accuracy, so they need a model with loss = "
                  "\"softmax_cross_entropy\"",
                  ErrorCode::kUnsupported);
  }
  for (const PassConfig& config : deployment.passes) {
    FL_TRY(Pass pass, ReadPass(config, teacher));
    passes.push_back(std::move(pass));
  }
  FL_TRY_OK(CheckOrder(passes));
  return passes;
}

}  // namespace fl::deploy
