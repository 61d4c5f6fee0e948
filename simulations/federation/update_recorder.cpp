#include "fl/simulations/federation/update_recorder.h"

#include <array>
#include <cstdio>
#include <utility>

#include "fl/client/state/error_feedback.h"
#include "fl/common/base/file.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::sim {
namespace {

std::string RoundFolder(std::uint64_t round) {
  std::array<char, 32> folder{};
  std::snprintf(folder.data(), folder.size(), "round-%06llu",
                static_cast<unsigned long long>(round));
  return folder.data();
}

}  // namespace

Result<std::unique_ptr<UpdateRecorder>> UpdateRecorder::Create(
    RecordOptions options, std::shared_ptr<const CheckedPlan> plan) {
  FL_TRY_OK(MakePrivateFolder(options.folder));
  FL_TRY_OK(WriteFileAtomically(options.folder / "plan.toml", AsBytes(plan->plan.source)));
  return std::unique_ptr<UpdateRecorder>(new UpdateRecorder(std::move(options), std::move(plan)));
}

bool UpdateRecorder::Wants(std::uint64_t round) const {
  return !full_ && (round - 1) % options_.every == 0;
}

bool UpdateRecorder::records_deltas() const {
  return plan_->plan.compression.residual || plan_->delta.lossless();
}

Result<> UpdateRecorder::Record(std::uint64_t round, const std::string& device, ByteSpan update,
                                const std::shared_ptr<const NamedTensors>& left_out,
                                const RoundParameters& parameters) {
  if (!Wants(round)) return {};
  Bytes tensors;
  if (records_deltas()) {
    FL_TRY(const std::shared_ptr<const NamedTensors> whole,
           client::ErrorFeedback::GiveBack(update, left_out, plan_->delta, parameters));
    SafetensorsFile file;
    AppendTensors(*whole, file);
    tensors = SerializeSafetensors(file);
  }
  const std::uint64_t bytes = update.size() + tensors.size();
  if (bytes_ + bytes > options_.bytes_max) {
    full_ = true;
    return {};
  }
  bytes_ += bytes;
  const std::filesystem::path folder = options_.folder / RoundFolder(round);
  FL_TRY_OK(MakePrivateFolder(folder));
  if (!tensors.empty()) FL_TRY_OK(WriteFileAtomically(folder / (device + ".safetensors"), tensors));
  return WriteFileAtomically(folder / (device + ".update"), update);
}

}  // namespace fl::sim
