#include "fl/compression/app/codec_files.h"

#include <filesystem>
#include <utility>

#include "fl/common/base/file.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/compression/app/update_file.h"

namespace fl::codec_app {
namespace {

constexpr std::uint64_t kFileBytesMax = 1ULL << 33;

Result<NamedTensors> LoadTensors(ByteSpan bytes) {
  FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes));
  std::vector<TensorSpec> specs;
  specs.reserve(file.tensors.size());
  for (const StoredTensor& tensor : file.tensors) specs.push_back({tensor.name, tensor.shape});
  if (specs.empty()) return Error{ErrorCode::kShapeMismatch, "expected a tensor, found none"};
  NamedTensors tensors{TensorLayout(std::move(specs))};
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    FL_TRY(const std::vector<float> values, LoadFloats(file.tensors[i]));
    std::ranges::copy(values, tensors.tensor(i).begin());
  }
  return tensors;
}

void ReadByPlan(std::shared_ptr<const CheckedPlan> plan, ReadableUpdate& readable) {
  readable.streams.push_back({"delta", &plan->delta, &plan->plan.compression, ""});
  readable.streams.push_back({"metrics", &plan->metrics, nullptr, "raw"});
  for (std::size_t i = 0; i < plan->streams.size(); ++i) {
    const StreamConfig& stream = plan->plan.streams[i];
    readable.streams.push_back({stream.name, &plan->streams[i], nullptr, stream.recipe.text});
  }
  readable.plan = std::move(plan);
}

Result<ReadableUpdate> Open(ByteSpan bytes, const std::string& plan_path) {
  ReadableUpdate readable;
  if (!IsUpdateFile(bytes)) {
    if (plan_path.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "not a file that fl-codec encode wrote; for an update of a run, name its plan "
                   "with --plan"};
    }
    FL_TRY(std::shared_ptr<const CheckedPlan> plan, ReadPlan(plan_path));
    ReadByPlan(std::move(plan), readable);
    readable.update.assign(bytes.begin(), bytes.end());
    return readable;
  }
  FL_TRY(UpdateFile file, ParseUpdateFile(bytes));
  FL_TRY(SegmentPlan own, SegmentPlan::Create(file.compression, file.layout));
  readable.own_plan = std::make_unique<SegmentPlan>(std::move(own));
  readable.own_compression = std::make_unique<CompressionConfig>(std::move(file.compression));
  readable.streams.push_back(
      {"delta", readable.own_plan.get(), readable.own_compression.get(), ""});
  readable.update = std::move(file.update);
  return readable;
}

}  // namespace

Result<NamedTensors> ReadTensors(const std::string& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kFileBytesMax));
  Result<NamedTensors> tensors = LoadTensors(bytes);
  if (!tensors) return tensors.error().At(path);
  return tensors;
}

Result<> WriteTensors(const std::string& path, const NamedTensors& tensors) {
  SafetensorsFile file;
  AppendTensors(tensors, file);
  return WriteFileAtomically(path, SerializeSafetensors(file));
}

Result<std::shared_ptr<const CheckedPlan>> ReadPlan(const std::string& path) {
  FL_TRY(Plan plan, LoadPlan(path));
  return CheckPlan(std::move(plan), path);
}

Result<ReadableUpdate> ReadUpdate(const std::string& path, const std::string& plan_path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kFileBytesMax));
  Result<ReadableUpdate> readable = Open(bytes, plan_path);
  if (!readable) return readable.error().At(path);
  return readable;
}

}  // namespace fl::codec_app
