#include "fl/client/core/client_core.h"

#include <algorithm>
#include <utility>

#include "fl/client/core/backoff.h"
#include "fl/client/core/model_patch.h"
#include "fl/client/state/carried_over.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/wire/protocol_version.h"
#include "fl/compression/deploy/federation_ranges.h"
#include "fl/compression/recipe.h"

namespace fl::client {
namespace {

constexpr Duration kCheckInTimeout = std::chrono::seconds(45);  // The server may hold it for 30 s.
constexpr Duration kTransferTimeoutMax = std::chrono::hours(1);

// How much larger than the model a change to it may be: a few words of head.
constexpr std::uint64_t kChangeBytesOver = 256;

// A refused check-in that no later one can mend without a person.
bool NeedsPerson(ErrorCode code) {
  return code == ErrorCode::kNotFound || code == ErrorCode::kUnsupported ||
         code == ErrorCode::kInvalidArgument || code == ErrorCode::kWrongState;
}

// Before anything is made of the model's size. What else is wrong with it CheckPlan says.
Result<> CheckModelSize(const Plan& plan, std::uint64_t parameters_max) {
  std::vector<std::string> lines;
  lines.reserve(plan.model.layers.size());
  for (const LocatedText& layer : plan.model.layers) lines.push_back(layer.text);
  nn::GraphLimits limits;
  limits.parameters_max = parameters_max;
  const auto graph =
      nn::BuildGraph(Shape(plan.model.input), lines, plan.model.loss, nullptr, limits);
  const bool too_large = !graph && graph.error().code == ErrorCode::kLimitExceeded;
  return too_large ? Result<>(graph.error().At("the server's plan")) : Result<>();
}

// Where the plan's `auto` has a deadline: what is left of it, and of the round, for the upload of a
// task that has been here for `since`.
std::optional<rate::TimeLeft> TimeForUpdate(const SegmentPlan& delta, const wire::Task& task,
                                            const DeviceSpeed& speed, Duration since) {
  const auto& budget = delta.budget();
  if (!budget || !budget->by_deadline) return std::nullopt;
  const double deadline = std::min(budget->deadline_s, static_cast<double>(task.deadline_s));
  return speed.TimeWithin(deadline - ToSeconds(since));
}

}  // namespace

Result<ClientCore> ClientCore::Create(ClientOptions options, DeviceState state,
                                      ContentCache& cache) {
  if (!state.client.empty() && state.client != options.name) {
    return Error{ErrorCode::kWrongState, "device state: expected that of client " + options.name +
                                             ", found that of client " + state.client};
  }
  if (!state.federation.empty() && !options.federation.empty() &&
      state.federation != options.federation) {
    return Error{ErrorCode::kWrongState, "device state: expected federation " + options.federation +
                                             ", found " + state.federation +
                                             "; use another state folder"};
  }
  state.client = options.name;
  return ClientCore(std::move(options), std::move(state), cache);
}

ClientCore::ClientCore(ClientOptions options, DeviceState state, ContentCache& cache)
    : options_(std::move(options)), state_(std::move(state)), cache_(&cache) {}

std::vector<ClientCommand> ClientCore::OnEvent(ClientEvent event, TimePoint now) {
  now_ = now;
  std::visit([this](auto& what) { On(std::move(what)); }, event);
  return std::exchange(commands_, {});
}

void ClientCore::On(Started) {
  FL_CHECK(stage_ == Stage::kNew, "a core starts once");
  if (!state_.staged) return Send(Stage::kCheckIn);
  Log(LogLevel::kInfo, "goes on with the update that was staged before the restart");
  upload_.emplace(*state_.staged, options_.chunk_bytes);
  Send(Stage::kUpload);
}

void ClientCore::On(ReplyArrived event) {
  switch (stage_) {
    case Stage::kCheckIn:
      return OnCheckInReply(event.response);
    case Stage::kPlan:
    case Stage::kParameters:
    case Stage::kModel:
      return OnDownloadReply(std::move(event.response));
    case Stage::kUpload:
      return OnUploadReply(event.response);
    case Stage::kNew:
    case Stage::kJob:
    case Stage::kFinished:
      FL_CHECK(false, "a reply arrived that no request asked for");
  }
}

void ClientCore::On(TimerFired) {
  // A timer that was set before something else happened means nothing.
  if (waiting_) Send(stage_);
}

// Step 1: check in.

net::Request ClientCore::CheckInRequest() {
  wire::CheckInRequest body;
  body.federation = state_.federation.empty() ? options_.federation : state_.federation;
  if (state_.model && cache_->HasModel(state_.model->digest)) {
    body.version_held = state_.model->version;
  }
  body.memory_mb = options_.memory_mb;
  body.codecs = KnownStages();
  body.wait = options_.wait;
  body.phase = phase_answer_;
  return {"POST", "/v1/check-in", options_.host, {}, wire::Encode(body)};
}

void ClientCore::OnCheckInReply(const Result<net::Response>& reply) {
  if (auto failure = FindFailure(reply)) return Fail(*failure);
  const Result<> version = wire::CheckProtocol(reply->body, "the client", "the server");
  auto answer = wire::Decode<wire::CheckInAnswer>(reply->body);
  // Of another form, it may be no answer of a server at all: not a reason to stop.
  if (!answer) return Fail(GarbageAnswer(version ? answer.error() : version.error()));
  if (!version) return Finish(version.error());
  if (auto bound = Bind(*answer); !bound) return Finish(bound.error());
  failures_ = 0;
  ++state_.counters.check_ins;
  phase_answer_.reset();
  const auto low = std::min(answer->again_min_ms, answer->again_max_ms);
  RngStream rng = NextDraw();
  next_check_in_ = now_ + DrawInWindow({std::chrono::milliseconds(low),
                                        std::chrono::milliseconds(answer->again_max_ms)},
                                       rng);
  task_ = answer->task;
  task_since_ = now_;
  phase_asked_ = std::move(answer->phase);
  if (answer->done && !task_ && options_.stop_when_done) return Finish({});
  if (task_ || phase_asked_) return Advance();
  CheckInLater();
}

Result<> ClientCore::Bind(const wire::CheckInAnswer& answer) {
  const std::string& expected = state_.federation.empty() ? options_.federation : state_.federation;
  if (answer.federation.empty() || (!expected.empty() && answer.federation != expected)) {
    return Error{ErrorCode::kWrongState, "the server: expected federation \"" + expected +
                                             "\", found \"" + answer.federation +
                                             "\"; use the state folder of that federation"};
  }
  if (state_.federation == answer.federation && state_.plan == answer.plan) return {};
  state_.federation = answer.federation;
  state_.plan = answer.plan;
  plan_ = nullptr;
  commands_.emplace_back(SaveState{});
  return {};
}

// "hello" is the only phase that asks something of a client; what others mean is not known here.
void ClientCore::AnswerPhase() {
  const auto asked = std::exchange(phase_asked_, std::nullopt);
  const auto& phases = plan_->plan.rounds.phases;
  if (asked->phase >= phases.size() || phases[asked->phase] != "hello") {
    return Log(LogLevel::kWarning, "the server asks for a phase that this program does not know");
  }
  const std::string_view hello = "hello";
  phase_answer_ = wire::PhaseMessage{asked->round, asked->phase, {hello.begin(), hello.end()}};
}

// Step 2: what the task needs.

void ClientCore::Advance() {
  if (plan_ == nullptr) plan_ = cache_->FindPlan(*state_.plan);
  if (plan_ == nullptr) {
    download_.emplace(*state_.plan, 0, options_.chunk_bytes);
    return Send(Stage::kPlan);
  }
  if (phase_asked_) AnswerPhase();
  if (!task_) return CheckInLater();
  if (LacksParameters()) {
    download_.emplace(*task_->round_parameters, 0, options_.chunk_bytes);
    return Send(Stage::kParameters);
  }
  if (model_ == nullptr) {
    if (auto found = FindModel(); !found) return Abandon(found.error());
    if (model_ == nullptr) return Send(Stage::kModel);
  }
  StartTask();
}

void ClientCore::OnDownloadReply(Result<net::Response> reply) {
  auto outcome = download_->OnAnswer(std::move(reply), *cache_);
  if (const auto* failure = std::get_if<Failure>(&outcome)) return Fail(*failure);
  failures_ = 0;
  if (std::holds_alternative<Download::Continue>(outcome)) return Send(stage_);
  download_.reset();
  if (auto taken = TakeBlob(std::get<Bytes>(std::move(outcome))); !taken) {
    return Abandon(taken.error());
  }
  Advance();
}

Result<> ClientCore::TakeBlob(Bytes blob) {
  if (stage_ == Stage::kPlan) {
    plan_ = cache_->FindMadePlan(*state_.plan);
    if (plan_ != nullptr) {
      cache_->StorePlan(*state_.plan, AsText(blob), plan_);
      return {};
    }
    FL_TRY(Plan plan, ParsePlan(AsText(blob), "the server's plan"));
    FL_TRY_OK(CheckModelSize(plan, options_.parameters_max));
    FL_TRY(plan_, CheckPlan(std::move(plan), "the server's plan"));
    cache_->StorePlan(*state_.plan, AsText(blob), plan_);
    return {};
  }
  if (stage_ == Stage::kParameters) {
    parameters_ = HeldParameters{*task_->round_parameters, std::move(blob)};
    return {};
  }
  if (auto made = cache_->FindMadeModel(task_->model.digest, plan_->graph.parameters)) {
    HoldModel(std::move(made));
    return {};
  }
  if (!task_->model.change_from) {
    auto model = ReadWholeModel(plan_->graph.parameters, blob);
    // Its bytes are the values', and the download has their digest.
    if (!model || task_->model.blob != task_->model.digest) return TakeModel(std::move(model));
    HoldModel(std::make_shared<const NamedTensors>(std::move(*model)));
    return {};
  }
  if (task_->model.change_from == 0) {
    return TakeModel(ApplyModelPatch(*plan_, ChangeStart(*plan_), blob));
  }
  const auto base = cache_->FindModel(state_.model->digest, plan_->graph.parameters);
  if (base == nullptr) {
    state_.model.reset();
    return Error{ErrorCode::kNotFound, "the model that a change is for is gone"};
  }
  return TakeModel(ApplyModelPatch(*plan_, *base, blob));
}

// Sets model_ where the device has the model or can make it; else sets download_.
Result<> ClientCore::FindModel() {
  const wire::ModelSource& source = task_->model;
  const TensorLayout& layout = plan_->graph.parameters;
  model_ = cache_->FindModel(source.digest, layout);
  if (model_ != nullptr) return {};
  if (!source.blob) {
    if (auto made = source.version == 0 ? cache_->FindMadeModel(source.digest, layout) : nullptr) {
      HoldModel(std::move(made));
      return {};
    }
    if (source.version == 0) return TakeModel(InitialModel(*plan_));
    state_.model.reset();
    return Error{ErrorCode::kNotFound, "model version " + std::to_string(source.version) +
                                           " is not held, and the server names no blob for it"};
  }
  const std::uint64_t whole = layout.total() * sizeof(float);
  const bool fits = source.change_from
                        ? source.blob_bytes > 0 && source.blob_bytes <= whole + kChangeBytesOver
                        : source.blob_bytes == whole;
  if (!fits) {
    state_.model.reset();
    return Error{ErrorCode::kMalformed, "model version " + std::to_string(source.version) +
                                            ": a blob of " + std::to_string(source.blob_bytes) +
                                            " bytes for a model of " + std::to_string(whole)};
  }
  const bool from_held = source.change_from && *source.change_from != 0;  // 0 is made, not held.
  if (from_held && (!state_.model || state_.model->version != *source.change_from ||
                    !cache_->HasModel(state_.model->digest))) {
    state_.model.reset();
    return Error{
        ErrorCode::kWrongBase,
        "a change from version " + std::to_string(*source.change_from) + ", which is not held"};
  }
  download_.emplace(*source.blob, source.blob_bytes, options_.chunk_bytes);
  return {};
}

Result<> ClientCore::TakeModel(Result<NamedTensors> model) {
  const wire::ModelSource& source = task_->model;
  const bool right = model.has_value() && ModelDigest(model->values) == source.digest;
  if (!right) {
    // Without a version held the server offers the whole model next time.
    state_.model.reset();
    if (!model) return model.error();
    return Error{ErrorCode::kDigestMismatch, "model version " + std::to_string(source.version) +
                                                 ": expected digest " + source.digest.ToHex() +
                                                 ", found another model"};
  }
  HoldModel(std::make_shared<const NamedTensors>(std::move(*model)));
  return {};
}

void ClientCore::HoldModel(std::shared_ptr<const NamedTensors> model) {
  model_ = std::move(model);
  cache_->StoreModel(task_->model.digest, model_);
}

bool ClientCore::LacksParameters() const {
  return task_->round_parameters &&
         (!parameters_ || parameters_->digest != *task_->round_parameters);
}

Bytes ClientCore::TaskParameters() const {
  return task_->round_parameters ? parameters_->bytes : Bytes{};
}

void ClientCore::StartTask() {
  stage_ = Stage::kJob;
  job_since_ = now_;
  // What is measured and deployed may be a running average, which no change starts from.
  const bool published =
      task_->kind == wire::TaskKind::kTrain || plan_->plan.aggregation.released == "published";
  if (published) state_.model = HeldModel{task_->model.version, task_->model.digest};
  if (task_->kind == wire::TaskKind::kDeploy) return StartDeploying();
  if (task_->kind == wire::TaskKind::kCalibrate && !plan_->calibration) {
    return Abandon({ErrorCode::kMalformed, "a task to calibrate, which the plan does not ask for"});
  }
  if (task_->kind == wire::TaskKind::kTrain && task_->recipe != plan_->delta.digest().prefix()) {
    return Abandon({ErrorCode::kWrongRecipe, "the task's recipe is not the plan's"});
  }
  RoundParameters parameters{TaskParameters(), task_->round};
  const bool trains = task_->kind == wire::TaskKind::kTrain;
  if (trains) {
    const auto checked = plan_->delta.CheckRoundParameters(parameters);
    if (!checked) return Abandon(checked.error());
  }
  TrainingJob job{*task_, options_.name, plan_, model_, {}, {}, {}, {}};
  job.time = TimeForUpdate(plan_->delta, *task_, state_.speed, now_ - task_since_);
  job.round_parameters = std::make_shared<const RoundParameters>(std::move(parameters));
  if (trains && KeepsResidual(*plan_)) {
    BringResidualForward();
    job.residual = state_.residual;
    job.velocity = state_.velocity;
  }
  commands_.emplace_back(StartTraining{std::move(job)});
}

void ClientCore::StartDeploying() {
  DeploymentJob job{*task_, options_.name, plan_, model_, {}};
  if (task_->round_parameters && plan_->calibration) {
    auto ranges = deploy::DecodeRanges(parameters_->bytes, plan_->calibration->graph);
    if (!ranges) return Abandon(ranges.error());
    job.ranges = std::move(*ranges);
  }
  commands_.emplace_back(StartDeployment{std::move(job)});
}

void ClientCore::BringResidualForward() {
  const DroppedTensors dropped = BringForward(state_, *plan_, task_->round);
  if (dropped.too_old > 0) {
    Log(LogLevel::kInfo, "the residual of round " + std::to_string(state_.residual_round) +
                             " is older than the plan keeps it, and is dropped");
  }
  if (dropped.misfits > 0) {
    Log(LogLevel::kWarning,
        std::to_string(dropped.misfits) + " tensors of the residual do not fit the new model");
  }
}

std::uint64_t ClientCore::ResidualAge() const {
  const bool known = state_.residual != nullptr && state_.residual_round > 0;
  return known && task_->round > state_.residual_round ? task_->round - state_.residual_round : 0;
}

// Pace.

void ClientCore::Send(Stage stage) {
  stage_ = stage;
  waiting_ = false;
  SendRequest send;
  if (stage == Stage::kCheckIn) {
    send = {CheckInRequest(), kCheckInTimeout};
  } else if (stage == Stage::kUpload) {
    send = {upload_->Next(options_.host, state_.staged->update), transfer_timeout_};
  } else {
    send = {download_->Next(options_.host), transfer_timeout_};
  }
  state_.counters.bytes_up += net::SerializeHead(send.request).size() + send.request.body.size();
  commands_.emplace_back(std::move(send));
}

void ClientCore::Fail(const Failure& failure) {
  const bool hopeless = stage_ == Stage::kCheckIn && failure.cure == Failure::Cure::kGiveUp &&
                        NeedsPerson(failure.error.code);
  if (hopeless || failure.cure == Failure::Cure::kStop) return Finish(failure.error);
  if (failure.cure == Failure::Cure::kGiveUp && stage_ != Stage::kCheckIn) {
    return Abandon(failure.error);
  }
  // On a link on which one piece takes longer than that every attempt would end the same way.
  if (failure.error.code == ErrorCode::kTimeout && stage_ != Stage::kCheckIn)
    transfer_timeout_ = std::min(2 * transfer_timeout_, kTransferTimeoutMax);
  RngStream rng = NextDraw();
  const Duration pause =
      failure.again ? DrawInWindow(*failure.again, rng)
                    : DrawBackoff(options_.backoff_base, options_.backoff_cap, failures_, rng);
  ++failures_;
  Log(LogLevel::kWarning, failure.error.message + "; tries again in " +
                              std::to_string(pause / std::chrono::milliseconds(1)) + " ms");
  Wait(pause);
}

// Drops the task; the server offers it again at the next check-in while its round is open.
void ClientCore::Abandon(const Error& error) {
  task_.reset();
  phase_asked_.reset();
  model_ = nullptr;
  download_.reset();
  Log(LogLevel::kWarning, "gives up the task: " + error.message);
  CheckInLater(DrawPause(abandoned_));
}

void ClientCore::CheckInLater(Duration pause) {
  stage_ = Stage::kCheckIn;
  Wait(std::max(next_check_in_ - now_, pause));
}

Duration ClientCore::DrawPause(std::uint32_t& in_a_row) {
  RngStream rng = NextDraw();
  return DrawBackoff(options_.backoff_base, options_.backoff_cap, in_a_row++, rng);
}

void ClientCore::Wait(Duration duration) {
  waiting_ = true;
  commands_.emplace_back(WaitUntil{now_ + duration});
}

void ClientCore::Finish(Result<> outcome) {
  stage_ = Stage::kFinished;
  waiting_ = false;
  commands_.emplace_back(Finished{std::move(outcome)});
}

void ClientCore::Log(LogLevel level, std::string message) {
  std::optional<std::uint64_t> round;
  if (task_) round = task_->round;
  commands_.emplace_back(WriteLog{level, round, std::move(message)});
}

// A stream of its own for each pause, so that a device's pace depends on its name and history
// alone.
RngStream ClientCore::NextDraw() {
  return RngStream(0)
      .Child("pace", options_.name)
      .Child("check_in", state_.counters.check_ins)
      .Child("draw", draws_++);
}

}  // namespace fl::client
