#include "fl/common/wire/update.h"

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::wire {
namespace {

using testing::CodeOf;
using testing::Get;

Update SomeUpdate() {
  Update update;
  update.task = TaskId{0x1122334455667788};
  update.base = 0xAABBCCDD;
  update.recipe = 0x99;
  update.examples = 600;
  update.streams.push_back({kStreamDelta, {{0, ToBytes("first")}, {2, ToBytes("third")}, {3, {}}}});
  update.streams.push_back({kStreamMetrics, {{0, ToBytes("metrics")}}});
  return update;
}

// The update as a value again, to compare with what was encoded.
Update ToUpdate(const UpdateView& view) {
  Update update{view.task, view.base, view.recipe, view.examples, {}};
  for (const UpdateStreamView& stream : view.streams) {
    UpdateStream& copy = update.streams.emplace_back(UpdateStream{stream.id, {}});
    for (const UpdateEntryView& entry : stream.entries) {
      copy.entries.push_back({entry.segment, {entry.payload.begin(), entry.payload.end()}});
    }
  }
  return update;
}

// Bytes with a trailer that fits them.
Bytes WithTrailer(Bytes bytes) {
  ByteWriter writer;
  writer.WriteSpan(bytes);
  writer.Write(Crc32(bytes));
  return std::move(writer).Take();
}

TEST_CASE("Update: decoding gives back what was encoded") {
  const Bytes bytes = EncodeUpdate(SomeUpdate());
  CHECK(ToUpdate(Get(DecodeUpdate(bytes, {}))) == SomeUpdate());
}

TEST_CASE("Update: a header takes at most 40 bytes and an entry about 4") {
  Update update = SomeUpdate();
  update.streams.clear();
  const std::size_t empty = EncodeUpdate(update).size();
  CHECK(empty - 4 <= 40);
  update.streams.push_back({kStreamDelta, {}});
  const std::size_t none = EncodeUpdate(update).size();
  update.streams[0].entries.push_back({0, Bytes(500)});
  update.streams[0].entries.push_back({1, Bytes(500)});
  CHECK(EncodeUpdate(update).size() - none - 1000 <= 8);
}

TEST_CASE("Update: the bytes are golden") {
  Update update;
  update.task = TaskId{1};
  update.base = 2;
  update.recipe = 3;
  update.examples = 300;
  update.streams.push_back({kStreamDelta, {{1, ToBytes("ab")}}});
  CHECK(ToHex(EncodeUpdate(update)) ==
        "464c5501"
        "0100000000000000"
        "0200000000000000"
        "0300000000000000"
        "ac02"
        "01"
        "67fa5942"
        "00"
        "01"
        "01"
        "02"
        "6162"
        "5fa888ba");
}

TEST_CASE("Update: every truncation is refused") {
  const Bytes bytes = EncodeUpdate(SomeUpdate());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(DecodeUpdate(ByteSpan(bytes).first(length), {}).has_value());
  }
}

TEST_CASE("Update: every flipped bit is refused") {
  const Bytes bytes = EncodeUpdate(SomeUpdate());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    CAPTURE(bit);
    CHECK_FALSE(DecodeUpdate(flipped, {}).has_value());
  }
}

TEST_CASE("Update: each kind of damage has its code") {
  Bytes bytes = EncodeUpdate(SomeUpdate());
  bytes[0] = std::byte{'X'};
  CHECK(CodeOf(DecodeUpdate(bytes, {})) == ErrorCode::kMalformed);
  bytes = EncodeUpdate(SomeUpdate());
  bytes[3] = std::byte{2};
  CHECK(CodeOf(DecodeUpdate(bytes, {})) == ErrorCode::kWrongVersion);
  bytes = EncodeUpdate(SomeUpdate());
  bytes.back() ^= std::byte{1};
  CHECK(CodeOf(DecodeUpdate(bytes, {})) == ErrorCode::kDigestMismatch);
  bytes = EncodeUpdate(SomeUpdate());
  bytes.push_back(std::byte{0});
  CHECK(CodeOf(DecodeUpdate(bytes, {})) == ErrorCode::kMalformed);
}

TEST_CASE("Update: limits hold at their edge") {
  const Bytes bytes = EncodeUpdate(SomeUpdate());
  UpdateLimits limits;
  limits.bytes_max = bytes.size();
  limits.streams_max = 2;
  limits.segments_max = 3;
  limits.examples_max = 600;
  CHECK(CodeOf(DecodeUpdate(bytes, limits)) == ErrorCode::kOk);
  const auto refused = [&](UpdateLimits tighter) {
    return CodeOf(DecodeUpdate(bytes, tighter)) == ErrorCode::kLimitExceeded;
  };
  UpdateLimits tighter = limits;
  tighter.bytes_max -= 1;
  CHECK(refused(tighter));
  tighter = limits;
  tighter.streams_max -= 1;
  CHECK(refused(tighter));
  tighter = limits;
  tighter.segments_max -= 1;
  CHECK(refused(tighter));
  tighter = limits;
  tighter.examples_max -= 1;
  CHECK(refused(tighter));
}

TEST_CASE("Update: streams out of order or twice are malformed") {
  Update update = SomeUpdate();
  std::swap(update.streams[0], update.streams[1]);
  CHECK(CodeOf(DecodeUpdate(EncodeUpdate(update), {})) == ErrorCode::kMalformed);
  update.streams[1] = update.streams[0];
  CHECK(CodeOf(DecodeUpdate(EncodeUpdate(update), {})) == ErrorCode::kMalformed);
}

TEST_CASE("Update: declared sizes beyond the bytes are refused without allocating") {
  Update update = SomeUpdate();
  update.streams.clear();
  Bytes bytes = EncodeUpdate(update);
  bytes.resize(bytes.size() - 4);
  bytes[bytes.size() - 5] = std::byte{1};  // One stream; its header CRC is written anew below.
  bytes.resize(bytes.size() - 4);
  ByteWriter writer;
  writer.WriteSpan(bytes);
  writer.Write(Crc32(bytes));
  writer.WriteVarint(0);
  writer.WriteVarint(60000);
  CHECK(CodeOf(DecodeUpdate(WithTrailer(std::move(writer).Take()), {})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::wire
