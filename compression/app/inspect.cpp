#include "fl/compression/app/inspect.h"

#include <cmath>
#include <limits>
#include <utility>

#include "fl/common/wire/update.h"
#include "fl/compression/app/encode_tensors.h"
#include "fl/compression/codecs/adaptive.h"

namespace fl::codec_app {
namespace {

constexpr wire::UpdateLimits kAnyUpdate{.bytes_max = std::numeric_limits<std::uint64_t>::max(),
                                        .streams_max = 1U << 16,
                                        .segments_max = 1U << 24,
                                        .examples_max = std::numeric_limits<std::uint64_t>::max()};
constexpr PayloadLimits kAnyMagnitude{std::numeric_limits<float>::max()};

std::string Hex(std::uint64_t word) {
  const auto bytes = std::as_bytes(std::span(&word, 1));
  return ToHex({bytes.begin(), bytes.end()});
}

// Lays fields one behind the other.
class FieldList {
 public:
  explicit FieldList(std::vector<Field>& fields) : fields_(fields) {}
  void Add(std::size_t bytes, std::string name, std::string value) {
    fields_.push_back({offset_, bytes, std::move(name), std::move(value)});
    offset_ += bytes;
  }
  std::size_t offset() const { return offset_; }

 private:
  std::vector<Field>& fields_;
  std::size_t offset_ = 0;
};

void AddHeader(const wire::UpdateView& update, FieldList& fields) {
  fields.Add(3, "magic", "FLU");
  fields.Add(1, "format version", "1");
  fields.Add(8, "task", Hex(update.task.value));
  fields.Add(8, "base model", Hex(update.base) + "...");
  fields.Add(8, "recipe", Hex(update.recipe) + "...");
  fields.Add(VarintSize(update.examples), "examples", std::to_string(update.examples));
  fields.Add(VarintSize(update.streams.size()), "streams", std::to_string(update.streams.size()));
  fields.Add(4, "header CRC", "holds");
}

Result<InspectedSegment> ReadSegment(const wire::UpdateEntryView& entry,
                                     const StreamReading& reading) {
  if (entry.segment >= reading.plan->segments().size()) {
    return Error{ErrorCode::kShapeMismatch, reading.name + ": expected segments below " +
                                                std::to_string(reading.plan->segments().size()) +
                                                ", found " + std::to_string(entry.segment)};
  }
  const Segment& segment = reading.plan->segments()[entry.segment];
  const auto payload =
      segment.codec->Parse(entry.payload, reading.plan->InitialRoundParameters(), kAnyMagnitude);
  if (!payload) return payload.error().At(segment.name);
  InspectedSegment row;
  row.stream = reading.name;
  row.name = segment.name;
  row.shape = segment.shape.ToText();
  row.recipe =
      reading.compression == nullptr ? reading.recipe : RecipeOf(*reading.compression, segment);
  for (const std::size_t tensor : segment.tensors) {
    if (segment.tensors.size() > 1) row.tensors.push_back(reading.plan->layout()[tensor].name);
  }
  row.bytes = entry.payload.size();
  row.count = segment.codec->count();
  std::vector<float> decoded(row.count);
  segment.codec->DecodeAdd(**payload, 0, 1.0F, decoded);
  row.norm = NormL2(decoded);
  for (const float value : decoded) row.nonzero += value != 0 ? 1 : 0;
  FL_TRY(const Recipe recipe, ParseRecipe(row.recipe));
  row.parts = PartsOf(recipe, segment.shape, entry.payload);
  if (recipe.stages.front().name == "auto") row.recipe += ": " + AdaptiveChoiceOf(entry.payload);
  return row;
}

Result<> ReadStream(const wire::UpdateStreamView& stream, const StreamReading& reading,
                    FieldList& fields, Inspection& inspection) {
  std::size_t heads = VarintSize(stream.id) + VarintSize(stream.entries.size());
  std::uint64_t next = 0;
  for (const wire::UpdateEntryView& entry : stream.entries) {
    heads += VarintSize(entry.segment - next) + VarintSize(entry.payload.size());
    next = entry.segment + 1;
  }
  fields.Add(heads, "stream " + std::to_string(stream.id),
             reading.name + ": sizes of " + std::to_string(stream.entries.size()) + " payloads");
  for (const wire::UpdateEntryView& entry : stream.entries) {
    FL_TRY(InspectedSegment row, ReadSegment(entry, reading));
    row.offset = fields.offset();
    fields.Add(row.bytes, "payload", row.name + " " + row.shape + "  " + row.recipe);
    inspection.segments.push_back(std::move(row));
  }
  return {};
}

}  // namespace

std::size_t Inspection::envelope_bytes() const {
  std::size_t left = bytes;
  for (const InspectedSegment& segment : segments) left -= segment.bytes;
  return left;
}

Result<Inspection> InspectUpdate(ByteSpan update, const std::vector<StreamReading>& streams) {
  FL_TRY(const wire::UpdateView view, wire::DecodeUpdate(update, kAnyUpdate));
  const SegmentPlan& delta = *streams.front().plan;
  if (view.recipe != delta.digest().prefix()) {
    return Error{ErrorCode::kWrongRecipe, "the update was encoded by another recipe: expected " +
                                              Hex(delta.digest().prefix()) + ", found " +
                                              Hex(view.recipe)};
  }
  Inspection inspection;
  inspection.bytes = update.size();
  inspection.parameters = delta.layout().total();
  FieldList fields(inspection.fields);
  AddHeader(view, fields);
  for (const wire::UpdateStreamView& stream : view.streams) {
    if (stream.id >= streams.size()) {
      return Error{ErrorCode::kStreamMismatch,
                   "expected streams below " + std::to_string(streams.size()) + ", found " +
                       std::to_string(stream.id) + "; name the plan of the run with --plan"};
    }
    FL_TRY_OK(ReadStream(stream, streams[static_cast<std::size_t>(stream.id)], fields, inspection));
  }
  fields.Add(4, "CRC", "holds");
  return inspection;
}

}  // namespace fl::codec_app
