#include "fl/simulations/federation/simulation.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fl/compression/samples/plan_samples.h"
#include "fl/simulations/population/population.h"

namespace fl::sim {
namespace {

constexpr double kPatience = 100;               // Deadlines without a published round.
constexpr std::uint64_t kDivergedPatience = 3;  // Diverged trainings a device without one.
// Models that lie ready for the devices that fetch the same one at about the same time.
constexpr std::size_t kNewestModels = 8;

// On a lattice there is a change from every version, so that each device's model counts however old
// it is; elsewhere one is of use for change_versions_max versions only.
DeviceCache::Keep KeepOf(const Plan& plan) {
  return plan.aggregation.publish == "lattice" ? DeviceCache::Keep::kAlways
                                               : DeviceCache::Keep::kAsLongAsShared;
}

}  // namespace

Simulation::Simulation(const Plan& plan, FederationData data, SimulationOptions options,
                       Services services)
    : data_(std::move(data)),
      options_(std::move(options)),
      services_(services),
      cache_(kNewestModels + plan.aggregation.change_versions_max),
      started_(services.clock.Now()),
      pool_(std::max<std::size_t>(options_.threads, 1) - 1) {}

Result<std::unique_ptr<Simulation>> Simulation::Create(
    const std::shared_ptr<const CheckedPlan>& plan, FederationData data, SimulationOptions options,
    Services services) {
  FL_TRY_OK(CheckFits(*data.training, plan->graph));
  if (data.evaluation != nullptr) FL_TRY_OK(CheckFits(*data.evaluation, plan->graph));
  FL_TRY(data, GroupByDevice(std::move(data)));
  std::unique_ptr<Simulation> simulation(
      new Simulation(plan->plan, std::move(data), std::move(options), services));
  Simulation& self = *simulation;
  FL_TRY(self.server_, ServerActor::Create(plan, self.data_.evaluation,
                                           {self.queue_, self.pool_, services.stop}));
  if (!self.options_.record.folder.empty()) {
    FL_TRY(self.recorder_, UpdateRecorder::Create(self.options_.record, plan));
  }
  const std::vector<DeviceProfile> profiles =
      DrawPopulation(plan->plan.simulation, plan->plan.seed);
  for (std::uint32_t i = 0; i < profiles.size(); ++i) {
    client::LocalData local =
        client::SplitLocalData(self.data_.ShareOf(i), plan->plan, profiles[i].name);
    DeviceActor::Setup setup{i, plan->plan.seed, profiles[i], plan->plan.training.epochs};
    FL_TRY(auto device,
           DeviceActor::Create(std::move(setup), std::move(local),
                               {self.queue_, self.pool_, services.stop, self.cache_,
                                KeepOf(plan->plan), services.log, self.recorder_.get()}));
    self.devices_.push_back(std::move(device));
  }
  return simulation;
}

Result<> Simulation::Run(const std::function<void(const RoundSeen&)>& on_round) {
  on_round_ = on_round;
  while (!queue_.empty() && !services_.stop) {
    if (queue_.next_actor() == Queue::kServer) {
      FL_TRY_OK(HandleServer());
    } else {
      DeviceActor& device = *devices_[queue_.next_actor()];
      FL_TRY_OK(device.Handle(queue_.Pop()));
      if (std::optional<Error> diverged = device.TakeDiverged()) {
        ++diverged_;
        last_diverged_ = std::move(*diverged);
      }
      if (!device.finished() || !server_->done()) continue;
      if (std::ranges::all_of(devices_, [](const auto& each) { return each->finished(); })) break;
    }
    FL_TRY_OK(CheckProgress());
  }
  return {};
}

// All that reaches the server at one instant is one batch.
Result<> Simulation::HandleServer() {
  const TimePoint now = queue_.next_time();
  std::vector<Event> events;
  while (queue_.next_time() == now && queue_.next_actor() == Queue::kServer)
    events.push_back(queue_.Pop());
  Result<ServerActor::Outcome> outcome = server_->Handle(std::move(events));
  if (services_.stop) return {};  // What was cut short by it is no failure.
  if (!outcome) return std::move(outcome).error();
  for (ServerActor::Reply& reply : outcome->replies) {
    devices_[reply.device]->Deliver(reply.id, std::move(reply.response));
  }
  if (outcome->published) {
    unseen_ = *outcome->published;
    progress_ = now;
    diverged_ = 0;
    published_.emplace(unseen_, services_.clock.Now());
  }
  const bool measured =
      data_.evaluation == nullptr ? outcome->published.has_value() : outcome->evaluated.has_value();
  if (unseen_ == 0 || !measured) return {};
  FL_TRY(RoundSeen seen, Look(std::exchange(unseen_, 0)));
  if (outcome->evaluated) {
    seen.loss = outcome->evaluated->loss;
    seen.accuracy = outcome->evaluated->accuracy;
  }
  if (on_round_) on_round_(seen);
  return {};
}

Result<> Simulation::CheckProgress() {
  const RoundsConfig& rounds = server_->plan().plan().rounds;
  if (diverged_ >= kDivergedPatience * devices_.size()) {
    return Error{ErrorCode::kNotFinite,
                 "no round was published in " + std::to_string(diverged_) +
                     " trainings without a finite model; the last one: " + last_diverged_.message};
  }
  if (server_->done() || ToSeconds(queue_.now() - progress_) < kPatience * rounds.deadline_s)
    return {};
  return Error{ErrorCode::kTimeout,
               "no round was published in " +
                   std::to_string(static_cast<std::int64_t>(kPatience * rounds.deadline_s)) +
                   " s of virtual time: with these devices rounds.min_report (" +
                   std::to_string(rounds.min_report) + ") is not reached within rounds.deadline_s"};
}

Result<RoundSeen> Simulation::Look(std::uint64_t round) {
  const std::string& name = server_->plan().name();
  FL_TRY(const auto transaction,
         server_->storage().Begin(name, server::TransactionMode::kOptimistic));
  FL_TRY(const auto federation, transaction->FindFederation(name));
  FL_TRY(const auto row, transaction->FindRound(name, round));
  RoundSeen seen;
  seen.round = round;
  seen.bytes_up = server_->bytes_up();
  seen.seconds = ToSeconds(services_.clock.Now() - started_);
  if (federation) seen.published = federation->published;
  if (!row) return seen;
  seen.accepted = row->accepted;
  seen.loss = row->loss_trained.value_or(-1);
  seen.accuracy = row->accuracy_before.value_or(-1);
  return seen;
}

Result<server::Report> Simulation::Report() {
  FL_TRY(server::Report report, server::BuildReport(server_->storage(), server_->plan()));
  TimePoint before = started_;
  for (server::RoundReport& round : report.rounds) {
    const auto found = published_.find(round.number);
    if (found == published_.end()) continue;
    round.seconds = ToSeconds(found->second - before);
    before = found->second;
  }
  report.totals.seconds = ToSeconds(services_.clock.Now() - started_);
  report.totals.virtual_seconds = ToSeconds(queue_.now().time_since_epoch());
  return report;
}

Result<Bytes> Simulation::ExportModel() {
  return server::ExportModel(server_->storage(), server_->plan());
}

}  // namespace fl::sim
