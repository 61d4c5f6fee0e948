#include "fl/compression/deploy/federation_ranges.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "fl/compression/deploy/equalize.h"
#include "fl/compression/deploy/fold_batchnorm.h"
#include "fl/compression/deploy/passes/ptq_static.h"

namespace fl::deploy {
namespace {

constexpr std::string_view kMagic = "FLR";
constexpr std::uint8_t kVersion = 1;

bool IsRewrite(const PassEntry& entry) {
  const PassStage stage = entry.pass->stage();
  return stage == PassStage::kFold || stage == PassStage::kEqualize;
}

Result<nn::ActivationRange> ReadRange(ByteReader& reader, const std::string& node) {
  nn::ActivationRange range;
  FL_TRY(range.low, reader.Read<float>());
  FL_TRY(range.high, reader.Read<float>());
  if (!std::isfinite(range.low) || !std::isfinite(range.high))
    return Error{ErrorCode::kNotFinite, "ranges: that of " + node + " is not finite"};
  if (range.low > 0 || range.high < 0) {
    return Error{ErrorCode::kMalformed, "ranges: expected that of " + node +
                                            " around zero, found " + std::to_string(range.low) +
                                            " to " + std::to_string(range.high)};
  }
  return range;
}

}  // namespace

std::size_t LeadingRewrites(const PassList& passes) {
  return static_cast<std::size_t>(std::ranges::find_if_not(passes, IsRewrite) - passes.begin());
}

Result<nn::FloatModel> ModelToCalibrate(const PassList& passes, const Teacher& teacher) {
  nn::FloatModel model{teacher.graph, {teacher.parameters.begin(), teacher.parameters.end()}};
  for (std::size_t i = 0; i < LeadingRewrites(passes); ++i) {
    if (passes[i].pass->stage() == PassStage::kEqualize) {
      FL_TRY([[maybe_unused]] const Equalized equalized, Equalize(model.graph, model.parameters));
    } else {
      FL_TRY(FoldedModel folded, FoldBatchNorms(model.graph, model.parameters));
      model = std::move(folded.model);
    }
  }
  return model;
}

Result<std::optional<CalibrationTask>> CalibrationTaskOf(const PassList& passes,
                                                         const nn::Graph& teacher) {
  const PtqStatic* asking = nullptr;
  for (const PassEntry& entry : passes) {
    const auto* pass = dynamic_cast<const PtqStatic*>(entry.pass.get());
    if (pass != nullptr && pass->config().federation) asking = pass;
  }
  if (asking == nullptr) return std::optional<CalibrationTask>();
  // Which nodes there are does not depend on the weights.
  const std::vector<float> ones(teacher.parameters.total(), 1.0F);
  FL_TRY(nn::FloatModel model, ModelToCalibrate(passes, {teacher, ones}));
  return std::optional(
      CalibrationTask{std::move(model.graph), asking->config().samples, asking->config().ranges});
}

Bytes EncodeRanges(std::span<const nn::ActivationRange> ranges) {
  ByteWriter out;
  for (const char letter : kMagic) out.Write(letter);
  out.Write(kVersion);
  out.WriteVarint(ranges.size());
  for (const nn::ActivationRange& range : ranges) {
    out.Write(range.low);
    out.Write(range.high);
  }
  return std::move(out).Take();
}

Result<RangesByNode> DecodeRanges(ByteSpan bytes, const nn::Graph& graph) {
  ByteReader reader(bytes);
  FL_TRY(const ByteSpan magic, reader.ReadSpan(kMagic.size()));
  if (AsText(magic) != kMagic)
    return Error{ErrorCode::kMalformed, "ranges: expected the magic \"FLR\""};
  FL_TRY(const auto version, reader.Read<std::uint8_t>());
  if (version != kVersion) {
    return Error{ErrorCode::kWrongVersion, "ranges: expected format version " +
                                               std::to_string(kVersion) + ", found " +
                                               std::to_string(version)};
  }
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  if (count != graph.nodes.size()) {
    return Error{ErrorCode::kMalformed, "ranges: expected those of " +
                                            std::to_string(graph.nodes.size()) + " nodes, found " +
                                            std::to_string(count)};
  }
  RangesByNode ranges;
  for (const nn::Node& node : graph.nodes) {
    FL_TRY(ranges[node.name], ReadRange(reader, node.name));
  }
  FL_TRY_OK(reader.ExpectEnd());
  return ranges;
}

}  // namespace fl::deploy
