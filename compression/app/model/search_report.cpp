#include "fl/compression/app/model/search_report.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "fl/common/config/pass_file.h"
#include "fl/compression/app/text_table.h"

namespace fl::model_app {
namespace {

using codec_app::Align;
using codec_app::FormatCount;
using codec_app::FormatFixed;
using codec_app::TextTable;
using deploy::Dominates;
using deploy::Objectives;
using deploy::Trial;
using Json = nlohmann::ordered_json;

Json ResultToJson(const Objectives& result) {
  return {{"accuracy", result.accuracy},
          {"bytes", result.bytes},
          {"predicted_us", result.microseconds}};
}

Json TrialToJson(const Trial& trial, bool chosen) {
  Json json = {{"name", trial.name}, {"kind", trial.kind}};
  json.update(ResultToJson(trial.result));
  json["measured_p50_us"] = trial.latency ? Json(trial.latency->median_us) : Json(nullptr);
  json["measured_min_us"] = trial.latency ? Json(trial.latency->min_us) : Json(nullptr);
  json["steps"] = trial.steps;
  json["choosing_accuracy"] = trial.course;
  json["weight_bits"] = trial.bits;
  json["finalist"] = trial.finalist;
  json["within"] = trial.within;
  json["on_front"] = trial.on_front;
  json["chosen"] = chosen;
  json["passes"] = PassFileToToml(trial.list);
  return json;
}

std::string Truncate(const std::string& text) {
  constexpr std::size_t kMost = 72;
  return text.size() <= kMost ? text : text.substr(0, kMost - 3) + "...";
}

std::vector<std::string> CellsOf(const Trial& trial, bool chosen) {
  return {chosen ? "*" : (trial.finalist ? "finalist" : "front"),
          FormatFixed(100 * trial.result.accuracy, 2),
          FormatCount(trial.result.bytes),
          FormatFixed(trial.result.microseconds, 1),
          trial.latency ? FormatFixed(trial.latency->median_us, 1) : "-",
          Truncate(trial.name)};
}

}  // namespace

RandomComparison CompareWithRandom(const deploy::SearchOutcome& outcome) {
  RandomComparison comparison;
  if (!outcome.chosen) return comparison;
  const Objectives& chosen = outcome.trials[*outcome.chosen].result;
  std::vector<Objectives> front;
  for (const Trial& trial : outcome.trials) {
    if (trial.on_front && trial.within) front.push_back(trial.result);
  }
  for (const Trial& trial : outcome.trials) {
    if (trial.kind != "random") continue;
    const Objectives& random = trial.result;
    ++comparison.lists;
    comparison.within += trial.within ? 1 : 0;
    comparison.dominate_chosen += Dominates(random, chosen) ? 1 : 0;
    comparison.dominated_by_chosen += Dominates(chosen, random) ? 1 : 0;
    const auto beaten = [&](const Objectives& found) { return Dominates(random, found); };
    const auto beats = [&](const Objectives& found) { return Dominates(found, random); };
    comparison.dominate_front += std::ranges::any_of(front, beaten) ? 1 : 0;
    comparison.dominated_by_front += std::ranges::any_of(front, beats) ? 1 : 0;
  }
  return comparison;
}

std::string DrawSearch(const deploy::SearchOutcome& outcome) {
  TextTable table(
      {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  table.AddRow({"", "accuracy %", "file bytes", "predicted us", "measured us", "list"});
  table.AddRow({"model", FormatFixed(100 * outcome.teacher.accuracy, 2),
                FormatCount(outcome.teacher.bytes), FormatFixed(outcome.teacher.microseconds, 1),
                "-", "as it came, fp32"});
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < outcome.trials.size(); ++i) {
    if (outcome.trials[i].finalist || outcome.trials[i].on_front) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::greater<>{},
                           [&](std::size_t i) { return outcome.trials[i].result.bytes; });
  for (const std::size_t i : order) table.AddRow(CellsOf(outcome.trials[i], outcome.chosen == i));
  std::string text = table.Draw();
  const RandomComparison comparison = CompareWithRandom(outcome);
  if (comparison.lists > 0) {
    text += "\nof " + std::to_string(comparison.lists) +
            " random lists of the same bytes and latency, with the same " +
            std::to_string(outcome.steps) + " training steps, " +
            std::to_string(comparison.within) + " keep all bounds\n  " +
            std::to_string(comparison.dominate_chosen) +
            " dominate the chosen one, which dominates " +
            std::to_string(comparison.dominated_by_chosen) + "\n  " +
            std::to_string(comparison.dominate_front) +
            " dominate one of the front within the bounds, which dominates " +
            std::to_string(comparison.dominated_by_front) + "\n";
  }
  return text;
}

std::string SearchToJson(const deploy::SearchOutcome& outcome) {
  Json json = {{"teacher", ResultToJson(outcome.teacher)},
               {"chosen", outcome.chosen ? Json(*outcome.chosen) : Json(nullptr)},
               {"unreached", outcome.unreached},
               {"cut_short", outcome.cut_short},
               {"training_steps", outcome.steps}};
  json["curves"] = Json::array();
  for (const deploy::SensitivityCurve& curve : outcome.curves) {
    json["curves"].push_back(
        {{"layer", curve.layer}, {"kept", curve.kept}, {"divergence", curve.divergence}});
  }
  json["trials"] = Json::array();
  for (std::size_t i = 0; i < outcome.trials.size(); ++i)
    json["trials"].push_back(TrialToJson(outcome.trials[i], outcome.chosen == i));
  const RandomComparison comparison = CompareWithRandom(outcome);
  if (comparison.lists > 0) {
    json["random"] = {{"lists", comparison.lists},
                      {"within", comparison.within},
                      {"dominate_chosen", comparison.dominate_chosen},
                      {"dominate_front", comparison.dominate_front},
                      {"dominated_by_chosen", comparison.dominated_by_chosen},
                      {"dominated_by_front", comparison.dominated_by_front}};
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fl::model_app
