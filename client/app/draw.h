#pragma once

#include <span>
#include <string>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/data/dataset.h"

namespace fl::client {

// A grey picture as text: one character for two pixels that lie above each other, darker for larger
// values, scaled to the picture's own least and largest one. pixels.size() == height * width.
std::string DrawPicture(std::span<const float> pixels, std::size_t height, std::size_t width);

// Reads a grey picture in the PGM format (P5 or P2, up to 255): one sample of the shape
// {height, width, 1} of class 0. kMalformed, kLimitExceeded.
Result<data::Samples> ParsePgm(ByteSpan bytes, std::size_t classes);

}  // namespace fl::client
