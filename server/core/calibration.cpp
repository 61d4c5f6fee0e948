#include "fl/server/core/calibration.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/common/nn/calibrate.h"
#include "fl/compression/deploy/federation_ranges.h"

namespace fl::server {
namespace {

constexpr std::uint64_t kCountMax = 1ULL << 53U;  // That histograms hold.

Result<> CheckHistogram(const FederationPlan& plan, const nn::Node& node,
                        const nn::Histogram& histogram, std::uint64_t examples) {
  const std::uint64_t expected = examples * node.shape.count();
  if (histogram.count() != expected) {
    return Error{ErrorCode::kShapeMismatch,
                 "expected " + std::to_string(expected) + " values of " + std::to_string(examples) +
                     " samples, found " + std::to_string(histogram.count()),
                 ErrorDetail::kCalibrationCount};
  }
  const double bound = plan.plan().deployment.calibration.reach_max;
  const double reach = std::max(-double{histogram.low()}, double{histogram.high()});
  if (bound > 0 && reach > bound) {
    return Error{
        ErrorCode::kNormExceeded,
        "expected values up to " + std::to_string(bound) + ", found " + std::to_string(reach),
        ErrorDetail::kCalibrationReach};
  }
  return {};
}

Result<Digest> ReadDigest(ByteReader& reader) {
  Digest digest;
  FL_TRY(const ByteSpan bytes, reader.ReadSpan(digest.bytes.size()));
  std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

Result<CalibrationTally> Read(ByteSpan bytes) {
  ByteReader reader(bytes);
  CalibrationTally tally;
  for (std::uint64_t* number : {&tally.version, &tally.answered, &tally.devices, &tally.samples}) {
    FL_TRY(*number, reader.ReadVarint());
  }
  FL_TRY(const auto settled, reader.Read<std::uint8_t>());
  if (settled > 1) return Error{ErrorCode::kMalformed, "expected 0 or 1"};
  if (settled == 1) {
    FL_TRY(tally.ranges, ReadDigest(reader));
  }
  FL_TRY(const std::uint64_t nodes, reader.ReadVarint());
  for (std::uint64_t i = 0; i < nodes; ++i) {
    FL_TRY(const std::uint64_t size, reader.ReadVarint());
    FL_TRY(const ByteSpan histogram, reader.ReadSpan(size));
    FL_TRY(nn::Histogram decoded, nn::Histogram::Decode(histogram));
    tally.merged.push_back(decoded);
  }
  FL_TRY_OK(reader.ExpectEnd());
  return tally;
}

}  // namespace

Result<std::vector<nn::Histogram>> ReadCalibration(const FederationPlan& plan,
                                                   const wire::UpdateStreamView& stream,
                                                   std::uint64_t examples) {
  const deploy::CalibrationTask& task = *plan.checked().calibration;
  if (examples == 0 && stream.entries.empty()) return std::vector<nn::Histogram>();
  if (examples == 0 || examples > task.samples) {
    return Error{ErrorCode::kBadWeight,
                 "calibration: expected 1 to " + std::to_string(task.samples) + " samples, found " +
                     std::to_string(examples),
                 ErrorDetail::kCalibrationSamples};
  }
  if (stream.entries.size() != task.graph.nodes.size()) {
    return Error{ErrorCode::kShapeMismatch,
                 "calibration: expected histograms of " + std::to_string(task.graph.nodes.size()) +
                     " nodes, found " + std::to_string(stream.entries.size()),
                 ErrorDetail::kCalibrationNodes};
  }
  std::vector<nn::Histogram> histograms;
  histograms.reserve(task.graph.nodes.size());
  for (std::size_t i = 0; i < task.graph.nodes.size(); ++i) {
    const nn::Node& node = task.graph.nodes[i];
    if (stream.entries[i].segment != i) {
      return Error{ErrorCode::kShapeMismatch,
                   "calibration: expected the histogram of node " + std::to_string(i) +
                       ", found that of " + std::to_string(stream.entries[i].segment),
                   ErrorDetail::kCalibrationNodes};
    }
    const auto histogram = nn::Histogram::Decode(stream.entries[i].payload);
    if (!histogram) return histogram.error().At("calibration of " + node.name);
    const auto fits = CheckHistogram(plan, node, *histogram, examples);
    if (!fits) return fits.error().At("calibration of " + node.name);
    histograms.push_back(*histogram);
  }
  return histograms;
}

CalibrationTally CalibrationTally::Of(const FederationPlan& plan, std::uint64_t version) {
  CalibrationTally tally;
  tally.version = version;
  tally.merged.resize(plan.checked().calibration->graph.nodes.size());
  return tally;
}

bool CalibrationTally::HasRoomFor(const FederationPlan& plan, std::uint64_t examples) const {
  for (const nn::Node& node : plan.checked().calibration->graph.nodes) {
    if (samples + examples > kCountMax / node.shape.count()) return false;
  }
  return true;
}

void CalibrationTally::Add(std::span<const nn::Histogram> histograms, std::uint64_t examples) {
  ++answered;
  if (histograms.empty()) return;
  FL_CHECK(histograms.size() == merged.size(), "a histogram for each node was checked");
  ++devices;
  samples += examples;
  for (std::size_t i = 0; i < merged.size(); ++i) merged[i].Merge(histograms[i]);
}

Result<Bytes> CalibrationTally::Ranges(const FederationPlan& plan) const {
  nn::Calibration all;
  all.histograms = merged;
  FL_TRY(const auto values, all.Ranges(plan.checked().calibration->options));
  return deploy::EncodeRanges(values);
}

Bytes CalibrationTally::Encode() const {
  ByteWriter out;
  for (const std::uint64_t number : {version, answered, devices, samples}) out.WriteVarint(number);
  out.Write<std::uint8_t>(ranges ? 1 : 0);
  if (ranges) out.WriteSpan(ranges->bytes);
  out.WriteVarint(merged.size());
  for (const nn::Histogram& histogram : merged) {
    const Bytes bytes = histogram.Encode();
    out.WriteVarint(bytes.size());
    out.WriteSpan(bytes);
  }
  return std::move(out).Take();
}

Result<CalibrationTally> CalibrationTally::Decode(ByteSpan bytes) {
  auto tally = Read(bytes);
  if (tally) return tally;
  return Error{ErrorCode::kInternal,
               "what the devices calibrated is not stored whole: " + tally.error().message};
}

}  // namespace fl::server
