#include "fl/common/data/internal/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>

#include "fl/common/base/check.h"

namespace fl::data::internal {
namespace {

constexpr std::size_t kChunkBytes = 65536;
constexpr int kGzipOnly = 15 + 16;  // Largest window; a gzip wrapper, not a zlib one.

class Inflater {
 public:
  explicit Inflater(ByteSpan input) {
    stream_.next_in =
        reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));  // zlib only reads it.
    left_ = input.size();
    FL_CHECK(inflateInit2(&stream_, kGzipOnly) == Z_OK, "zlib can be set up");
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }

  bool input_empty() const { return left_ + stream_.avail_in == 0; }
  void NextMember() { FL_CHECK(inflateReset(&stream_) == Z_OK, "zlib can start again"); }

  // Decompresses into `out`; returns zlib's verdict and sets `written`.
  int Step(std::span<std::byte> out, std::size_t& written) {
    if (stream_.avail_in == 0) {
      stream_.avail_in =
          static_cast<uInt>(std::min<std::size_t>(left_, std::numeric_limits<uInt>::max()));
      left_ -= stream_.avail_in;
    }
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int verdict = inflate(&stream_, Z_NO_FLUSH);
    written = out.size() - stream_.avail_out;
    return verdict;
  }

 private:
  z_stream stream_{};
  std::size_t left_ = 0;
};

}  // namespace

bool IsGzip(ByteSpan bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1F} && bytes[1] == std::byte{0x8B};
}

Result<Bytes> DecompressGzip(ByteSpan bytes, std::uint64_t bytes_max) {
  Inflater inflater(bytes);
  Bytes content;
  Bytes chunk(kChunkBytes);
  while (true) {
    std::size_t written = 0;
    const int verdict = inflater.Step(chunk, written);
    if (verdict != Z_OK && verdict != Z_STREAM_END) {
      return Error{ErrorCode::kMalformed, verdict == Z_BUF_ERROR ? "gzip: the file is cut short"
                                                                 : "gzip: the file is damaged"};
    }
    if (written > bytes_max - content.size()) {
      return Error{ErrorCode::kLimitExceeded,
                   "gzip: holds more than the " + std::to_string(bytes_max) + " bytes accepted"};
    }
    content.insert(content.end(), chunk.begin(),
                   chunk.begin() + static_cast<std::ptrdiff_t>(written));
    if (verdict != Z_STREAM_END) continue;
    if (inflater.input_empty()) return content;
    inflater.NextMember();
  }
}

}  // namespace fl::data::internal
