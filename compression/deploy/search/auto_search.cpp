#include "fl/compression/deploy/search/auto_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <tuple>
#include <utility>

#include "fl/compression/deploy/channel_groups.h"
#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/compression/deploy/search/halving.h"
#include "fl/compression/deploy/search/trainee.h"

namespace fl::deploy {
namespace {

// What a slow core trains in a second, forward and backward; a plan by it is the same everywhere.
constexpr double kMultiplyAccumulatesPerSecond = 9e9;
constexpr double kBatch = 32;       // FineTuneConfig's.
constexpr double kPassesAStep = 3;  // Forward, and backward for values and for weights.
constexpr std::size_t kPlacesMin = 6;
constexpr double kHopePoints = 8;  // That a first rung may still win; half of it after each.

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  std::array<char, 400> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return text.data();
}

std::size_t PlacesAt(const SearchConfig& config, std::uint32_t rung) {
  return std::max(kPlacesMin, std::size_t{config.candidates} >> rung);
}

class Search {
 public:
  Search(const SearchConfig& config, const PassInputs& inputs, const data::Subset& choosing)
      : config_(config),
        inputs_(inputs),
        choosing_(choosing),
        settings_{.drop_points_max = config.budget.drop_points_max,
                  .bytes_max = config.budget.bytes_max,
                  .integers = HasType(*inputs.profile, "int8")},
        begin_(Now()) {}

  Result<SearchOutcome> Run() {
    FL_TRY_OK(MeasureTeacher());
    FL_TRY(space_, MakeSearchSpace(inputs_.teacher.graph,
                                   std::min<std::uint32_t>(64, inputs_.profile->channel_multiple)));
    FL_TRY_OK(Propose());
    if (entries_.empty()) return std::move(outcome_);
    PlanSteps();
    for (std::uint32_t rung = 0; rung < config_.rungs && !outcome_.cut_short; ++rung)
      FL_TRY_OK(RunRung(rung));
    FL_TRY_OK(Verify());
    Choose();
    FL_TRY_OK(CompareWithRandom());
    return std::move(outcome_);
  }

 private:
  struct Entry {
    Trainee trainee;
    Trial trial;
    bool alive = true;
  };

  std::int64_t Now() const {
    const Instruments* instruments = inputs_.instruments;
    return instruments == nullptr || instruments->nanoseconds == nullptr
               ? 0
               : instruments->nanoseconds();
  }
  double Seconds() const { return static_cast<double>(Now() - begin_) * 1e-9; }
  void Say(const std::string& line) const {
    if (inputs_.instruments != nullptr && inputs_.instruments->progress != nullptr)
      inputs_.instruments->progress(line);
  }
  bool Stopped() const { return inputs_.stop.load(std::memory_order_relaxed); }

  Result<> MeasureTeacher() {
    const Teacher& teacher = inputs_.teacher;
    FL_TRY(outcome_.teacher.accuracy,
           Accuracy(teacher.graph, teacher.parameters, inputs_.verification));
    FL_TRY(teacher_choosing_, Accuracy(teacher.graph, teacher.parameters, choosing_));
    const WorkingModel model{.graph = teacher.graph,
                             .parameters = {teacher.parameters.begin(), teacher.parameters.end()}};
    outcome_.teacher.bytes = FileBehind({}, inputs_, model).size();
    FL_TRY(outcome_.teacher.microseconds, EstimateLatency(*inputs_.profile, teacher.graph, false));
    return {};
  }

  // Curves, lists and those that are within the budget.
  Result<> Propose() {
    constexpr std::uint32_t kSteps = 20;
    Say(Format(
        "model: %.2f %% of the verification samples, %llu bytes, %.1f us; curves of %zu "
        "layers ...",
        100 * outcome_.teacher.accuracy, static_cast<unsigned long long>(outcome_.teacher.bytes),
        outcome_.teacher.microseconds, space_.layers.size()));
    FL_TRY(outcome_.curves, MeasureCurves(space_, inputs_, choosing_, kSteps));
    FL_TRY(const std::vector<SizedProposal> all,
           ProposeLists(space_, outcome_.curves, settings_, inputs_));
    const std::vector<SizedProposal> picked =
        PickProposals(all, config_.budget, config_.candidates);
    Say(Format("%zu lists proposed, %zu of those within the budget are tried", all.size(),
               picked.size()));
    for (const SizedProposal& proposal : picked) {
      FL_TRY(Trainee trainee, Trainee::Create(space_, proposal.proposal, settings_, inputs_));
      Trial trial{.name = NameOf(space_, proposal.proposal), .kind = KindOf(proposal.proposal)};
      entries_.push_back({std::move(trainee), std::move(trial)});
    }
    if (picked.empty()) NameNearest(all);
    return {};
  }

  // No list is within the budget, whatever its accuracy.
  void NameNearest(std::vector<SizedProposal> all) {
    const auto excess = [&](const SizedProposal& proposal) {
      const SearchBudget& budget = config_.budget;
      double worst = 0;
      if (budget.bytes_max > 0) {
        worst = static_cast<double>(proposal.size.bytes) / static_cast<double>(budget.bytes_max);
      }
      if (budget.latency_us_max > 0)
        worst = std::max(worst, proposal.size.microseconds / budget.latency_us_max);
      return worst;
    };
    std::ranges::stable_sort(all, {}, excess);
    outcome_.unreached = "no list is within the budget; the nearest:";
    for (std::size_t i = 0; i < std::min<std::size_t>(3, all.size()); ++i) {
      outcome_.unreached += (i == 0 ? " " : "; ") + NameOf(space_, all[i].proposal) + " with " +
                            WhyOutside(all[i].size, config_.budget);
    }
  }

  // So many steps for a list of the first rung that all rungs together take the time.
  void PlanSteps() {
    double sum = 0;
    double work = 0;  // Of all rungs, for one step of the first.
    for (const Entry& entry : entries_) {
      sum += entry.trainee.multiply_accumulates();
      work += entry.trainee.multiply_accumulates() * HeadStart(entry, 0);
    }
    const double mean = std::max(1.0, sum / static_cast<double>(entries_.size()));
    for (std::uint32_t rung = 1; rung < config_.rungs; ++rung) {
      const std::size_t places = std::min(entries_.size(), PlacesAt(config_, rung));
      work += mean * static_cast<double>(places) * std::exp2(rung);
    }
    const double steps = config_.seconds * kMultiplyAccumulatesPerSecond /
                         (std::max(1.0, work) * kBatch * kPassesAStep);
    constexpr double kEpochsMax = 3;  // Of the first rung.
    const double epoch = std::max(1.0, static_cast<double>(inputs_.training.count()) / kBatch);
    first_steps_ = static_cast<std::uint32_t>(
        std::lround(std::clamp(steps, 8.0, std::max(8.0, kEpochsMax * epoch))));
  }

  // A student begins from nothing, so that its first training is longer.
  static std::uint32_t HeadStart(const Entry& entry, std::uint32_t rung) {
    constexpr std::uint32_t kOfStudents = 4;
    return rung == 0 && entry.trainee.proposal().student ? kOfStudents : 1;
  }
  std::uint32_t StepsAt(std::uint32_t rung) const { return first_steps_ << rung; }

  double WorkOf(std::uint32_t rung) const {
    double work = 0;
    for (const Entry& entry : entries_) {
      if (entry.alive)
        work += entry.trainee.multiply_accumulates() * StepsAt(rung) * HeadStart(entry, rung);
    }
    return work;
  }

  // Trains those that are alive, and lets half of them go.
  Result<> RunRung(std::uint32_t rung) {
    const double begin = Seconds();
    const double work = WorkOf(rung);
    if (pace_ > 0 && begin + work * pace_ > config_.seconds) {
      Say(Format("rung %u of %u would end after the %.0f seconds that there are", rung + 1,
                 config_.rungs, config_.seconds));
      outcome_.cut_short = true;
      return {};
    }
    for (Entry& entry : entries_) {
      if (!entry.alive) continue;
      const auto trained = TrainOne(rung, entry);
      if (!trained && trained.error().code == ErrorCode::kUnavailable) {
        outcome_.cut_short = true;
        return {};
      }
      if (!trained) return trained.error();
    }
    pace_ = (Seconds() - begin) / work;
    SayRung(rung);
    if (rung + 1 < config_.rungs) Halve(rung);
    return {};
  }

  Result<> TrainOne(std::uint32_t rung, Entry& entry) {
    const auto trained = entry.trainee.Train(StepsAt(rung) * HeadStart(entry, rung));
    if (!trained && trained.error().code == ErrorCode::kLimitExceeded) {
      entry.alive = false;  // Every attempt of its training failed.
      return {};
    }
    FL_TRY_OK(trained);
    FL_TRY(const double accuracy, entry.trainee.AccuracyOn(choosing_));
    entry.trial.course.push_back(accuracy);
    return {};
  }

  // Of an accuracy on the samples to choose by, one standard error.
  double Doubt() const {
    return std::sqrt(teacher_choosing_ * (1 - teacher_choosing_) /
                     static_cast<double>(choosing_.count()));
  }
  double Wanted() const { return teacher_choosing_ - config_.budget.drop_points_max / 100; }

  std::vector<std::size_t> Alive() const {
    std::vector<std::size_t> alive;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].alive) alive.push_back(i);
    }
    return alive;
  }

  static Objectives PointOf(const Entry& entry) {
    return {entry.trial.course.empty() ? 0 : entry.trial.course.back(), entry.trainee.bytes(),
            entry.trainee.microseconds()};
  }

  void Halve(std::uint32_t rung) {
    const std::vector<std::size_t> alive = Alive();
    const auto stay = [&](bool students, std::size_t places) {
      std::vector<std::size_t> members;
      std::vector<Objectives> points;
      for (const std::size_t i : alive) {
        if (rung == 0 && entries_[i].trainee.proposal().student.has_value() != students) continue;
        members.push_back(i);
        points.push_back(PointOf(entries_[i]));
      }
      const double hope = kHopePoints / 100 / std::exp2(rung);
      for (const std::size_t i : members) entries_[i].alive = false;
      for (const std::size_t at : Survivors(points, {Wanted(), hope, Doubt(), places}))
        entries_[members[at]].alive = true;
    };
    const std::size_t places = PlacesAt(config_, rung + 1);
    if (rung > 0) return stay(false, places);
    // Students begin from nothing, so that the first rung compares them with each other alone.
    const std::size_t for_students = places * 3 / 8;
    stay(true, for_students);
    stay(false, places - for_students);
  }

  void SayRung(std::uint32_t rung) const {
    const Entry* best = nullptr;
    const auto key = [&](const Entry& entry) {
      const Objectives point = PointOf(entry);
      const bool there = point.accuracy >= Wanted();
      return std::tuple(!there, there ? static_cast<double>(point.bytes) : -point.accuracy);
    };
    for (const Entry& entry : entries_) {
      if (entry.alive && (best == nullptr || key(entry) < key(*best))) best = &entry;
    }
    if (best == nullptr) return;
    double left = 0;
    for (std::uint32_t next = rung + 1; next < config_.rungs; ++next) {
      const double share = static_cast<double>(PlacesAt(config_, next)) /
                           static_cast<double>(std::max<std::size_t>(1, Alive().size()));
      left += std::min(1.0, share) * WorkOf(next) * pace_;
    }
    Say(
        Format("rung %u of %u: %zu lists, %u steps each, %.0f s so far, about %.0f s left; best "
               "%llu bytes, %.1f us, %+.2f points: %s",
               rung + 1, config_.rungs, Alive().size(), StepsAt(rung), Seconds(), left,
               static_cast<unsigned long long>(best->trainee.bytes()), best->trainee.microseconds(),
               100 * (best->trial.course.back() - teacher_choosing_), best->trial.name.c_str()));
  }

  // Measures a trial on the verification samples; finalists on this machine, too.
  Result<> Measure(const Trainee& trainee, Trial& trial, Bytes* file) const {
    FL_TRY(FinishedModel finished, trainee.Finish());
    trial.steps = trainee.steps();
    trial.list = std::move(finished.list);
    trial.measured = finished.measured;
    trial.result = {finished.measured.local_accuracy, finished.measured.bytes,
                    trainee.microseconds()};
    if (trial.finalist && inputs_.instruments != nullptr) {
      FL_TRY(trial.latency,
             MeasureLatency(finished.model, inputs_.verification, *inputs_.instruments));
    }
    if (file != nullptr) *file = std::move(finished.file);
    return {};
  }

  // All lists in the state that they reached, and the whole model, only rounded.
  Result<> Verify() {
    Proposal whole;
    whole.levels.assign(space_.layers.size(), 0);
    FL_TRY(Trainee untrained, Trainee::Create(space_, whole, settings_, inputs_));
    const Objectives size{0, untrained.bytes(), untrained.microseconds()};
    if (WhyOutside(size, config_.budget).empty()) {
      entries_.push_back(
          {std::move(untrained), {.name = "whole, not trained", .kind = "channels"}});
    }
    std::erase_if(entries_, [](const Entry& entry) {
      return entry.trainee.steps().empty() && entry.trainee.proposal().student.has_value();
    });
    if (entries_.empty())
      return Error{ErrorCode::kUnavailable, "search: stopped before any list was trained"};
    Say(Format("verifying %zu lists on %zu samples", entries_.size(),
               inputs_.verification.count()));
    std::vector<Objectives> points;
    for (Entry& entry : entries_) {
      entry.trial.finalist = entry.alive;
      FL_TRY_OK(Measure(entry.trainee, entry.trial, nullptr));
      points.push_back(entry.trial.result);
    }
    const std::vector<std::size_t> fronts = FrontNumbers(points);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      entries_[i].trial.on_front = fronts[i] == 0;
      outcome_.trials.push_back(entries_[i].trial);
    }
    return {};
  }

  // Why a finalist is not to be chosen.
  std::string WhyNot(const Trial& trial) const {
    const SearchBudget& budget = config_.budget;
    std::string why = WhyOutside(trial.result, budget);
    if (why.empty()) why = WhyRefused(trial.measured, {budget.drop_points_max, budget.bytes_max});
    const bool timed = config_.measured_here && budget.latency_us_max > 0 && trial.latency;
    if (why.empty() && timed && trial.latency->min_us > budget.latency_us_max) {
      why = Format("%.1f us when measured, at most %.1f are allowed", trial.latency->min_us,
                   budget.latency_us_max);
    }
    return why;
  }

  void Choose() {
    const std::vector<Trial>& trials = outcome_.trials;
    const auto key = [&](std::size_t i) {
      return std::tuple(trials[i].result.bytes, trials[i].result.microseconds, i);
    };
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (!trials[i].finalist || !WhyNot(trials[i]).empty()) continue;
      if (!outcome_.chosen || key(i) < key(*outcome_.chosen)) outcome_.chosen = i;
    }
    if (outcome_.chosen) return;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (trials[i].finalist) order.push_back(i);
    }
    std::ranges::stable_sort(order, std::greater<>{},
                             [&](std::size_t i) { return trials[i].result.accuracy; });
    outcome_.unreached = "no list keeps the budget; the nearest:";
    for (std::size_t i = 0; i < std::min<std::size_t>(3, order.size()); ++i) {
      const Trial& trial = trials[order[i]];
      outcome_.unreached +=
          (i == 0 ? " " : "; ") + trial.name +
          Format(" (%llu bytes, %.1f us), ", static_cast<unsigned long long>(trial.result.bytes),
                 trial.result.microseconds) +
          WhyNot(trial);
    }
  }

  // The chosen list's file, and random lists that are trained as it was.
  Result<> CompareWithRandom() {
    if (!outcome_.chosen) return {};
    Trial again;
    FL_TRY_OK(Measure(entries_[*outcome_.chosen].trainee, again, &outcome_.model));
    for (const std::uint32_t steps : again.steps) outcome_.steps += steps;
    RngStream rng = inputs_.rng.Child("random lists");
    for (std::uint32_t i = 0; i < config_.random && !Stopped(); ++i) {
      const Proposal proposal = DrawProposal(space_, rng);
      FL_TRY(Trainee trainee, Trainee::Create(space_, proposal, settings_, inputs_));
      for (std::uint32_t rung = 0; rung < again.steps.size(); ++rung) {
        const auto trained = trainee.Train(again.steps[rung]);
        if (!trained && trained.error().code == ErrorCode::kUnavailable) return {};
        if (!trained && trained.error().code != ErrorCode::kLimitExceeded) return trained.error();
      }
      Trial trial{.name = NameOf(space_, proposal), .kind = "random"};
      FL_TRY_OK(Measure(trainee, trial, nullptr));
      Say(Format("random list %u of %u: %.2f %%, %llu bytes, %.1f us: %s", i + 1, config_.random,
                 100 * trial.result.accuracy, static_cast<unsigned long long>(trial.result.bytes),
                 trial.result.microseconds, trial.name.c_str()));
      outcome_.trials.push_back(std::move(trial));
    }
    return {};
  }

  const SearchConfig& config_;
  const PassInputs& inputs_;
  const data::Subset& choosing_;
  ListSettings settings_;
  std::int64_t begin_;
  SearchSpace space_;
  double teacher_choosing_ = 0;  // Accuracy on the samples to choose by.
  std::vector<Entry> entries_;
  std::uint32_t first_steps_ = 0;
  double pace_ = 0;  // Seconds for a multiply-accumulate and step of the last rung.
  SearchOutcome outcome_;
};

}  // namespace

Result<> SearchConfig::Validate() const {
  const auto refuse = [](const std::string& what) {
    return Error{ErrorCode::kInvalidArgument, "search: expected " + what};
  };
  if (!(budget.drop_points_max >= 0 && budget.drop_points_max <= 100))
    return refuse("a drop from 0 to 100 points");
  if (!(budget.latency_us_max >= 0)) return refuse("a latency of 0 us or more");
  if (!(seconds > 0 && seconds <= 1e7)) return refuse("seconds above 0, at most 1e7");
  if (candidates < 4 || candidates > 1000) return refuse("from 4 to 1000 candidates");
  if (rungs < 1 || rungs > 10) return refuse("from 1 to 10 rungs");
  return {};
}

Result<SearchOutcome> AutoSearch(const SearchConfig& config, const PassInputs& inputs,
                                 const data::Subset& choosing) {
  FL_TRY_OK(config.Validate());
  if (inputs.profile == nullptr)
    return Error{ErrorCode::kInvalidArgument, "search: expected a device profile"};
  if (inputs.training.empty() || choosing.empty() || inputs.verification.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "search: expected samples to train with, to choose by and to verify with"};
  }
  const Teacher teacher{inputs.teacher.graph, inputs.teacher.parameters};
  FL_TRY(const std::vector<float> logits, TeacherLogits(teacher, inputs.training));
  // Asked once for all lists.
  const PassInputs asked{.teacher = {teacher.graph, teacher.parameters, logits},
                         .training = inputs.training,
                         .calibration = inputs.calibration,
                         .verification = inputs.verification,
                         .gate = inputs.gate,
                         .rng = inputs.rng,
                         .stop = inputs.stop,
                         .normalization = inputs.normalization,
                         .labels = inputs.labels,
                         .notes = inputs.notes,
                         .instruments = inputs.instruments,
                         .profile = inputs.profile};
  return Search(config, asked, choosing).Run();
}

}  // namespace fl::deploy
