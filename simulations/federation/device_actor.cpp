#include "fl/simulations/federation/device_actor.h"

#include <algorithm>
#include <utility>

namespace fl::sim {
namespace {

constexpr Duration kResolution(1);

client::ClientOptions OptionsOf(const std::string& name) {
  client::ClientOptions options;
  options.name = name;
  options.host =
      "127.0.0.1:8443";  // As long as a usual address, so that heads have their usual size.
  options.stop_when_done = true;
  return options;
}

}  // namespace

DeviceActor::DeviceActor(Setup setup, client::LocalData data, Services services)
    : setup_(std::move(setup)),
      data_(std::move(data)),
      services_(services),
      link_(setup_.profile.link),
      cache_(services.cache, services.keep) {}

Result<std::unique_ptr<DeviceActor>> DeviceActor::Create(Setup setup, client::LocalData data,
                                                         Services services) {
  std::unique_ptr<DeviceActor> device(new DeviceActor(std::move(setup), std::move(data), services));
  FL_TRY_OK(device->Start());
  return device;
}

// The core begins from what was saved; the event that wakes it comes at the present time.
Result<> DeviceActor::Start() {
  FL_TRY(client::ClientCore core,
         client::ClientCore::Create(OptionsOf(setup_.profile.name), saved_, cache_));
  core_ = std::make_unique<client::ClientCore>(std::move(core));
  Push(services_.queue.now(), DeviceStarted{});
  return {};
}

void DeviceActor::Push(TimePoint time, Event event) {
  services_.queue.Push(time, setup_.index, std::move(event));
}

Result<> DeviceActor::Handle(Event event) {
  if (core_ == nullptr) return std::holds_alternative<DeviceStarted>(event) ? Start() : Result<>();
  std::optional<client::ClientEvent> translated = Translate(std::move(event));
  if (!translated || services_.stop) return {};
  for (client::ClientCommand& command :
       core_->OnEvent(std::move(*translated), services_.queue.now())) {
    FL_TRY_OK(std::visit([this](auto& known) { return Do(std::move(known)); }, command));
    if (core_ == nullptr) break;
  }
  return {};
}

void DeviceActor::Deliver(std::uint64_t id, net::Response response) {
  const std::uint64_t bytes = net::SerializeHead(response).size() + response.body.size();
  Push(link_.SendDown(services_.queue.now(), bytes), ReplyReceived{id, std::move(response)});
}

// Nothing for an answer that the device no longer waits for.
std::optional<client::ClientEvent> DeviceActor::Translate(Event event) {
  if (std::holds_alternative<DeviceStarted>(event)) return client::Started{};
  if (std::holds_alternative<DeviceTimer>(event)) return client::TimerFired{};
  if (auto* job = std::get_if<JobFinished>(&event)) {
    client::ClientEvent done = services_.pool.Await(job->result);
    const auto* trained = std::get_if<client::TrainingDone>(&done);
    if (trained != nullptr && !trained->result &&
        trained->result.error().code == ErrorCode::kNotFinite)
      diverged_ = trained->result.error();
    return done;
  }
  if (auto* reply = std::get_if<ReplyReceived>(&event)) {
    if (reply->id != exchange_) return std::nullopt;
    exchange_ = 0;
    return client::ReplyArrived{std::move(reply->response)};
  }
  const auto* late = std::get_if<ReplyTimedOut>(&event);
  if (late == nullptr || late->id != exchange_) return std::nullopt;
  exchange_ = 0;
  return client::ReplyArrived{Error{ErrorCode::kTimeout, "no answer in time"}};
}

Result<> DeviceActor::Do(client::SaveState) {
  if (setup_.profile.drop_out > 0) saved_ = core_->state();
  if (services_.recorder != nullptr && core_->state().staged) staged_ = core_->state().staged;
  return {};
}

Result<> DeviceActor::Do(client::SendRequest command) {
  const TimePoint now = services_.queue.now();
  // Unique among all devices, and in the order of the devices for those that start together.
  exchange_ = (++exchanges_ << 24U) + setup_.index + 1;
  const std::uint64_t bytes =
      net::SerializeHead(command.request).size() + command.request.body.size();
  services_.queue.Push(link_.SendUp(now, bytes), Queue::kServer,
                       RequestReceived{exchange_, setup_.index, std::move(command.request)});
  Push(now + std::max(command.timeout, kResolution), ReplyTimedOut{exchange_});
  return {};
}

bool DeviceActor::Vanishes(const wire::Task& task) {
  if (!DropsOut(setup_.profile, setup_.index, attempts_++, setup_.seed)) return false;
  core_ = nullptr;
  Push(services_.queue.now() + std::chrono::seconds(task.deadline_s) + kResolution,
       DeviceStarted{});
  return true;
}

Result<> DeviceActor::Do(client::StartTraining command) {
  if (Vanishes(command.job.task)) return {};
  const bool trains = command.job.task.kind == wire::TaskKind::kTrain;
  const std::size_t examples =
      trains ? data_.training.count() * setup_.epochs : data_.holdout.count();
  Run(TrainingTime(setup_.profile, examples), [this, job = std::move(command.job)] {
    return client::TrainingDone{client::RunTraining(job, data_, services_.stop)};
  });
  return {};
}

// Counts as one pass over the training samples.
Result<> DeviceActor::Do(client::StartDeployment command) {
  if (Vanishes(command.job.task)) return {};
  command.job.installed = installed_;
  Run(TrainingTime(setup_.profile, data_.training.count()), [this, job = std::move(command.job)] {
    return client::DeploymentDone{client::RunDeployment(job, data_, services_.stop)};
  });
  return {};
}

void DeviceActor::Run(Duration duration, std::function<client::ClientEvent()> job) {
  auto promise = std::make_shared<std::promise<client::ClientEvent>>();
  Push(services_.queue.now() + duration, JobFinished{promise->get_future()});
  services_.pool.Post([promise, job = std::move(job)] { promise->set_value(job()); });
}

Result<> DeviceActor::Do(client::InstallModel command) {
  installed_ = std::move(command.model_file);
  return {};
}

Result<> DeviceActor::Do(client::WaitUntil command) {
  Push(std::max(command.time, services_.queue.now() + kResolution), DeviceTimer{});
  return {};
}

Result<> DeviceActor::Do(const client::WriteLog& command) {
  services_.log.Write(command.level,
                      {.federation = {}, .round = command.round, .client = setup_.profile.name},
                      command.message);
  return {};
}

Result<> DeviceActor::Do(const client::RecordActivity& command) {
  services_.log.Debug({.federation = {}, .round = command.round, .client = setup_.profile.name},
                      command.what + " " + command.detail);
  if (services_.recorder == nullptr || command.what != "accepted" || !staged_) return {};
  if (staged_->kind != wire::TaskKind::kTrain) return {};
  return services_.recorder->Record(command.round, setup_.profile.name, staged_->update,
                                    staged_->residual, {staged_->round_parameters, staged_->round});
}

Result<> DeviceActor::Do(const client::Finished& command) {
  finished_ = true;
  if (!command.outcome) return command.outcome.error().At(setup_.profile.name);
  return {};
}

}  // namespace fl::sim
