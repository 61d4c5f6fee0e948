#include "fl/common/data/normalization.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>

namespace fl::data {
namespace {

std::string ListText(std::string_view name, const std::vector<float>& values) {
  std::string text = " " + std::string(name);
  for (const float value : values) {
    std::array<char, 32> digits{};  // The shortest form that reads back to the same bits.
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    text += ' ';
    text.append(digits.data(), end);
  }
  return text;
}

// The words of `text`, between single spaces.
std::vector<std::string_view> WordsOf(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

Error NotANormalization(std::string_view text) {
  return {ErrorCode::kMalformed,
          "normalization: expected \"none\", \"unit\" or \"standard mean NUMBERS scale NUMBERS\", "
          "found \"" +
              std::string(text.substr(0, 80)) + "\""};
}

}  // namespace

std::string Normalization::ToText() const {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kUnit:
      return "unit";
    case Kind::kStandard:
      break;
  }
  return "standard" + ListText("mean", mean) + ListText("scale", scale);
}

Result<Normalization> Normalization::Parse(std::string_view text) {
  Normalization result;
  if (text == "none") return result;
  result.kind = Kind::kUnit;
  if (text == "unit") return result;
  result.kind = Kind::kStandard;
  const std::vector<std::string_view> words = WordsOf(text);
  if (words[0] != "standard") return NotANormalization(text);
  std::vector<float>* values = nullptr;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (i == 1 && words[i] == "mean") {
      values = &result.mean;
    } else if (values == &result.mean && words[i] == "scale") {
      values = &result.scale;
    } else {
      float value = 0;
      const char* end = words[i].data() + words[i].size();
      const auto [stop, error] = std::from_chars(words[i].data(), end, value);
      if (values == nullptr || error != std::errc() || stop != end) return NotANormalization(text);
      values->push_back(value);
    }
  }
  if (result.mean.empty() || result.mean.size() != result.scale.size())
    return NotANormalization(text);
  return result;
}

Result<> Normalization::Validate(const Shape& sample) const {
  if (kind != Kind::kStandard) return {};
  const std::size_t features = sample.count();
  const std::size_t channels = sample.rank() > 0 ? sample[sample.rank() - 1] : 1;
  if (mean.size() != 1 && mean.size() != channels && mean.size() != features) {
    return Error{ErrorCode::kInvalidArgument,
                 "normalization: expected 1, " + std::to_string(channels) + " or " +
                     std::to_string(features) + " means for samples of " + sample.ToText() +
                     ", found " + std::to_string(mean.size())};
  }
  if (scale.size() != mean.size()) {
    return Error{ErrorCode::kInvalidArgument, "normalization: expected as many scales as means (" +
                                                  std::to_string(mean.size()) + "), found " +
                                                  std::to_string(scale.size())};
  }
  for (std::size_t i = 0; i < mean.size(); ++i) {
    if (!std::isfinite(mean[i]) || !std::isfinite(scale[i]) || scale[i] <= 0) {
      return Error{ErrorCode::kInvalidArgument,
                   "normalization: expected finite means and scales > 0, found mean " +
                       std::to_string(mean[i]) + ", scale " + std::to_string(scale[i]) + " at " +
                       std::to_string(i)};
    }
  }
  return {};
}

Result<Normalization> MakeNormalization(std::string_view kind, const std::vector<double>& mean,
                                        const std::vector<double>& scale) {
  Normalization result;
  if (kind == "standard") {
    result.kind = Normalization::Kind::kStandard;
    for (const double value : mean) result.mean.push_back(static_cast<float>(value));
    for (const double value : scale) result.scale.push_back(static_cast<float>(value));
    return result;
  }
  if (kind == "unit") {
    result.kind = Normalization::Kind::kUnit;
  } else if (kind != "none") {
    return Error{
        ErrorCode::kInvalidArgument,
        "normalization: expected 'none', 'unit' or 'standard', found '" + std::string(kind) + "'"};
  }
  if (!mean.empty() || !scale.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "normalization: mean and scale go with 'standard' only"};
  }
  return result;
}

}  // namespace fl::data
