#include "fl/common/config/hardware_profile.h"

#include <algorithm>
#include <cstdio>

#include "fl/common/base/file.h"
#include "fl/common/config/table.h"

namespace fl {
namespace {

constexpr std::uint64_t kProfileBytesMax = 1 << 20;
constexpr Table::Range kPositive{0, 1e9, true, false};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

std::string List(const std::vector<std::size_t>& values) {
  std::string text;
  for (const std::size_t value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
  return "[" + text + "]";
}

std::string Quoted(const std::string& text) {
  return "\"" + text + "\"";
}

Result<OperatorTime> ReadOperator(Table& table) {
  OperatorTime row;
  table.Read("layer", row.layer);
  table.Read("input", row.input, {1, 1 << 24});
  table.Read("multiply_accumulates", row.multiply_accumulates, {0, 1e15});
  table.Read("fp32_us", row.fp32_us, kPositive);
  table.Read("int8_us", row.int8_us, {0, 1e9});
  if (row.layer.empty()) table.Refuse("layer", "missing: expected a layer, such as \"dense 10\"");
  if (row.input.empty()) table.Refuse("input", "missing: expected the extents of a sample");
  if (row.fp32_us == 0) table.Refuse("fp32_us", "missing: expected microseconds");
  FL_TRY_OK(table.Finish());
  return row;
}

}  // namespace

bool HasType(const HardwareProfile& profile, std::string_view type) {
  return std::ranges::find(profile.types, type) != profile.types.end();
}

std::string ProfileToToml(const HardwareProfile& profile) {
  std::string types;
  for (const std::string& type : profile.types) types += (types.empty() ? "" : ", ") + Quoted(type);
  std::string text = "version = 1\ninstruction_set = " + Quoted(profile.instruction_set) +
                     "\ninteger_instruction_set = " + Quoted(profile.integer_instruction_set) +
                     "\ntypes = [" + types + "]\ncache_bytes = " + List(profile.cache_bytes) +
                     "\nchannel_multiple = " + std::to_string(profile.channel_multiple) +
                     "\nfp32_gflops = " + Number(profile.fp32_gflops) +
                     "\nint8_gops = " + Number(profile.int8_gops) +
                     "\nmemory_gbps = " + Number(profile.memory_gbps) + "\n";
  for (const OperatorTime& row : profile.operators) {
    text += "\n[[operator]]\nlayer = " + Quoted(row.layer) + "\ninput = " + List(row.input) +
            "\nmultiply_accumulates = " + Number(row.multiply_accumulates) +
            "\nfp32_us = " + Number(row.fp32_us) + "\nint8_us = " + Number(row.int8_us) + "\n";
  }
  return text;
}

Result<HardwareProfile> ParseProfile(std::string_view text, std::string_view name) {
  FL_TRY(Table root, Table::Parse(text, name));
  HardwareProfile profile;
  std::uint32_t version = 0;
  root.Read("version", version, {0, 1e6});
  if (version != 1) root.Refuse("version", "expected 1, the only version of device profiles");
  root.Read("instruction_set", profile.instruction_set);
  root.Read("integer_instruction_set", profile.integer_instruction_set);
  root.Read("types", profile.types);
  root.Read("cache_bytes", profile.cache_bytes, {1, 1e12});
  root.Read("channel_multiple", profile.channel_multiple, {1, 1024});
  root.Read("fp32_gflops", profile.fp32_gflops, kPositive);
  root.Read("int8_gops", profile.int8_gops, kPositive);
  root.Read("memory_gbps", profile.memory_gbps, kPositive);
  for (const auto& [key, value] :
       {std::pair("fp32_gflops", profile.fp32_gflops), std::pair("int8_gops", profile.int8_gops),
        std::pair("memory_gbps", profile.memory_gbps)}) {
    if (value == 0) root.Refuse(key, "missing: expected what was measured");
  }
  for (Table& table : root.Children("operator")) {
    FL_TRY(OperatorTime row, ReadOperator(table));
    profile.operators.push_back(std::move(row));
  }
  if (profile.operators.empty()) root.Refuse("operator", "expected at least one [[operator]]");
  FL_TRY_OK(root.Finish());
  return profile;
}

Result<HardwareProfile> LoadProfile(const std::string& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kProfileBytesMax));
  return ParseProfile(AsText(bytes), path);
}

}  // namespace fl
