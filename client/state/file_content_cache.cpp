#include "fl/client/state/file_content_cache.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "fl/client/state/device_state.h"
#include "fl/common/base/file.h"
#include "fl/common/crypto/sha256.h"

namespace fl::client {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPlanBytesMax = 4U << 20;
constexpr unsigned kMode = 0600;

// Removes the oldest files of that prefix beyond `count`, never the one just written.
void KeepNewest(const fs::path& folder, std::string_view prefix, std::size_t count,
                const fs::path& written) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (!entry.path().filename().string().starts_with(prefix) || entry.path() == written) continue;
    files.emplace_back(entry.last_write_time(ignored), entry.path());
  }
  std::ranges::sort(files, std::greater<>());
  for (std::size_t i = count - 1; i < files.size(); ++i) fs::remove(files[i].second, ignored);
}

}  // namespace

fs::path FileContentCache::PlanPath(const Digest& digest) const {
  return folder_ / ("plan-" + digest.ToHex() + ".toml");
}

fs::path FileContentCache::ModelPath(const Digest& digest) const {
  return folder_ / ("model-" + digest.ToHex() + ".f32");
}

std::shared_ptr<const CheckedPlan> FileContentCache::FindPlan(const Digest& digest) {
  if (auto plan = plans_.FindPlan(digest)) return plan;
  const fs::path path = PlanPath(digest);
  const Result<Bytes> text = ReadFile(path, kPlanBytesMax);
  if (!text || crypto::Sha256(*text) != digest) return nullptr;
  Result<Plan> plan = ParsePlan(AsText(*text), path.string());
  if (!plan) return nullptr;
  auto checked = CheckPlan(*std::move(plan), path.string());
  if (!checked) return nullptr;
  plans_.StorePlan(digest, AsText(*text), *checked);
  return *checked;
}

void FileContentCache::StorePlan(const Digest& digest, std::string_view text,
                                 std::shared_ptr<const CheckedPlan> plan) {
  plans_.StorePlan(digest, text, std::move(plan));
  const fs::path path = PlanPath(digest);
  // Without the file the plan is downloaded again after a restart.
  if (WriteFileAtomically(path, AsBytes(text), kMode)) {
    KeepNewest(folder_, "plan-", kPlansMax, path);
  }
}

bool FileContentCache::HasModel(const Digest& digest) {
  std::error_code ignored;
  return fs::exists(ModelPath(digest), ignored);
}

std::shared_ptr<const NamedTensors> FileContentCache::FindModel(const Digest& digest,
                                                                const TensorLayout& layout) {
  const Result<Bytes> bytes = ReadFile(ModelPath(digest), layout.total() * sizeof(float));
  if (!bytes || bytes->size() != layout.total() * sizeof(float)) return nullptr;
  auto model = std::make_shared<NamedTensors>(layout);
  std::memcpy(model->values.data(), bytes->data(), bytes->size());
  if (ModelDigest(model->values) != digest) return nullptr;
  return model;
}

void FileContentCache::StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) {
  const fs::path path = ModelPath(digest);
  // Without the file the model is downloaded again.
  if (WriteFileAtomically(path, std::as_bytes(std::span(model->values)), kMode)) {
    KeepNewest(folder_, "model-", kModelsMax, path);
  }
}

}  // namespace fl::client
