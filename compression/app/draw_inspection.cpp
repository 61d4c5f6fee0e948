// The forms in which an Inspection is shown.
#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "fl/compression/app/inspect.h"
#include "fl/compression/app/text_table.h"

namespace fl::codec_app {
namespace {

constexpr std::size_t kBarWidth = 40;

struct Slice {
  std::string name;
  std::size_t bytes = 0;
  std::string note;
};

// A line for each slice: name, bytes, share of the whole, a bar, a note.
std::string DrawSlices(const std::vector<Slice>& slices, std::size_t whole) {
  std::size_t largest = 1;
  for (const Slice& slice : slices) largest = std::max(largest, slice.bytes);
  TextTable table({Align::kLeft, Align::kRight, Align::kRight, Align::kLeft, Align::kLeft});
  for (const Slice& slice : slices) {
    const double part = static_cast<double>(slice.bytes) / static_cast<double>(largest);
    const double share = static_cast<double>(slice.bytes) / static_cast<double>(whole);
    table.AddRow({slice.name, FormatCount(slice.bytes), FormatFixed(100 * share, 1) + " %",
                  DrawBar(part, kBarWidth), slice.note});
  }
  return table.Draw();
}

std::vector<Slice> SlicesByTensor(const Inspection& inspection) {
  std::vector<Slice> slices;
  for (const InspectedSegment& segment : inspection.segments) {
    slices.push_back({segment.stream == "delta" ? segment.name : segment.stream, segment.bytes,
                      FormatFixed(segment.bits(), 3) + " bits a value"});
    if (segment.parts.size() < 2) continue;
    for (const PayloadPart& part : segment.parts)
      slices.push_back({"  " + part.what, part.bytes, ""});
  }
  slices.push_back({"envelope", inspection.envelope_bytes(), "header, sizes, CRCs"});
  return slices;
}

// What each kind of piece takes in all payloads, the largest first.
std::vector<Slice> SlicesByStage(const Inspection& inspection) {
  std::map<std::string, std::size_t> sums;
  for (const InspectedSegment& segment : inspection.segments) {
    for (const PayloadPart& part : segment.parts) sums[part.stage + ": " + part.what] += part.bytes;
  }
  sums["envelope"] = inspection.envelope_bytes();
  std::vector<Slice> slices;
  slices.reserve(sums.size());
  for (const auto& [name, bytes] : sums) slices.push_back({name, bytes, ""});
  std::ranges::stable_sort(slices, std::ranges::greater(), &Slice::bytes);
  return slices;
}

std::string DrawFields(const Inspection& inspection) {
  TextTable table({Align::kRight, Align::kRight, Align::kLeft, Align::kLeft});
  table.AddRow({"offset", "bytes", "field", "value"});
  for (const Field& field : inspection.fields) {
    table.AddRow({FormatCount(field.offset), FormatCount(field.bytes), field.name, field.value});
  }
  std::string text = table.Draw();
  for (const InspectedSegment& segment : inspection.segments) {
    for (std::size_t i = 0; i < segment.tensors.size(); ++i)
      text += (i == 0 ? segment.name + ": " : ", ") + segment.tensors[i];
    if (!segment.tensors.empty()) text += "\n";
  }
  return text;
}

std::string DrawDecoded(const Inspection& inspection) {
  TextTable table({Align::kLeft, Align::kRight, Align::kRight, Align::kRight});
  table.AddRow({"segment", "values", "not zero", "norm"});
  for (const InspectedSegment& segment : inspection.segments) {
    if (segment.stream != "delta") continue;
    const double share = static_cast<double>(segment.nonzero) / static_cast<double>(segment.count);
    table.AddRow({segment.name, FormatCount(segment.count), FormatFixed(100 * share, 2) + " %",
                  FormatFixed(segment.norm, 4)});
  }
  return table.Draw();
}

}  // namespace

std::string DrawInspection(const Inspection& inspection, const std::string& title) {
  const double times =
      4 * static_cast<double>(inspection.parameters) / static_cast<double>(inspection.bytes);
  return title + ": " + FormatCount(inspection.bytes) + " bytes, " +
         FormatFixed(inspection.bits(), 4) + " bits a parameter, " + FormatFixed(times, 1) +
         " times less than fp32\n\n" + DrawFields(inspection) + "\nBytes by tensor\n" +
         DrawSlices(SlicesByTensor(inspection), inspection.bytes) + "\nBytes by stage\n" +
         DrawSlices(SlicesByStage(inspection), inspection.bytes) + "\nWhat it says\n" +
         DrawDecoded(inspection);
}

std::string InspectionToJson(const Inspection& inspection) {
  nlohmann::ordered_json json;
  json["bytes"] = inspection.bytes;
  json["parameters"] = inspection.parameters;
  json["bits_per_parameter"] = inspection.bits();
  json["envelope_bytes"] = inspection.envelope_bytes();
  for (const Field& field : inspection.fields) {
    json["fields"].push_back({{"offset", field.offset},
                              {"bytes", field.bytes},
                              {"name", field.name},
                              {"value", field.value}});
  }
  for (const InspectedSegment& segment : inspection.segments) {
    nlohmann::ordered_json row = {
        {"stream", segment.stream}, {"name", segment.name},       {"shape", segment.shape},
        {"recipe", segment.recipe}, {"offset", segment.offset},   {"bytes", segment.bytes},
        {"values", segment.count},  {"nonzero", segment.nonzero}, {"norm", segment.norm}};
    for (const std::string& tensor : segment.tensors) row["tensors"].push_back(tensor);
    for (const PayloadPart& part : segment.parts) {
      row["parts"].push_back({{"stage", part.stage}, {"what", part.what}, {"bytes", part.bytes}});
    }
    json["segments"].push_back(std::move(row));
  }
  return json.dump(2) + "\n";
}

}  // namespace fl::codec_app
