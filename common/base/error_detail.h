#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// Which of a code's faults it was: finer than ErrorCode, which programs act on. It stands in the
// log, in what a server keeps of refusals, and in the header Refusal-Detail of an answer, by name
// (docs/operations.md has the table). The numbers are stored: append only, never renumber.
namespace fl {

enum class ErrorDetail : std::uint16_t {
  kNone = 0,      // The code says it all.
  kCutShort = 1,  // Bytes end before their grammar does.
  // A variable-length number that is not in its shortest form, or has more than 64 bits.
  kLongNumber = 2,
  kTrailingBytes = 3,      // Bytes behind the end.
  kMagic = 4,              // Another kind of bytes: not the magic of an update.
  kFormatVersion = 5,      // A version of the update's format that this program does not read.
  kHeaderCrc = 6,          // The CRC of the update's header.
  kBodyCrc = 7,            // The CRC of the whole update.
  kUpdateBytes = 8,        // An update larger than any that the plan can produce.
  kUpdateDigest = 9,       // Bytes of another SHA-256 than was reserved.
  kExamplesCount = 10,     // More examples than any update may have.
  kStreamCount = 11,       // More streams than the plan has.
  kSegmentCount = 12,      // More segments in a stream than there may be, or a segment beyond them.
  kEntriesBeyondEnd = 13,  // More segments than the bytes that are left can hold.
  kPayloadBeyondEnd = 14,  // A payload longer than the bytes that are left.
  kStreamOrder = 15,       // Streams that repeat or are not in increasing order.
  kTaskOther = 16,         // An update of another task than the one that it was sent for.
  kBaseOther = 17,         // Made from another model than the task's.
  kRecipeOther = 18,       // Encoded by another recipe than the plan's.
  kExamplesNone = 19,      // An update of no examples.
  kStreamUnknown = 20,     // A stream that the plan does not have.
  kStreamMissing = 21,     // One of the plan's streams is missing.
  kMetricsOnly = 22,       // More than metrics in the answer to a task that asks for these alone.
  // Something else than a calibration in the answer to a task that asks for one.
  kCalibrationOnly = 23,
  kDeltaMissing = 24,        // An update whose delta has no segment.
  kSegmentUnknown = 25,      // A segment that the plan does not have.
  kMetricsIncomplete = 26,   // Metrics that are not all there.
  kPayloadBytes = 27,        // A payload of another size than its codec writes.
  kValueNotFinite = 28,      // A value that is NaN or infinite.
  kValueTooLarge = 29,       // A value beyond the largest magnitude that is accepted.
  kScaleNotFinite = 30,      // A scale, step or grid that is NaN or infinite.
  kScaleNegative = 31,       // A scale or step with a sign, or a step of 0.
  kScaleUseless = 32,        // A scale without levels, or levels without a scale.
  kLevelUnknown = 33,        // A code that stands for no level.
  kLevelCount = 34,          // More levels than there are values.
  kIndexCount = 35,          // More indices than the plan keeps.
  kIndexRange = 36,          // An index beyond the values.
  kIndexCutShort = 37,       // Indices that end before they are all there.
  kRankCount = 38,           // A rank above the plan's.
  kChoiceUnknown = 39,       // An adaptive payload that chooses what its segment does not have.
  kPaddingBits = 40,         // Bits after the last code that are not zero.
  kCodeNotShortest = 41,     // A code that says in more bits what fewer say.
  kCodeDamaged = 42,         // An entropy code that decodes to no levels.
  kNormL2 = 43,              // The delta's L2 norm is above the plan's bound.
  kCalibrationSamples = 44,  // More samples than the plan asks for, or none.
  kCalibrationNodes = 45,    // Histograms of other nodes than the model has.
  kCalibrationCount = 46,    // A histogram of another number of values than its samples have.
  kCalibrationReach = 47,    // Values beyond the plan's reach.
  kCalibrationBins = 48,     // A histogram that breaks its grammar or its limits.
  kRouteUnknown = 49,        // A request that does not exist.
  kRoleWrong = 50,           // A device on an operator's route, or an operator on a device's.
  kTaskSyntax = 51,          // A task id that is not 16 lower-case hexadecimal digits.
  kTaskUnknown = 52,         // A task that was never issued to this client.
  kOffsetSyntax = 53,        // An Upload-Offset that is missing or no number.
  kRangeSyntax = 54,         // A Range that is not bytes=FIRST-LAST, or begins beyond the end.
  kDigestSyntax = 55,        // A digest that is not 64 lower-case hexadecimal digits.
  kBodyBytes = 56,           // A body larger than one request may have.
  // A piece of an update, or a question about one, without a reservation.
  kReservationMissing = 57,
  kReservationBytes = 58,  // A reservation of no bytes, or of more than the plan can produce.
  kChunkOffset = 59,       // A piece that begins elsewhere than where the last one ended.
  kChunkBeyondEnd = 60,    // A piece beyond the size that was reserved.
  kCommitOther = 61,       // A commit of another size or digest than was reserved.
  kCommitEarly = 62,       // A commit before all bytes are there.
  kUpdateOther = 63,       // A second, different update of one task.
  kPhaseUnknown = 64,      // A phase message that nobody asked for.
  kHeldOff = 65,           // The client was refused too often in a row and has to wait.
  kDenied = 66,            // The client was refused so often that it is shut out for a while.
  kMessageField = 67,      // A message with a field that cannot be.
  kMessageBytes = 68,      // A message, or a list in one, larger than any may be.
  kUploadsBegun = 69,      // Too many uploads of one task that were begun and thrown away.
  kTooManyRequests = 70,   // More requests a second than the server takes from one client.
};

// "cut_short", "value_not_finite", ...; empty for kNone and for a number that is not known.
std::string_view ErrorDetailName(ErrorDetail detail);
// How many there are, kNone included.
std::size_t ErrorDetailCount();

}  // namespace fl
