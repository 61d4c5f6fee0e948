#include <cstddef>
#include <cstdint>
#include <string>

#include "fl/server/core/request.h"

// The first line is method, target and a header's value, parted by spaces; the rest is the body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string line = text.substr(0, text.find('\n'));
  const std::size_t first = line.find(' ');
  const std::size_t second = line.find(' ', first == std::string::npos ? first : first + 1);
  if (second == std::string::npos) return 0;
  fl::net::Request request{
      line.substr(0, first), line.substr(first + 1, second - first - 1), {}, {}, {}};
  const std::string value = line.substr(second + 1);
  request.headers = {{"Range", value}, {"Upload-Offset", value}};
  if (line.size() < text.size()) request.body = fl::ToBytes(text.substr(line.size() + 1));
  for (const auto role : {fl::net::Role::kClient, fl::net::Role::kAdmin}) {
    [[maybe_unused]] const auto decoded =
        fl::server::DecodeRequest({"spiffe://fl/fleet/d", role}, request);
  }
  return 0;
}
