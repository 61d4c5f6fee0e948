#pragma once

#include <filesystem>

#include "fl/client/state/content_cache.h"

namespace fl::client {

// A device's own: files named by digest in a folder, plan-HEX.toml and model-HEX.f32 (raw fp32,
// little-endian). What is read is checked against its digest, so a damaged file counts as absent.
// Plans stay in memory once used, models do not. Keeps the plans_max and models_max newest.
// Thread safety: shared objects safe.
class FileContentCache final : public ContentCache {
 public:
  static constexpr std::size_t kPlansMax = 4;
  static constexpr std::size_t kModelsMax = 2;

  // The folder exists. What cannot be written is simply not there later.
  explicit FileContentCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::shared_ptr<const CheckedPlan> FindPlan(const Digest& digest) override;
  void StorePlan(const Digest& digest, std::string_view text,
                 std::shared_ptr<const CheckedPlan> plan) override;
  bool HasModel(const Digest& digest) override;
  std::shared_ptr<const NamedTensors> FindModel(const Digest& digest,
                                                const TensorLayout& layout) override;
  void StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) override;

 private:
  std::filesystem::path PlanPath(const Digest& digest) const;
  std::filesystem::path ModelPath(const Digest& digest) const;

  std::filesystem::path folder_;
  MemoryContentCache plans_;
};

}  // namespace fl::client
