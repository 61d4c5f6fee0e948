#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/digest.h"
#include "fl/common/base/result.h"
#include "fl/common/nn/histogram.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/federation_plan.h"

namespace fl::server {

// Reads the stream of a calibrate task, of a plan that has one: a histogram for each node of the
// model that devices calibrate, over `examples` samples; none of a device that had nothing to send:
// no samples and no histograms. kShapeMismatch (another node than the model has, one that is
// missing, or as many values as other samples would have), kBadWeight (no samples, or more than the
// plan asks for), kNormExceeded (values beyond the plan's reach_max), and Histogram::Decode's.
// Pure.
Result<std::vector<nn::Histogram>> ReadCalibration(const FederationPlan& plan,
                                                   const wire::UpdateStreamView& stream,
                                                   std::uint64_t examples);

// What the devices' histograms of one model add up to. Adding is exact in any order, so that a
// histogram is added, in the transaction that acknowledges it, and not kept by itself. Stored as
//
//   tally = version:varint answered:varint devices:varint samples:varint
//           settled:u8 digest if 1     nodes:varint { bytes:varint histogram }
//
// Thread safety: distinct objects safe.
struct CalibrationTally {
  static constexpr const char* kTensor = "calibration";  // Its name in the storage.

  std::uint64_t version = 0;          // Of the model.
  std::uint64_t answered = 0;         // Devices, those that had nothing to send among them.
  std::uint64_t devices = 0;          // That sent histograms.
  std::uint64_t samples = 0;          // That these are of.
  std::optional<Digest> ranges;       // A blob (deploy::EncodeRanges), once they are settled.
  std::vector<nn::Histogram> merged;  // One for each node; none any more once it is over.
  friend bool operator==(const CalibrationTally&, const CalibrationTally&) = default;

  // Nothing counted yet.
  static CalibrationTally Of(const FederationPlan& plan, std::uint64_t version);
  // Whether all counts stay exact with those of so many more samples.
  bool HasRoomFor(const FederationPlan& plan, std::uint64_t examples) const;
  // One more device: ReadCalibration's histograms.
  void Add(std::span<const nn::Histogram> histograms, std::uint64_t examples);
  // The ranges as the plan's pass chooses them, as bytes.
  Result<Bytes> Ranges(const FederationPlan& plan) const;

  Bytes Encode() const;
  // kInternal when the bytes are none that Encode wrote.
  static Result<CalibrationTally> Decode(ByteSpan bytes);
};

}  // namespace fl::server
