#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "fl/common/base/check.h"

namespace fl {

// What went wrong, for a program to act on. The values go on the wire and into reports: append
// only, never renumber.
enum class ErrorCode : std::uint16_t {
  kOk = 0,
  kInternal = 1,  // Our own bug or a library's failure that nobody outside can cause or mend.
  kInvalidArgument = 2,  // A flag, a config value or a call that cannot be meant.
  kNotFound = 3,         // A file, blob, task or federation that does not exist.
  kMalformed = 4,        // Bytes that do not follow their grammar.
  kLimitExceeded = 5,    // A well-formed message that is larger than accepted.
  kUnsupported = 6,      // A version, codec or feature that this program does not have.
  kIo = 7,               // Disk or socket.
  kTimeout = 8,
  kUnavailable = 9,      // The other side is not there, or is stopping; try again later.
  kUnauthorized = 10,    // No valid certificate, or the wrong role.
  kConflict = 11,        // Storage: another writer was first, try again.
  kDigestMismatch = 12,  // Bytes whose SHA-256 or CRC is not the declared one.
  kNotFinite = 13,       // NaN or infinity in an update.
  kShapeMismatch = 14,   // A tensor whose name or shape is not the plan's.
  kWrongBase = 15,       // Update made against another model version than its task's.
  kWrongRecipe = 16,     // Update encoded by another recipe than its task's.
  kDuplicate = 17,       // A second, different update for a task that has one.
  kTooLate = 18,         // After the round's deadline, or staler than the plan accepts.
  kNotNeeded = 19,       // The round has what it wants.
  kNormExceeded = 20,    // The update's L2 norm is above the plan's bound.
  kWrongOffset = 21,     // PATCH at an offset that is not the committed one.
  kUnknownTask = 22,     // The task was never issued to this client.
  kWrongVersion = 23,    // Protocol or schema version.
  kBadWeight = 24,       // The number of examples is outside the plan's range.
  kStreamMismatch = 25,  // The update's streams are not the plan's.
  kWrongState = 26,  // A state folder of another plan, or a request that the state does not allow.
  kLocked = 27,      // Another process holds the state folder.
};

// The code's name as it stands in logs, reports and docs/protocol.md: "malformed", "norm_exceeded",
// ...
std::string_view ErrorCodeName(ErrorCode code);

// Which fault of a code it was; listed in error_detail.h.
enum class ErrorDetail : std::uint16_t;

// What went wrong, for a program (code), for statistics (detail, 0: the code says it all) and for a
// person (message: where, what was expected, what was found).
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  ErrorDetail detail{};

  // The same error with "where: " put in front of its message.
  Error At(std::string_view where) const {
    return {code, std::string(where) + ": " + message, detail};
  }
  friend bool operator==(const Error&, const Error&) = default;
};

std::ostream& operator<<(std::ostream& out, const Error& error);

// The value of a Result that carries none.
struct Ok {
  friend bool operator==(const Ok&, const Ok&) = default;
};

// A value or an Error, with the member names of std::expected. Errors from outside (bytes, files,
// config, peers, users) travel in it; our own bugs end in FL_CHECK.
template <typename T = Ok>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result()
    requires std::is_same_v<T, Ok>
      : state_(Ok{}) {}
  Result(T value)  // NOLINT(google-explicit-constructor): implicit, as in std::expected.
      : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error)  // NOLINT(google-explicit-constructor): the same.
      : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

#ifdef __clang_analyzer__  // It does not follow std::variant: here any address will do.
  const T& value() const& { return *static_cast<T*>(__builtin_return_address(0)); }
  T& value() & { return *static_cast<T*>(__builtin_return_address(0)); }
  T&& value() && { return std::move(*static_cast<T*>(__builtin_return_address(0))); }
  const Error& error() const& { return *static_cast<Error*>(__builtin_return_address(0)); }
  Error&& error() && { return std::move(*static_cast<Error*>(__builtin_return_address(0))); }
#else
  const T& value() const& { return Checked(), std::get<0>(state_); }
  T& value() & { return Checked(), std::get<0>(state_); }
  T&& value() && { return Checked(), std::get<0>(std::move(state_)); }
  const Error& error() const& {
    FL_CHECK(!has_value(), "error() of a Result that holds a value");
    return std::get<1>(state_);
  }
  Error&& error() && {
    FL_CHECK(!has_value(), "error() of a Result that holds a value");
    return std::get<1>(std::move(state_));
  }
#endif
  T value_or(T fallback) const& { return has_value() ? std::get<0>(state_) : std::move(fallback); }

 private:
  void Checked() const {
    if (!has_value())
      CheckFailed("value() of a Result that holds an error", std::get<1>(state_).message);
  }
  std::variant<T, Error> state_;
};

}  // namespace fl

#define FL_CONCAT_INNER(a, b) a##b
#define FL_CONCAT(a, b) FL_CONCAT_INNER(a, b)

// FL_TRY(declaration, expression): binds the value of a Result, or returns its error to the caller.
// FL_TRY_OK(expression): the same where there is no value to bind. FL_CO_TRY, FL_CO_TRY_OK: in a
// coroutine.
#define FL_TRY_IMPL(result, leave, declaration, ...)        \
  auto result = (__VA_ARGS__);                              \
  if (!result.has_value()) leave std::move(result).error(); \
  declaration = std::move(result).value()
#define FL_TRY(declaration, ...) \
  FL_TRY_IMPL(FL_CONCAT(fl_result_, __COUNTER__), return, declaration, __VA_ARGS__)
#define FL_CO_TRY(declaration, ...) \
  FL_TRY_IMPL(FL_CONCAT(fl_result_, __COUNTER__), co_return, declaration, __VA_ARGS__)
#define FL_TRY_OK_IMPL(leave, ...)                                  \
  do {                                                              \
    auto fl_result = (__VA_ARGS__);                                 \
    if (!fl_result.has_value()) leave std::move(fl_result).error(); \
  } while (false)
#define FL_TRY_OK(...) FL_TRY_OK_IMPL(return, __VA_ARGS__)
#define FL_CO_TRY_OK(...) FL_TRY_OK_IMPL(co_return, __VA_ARGS__)
