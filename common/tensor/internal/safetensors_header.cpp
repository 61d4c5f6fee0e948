#include "fl/common/tensor/internal/safetensors_header.h"

#include <set>

#include <nlohmann/json.hpp>

namespace fl::internal {
namespace {

// Takes the parser's events; the place in the header decides what may come next. A callback that
// returns false ends the parse, and error() says why.
class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(std::size_t tensors_max) : tensors_max_(tensors_max) {}

  SafetensorsHeader& header() { return header_; }
  const Error& error() const { return error_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Unexpected("a fraction"); }
  bool binary(binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (tensor().shape.size() == kRankMax)
        return Refuse(ErrorCode::kUnsupported, "expected at most 8 extents");
      tensor().shape.push_back(value);
      return true;
    }
    if (place_ != Place::kOffsets || offsets_ == 2) return Unexpected("a number");
    (offsets_++ == 0 ? tensor().begin : tensor().end) = value;
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata[key_] = std::move(value);
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return Unexpected("a string");
    tensor().dtype = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ != Place::kTop) return Unexpected("an object");
    if (key_ == kMetadataName) {
      place_ = Place::kMetadata;
      return true;
    }
    if (header_.tensors.size() == tensors_max_) {
      return Refuse(ErrorCode::kLimitExceeded,
                    "expected at most " + std::to_string(tensors_max_) + " tensors");
    }
    place_ = Place::kTensor;
    fields_.clear();
    header_.tensors.push_back({.name = key_, .dtype = {}, .shape = {}});
    return true;
  }

  bool key(string_t& name) override {
    bool fresh = false;
    if (place_ == Place::kTop) {
      fresh = names_.insert(name).second;
    } else if (place_ == Place::kMetadata) {
      fresh = header_.metadata.try_emplace(name).second;
    } else {
      if (name != "dtype" && name != "shape" && name != "data_offsets")
        return Unexpected("field '" + name + "'");
      fresh = fields_.insert(name).second;
    }
    key_ = name;
    return fresh || Refuse(ErrorCode::kMalformed, "'" + name + "' occurs twice");
  }

  bool end_object() override {
    if (place_ == Place::kTensor && fields_.size() != 3) {
      return Refuse(ErrorCode::kMalformed,
                    "tensor '" + tensor().name + "': expected dtype, shape and data_offsets");
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor || key_ == "dtype") return Unexpected("an array");
    place_ = key_ == "shape" ? Place::kShape : Place::kOffsets;
    offsets_ = 0;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_ != 2)
      return Refuse(ErrorCode::kMalformed, "expected two data_offsets");
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    return Refuse(ErrorCode::kMalformed,
                  "expected JSON, found something else at byte " + std::to_string(position));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  TensorEntry& tensor() { return header_.tensors.back(); }

  bool Unexpected(std::string_view what) {
    return Refuse(ErrorCode::kMalformed, "unexpected " + std::string(what));
  }

  bool Refuse(ErrorCode code, std::string_view why) {
    error_ = {code, "safetensors header: " + std::string(why)};
    if (!key_.empty()) error_.message += " (at '" + key_ + "')";
    return false;
  }

  std::size_t tensors_max_;
  Place place_ = Place::kStart;
  std::string key_;
  std::set<std::string> names_;
  std::set<std::string> fields_;
  int offsets_ = 0;
  SafetensorsHeader header_;
  Error error_;
};

}  // namespace

Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text, std::size_t tensors_max) {
  if (text.empty() || text.front() != '{')
    return Error{ErrorCode::kMalformed, "safetensors header: expected a JSON object"};
  HeaderHandler handler(tensors_max);
  if (!nlohmann::json::sax_parse(text, &handler)) return handler.error();
  return std::move(handler.header());
}

}  // namespace fl::internal
