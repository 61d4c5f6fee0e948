#include "fl/compression/app/model/pareto_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "fl/compression/app/text_table.h"

namespace fl::model_app {
namespace {

using codec_app::FormatCount;
using codec_app::FormatFixed;
using deploy::Objectives;
using deploy::Trial;

constexpr double kHeight = 440;
constexpr double kLeft = 64;
constexpr double kRight = 700;
constexpr double kTop = 52;
constexpr double kBottom = 384;

constexpr const char* kHead =
    R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 440" width="720" height="440" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Accuracy by file size of the lists that were tried">
<style>
:root { --ground: #ffffff; --ink: #1f2430; --faint: #c9ced8; --found: #2563c9; --chosen: #c2410c; --random: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171f; --ink: #e6e9f0; --faint: #3a4150; --found: #7db0ff; --chosen: #ff9d5c; --random: #9aa3b2; } }
.ground { fill: var(--ground); } text { fill: var(--ink); } .title { font-size: 15px; font-weight: 600; } .axis { stroke: var(--ink); }
.grid { stroke: var(--faint); } .found { fill: var(--found); fill-opacity: .55; } .front { fill: none; stroke: var(--found); stroke-width: 1.5; }
.chosen { fill: none; stroke: var(--chosen); stroke-width: 2.5; } .model { fill: var(--ink); } .random { fill: none; stroke: var(--random); stroke-width: 1.3; }
.limit { stroke: var(--chosen); stroke-dasharray: 5 4; }
</style>
<rect class="ground" width="720" height="440"/>
)";

std::string Number(double value) {
  return FormatFixed(value, 1);
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Text(double x, double y, const std::string& anchor, const std::string& text) {
  return "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" text-anchor=\"" + anchor + "\">" +
         Escape(text) + "</text>\n";
}

std::string Line(const char* kind, std::pair<double, double> from, std::pair<double, double> to) {
  return "<line class=\"" + std::string(kind) + "\" x1=\"" + Number(from.first) + "\" y1=\"" +
         Number(from.second) + "\" x2=\"" + Number(to.first) + "\" y2=\"" + Number(to.second) +
         "\"/>\n";
}

std::string SizeLabel(double bytes) {
  if (bytes >= 1e6)
    return FormatFixed(bytes / 1e6, bytes < 1e7 && std::fmod(bytes, 1e6) > 0 ? 1 : 0) + " MB";
  if (bytes >= 1e3) return FormatFixed(bytes / 1e3, 0) + " KB";
  return FormatFixed(bytes, 0) + " B";
}

// Where things lie.
class Axes {
 public:
  explicit Axes(const deploy::SearchOutcome& outcome) {
    std::vector<double> accuracies = {outcome.teacher.accuracy};
    Include(outcome.teacher);
    for (const Trial& trial : outcome.trials) {
      Include(trial.result);
      accuracies.push_back(trial.result.accuracy);
    }
    std::ranges::sort(accuracies);
    // What hardly learned would press all else together.
    const double low = accuracies[accuracies.size() / 5];
    const double high = accuracies.back();
    const double pad = std::max(0.01, 0.15 * (high - low));
    low_ = std::max(0.0, low - pad);
    high_ = std::min(1.0, high + pad);
    first_ = std::log10(first_) - 0.08;
    last_ = std::log10(last_) + 0.08;
  }
  double X(double bytes) const {
    return kLeft + (std::log10(bytes) - first_) / (last_ - first_) * (kRight - kLeft);
  }
  double Y(double accuracy) const {
    const double share = (std::clamp(accuracy, low_, high_) - low_) / (high_ - low_);
    return kBottom - share * (kBottom - kTop);
  }
  // A dot's radius: its area grows with the logarithm of the time.
  double Radius(double microseconds) const {
    if (slowest_ <= fastest_) return 5;
    const double share = std::log(microseconds / fastest_) / std::log(slowest_ / fastest_);
    return 3.5 + 6.5 * std::clamp(share, 0.0, 1.0);
  }
  std::string Draw() const {
    std::string text;
    for (int decade = 0; decade <= 12; ++decade) {
      for (const double part : {1.0, 2.0, 5.0}) {
        const double bytes = part * std::pow(10.0, decade);
        if (std::log10(bytes) < first_ || std::log10(bytes) > last_) continue;
        text += Line("grid", {X(bytes), kTop}, {X(bytes), kBottom});
        text += Text(X(bytes), kBottom + 18, "middle", SizeLabel(bytes));
      }
    }
    const double step = StepFor(100 * (high_ - low_));
    const auto first = static_cast<int>(std::ceil(100 * low_ / step));
    const auto last = static_cast<int>(std::floor(100 * high_ / step));
    for (int i = first; i <= last; ++i) {
      const double tick = i * step;
      text += Line("grid", {kLeft, Y(tick / 100)}, {kRight, Y(tick / 100)});
      text += Text(kLeft - 8, Y(tick / 100) + 4, "end", FormatFixed(tick, step < 1 ? 1 : 0));
    }
    text += Line("axis", {kLeft, kBottom}, {kRight, kBottom});
    text += Line("axis", {kLeft, kTop}, {kLeft, kBottom});
    return text + Text((kLeft + kRight) / 2, kBottom + 38, "middle", "size of the model file") +
           Text(kLeft, kTop - 8, "middle", "accuracy %");
  }

 private:
  void Include(const Objectives& point) {
    const double bytes = std::max(1.0, static_cast<double>(point.bytes));
    first_ = std::min(first_, bytes);
    last_ = std::max(last_, bytes);
    if (point.microseconds <= 0) return;
    fastest_ = std::min(fastest_, point.microseconds);
    slowest_ = std::max(slowest_, point.microseconds);
  }
  // Of 1, 2, 5, 10, ... the first that gives at most eight ticks.
  static double StepFor(double span) {
    for (double decade = 0.1;; decade *= 10) {
      for (const double part : {1.0, 2.0, 5.0}) {
        if (span / (part * decade) <= 8) return part * decade;
      }
    }
  }

  double first_ = std::numeric_limits<double>::max();
  double last_ = 0;
  double low_ = 0;
  double high_ = 1;
  double fastest_ = std::numeric_limits<double>::max();
  double slowest_ = 0;
};

std::string Dot(const Axes& axes, const Objectives& point, const char* kind,
                const std::string& title) {
  return "<circle class=\"" + std::string(kind) + "\" cx=\"" +
         Number(axes.X(static_cast<double>(point.bytes))) + "\" cy=\"" +
         Number(axes.Y(point.accuracy)) + "\" r=\"" + Number(axes.Radius(point.microseconds)) +
         "\"><title>" + Escape(title) + "</title></circle>\n";
}

std::string TitleOf(const std::string& name, const Objectives& point) {
  return name + ": " + FormatFixed(100 * point.accuracy, 2) + " %, " + FormatCount(point.bytes) +
         " bytes, " + FormatFixed(point.microseconds, 1) + " us";
}

// Accuracy against bytes alone, from the smallest up.
std::string FrontLine(const Axes& axes, const std::vector<Trial>& trials) {
  std::vector<std::pair<std::uint64_t, double>> points;
  for (const Trial& trial : trials) {
    if (trial.kind != "random") points.emplace_back(trial.result.bytes, -trial.result.accuracy);
  }
  std::ranges::sort(points);
  std::string line;
  double best = -1;
  for (const auto& [bytes, negative] : points) {
    if (-negative <= best) continue;
    best = -negative;
    line += (line.empty() ? "M" : " L") + Number(axes.X(static_cast<double>(bytes))) + " " +
            Number(axes.Y(best));
  }
  return line.empty() ? line : "<path class=\"front\" d=\"" + line + "\"/>\n";
}

std::string Legend(bool chosen, bool random) {
  std::string text = "<circle class=\"found\" cx=\"392\" cy=\"26\" r=\"5\"/>\n" +
                     Text(402, 30, "start", "tried") +
                     "<circle class=\"model\" cx=\"522\" cy=\"26\" r=\"5\"/>\n" +
                     Text(532, 30, "start", "the model itself");
  if (chosen) {
    text += "<circle class=\"chosen\" cx=\"450\" cy=\"26\" r=\"6\"/>\n" +
            Text(461, 30, "start", "chosen");
  }
  if (random) {
    text += "<circle class=\"random\" cx=\"640\" cy=\"26\" r=\"5\"/>\n" +
            Text(650, 30, "start", "random");
  }
  return text;
}

}  // namespace

std::string DrawParetoPlot(const deploy::SearchOutcome& outcome) {
  const Axes axes(outcome);
  std::string text = kHead;
  text += "<text class=\"title\" x=\"16\" y=\"30\">Accuracy by file size</text>\n" + axes.Draw() +
          FrontLine(axes, outcome.trials);
  bool random = false;
  for (const Trial& trial : outcome.trials) {
    const bool drawn = trial.kind == "random";
    random = random || drawn;
    text += Dot(axes, trial.result, drawn ? "random" : "found",
                TitleOf(drawn ? "random: " + trial.name : trial.name, trial.result));
  }
  text += Dot(axes, outcome.teacher, "model", TitleOf("the model as it came", outcome.teacher));
  if (outcome.chosen) {
    const Trial& chosen = outcome.trials[*outcome.chosen];
    const std::string title = TitleOf("chosen: " + chosen.name, chosen.result);
    Objectives ring = chosen.result;
    const double x = axes.X(static_cast<double>(ring.bytes));
    const double beside = axes.Radius(ring.microseconds) + 6;
    const bool left = x > (kLeft + kRight) / 2;
    text += Dot(axes, ring, "chosen", title) +
            Text(left ? x - beside : x + beside, axes.Y(ring.accuracy) - 4, left ? "end" : "start",
                 SizeLabel(static_cast<double>(ring.bytes)) + ", " +
                     FormatFixed(100 * ring.accuracy, 1) + " %, " +
                     FormatFixed(ring.microseconds, 1) + " us");
  }
  return text + Legend(outcome.chosen.has_value(), random) +
         Text(kRight, kHeight - 10, "end", "larger dots take longer") + "</svg>\n";
}

}  // namespace fl::model_app
