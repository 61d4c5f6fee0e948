#include "fl/compression/deploy/pass_order.h"

#include <algorithm>
#include <string>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {
namespace {

// Why a pass of this stage cannot stand after one of a later stage.
std::string_view WhyFirst(PassStage stage) {
  switch (stage) {
    case PassStage::kFold:
      return "a folded norm is part of the weights that the other one looks at";
    case PassStage::kEqualize:
      return "it changes the size of weights, by which the other one judges them";
    case PassStage::kPrune:
      return "what is left after pruning is decomposed; a factor's channels are its rank";
    case PassStage::kLowRank:
    case PassStage::kTrain:
      return "it changes weights, and what decides on their bits, rounds or measures them comes "
             "after";
    case PassStage::kMixedPrecision:
      return "it decides the bits that weights are rounded to";
    case PassStage::kRound:
      return "it decides which way weights are rounded, and what follows starts from there";
    case PassStage::kCorrectBias:
      return "it corrects biases in fp32, which are rounded with the model";
    case PassStage::kQuantize:
      return "it rounds the weights, and what is measured and written is what was rounded";
    case PassStage::kVerify:
    case PassStage::kPack:
      return "what is packed is what was measured";
  }
  return "";
}

std::string NameOf(const PassEntry& entry) {
  return std::string(entry.pass->name());
}

Result<> CheckPair(const PassEntry& before, const PassEntry& here) {
  const PassStage stage = here.pass->stage();
  const bool begins_anew = before.pass->stage() == PassStage::kTrain && stage <= PassStage::kTrain;
  if (begins_anew || stage >= before.pass->stage()) return {};
  return Refuse(here.location, NameOf(here) + " must come before " + NameOf(before) + ": " +
                                   std::string(WhyFirst(stage)));
}

Result<> CheckOnce(const PassList& passes, std::size_t i) {
  if (passes[i].pass->stage() < PassStage::kMixedPrecision) return {};
  const auto end = passes.begin() + static_cast<std::ptrdiff_t>(i);
  const auto other = std::find_if(passes.begin(), end, [](const PassEntry& entry) {
    return entry.pass->stage() == PassStage::kQuantize;
  });
  if (passes[i].pass->stage() == PassStage::kQuantize && other != end) {
    return Refuse(passes[i].location,
                  NameOf(passes[i]) + " after " + NameOf(*other) + ": a model is quantized once");
  }
  const auto same = [&](const PassEntry& entry) {
    return entry.pass->name() == passes[i].pass->name();
  };
  if (std::none_of(passes.begin(), end, same)) return {};
  return Refuse(passes[i].location, NameOf(passes[i]) + ": a pass list has this pass once");
}

Result<> CheckForDevice(const PassList& passes) {
  const auto has = [&](PassStage stage) {
    return std::ranges::any_of(
        passes, [stage](const PassEntry& entry) { return entry.pass->stage() == stage; });
  };
  const PassEntry& last = passes.back();
  if (!has(PassStage::kVerify)) {
    return Refuse(last.location, "expected verify after " + NameOf(last) +
                                     ": nothing is installed that was not measured");
  }
  if (has(PassStage::kQuantize)) return {};
  const auto verify = std::ranges::find_if(
      passes, [](const PassEntry& entry) { return entry.pass->stage() == PassStage::kVerify; });
  return Refuse(
      verify->location,
      "expected ptq_static, ptq_dynamic or half_weights before verify: it measures what is kept");
}

}  // namespace

Result<> CheckPassOrder(const PassList& passes, PassListUse use) {
  for (std::size_t i = 1; i < passes.size(); ++i) {
    FL_TRY_OK(CheckPair(passes[i - 1], passes[i]));
    FL_TRY_OK(CheckOnce(passes, i));
    if (passes[i].pass->replaces_model()) {
      return Refuse(passes[i].location,
                    NameOf(passes[i]) + " with layers must come before " + NameOf(passes.front()) +
                        ": it puts a new model in the place of what was made so far");
    }
  }
  return use == PassListUse::kDevice && !passes.empty() ? CheckForDevice(passes) : Result<>();
}

}  // namespace fl::deploy
