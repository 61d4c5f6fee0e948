#include "fl/common/wire/messages.h"

#include <algorithm>

#include "fl/common/base/error_detail.h"
#include "fl/common/wire/archive.h"

namespace fl::wire {

bool CheckedInput::Flag() {
  const auto value = Number<std::uint8_t>();
  if (value > 1 && !error_)
    error_ =
        Error{ErrorCode::kMalformed, "expected a flag of 0 or 1, found " + std::to_string(value),
              ErrorDetail::kMessageField};
  return value == 1;
}

std::size_t CheckedInput::Count(std::size_t count_max) {
  const std::uint64_t count = Keep(reader_.ReadVarint());
  if (error_) return 0;
  if (count > count_max) {
    error_ = Error{ErrorCode::kLimitExceeded,
                   "expected at most " + std::to_string(count_max) + " elements, found " +
                       std::to_string(count),
                   ErrorDetail::kMessageBytes};
    return 0;
  }
  if (count > reader_.remaining()) {
    error_ = Error{ErrorCode::kMalformed,
                   "a list of " + std::to_string(count) + " elements in " +
                       std::to_string(reader_.remaining()) + " bytes",
                   ErrorDetail::kCutShort};
    return 0;
  }
  return static_cast<std::size_t>(count);
}

Result<> CheckedInput::Finish() {
  if (error_) return *error_;
  return reader_.ExpectEnd();
}

void CEREAL_SAVE_FUNCTION_NAME(Output& output, const std::string& text) {
  output.writer().WriteVarint(text.size());
  output.writer().WriteSpan(AsBytes(text));
}

void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, std::string& text) {
  text = AsText(input.Span(input.Count(input.limits().text_bytes_max)));
}

namespace {

Result<> CheckPhase(const std::optional<PhaseMessage>& phase, const MessageLimits& limits) {
  if (!phase || phase->body.size() <= limits.phase_bytes_max) return {};
  return Error{ErrorCode::kLimitExceeded,
               "expected a phase message of at most " + std::to_string(limits.phase_bytes_max) +
                   " bytes, found " + std::to_string(phase->body.size()),
               ErrorDetail::kMessageBytes};
}

// What the grammar alone does not say; nothing for most messages.
template <typename Message>
Result<> CheckContent(const Message&, const MessageLimits&) {
  return {};
}
Result<> CheckContent(const CheckInRequest& request, const MessageLimits& limits) {
  if (!std::ranges::is_sorted(request.codecs, std::ranges::less_equal{})) {
    return Error{ErrorCode::kMalformed, "expected codec ids in strictly increasing order",
                 ErrorDetail::kMessageField};
  }
  return CheckPhase(request.phase, limits);
}
Result<> CheckContent(const CheckInAnswer& answer, const MessageLimits& limits) {
  if (answer.again_min_ms > answer.again_max_ms)
    return Error{ErrorCode::kMalformed, "the window for the next check-in ends before it starts",
                 ErrorDetail::kMessageField};
  if (answer.task &&
      (answer.task->kind < TaskKind::kTrain || answer.task->kind > TaskKind::kCalibrate)) {
    return Error{ErrorCode::kMalformed,
                 "unknown kind of task " + std::to_string(static_cast<unsigned>(answer.task->kind)),
                 ErrorDetail::kMessageField};
  }
  if (answer.task && answer.task->id == 0)
    return Error{ErrorCode::kMalformed, "a task's id is never 0", ErrorDetail::kMessageField};
  if (answer.task && answer.task->model.change_from && !answer.task->model.blob) {
    return Error{ErrorCode::kMalformed, "a change between versions without the blob that holds it",
                 ErrorDetail::kMessageField};
  }
  return CheckPhase(answer.phase, limits);
}

}  // namespace

template <typename Message>
Bytes Encode(const Message& message) {
  Output output;
  output(message);
  return std::move(output.writer()).Take();
}

template <typename Message>
Result<Message> Decode(ByteSpan bytes, const MessageLimits& limits) {
  if (bytes.size() > limits.bytes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected a message of at most " + std::to_string(limits.bytes_max) +
                     " bytes, found " + std::to_string(bytes.size()),
                 ErrorDetail::kMessageBytes};
  }
  Message message;
  CheckedInput input(bytes,
                     {limits.text_bytes_max, std::max(limits.list_max, limits.phase_bytes_max)});
  input(message);
  FL_TRY_OK(input.Finish());
  FL_TRY_OK(CheckContent(message, limits));
  return message;
}

#define FL_WIRE_MESSAGE(Message)                  \
  template Bytes Encode<Message>(const Message&); \
  template Result<Message> Decode<Message>(ByteSpan, const MessageLimits&);
FL_WIRE_MESSAGE(CheckInRequest)
FL_WIRE_MESSAGE(CheckInAnswer)
FL_WIRE_MESSAGE(ReserveRequest)
FL_WIRE_MESSAGE(UploadAnswer)
FL_WIRE_MESSAGE(Refusal)
#undef FL_WIRE_MESSAGE

}  // namespace fl::wire
