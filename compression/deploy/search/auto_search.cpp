#include "fl/compression/deploy/search/auto_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <functional>
#include <numeric>
#include <utility>

#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/compression/deploy/search/halving.h"
#include "fl/compression/deploy/search/random_lists.h"
#include "fl/compression/deploy/search/trainee.h"

namespace fl::deploy {
namespace {

// What a core trains in a second, forward and backward; a plan by it is the same everywhere, and is
// cut where the machine turns out slower.
constexpr double kMultiplyAccumulatesPerSecond = 24e9;
constexpr double kBatch = 32;       // FineTuneConfig's.
constexpr double kPassesAStep = 3;  // Forward, and backward for values and for weights.
constexpr std::size_t kPlacesMin = 6;
constexpr double kHopePoints = 8;  // That a first rung may still win; half of it after each.
// Of the seconds, for curves and trainings; the rest is for verifying.
constexpr double kTrainingShare = 0.93;
// Of its steps, at least; a rung that would get fewer is left out.
constexpr double kStepsShareMin = 0.1;
constexpr std::array<std::uint8_t, 4> kBits = {kBitsMost, 6, 4, 3};  // Of finalists' weights.
constexpr std::uint8_t kBitsTypical = 4;  // By which it is judged whether a list may fit.

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
        rule_{config.budget, config.prefer, config.measured_here},
        begin_(Now()) {
    if (settings_.integers) settings_.bits = kBitsTypical;
  }

  Result<SearchOutcome> Run() {
    FL_TRY_OK(MeasureTeacher());
    FL_TRY(space_, MakeSearchSpace(inputs_.teacher.graph,
                                   std::min<std::uint32_t>(64, inputs_.profile->channel_multiple)));
    FL_TRY_OK(Propose());
    if (entries_.empty()) return std::move(outcome_);
    PlanSteps();
    for (std::uint32_t rung = 0; rung < config_.rungs && !ended_; ++rung) FL_TRY_OK(RunRung(rung));
    FL_TRY_OK(Verify());
    FL_TRY_OK(Choose());
    if (outcome_.chosen) FL_TRY_OK(CompareWithRandom());
    return std::move(outcome_);
  }

 private:
  struct Entry {
    Trainee trainee;
    std::vector<double> course = {};  // Trial::course.
    bool alive = true;

    bool is_student() const { return trainee.proposal().student.has_value(); }
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

  Result<> MeasureTeacher() {
    const Teacher& teacher = inputs_.teacher;
    FL_TRY(outcome_.teacher.accuracy,
           Accuracy(teacher.graph, teacher.parameters, inputs_.verification));
    known_.teacher_accuracy = outcome_.teacher.accuracy;
    known_.majority_share = MajorityShare(inputs_.verification);
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
    if (config_.prefer == Preference::kDominance) {
      std::vector<Objectives> sizes;
      for (const SizedProposal& proposal : all) {
        if (proposal.drawn && WhyOutside(proposal.size, config_.budget).empty())
          sizes.push_back(proposal.size);
      }
      drawn_.emplace(sizes, settings_.bits, AllBits());
      rule_.drawn = &*drawn_;
    }
    const std::vector<SizedProposal> picked =
        PickProposals(all, config_.budget, config_.candidates, rule_.drawn);
    Say(Format("%zu lists proposed, %zu of those within the budget are tried", all.size(),
               picked.size()));
    for (const SizedProposal& proposal : picked) {
      FL_TRY(Trainee trainee, Trainee::Create(space_, proposal.proposal, settings_, inputs_));
      entries_.push_back({std::move(trainee)});
    }
    if (picked.empty()) NameLeastOutside(all);
    return {};
  }

  // No list is within the budget, whatever its accuracy.
  void NameLeastOutside(std::vector<SizedProposal> all) {
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
    first_steps_ = 1;
    const double work = std::max(1.0, WorkOf(0) + WorkBehind(0));
    const double steps =
        config_.seconds * kMultiplyAccumulatesPerSecond / (work * kBatch * kPassesAStep);
    constexpr double kEpochsMax = 3;  // Of the first rung.
    const double epoch = std::max(1.0, static_cast<double>(inputs_.training.count()) / kBatch);
    first_steps_ = static_cast<std::uint32_t>(
        std::lround(std::clamp(steps, 8.0, std::max(8.0, kEpochsMax * epoch))));
  }

  // A student begins from nothing, so that its first training is longer.
  static std::uint32_t HeadStart(const Entry& entry, std::uint32_t rung) {
    constexpr std::uint32_t kOfStudents = 2;
    return rung == 0 && entry.is_student() ? kOfStudents : 1;
  }
  std::uint32_t StepsAt(std::uint32_t rung) const { return first_steps_ << rung; }

  // Multiply-accumulates of a sample times steps: of the rung with those that are alive,
  double WorkOf(std::uint32_t rung) const {
    double work = 0;
    for (const Entry& entry : entries_) {
      if (entry.alive)
        work += entry.trainee.multiply_accumulates() * StepsAt(rung) * HeadStart(entry, rung);
    }
    return work;
  }
  // and of those behind it, whose lists are taken to be like these.
  double WorkBehind(std::uint32_t rung) const {
    double sum = 0;
    const std::vector<std::size_t> alive = Alive();
    for (const std::size_t i : alive) sum += entries_[i].trainee.multiply_accumulates();
    const double mean = sum / static_cast<double>(std::max<std::size_t>(1, alive.size()));
    double work = 0;
    for (std::uint32_t next = rung + 1; next < config_.rungs; ++next) {
      work += mean * static_cast<double>(std::min(alive.size(), PlacesAt(config_, next))) *
              StepsAt(next);
    }
    return work;
  }

  // The share of its steps for which there is time, where all rungs that are left get the same.
  double TimelyShare(std::uint32_t rung) const {
    const double needed = pace_ * (WorkOf(rung) + WorkBehind(rung));
    const double left = kTrainingShare * config_.seconds - Seconds();
    return needed > left ? std::max(0.0, left) / needed : 1;
  }

  // Trains those that are alive, and lets half of them go.
  Result<> RunRung(std::uint32_t rung) {
    const double begin = Seconds();
    const double share = TimelyShare(rung);
    if (share < 1) {
      outcome_.cut_short = true;
      ended_ = share < kStepsShareMin;
      Say(Format(
          "%.0f of %.0f seconds have passed, so that rung %u of %u gets %.0f %% of its steps",
          begin, config_.seconds, rung + 1, config_.rungs, ended_ ? 0 : 100 * share));
      if (ended_) return {};
    }
    for (Entry& entry : entries_) {
      if (!entry.alive) continue;
      const double steps = share * StepsAt(rung) * HeadStart(entry, rung);
      const auto trained = TrainOne(std::max(1U, static_cast<std::uint32_t>(steps)), entry);
      if (!trained && trained.error().code == ErrorCode::kUnavailable) {
        outcome_.cut_short = true;
        ended_ = true;
        return {};
      }
      if (!trained) return trained.error();
    }
    pace_ = (Seconds() - begin) / std::max(1.0, share * WorkOf(rung));
    SayRung(rung, share * StepsAt(rung));
    if (rung + 1 < config_.rungs) Halve(rung);
    return {};
  }

  Result<> TrainOne(std::uint32_t steps, Entry& entry) {
    const auto trained = entry.trainee.Train(steps);
    if (!trained && trained.error().code == ErrorCode::kLimitExceeded) {
      entry.alive = false;  // Every attempt of its training failed.
      return {};
    }
    FL_TRY_OK(trained);
    FL_TRY(const double accuracy, entry.trainee.AccuracyOn(choosing_));
    entry.course.push_back(accuracy);
    return {};
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
    return {entry.course.empty() ? 0 : entry.course.back(), entry.trainee.bytes(),
            entry.trainee.microseconds()};
  }

  // Students begin from nothing and gain for longer, so that they are compared with each other and
  // get three eighths of the places.
  void Halve(std::uint32_t rung) {
    std::vector<std::size_t> students;
    std::vector<std::size_t> others;
    for (const std::size_t i : Alive()) (entries_[i].is_student() ? students : others).push_back(i);
    const std::size_t places = PlacesAt(config_, rung + 1);
    const std::size_t spare = places - std::min(places, others.size());
    const std::size_t for_students = std::min(students.size(), std::max(places * 3 / 8, spare));
    Keep(students, for_students, rung);
    Keep(others, places - for_students, rung);
  }

  void Keep(const std::vector<std::size_t>& members, std::size_t places, std::uint32_t rung) {
    std::vector<Objectives> points;
    double best = 0;
    for (const std::size_t i : members) {
      points.push_back(PointOf(entries_[i]));
      best = std::max(best, points.back().accuracy);
    }
    Objectives corner = CornerOf(config_.budget, outcome_.teacher);
    corner.accuracy = std::min(Wanted(), best) - kHopePoints / 100 / std::exp2(rung);
    for (const std::size_t i : members) entries_[i].alive = false;
    const std::vector<std::size_t> stay = rule_.drawn != nullptr
                                              ? MostDominant(points, corner.accuracy, places)
                                              : Survivors(points, corner, places);
    for (const std::size_t at : stay) entries_[members[at]].alive = true;
  }

  // Those that are expected to dominate most of what would be drawn, above the least accuracy.
  std::vector<std::size_t> MostDominant(std::span<const Objectives> points, double least,
                                        std::size_t places) const {
    if (points.empty()) return {};
    std::vector<double> accuracies;
    for (const Objectives& point : points) accuracies.push_back(point.accuracy);
    const AccuracySpread spread = SpreadOf(accuracies);
    std::vector<std::size_t> order(points.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, std::greater<>{}, [&](std::size_t i) {
      const bool hopeful = points[i].accuracy > least;
      return std::pair(hopeful ? drawn_->ExpectedShare(points[i], spread) : -1.0,
                       points[i].accuracy);
    });
    order.resize(std::min(places, order.size()));
    return order;
  }

  // That finalists' weights may have.
  std::span<const std::uint8_t> AllBits() const {
    return std::span(kBits).first(settings_.integers ? kBits.size() : 1);
  }

  void SayRung(std::uint32_t rung, double steps) const {
    const std::vector<std::size_t> alive = Alive();
    if (alive.empty()) return;
    Objectives corner = CornerOf(config_.budget, outcome_.teacher);
    corner.accuracy = Wanted();
    const auto key = [&](std::size_t i) {
      const Objectives point = PointOf(entries_[i]);
      return std::pair(DominatedVolume(std::span(&point, 1), corner), point.accuracy);
    };
    const Entry& best = entries_[*std::ranges::max_element(alive, {}, key)];
    Say(
        Format("rung %u of %u: %zu lists, %.0f steps each, %.0f s so far, about %.0f s left; best "
               "%llu bytes, %.1f us, %+.2f points: %s",
               rung + 1, config_.rungs, alive.size(), steps, Seconds(), WorkBehind(rung) * pace_,
               static_cast<unsigned long long>(best.trainee.bytes()), best.trainee.microseconds(),
               100 * (best.course.back() - teacher_choosing_), best.trainee.name().c_str()));
  }

  // All lists in the state that they reached, and the whole model, only rounded.
  Result<> Verify() {
    Proposal whole;
    whole.levels.assign(space_.layers.size(), 0);
    FL_TRY(Trainee untrained, Trainee::Create(space_, whole, settings_, inputs_));
    const Objectives size{0, untrained.bytes(), untrained.microseconds()};
    if (WhyOutside(size, config_.budget).empty()) entries_.push_back({std::move(untrained)});
    std::erase_if(entries_, [](const Entry& entry) {
      return entry.trainee.steps().empty() && entry.is_student();
    });
    if (entries_.empty())
      return Error{ErrorCode::kUnavailable, "search: stopped before any list was trained"};
    Say(Format("verifying %zu lists on %zu samples", entries_.size(),
               inputs_.verification.count()));
    for (std::size_t i = 0; i < entries_.size(); ++i) FL_TRY_OK(VerifyOne(i));
    std::vector<Objectives> points;
    points.reserve(outcome_.trials.size());
    for (const Trial& trial : outcome_.trials) points.push_back(trial.result);
    const std::vector<std::size_t> fronts = FrontNumbers(points);
    for (std::size_t i = 0; i < fronts.size(); ++i) outcome_.trials[i].on_front = fronts[i] == 0;
    return {};
  }

  // Finalists also with fewer bits, which cost no training, where that is smaller.
  Result<> VerifyOne(std::size_t position) {
    const Entry& entry = entries_[position];
    std::uint64_t smallest = UINT64_MAX;
    for (const std::uint8_t bits : kBits) {
      if (bits < kBitsMost && !(entry.alive && settings_.integers)) break;
      FL_TRY(Trial trial, MeasureTrial(entry.trainee, bits, known_, entry.alive));
      if (trial.result.bytes >= smallest) continue;
      smallest = trial.result.bytes;
      trial.course = entry.course;
      trial.finalist = entry.alive;
      trial.within = WhyNot(trial, rule_).empty();
      outcome_.trials.push_back(std::move(trial));
      entry_of_trial_.push_back(position);
    }
    return {};
  }

  // The best list and its file, or why there is none.
  Result<> Choose() {
    if (rule_.drawn != nullptr) {
      std::vector<double> accuracies;
      for (const Trial& trial : outcome_.trials) {
        if (trial.finalist) accuracies.push_back(trial.result.accuracy);
      }
      if (!accuracies.empty()) rule_.spread = SpreadOf(accuracies);
    }
    outcome_.chosen = ChooseTrial(outcome_.trials, outcome_.teacher, rule_);
    if (!outcome_.chosen) {
      outcome_.unreached =
          "no list keeps the budget; the nearest:" + NameNearest(outcome_.trials, rule_);
      return {};
    }
    const Trial& chosen = outcome_.trials[*outcome_.chosen];
    const Trainee& trainee = entries_[entry_of_trial_[*outcome_.chosen]].trainee;
    FL_TRY(FinishedModel finished, trainee.Finish(chosen.bits));
    outcome_.model = std::move(finished.file);
    for (const std::uint32_t steps : chosen.steps) outcome_.steps += steps;
    return {};
  }

  // Random lists that are trained as the chosen one was.
  Result<> CompareWithRandom() {
    const Trial& chosen = outcome_.trials[*outcome_.chosen];
    const RandomRule rule{.count = config_.random,
                          .budget = config_.budget,
                          .steps = chosen.steps,
                          .settings = settings_,
                          .bits = AllBits(),
                          .teacher = known_};
    FL_TRY(std::vector<Trial> random, TrainRandomLists(space_, rule, inputs_));
    for (Trial& trial : random) {
      trial.within = WhyNot(trial, rule_).empty();
      outcome_.trials.push_back(std::move(trial));
    }
    return {};
  }

  const SearchConfig& config_;
  const PassInputs& inputs_;
  const data::Subset& choosing_;
  ListSettings settings_;
  ChoiceRule rule_;
  std::optional<DrawnSizes> drawn_ = {};  // Of kDominance.
  std::int64_t begin_;
  SearchSpace space_;
  Measured known_;               // Of the model as it came, and the verification samples.
  double teacher_choosing_ = 0;  // Accuracy on the samples to choose by.
  std::vector<Entry> entries_;
  std::vector<std::size_t> entry_of_trial_;  // In entries_, of each of the outcome's trials.
  std::uint32_t first_steps_ = 0;
  double pace_ = 0;     // Seconds for a unit of WorkOf in the last rung.
  bool ended_ = false;  // No more rungs: stopped, or no time.
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
