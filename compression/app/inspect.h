#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/compression/app/payload_parts.h"
#include "fl/compression/recipe.h"

namespace fl::codec_app {

// How one stream of an update is read.
struct StreamReading {
  std::string name;                                // "delta", "metrics", or the plan's.
  const SegmentPlan* plan = nullptr;               // Outlives the reading.
  const CompressionConfig* compression = nullptr;  // The delta's rules; null: `recipe` for all.
  std::string recipe;
};

// A piece of the envelope: what stands there, and where.
struct Field {
  std::size_t offset = 0;
  std::size_t bytes = 0;
  std::string name;
  std::string value;
};

// A payload: what it cost, by stage, and what it says.
struct InspectedSegment {
  std::string stream;
  std::string name;
  std::string shape;
  std::string recipe;
  std::vector<std::string> tensors;  // What it holds, where that is more than one.
  std::size_t offset = 0;
  std::size_t bytes = 0;
  std::size_t count = 0;
  std::size_t nonzero = 0;  // Decoded values that are not zero.
  double norm = 0;          // L2, of the decoded values.
  std::vector<PayloadPart> parts;

  double bits() const { return 8 * static_cast<double>(bytes) / static_cast<double>(count); }
};

struct Inspection {
  std::size_t bytes = 0;
  std::size_t parameters = 0;  // Of the delta's layout.
  std::vector<Field> fields;   // In the order of the bytes, payloads among them.
  std::vector<InspectedSegment> segments;

  double bits() const { return 8 * static_cast<double>(bytes) / static_cast<double>(parameters); }
  std::size_t envelope_bytes() const;
};

// Reads an update completely, envelope and payloads, with the checks that a server makes but for
// its bounds on size and magnitude. streams[i] reads the stream of id i. Errors:
// wire::DecodeUpdate's, Codec::Parse's with the segment's name, kStreamMismatch, kWrongRecipe where
// the update was encoded by another recipe than the delta's.
Result<Inspection> InspectUpdate(ByteSpan update, const std::vector<StreamReading>& streams);

// The picture for a terminal: the fields, then bars for the bytes of each tensor and each stage.
std::string DrawInspection(const Inspection& inspection, const std::string& title);
// The same as JSON.
std::string InspectionToJson(const Inspection& inspection);

}  // namespace fl::codec_app
