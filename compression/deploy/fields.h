#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::deploy {

// "LINE:COLUMN: message".
Error Refuse(const Location& location, const std::string& message,
             ErrorCode code = ErrorCode::kInvalidArgument);

// Reads a pass's settings one by one and remembers the first error; what nobody read is unknown. A
// key that is not there leaves its value as it is. Thread safety: distinct objects safe.
class Fields {
 public:
  // Both outlive this object. `teacher` is the model that the pass list starts with.
  Fields(const PassConfig& pass, const nn::Graph& teacher, PassListUse use = PassListUse::kDevice)
      : pass_(pass), teacher_(teacher), use_(use) {}

  const nn::Graph& teacher() const { return teacher_; }
  // A device's list comes from a server: it may not name files.
  PassListUse use() const { return use_; }

  // A number from `least` to `most`; a whole one where T is.
  template <typename T>
  void Number(std::string_view key, T& out, double least, double most) {
    if (const auto value = ReadNumber(key, {least, most, std::is_integral_v<T>}))
      out = static_cast<T>(*value);
  }
  void Flag(std::string_view key, bool& out);
  void Text(std::string_view key, std::string& out);
  // A text, or a whole number as its digits.
  void TextOrCount(std::string_view key, std::string& out);
  // A list of texts that is not empty. `like` is an example for the error: "[\"dense 10\"]".
  void Texts(std::string_view key, std::string_view like, std::vector<std::string>& out);
  // One of the words, by its index; `otherwise` where the key is not there.
  std::size_t Word(std::string_view key, std::span<const std::string_view> words,
                   std::size_t otherwise);

  // Where the key stands; the pass's name where it does not.
  Location PlaceOf(std::string_view key) const;
  // "LINE:COLUMN: PASS.KEY: message", for what the pass checks by itself.
  Error Fail(std::string_view key, const std::string& message,
             ErrorCode code = ErrorCode::kInvalidArgument) const;

  // The first error, or the first field that no call asked for. A Read function calls it before it
  // uses what it read.
  Result<> Finish() const;

 private:
  struct Bounds {
    double least;
    double most;
    bool whole;
  };
  const PassConfig::Field* Take(std::string_view key);
  std::optional<double> ReadNumber(std::string_view key, const Bounds& bounds);
  void Remember(std::string_view key, const std::string& message);

  const PassConfig& pass_;
  const nn::Graph& teacher_;
  PassListUse use_;
  std::vector<std::string> known_;
  std::optional<Error> error_;
};

}  // namespace fl::deploy
