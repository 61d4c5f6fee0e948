#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string_view>

#include "fl/common/base/bytes.h"
#include "fl/common/base/digest.h"
#include "fl/common/base/guarded.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// What devices have downloaded, by digest: checked plans and model values. Devices of one process
// may share one, so results are shared and immutable. Thread safety: shared objects safe.
class ContentCache {
 public:
  virtual ~ContentCache() = default;

  // Null when it is not there (any more).
  virtual std::shared_ptr<const CheckedPlan> FindPlan(const Digest& digest) = 0;
  // `text` is what the digest is of.
  virtual void StorePlan(const Digest& digest, std::string_view text,
                         std::shared_ptr<const CheckedPlan> plan) = 0;

  // Whether FindModel would probably find it; cheap, reads no values.
  virtual bool HasModel(const Digest& digest) = 0;
  // Null when it is not there (any more).
  virtual std::shared_ptr<const NamedTensors> FindModel(const Digest& digest,
                                                        const TensorLayout& layout) = 0;
  virtual void StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) = 0;

  // Whether that is the digest of the bytes. Who has seen them before need not hash them again.
  virtual bool IsBlob(const Digest& digest, ByteSpan bytes);
  // What another device of this process has made of a download that this device has now, too: it
  // need not be made again. Null: nothing.
  virtual std::shared_ptr<const CheckedPlan> FindMadePlan(const Digest& digest);
  virtual std::shared_ptr<const NamedTensors> FindMadeModel(const Digest& digest,
                                                            const TensorLayout& layout);
};

// In memory; keeps the `plans_max` and `models_max` newest, whatever a server goes through.
class MemoryContentCache : public ContentCache {
 public:
  explicit MemoryContentCache(std::size_t models_max = 4, std::size_t plans_max = 4)
      : models_max_(models_max), plans_max_(plans_max) {}

  std::shared_ptr<const CheckedPlan> FindPlan(const Digest& digest) override;
  void StorePlan(const Digest& digest, std::string_view text,
                 std::shared_ptr<const CheckedPlan> plan) override;
  bool HasModel(const Digest& digest) override;
  std::shared_ptr<const NamedTensors> FindModel(const Digest& digest,
                                                const TensorLayout& layout) override;
  void StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) override;

 private:
  struct Content {
    std::map<Digest, std::shared_ptr<const CheckedPlan>> plans;
    std::map<Digest, std::shared_ptr<const NamedTensors>> models;
    std::deque<Digest> plan_order;   // Oldest first.
    std::deque<Digest> model_order;  // Oldest first.
  };
  std::size_t models_max_;
  std::size_t plans_max_;
  Guarded<Content> content_;
};

}  // namespace fl::client
