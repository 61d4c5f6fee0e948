#include "fl/common/wire/messages.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::wire {
namespace {

using testing::CodeOf;
using testing::Get;

Digest DigestOf(std::uint8_t value) {
  Digest digest;
  digest.bytes.fill(static_cast<std::byte>(value));
  return digest;
}

CheckInRequest SomeRequest() {
  CheckInRequest request;
  request.federation = "digits";
  request.version_held = 7;
  request.memory_mb = 512;
  request.codecs = {1, 2, 3};
  request.wait = true;
  request.phase = PhaseMessage{3, 1, {9, 8, 7}};
  return request;
}

CheckInAnswer SomeAnswer() {
  CheckInAnswer answer;
  answer.federation = "digits";
  answer.plan = DigestOf(1);
  answer.again_min_ms = 1000;
  answer.again_max_ms = 2000;
  Task task;
  task.id = 0x0123456789ABCDEF;
  task.kind = TaskKind::kTrain;
  task.round = 3;
  task.deadline_s = 60;
  task.asked = 10;
  task.model = {2, DigestOf(2), 1, DigestOf(3), 4096};
  task.recipe = 77;
  answer.task = task;
  return answer;
}

// Every proper prefix is refused, and so is one byte too many.
template <typename Message>
void CheckTruncations(const Message& message) {
  const Bytes bytes = Encode(message);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK(CodeOf(Decode<Message>(ByteSpan(bytes).first(length))) == ErrorCode::kMalformed);
  }
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(CodeOf(Decode<Message>(longer)) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: decoding gives back what was encoded") {
  CHECK(Get(Decode<CheckInRequest>(Encode(SomeRequest()))) == SomeRequest());
  CHECK(Get(Decode<CheckInRequest>(Encode(CheckInRequest{}))) == CheckInRequest{});
  CHECK(Get(Decode<CheckInAnswer>(Encode(SomeAnswer()))) == SomeAnswer());
  const ReserveRequest reserve{123456789, DigestOf(4)};
  CHECK(Get(Decode<ReserveRequest>(Encode(reserve))) == reserve);
  const UploadAnswer upload{1U << 20, true, 5};
  CHECK(Get(Decode<UploadAnswer>(Encode(upload))) == upload);
  const Refusal refusal{16, "wrong recipe", 10, 20};
  CHECK(Get(Decode<Refusal>(Encode(refusal))) == refusal);
}

TEST_CASE("Messages: a truncated or longer message is malformed") {
  CheckTruncations(SomeRequest());
  CheckTruncations(SomeAnswer());
  CheckTruncations(ReserveRequest{1, DigestOf(4)});
  CheckTruncations(UploadAnswer{});
  CheckTruncations(Refusal{1, "text", 0, 0});
}

TEST_CASE("Messages: the bytes of a check-in are golden") {
  CHECK(ToHex(Encode(SomeRequest())) ==
        "0100"            // protocol
        "06646967697473"  // federation
        "010700000000000000"
        "00020000"
        "03010203"
        "01"
        "010300000000000000"
        "01"
        "03090807");
}

TEST_CASE("Messages: counts are checked before anything is sized by them") {
  // protocol, then a federation's name of 2^60 bytes.
  const Bytes huge =
      Get(FromHex("0100"
                  "808080808080808010"));
  CHECK(CodeOf(Decode<CheckInRequest>(huge)) == ErrorCode::kLimitExceeded);
  const Bytes missing =
      Get(FromHex("0100"
                  "80ff00"));
  CHECK(CodeOf(Decode<CheckInRequest>(missing)) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: limits hold at their edge") {
  MessageLimits limits;
  CheckInRequest request = SomeRequest();
  request.phase->body.assign(limits.phase_bytes_max, 1);
  CHECK(CodeOf(Decode<CheckInRequest>(Encode(request), limits)) == ErrorCode::kOk);
  request.phase->body.push_back(1);
  CHECK(CodeOf(Decode<CheckInRequest>(Encode(request), limits)) == ErrorCode::kLimitExceeded);
  limits.bytes_max = 10;
  CHECK(CodeOf(Decode<CheckInRequest>(Encode(SomeRequest()), limits)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("Messages: what the grammar allows and the protocol does not is malformed") {
  CheckInRequest request = SomeRequest();
  request.codecs = {2, 2};
  CHECK(CodeOf(Decode<CheckInRequest>(Encode(request))) == ErrorCode::kMalformed);

  CheckInAnswer answer = SomeAnswer();
  answer.task->kind = TaskKind::kCalibrate;
  CHECK(Get(Decode<CheckInAnswer>(Encode(answer))) == answer);
  answer.task->kind = static_cast<TaskKind>(5);
  CHECK(CodeOf(Decode<CheckInAnswer>(Encode(answer))) == ErrorCode::kMalformed);
  answer = SomeAnswer();
  answer.task->id = 0;
  CHECK(CodeOf(Decode<CheckInAnswer>(Encode(answer))) == ErrorCode::kMalformed);
  answer = SomeAnswer();
  answer.task->model.blob.reset();
  CHECK(CodeOf(Decode<CheckInAnswer>(Encode(answer))) == ErrorCode::kMalformed);
  answer = SomeAnswer();
  answer.again_min_ms = answer.again_max_ms + 1;
  CHECK(CodeOf(Decode<CheckInAnswer>(Encode(answer))) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: a flag is 0 or 1") {
  Bytes bytes = Encode(UploadAnswer{0, true, 0});
  bytes[8] = std::byte{2};
  CHECK(CodeOf(Decode<UploadAnswer>(bytes)) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: arbitrary bytes are refused or decode to a message that encodes to them") {
  testing::ForAll(500, [](RngStream& rng) {
    Bytes bytes = Encode(SomeAnswer());
    for (int i = 0; i < 3; ++i)
      bytes[rng.UniformInteger(bytes.size())] = static_cast<std::byte>(rng.NextU32());
    const auto decoded = Decode<CheckInAnswer>(bytes);
    if (decoded) CHECK(Encode(*decoded) == bytes);
  });
}

}  // namespace
}  // namespace fl::wire
