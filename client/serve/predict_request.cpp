#include "fl/client/serve/predict_request.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace fl::client {
namespace {

constexpr std::size_t kQuotedMax = 32;

std::string Quote(std::string_view text) {
  const bool cut = text.size() > kQuotedMax;
  return "\"" + std::string(text.substr(0, kQuotedMax)) + (cut ? "...\"" : "\"");
}

// Takes the values as the parser finds them; no tree is built, and what does not belong ends the
// reading at once. A handler of nlohmann::json::sax_parse, which fixes the names of its functions.
class RequestReader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  RequestReader(std::size_t features, const PredictLimits& limits)
      : features_(features), limits_(limits) {}

  std::size_t count() const { return count_; }
  std::vector<float> TakeValues() { return std::move(values_); }
  const std::optional<Error>& error() const { return error_; }

  bool null() { return Misplaced("null"); }
  bool boolean(bool value) { return Misplaced(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) { return Number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) { return Number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) { return Number(value); }
  bool string(const string_t& value) { return Misplaced("the text " + Quote(value)); }
  bool binary(const binary_t&) { return Misplaced("binary data"); }

  bool start_object(std::size_t) {
    if (place_ != Place::kStart) return Misplaced("an object");
    place_ = Place::kObject;
    return true;
  }
  bool key(const string_t& name) {
    const bool known = name == "sample" || name == "samples";
    if (!known) {
      return Fail(ErrorCode::kMalformed,
                  "expected the key \"sample\" or \"samples\", found " + Quote(name));
    }
    if (is_named_) return Fail(ErrorCode::kMalformed, "expected one list of samples, found two");
    is_named_ = true;
    is_single_ = name == "sample";
    return true;
  }
  bool end_object() {
    place_ = Place::kEnd;
    if (count_ > 0) return true;
    return Fail(ErrorCode::kMalformed, "expected at least one sample, found none");
  }
  bool start_array(std::size_t) {
    if (place_ == Place::kObject && !is_single_) {
      place_ = Place::kSamples;
      return true;
    }
    if (place_ != Place::kObject && place_ != Place::kSamples) return Misplaced("a list");
    return BeginSample();
  }
  bool end_array() {
    if (place_ == Place::kSamples) {
      place_ = Place::kObject;
      return true;
    }
    if (in_sample_ != features_) return WrongSize(std::to_string(in_sample_));
    place_ = is_single_ ? Place::kObject : Place::kSamples;
    ++count_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token,
                   const std::exception& exception) {
    const auto* known = dynamic_cast<const nlohmann::json::exception*>(&exception);
    constexpr int kNumberOverflow = 406;
    if (known != nullptr && known->id == kNumberOverflow) {
      return Fail(ErrorCode::kNotFinite,
                  Where() + "expected numbers in the range of fp32, found " + Quote(token));
    }
    return Fail(ErrorCode::kMalformed, "byte " + std::to_string(position) +
                                           ": expected JSON, found " +
                                           (token.empty() ? "its end" : Quote(token)));
  }

 private:
  enum class Place : std::uint8_t { kStart, kObject, kSamples, kSample, kEnd };

  bool Fail(ErrorCode code, std::string message) {
    if (!error_) error_ = Error{code, std::move(message)};
    return false;
  }
  std::string Where() const {
    return place_ == Place::kSample ? "sample " + std::to_string(count_) + ": " : std::string();
  }
  bool Misplaced(const std::string& found) {
    switch (place_) {
      case Place::kStart:
        return Fail(ErrorCode::kMalformed,
                    "expected an object with \"sample\" or \"samples\", found " + found);
      case Place::kObject:
        return Fail(ErrorCode::kMalformed, "expected a list of numbers, found " + found);
      case Place::kSamples:
        return Fail(ErrorCode::kMalformed,
                    "expected each sample as a list of numbers, found " + found);
      case Place::kSample:
      case Place::kEnd:
        break;
    }
    return Fail(ErrorCode::kMalformed, Where() + "expected a number, found " + found);
  }
  bool WrongSize(const std::string& found) {
    return Fail(ErrorCode::kShapeMismatch,
                Where() + "expected " + std::to_string(features_) + " values, found " + found);
  }
  bool BeginSample() {
    if (count_ == limits_.samples_max) {
      return Fail(
          ErrorCode::kLimitExceeded,
          "expected at most " + std::to_string(limits_.samples_max) + " samples, found more");
    }
    place_ = Place::kSample;
    in_sample_ = 0;
    return true;
  }
  bool Number(double value) {
    if (place_ != Place::kSample) return Misplaced("a number");
    if (in_sample_ == features_) return WrongSize("more");
    const auto narrow = static_cast<float>(value);
    if (!std::isfinite(narrow)) {
      return Fail(ErrorCode::kNotFinite, Where() + "expected numbers in the range of fp32, found " +
                                             nlohmann::json(value).dump());
    }
    values_.push_back(narrow);
    ++in_sample_;
    return true;
  }

  const std::size_t features_;
  const PredictLimits limits_;
  Place place_ = Place::kStart;
  bool is_named_ = false;
  bool is_single_ = false;
  std::size_t count_ = 0;      // Samples that are complete.
  std::size_t in_sample_ = 0;  // Values of the one that is not.
  std::vector<float> values_;
  std::optional<Error> error_;
};

}  // namespace

Result<data::Samples> ParsePredictRequest(std::string_view json, const Shape& shape,
                                          const PredictLimits& limits) {
  RequestReader reader(shape.count(), limits);
  const bool whole = nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  if (reader.error()) return *reader.error();
  if (!whole) return Error{ErrorCode::kMalformed, "expected JSON"};
  data::Samples samples;
  samples.shape = shape;
  samples.features = reader.TakeValues();
  samples.labels.assign(reader.count(), 0);
  samples.classes = 1;
  return samples;
}

}  // namespace fl::client
