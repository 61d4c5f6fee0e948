#include "fl/compression/deploy/own_scores.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "fl/common/tensor/safetensors.h"

namespace fl::deploy {
namespace {

constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 24;

Error Malformed(std::size_t line, const std::string& what) {
  return {ErrorCode::kMalformed, "line " + std::to_string(line) + ": " + what};
}

// The next word, cut off the text; empty at its end.
std::string_view NextWord(std::string_view& text) {
  const std::size_t first = std::min(text.find_first_not_of(" \t\r"), text.size());
  text.remove_prefix(first);
  const std::string_view word = text.substr(0, text.find_first_of(" \t\r"));
  text.remove_prefix(word.size());
  return word;
}

Result<> ReadLine(std::string_view text, std::size_t line, OwnScores& scores) {
  const std::string_view name = NextWord(text);
  if (name.empty()) return {};
  const auto [place, added] = scores.try_emplace(std::string(name));
  if (!added) return Malformed(line, "expected a layer once, found a second " + place->first);
  for (std::string_view word = NextWord(text); !word.empty(); word = NextWord(text)) {
    double score = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), score);
    if (error != std::errc{} || end != word.data() + word.size())
      return Malformed(line,
                       "expected a number, found \"" + std::string(word.substr(0, 64)) + "\"");
    if (!std::isfinite(score))
      return Error{ErrorCode::kNotFinite, "line " + std::to_string(line) + ": scores are finite"};
    place->second.push_back(score);
  }
  if (place->second.empty()) return Malformed(line, "expected \"LAYER SCORE...\", found no score");
  return {};
}

Result<OwnScores> ReadText(std::string_view text) {
  OwnScores scores;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    FL_TRY_OK(ReadLine(text.substr(0, end), line, scores));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (scores.empty()) return Malformed(1, "expected \"LAYER SCORE...\", found nothing");
  return scores;
}

Result<OwnScores> ReadTensors(ByteSpan bytes) {
  SafetensorsLimits limits;
  limits.data_bytes_max = kBytesMax;
  limits.header_bytes_max = kBytesMax;
  FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes, limits));
  OwnScores scores;
  for (const StoredTensor& tensor : file.tensors) {
    FL_TRY(const std::vector<float> values, LoadFloats(tensor));
    if (!AllFinite(values))
      return Error{ErrorCode::kNotFinite, tensor.name + ": scores are finite"};
    scores[tensor.name].assign(values.begin(), values.end());
  }
  return scores;
}

}  // namespace

Result<OwnScores> ParseScores(ByteSpan bytes) {
  if (bytes.size() > kBytesMax) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected at most 2^24 bytes of scores, found " + std::to_string(bytes.size())};
  }
  // A safetensors file starts with its header's length, whose upper bytes are 0; text has none.
  const bool tensors = bytes.size() >= 8 && bytes[7] == std::byte{0};
  if (tensors) return ReadTensors(bytes);
  return ReadText(AsText(bytes));
}

}  // namespace fl::deploy
