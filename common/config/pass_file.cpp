#include "fl/common/config/pass_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "fl/common/base/file.h"

namespace fl {
namespace {

constexpr std::uint64_t kPassFileBytesMax = 1 << 20;

// The value of a setting, as a pass's field.
Result<PassConfig::Field> ParseField(std::string_view key, const std::string& value) {
  auto table = Table::Parse("value = " + value, "");
  if (!table) table = Table::Parse("value = '" + value + "'", "");
  if (!table) return table.error();
  std::vector<PassConfig::Field> fields = table->Rest();
  FL_TRY_OK(table->Finish());
  if (fields.size() != 1)
    return Error{ErrorCode::kInvalidArgument, "expected one value, found \"" + value + "\""};
  fields.front().key = key;
  return fields.front();
}

std::string ToToml(bool value) {
  return value ? "true" : "false";
}

std::string ToToml(std::int64_t value) {
  return std::to_string(value);
}

// The shortest digits that give the same number again.
std::string ToToml(double value) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  std::string digits(text.data(), error == std::errc{} ? end : text.data());
  const bool real = digits.find_first_of(".en") != std::string::npos;
  return real ? digits : digits + ".0";
}

std::string ToToml(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    std::array<char, 8> escaped{};
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) {
      std::snprintf(escaped.data(), escaped.size(), "\\u%04X", code);
      text += escaped.data();
    } else {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text + "\"";
}

std::string ToToml(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ", ") + ToToml(value);
  return "[" + text + "]";
}

Result<> SetField(const PassConfig::Field& field, PassConfig& pass) {
  const auto found = std::ranges::find(pass.fields, field.key, &PassConfig::Field::key);
  if (found == pass.fields.end()) {
    pass.fields.push_back(field);
    pass.fields.back().location = pass.name.location;
  } else {
    found->value = field.value;
  }
  return {};
}

Result<> SetOfGate(const std::string& setting, DeploymentConfig& deployment) {
  FL_TRY(Table table, Table::Parse(setting, "setting"));
  table.Read("drop_points_max", deployment.drop_points_max, {0, 100});
  table.Read("bytes_max", deployment.bytes_max, {0, 1e12});
  return table.Finish();
}

Result<> Apply(const std::string& setting, DeploymentConfig& deployment) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected KEY=VALUE, e.g. distil.epochs=20 or bytes_max=60000"};
  }
  const std::size_t dot = setting.find('.');
  if (dot == std::string::npos || dot > equals) return SetOfGate(setting, deployment);
  const std::string pass = setting.substr(0, dot);
  FL_TRY(const PassConfig::Field field,
         ParseField(setting.substr(dot + 1, equals - dot - 1), setting.substr(equals + 1)));
  bool found = false;
  for (PassConfig& entry : deployment.passes) {
    if (entry.name.text != pass) continue;
    found = true;
    FL_TRY_OK(SetField(field, entry));
  }
  if (found) return {};
  return Error{ErrorCode::kInvalidArgument, "the list has no pass \"" + pass + "\""};
}

Result<> ReadCalibration(Table table, CalibrationConfig& calibration) {
  constexpr double kDevicesMax = 1e6;
  table.Read("devices", calibration.devices, {1, kDevicesMax});
  table.Read("devices_min", calibration.devices_min, {1, kDevicesMax});
  table.Read("reach_max", calibration.reach_max, {0, 1e30});
  if (calibration.devices_min > calibration.devices)
    table.Refuse("devices_min", "expected at most deployment.calibration.devices");
  return table.Finish();
}

}  // namespace

Result<> ReadDeployment(Table table, DeploymentConfig& deployment) {
  if (!table.present()) return {};
  table.Read("version", deployment.version, {0, 1e6});
  table.Read("drop_points_max", deployment.drop_points_max, {0, 100});
  table.Read("bytes_max", deployment.bytes_max, {0, 1e12});
  table.Read("drift_max", deployment.drift_max, {0, 100});
  table.Read("made_below", deployment.made_below, {0, 1e6});
  Table personalize = table.Child("personalize");
  personalize.Read("steps", deployment.personalize.steps, {0, 1e6});
  personalize.Read("batch", deployment.personalize.batch, {1, 1e6});
  personalize.Read("learning_rate", deployment.personalize.learning_rate, {0, 100, true, false});
  personalize.Read("proximal", deployment.personalize.proximal, {0, 1e6});
  FL_TRY_OK(personalize.Finish());
  FL_TRY_OK(ReadCalibration(table.Child("calibration"), deployment.calibration));
  for (Table& pass : table.Children("pass")) {
    PassConfig& entry = deployment.passes.emplace_back();
    pass.Read("pass", entry.name);
    if (entry.name.text.empty())
      pass.Refuse("pass", "missing: expected the pass's name, e.g. \"distil\"");
    entry.fields = pass.Rest();
    FL_TRY_OK(pass.Finish());
  }
  if (deployment.version != 1)
    table.Refuse("version", "expected 1, the only version of pass lists");
  return table.Finish();
}

Result<DeploymentConfig> ParsePassFile(std::string_view text, std::string_view name) {
  FL_TRY(Table root, Table::Parse(text, name));
  DeploymentConfig deployment;
  FL_TRY_OK(ReadDeployment(root.Child("deployment"), deployment));
  FL_TRY_OK(root.Finish());
  if (deployment.passes.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 std::string(name) + ": expected at least one [[deployment.pass]]"};
  }
  return deployment;
}

Result<DeploymentConfig> LoadPassFile(const std::string& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kPassFileBytesMax));
  return ParsePassFile(AsText(bytes), path);
}

std::string PassFileToToml(const DeploymentConfig& deployment) {
  std::string text = "[deployment]\nversion = " + std::to_string(deployment.version) +
                     "\ndrop_points_max = " + ToToml(deployment.drop_points_max) + "\n";
  if (deployment.bytes_max > 0)
    text += "bytes_max = " + std::to_string(deployment.bytes_max) + "\n";
  for (const PassConfig& pass : deployment.passes) {
    text += "\n[[deployment.pass]]\npass = " + ToToml(pass.name.text) + "\n";
    for (const PassConfig::Field& field : pass.fields) {
      text += field.key + " = " +
              std::visit([](const auto& value) { return ToToml(value); }, field.value) + "\n";
    }
  }
  return text;
}

Result<> OverridePasses(const std::vector<std::string>& settings, DeploymentConfig& deployment) {
  for (const std::string& setting : settings) {
    if (const auto applied = Apply(setting, deployment); !applied)
      return applied.error().At("setting '" + setting + "'");
  }
  return {};
}

}  // namespace fl
