#include "fl/client/app/draw.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>
#include <vector>

namespace fl::client {
namespace {

constexpr std::size_t kExtentMax = 4096;

// The tokens of a PGM head: words between white space, comments from # to the line's end left out.
class PgmReader {
 public:
  explicit PgmReader(std::string_view text) : text_(text) {}

  std::string_view Word() {
    SkipSpace();
    const std::size_t start = at_;
    while (at_ < text_.size() && !IsSpace(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

  std::optional<std::size_t> Number(std::size_t max) {
    const std::string_view word = Word();
    std::size_t value = 0;
    if (word.empty() || word.size() > 5) return std::nullopt;
    for (const char digit : word) {
      if (digit < '0' || digit > '9') return std::nullopt;
      value = value * 10 + static_cast<std::size_t>(digit - '0');
    }
    return value <= max ? std::optional(value) : std::nullopt;
  }

  // What follows the head's one white space.
  std::string_view Rest() const { return at_ < text_.size() ? text_.substr(at_ + 1) : ""; }

 private:
  static bool IsSpace(char letter) { return std::isspace(static_cast<unsigned char>(letter)) != 0; }

  void SkipSpace() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (IsSpace(text_[at_])) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Error NotPgm(const std::string& why) {
  return {ErrorCode::kMalformed, "expected a grey picture in PGM format: " + why};
}

}  // namespace

std::string DrawPicture(std::span<const float> pixels, std::size_t height, std::size_t width) {
  constexpr std::string_view kShades = " .:-=+*#%@";
  const auto [low, high] = std::ranges::minmax(pixels);
  const float range = high > low ? high - low : 1.0F;
  std::string text;
  for (std::size_t row = 0; row < height; row += 2) {
    for (std::size_t column = 0; column < width; ++column) {
      const float upper = pixels[row * width + column];
      const float lower = row + 1 < height ? pixels[(row + 1) * width + column] : upper;
      const float shade = (0.5F * (upper + lower) - low) / range;
      text += kShades[static_cast<std::size_t>(shade * static_cast<float>(kShades.size() - 1))];
    }
    text += '\n';
  }
  return text;
}

Result<data::Samples> ParsePgm(ByteSpan bytes, std::size_t classes) {
  PgmReader reader(AsText(bytes));
  const std::string_view magic = reader.Word();
  if (magic != "P5" && magic != "P2") return NotPgm("it begins with neither P5 nor P2");
  const auto width = reader.Number(kExtentMax);
  const auto height = reader.Number(kExtentMax);
  const auto largest = reader.Number(255);
  if (!width || !height || !largest || *width == 0 || *height == 0 || *largest == 0) {
    return NotPgm("expected width, height up to 4096 and a largest value up to 255");
  }
  std::vector<std::uint8_t> pixels(*width * *height);
  if (magic == "P5") {
    const std::string_view rest = reader.Rest();
    if (rest.size() != pixels.size()) {
      return NotPgm("expected " + std::to_string(pixels.size()) + " pixels, found " +
                    std::to_string(rest.size()));
    }
    std::ranges::copy(std::as_bytes(std::span(rest)),
                      std::as_writable_bytes(std::span(pixels)).begin());
  } else {
    for (std::uint8_t& pixel : pixels) {
      const auto value = reader.Number(*largest);
      if (!value) return NotPgm("a pixel is missing or too large");
      pixel = static_cast<std::uint8_t>(*value);
    }
  }
  data::Samples samples;
  samples.shape = Shape{*height, *width, 1};
  samples.features = std::move(pixels);
  samples.labels = {0};
  samples.classes = classes;
  return samples;
}

}  // namespace fl::client
