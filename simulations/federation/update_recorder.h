#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/check_plan.h"
#include "fl/compression/codec.h"

namespace fl::sim {

struct RecordOptions {
  std::filesystem::path folder;                // Empty: nothing is recorded.
  std::uint64_t every = 1;                     // Rounds 1, 1 + every, ...; >= 1.
  std::uint64_t bytes_max = 256ULL * 1000000;  // Of all files; what no longer fits ends recording.
};

// Keeps accepted updates and what they were made from:
//
//   FOLDER/plan.toml                            the plan as it is played
//   FOLDER/round-000001/DEVICE.update           as the device sent it
//   FOLDER/round-000001/DEVICE.safetensors      what its codecs were given: the local change of the
//                                               model plus the residual of earlier updates, after
//                                               clipping, fp32
//
// The second is the sum of what was sent and what was left out, so it is exact but for the rounding
// of one addition; it is missing where a lossy recipe keeps no residual (records_deltas). With the
// recipe raw it is the local change alone. The same plan records the same bytes. Thread safety: one
// call at a time.
class UpdateRecorder {
 public:
  // Makes the folder and writes the plan: kIo.
  static Result<std::unique_ptr<UpdateRecorder>> Create(RecordOptions options,
                                                        std::shared_ptr<const CheckedPlan> plan);

  bool Wants(std::uint64_t round) const;
  bool records_deltas() const;

  // What a device sent in a round, and what its codecs left out of it (null: nothing). Errors: kIo.
  Result<> Record(std::uint64_t round, const std::string& device, ByteSpan update,
                  const std::shared_ptr<const NamedTensors>& left_out,
                  const RoundParameters& parameters);

 private:
  UpdateRecorder(RecordOptions options, std::shared_ptr<const CheckedPlan> plan)
      : options_(std::move(options)), plan_(std::move(plan)) {}

  RecordOptions options_;
  std::shared_ptr<const CheckedPlan> plan_;
  std::uint64_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace fl::sim
