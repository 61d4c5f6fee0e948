#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/app/inspect.h"
#include "fl/compression/check_plan.h"

namespace fl::codec_app {

// All fp32, fp16 and bf16 tensors of a safetensors file, in the file's order, with the file's name
// in each error.
Result<NamedTensors> ReadTensors(const std::string& path);
Result<> WriteTensors(const std::string& path, const NamedTensors& tensors);

// A plan whose parts fit together.
Result<std::shared_ptr<const CheckedPlan>> ReadPlan(const std::string& path);

// An update's bytes and how its streams are read: from an UpdateFile, or from a plan where the file
// is an update alone, as devices send it and fl-sim records it.
struct ReadableUpdate {
  Bytes update;
  std::vector<StreamReading> streams;
  const SegmentPlan& delta() const { return *streams.front().plan; }

  // What the readings refer to.
  std::shared_ptr<const CheckedPlan> plan;
  std::unique_ptr<SegmentPlan> own_plan;
  std::unique_ptr<CompressionConfig> own_compression;
};

// `plan_path` is empty where none was named; kInvalidArgument when the file then needs one.
Result<ReadableUpdate> ReadUpdate(const std::string& path, const std::string& plan_path);

}  // namespace fl::codec_app
