#include "fl/compression/app/model/quantity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <string>

namespace fl::model_app {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

Result<double> Parse(std::string_view text, std::span<const Unit> units, std::string_view example) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units) {
    const double whole = value * unit.factor;
    if (error == std::errc{} && rest == unit.name && whole > 0 && whole < 1e15) return whole;
  }
  return Error{ErrorCode::kInvalidArgument, "expected a positive quantity such as " +
                                                std::string(example) + ", found \"" +
                                                std::string(text.substr(0, 64)) + "\""};
}

}  // namespace

Result<std::uint64_t> ParseBytes(std::string_view text) {
  constexpr Unit kUnits[] = {{"", 1},     {"B", 1},      {"KB", 1e3},
                             {"MB", 1e6}, {"KiB", 1024}, {"MiB", 1024.0 * 1024}};
  FL_TRY(const double bytes, Parse(text, kUnits, "200KB"));
  return static_cast<std::uint64_t>(std::max(1.0, std::floor(bytes)));
}

Result<double> ParseMicroseconds(std::string_view text) {
  constexpr Unit kUnits[] = {{"", 1}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};
  return Parse(text, kUnits, "100us");
}

}  // namespace fl::model_app
