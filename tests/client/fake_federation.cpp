#include "fl/tests/client/fake_federation.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/wire/model_change.h"
#include "fl/common/wire/update.h"
#include "fl/tests/support/result.h"

namespace fl::client::testing {
namespace {

using fl::testing::Get;

std::uint64_t ParseTask(std::string_view target) {
  const std::string_view hex = target.substr(std::string_view("/v1/updates/").size(), 16);
  std::uint64_t task = 0;
  std::from_chars(hex.data(), hex.data() + hex.size(), task, 16);
  return task;
}

std::uint64_t ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Bytes RawBytes(std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::string PlanText(const std::string& recipe, const std::string& more) {
  return R"(name = "tiny"
seed = 7

[model]
input = [4]
layers = ["dense 3"]

[data]
holdout = 0.2

[training]
epochs = 2
batch_size = 5
learning_rate = 0.1

[rounds]
count = 3

[compression]
gather_below = 0

[[compression.recipe]]
tensors = "*"
recipe = ")" +
         recipe +
         R"("
)" + more;
}

std::shared_ptr<const CheckedPlan> MakePlan(const std::string& text) {
  return Get(CheckPlan(Get(ParsePlan(text, "plan")), "plan"));
}

std::shared_ptr<const data::Dataset> MakeSamples(std::size_t count, std::uint64_t seed) {
  RngStream rng(seed);
  data::Samples samples;
  samples.shape = Shape{4};
  samples.classes = 3;
  std::vector<float> features(count * 4);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t label = rng.UniformInteger(3);
    samples.labels.push_back(static_cast<std::int32_t>(label));
    for (std::size_t k = 0; k < 4; ++k) {
      features[i * 4 + k] = 0.2F * rng.Normal() + (k == label ? 1.0F : 0.0F);
    }
  }
  samples.features = std::move(features);
  return std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples))));
}

LocalData MakeData(const CheckedPlan& plan, std::size_t count) {
  return SplitLocalData(data::Subset(MakeSamples(count)), plan.plan, "device");
}

net::Response Answer(Bytes body, unsigned status) {
  return {status, {}, std::move(body)};
}

net::Response Refuse(ErrorCode code, unsigned status, std::uint32_t again_ms) {
  const wire::Refusal refusal{static_cast<std::uint16_t>(code), "no", again_ms, again_ms};
  return Answer(wire::Encode(refusal), status);
}

FakeServer::FakeServer(std::string plan_text)
    : plan_text_(std::move(plan_text)), plan_(MakePlan(plan_text_)) {
  plan_digest_ = AddBlob(ToBytes(plan_text_));
  versions_.push_back(
      nn::InitializeParameters(plan_->graph, RngStream(plan_->plan.seed).Child("model")));
}

Digest FakeServer::AddBlob(Bytes blob) {
  const Digest digest = crypto::Sha256(blob);
  blobs_["/v1/blobs/" + digest.ToHex()] = std::move(blob);
  return digest;
}

void FakeServer::Spoil(const Digest& digest, Bytes other) {
  blobs_["/v1/blobs/" + digest.ToHex()] = std::move(other);
}

net::Response FakeServer::Handle(const net::Request& request) {
  log.push_back(request.method + " " + request.target);
  if (request.target == "/v1/check-in") return CheckIn(request);
  if (request.target.starts_with("/v1/blobs/")) return Blob(request);
  return Upload(request);
}

wire::CheckInAnswer FakeServer::Idle() const {
  wire::CheckInAnswer answer;
  answer.federation = plan_->plan.name;
  answer.plan = plan_digest_;
  answer.again_min_ms = 100;
  answer.again_max_ms = 200;
  return answer;
}

wire::Task FakeServer::MakeTask(std::optional<std::uint64_t> held) {
  const std::uint64_t version = versions_.size() - 1;
  wire::Task task;
  // Issued once for a round and an attempt, as often as it is asked for.
  task.id = versions_.size() * 1000 + attempt_;
  task.kind = kind;
  task.round = version + 1;
  task.deadline_s = 60;
  task.asked = 1;
  task.recipe = plan_->delta.digest().prefix();
  if (parameters_of) task.round_parameters = parameters_of(task.round);
  task.model.version = version;
  task.model.digest = ModelDigest(versions_.back().values);
  if (version == 0 || held == version) return task;
  Bytes blob = RawBytes(versions_.back().values);
  if (offers_changes && held == version - 1) {
    blob = wire::EncodeModelChange(versions_[version - 1].values, versions_[version].values);
    task.model.change_from = version - 1;
  }
  task.model.blob_bytes = blob.size();
  task.model.blob = AddBlob(std::move(blob));
  return task;
}

net::Response FakeServer::CheckIn(const net::Request& request) {
  const auto body = Get(wire::Decode<wire::CheckInRequest>(request.body));
  check_ins.push_back(body);
  if (scripted) return Answer(wire::Encode(*std::exchange(scripted, std::nullopt)));
  wire::CheckInAnswer answer = Idle();
  answer.done = versions_.size() > rounds;
  if (!answer.done) answer.task = MakeTask(body.version_held);
  return Answer(wire::Encode(answer));
}

net::Response FakeServer::Blob(const net::Request& request) {
  const auto found = blobs_.find(request.target);
  if (found == blobs_.end()) return Refuse(ErrorCode::kNotFound, 404);
  const Bytes& blob = found->second;
  std::string_view range = net::FindHeader(request.headers, "Range");
  if (range.empty()) return Answer(blob);
  range.remove_prefix(std::string_view("bytes=").size());
  const std::size_t first = ParseNumber(range);
  const std::size_t last = ParseNumber(range.substr(range.find('-') + 1));
  REQUIRE(first <= last);
  REQUIRE(last < blob.size());
  return Answer({blob.begin() + static_cast<std::ptrdiff_t>(first),
                 blob.begin() + static_cast<std::ptrdiff_t>(last) + 1},
                206);
}

net::Response FakeServer::Upload(const net::Request& request) {
  const std::uint64_t task = ParseTask(request.target);
  if (request.method == "PUT") return Complete(task, request.body);
  if (request.target.ends_with("/reserve")) {
    partial_.try_emplace(task);
  } else if (!partial_.contains(task)) {
    return request.method == "HEAD" ? Answer({}, 404) : Refuse(ErrorCode::kUnknownTask, 404);
  }
  Bytes& part = partial_[task];
  if (request.method == "PATCH") {
    ++patches[task];
    const std::uint64_t offset = ParseNumber(net::FindHeader(request.headers, "Upload-Offset"));
    if (offset != part.size()) return Refuse(ErrorCode::kWrongOffset);
    part.insert(part.end(), request.body.begin(), request.body.end());
  }
  if (request.target.ends_with("/commit")) return Complete(task, part);
  net::Response answer = Answer(wire::Encode(wire::UploadAnswer{part.size(), false, 0}));
  if (request.method == "HEAD") {
    return {200, {{"Upload-Offset", std::to_string(part.size())}}, {}};
  }
  return answer;
}

net::Response FakeServer::Complete(std::uint64_t task, const Bytes& update) {
  const Digest digest = crypto::Sha256(update);
  const auto settled = settled_.find(task);
  if (settled != settled_.end()) {
    if (settled->second != digest) return Refuse(ErrorCode::kDuplicate);
    return Answer(wire::Encode(wire::UploadAnswer{update.size(), true, task / 1000}));
  }
  ErrorCode code = ErrorCode::kOk;
  if (!refusals.empty()) {
    code = refusals.front();
    refusals.erase(refusals.begin());
  }
  if (code != ErrorCode::kOk) {
    refused.push_back(update);
    ++attempt_;
    return Refuse(code);
  }
  const wire::UpdateView view = Get(wire::DecodeUpdate(update, {}));
  NamedTensors next = versions_.back();
  RoundParameters parameters;
  if (parameters_of) {
    if (const auto blob = parameters_of(task / 1000)) {
      parameters.bytes = blobs_.at("/v1/blobs/" + blob->ToHex());
    }
  }
  for (const wire::UpdateEntryView& entry : view.streams.front().entries) {
    if (view.streams.front().id != wire::kStreamDelta) break;
    const Codec& codec = *plan_->delta.segments()[entry.segment].codec;
    const auto payload = Get(codec.Parse(entry.payload, parameters, {}));
    std::vector<float> values(codec.count());
    codec.DecodeAdd(*payload, 0, 1.0F, values);
    plan_->delta.Scatter(entry.segment, values, next.values);
  }
  settled_[task] = digest;
  accepted.push_back(update);
  versions_.push_back(std::move(next));
  return Answer(wire::Encode(wire::UploadAnswer{update.size(), true, task / 1000}));
}

Device::Device(FakeServer& server, ContentCache& cache, LocalData data, ClientOptions options)
    : server_(server), cache_(cache), data_(std::move(data)), options_(std::move(options)) {
  options_.name = "device";
  options_.host = "localhost:1";
  options_.stop_when_done = true;
}

bool Device::Run(std::size_t commands_max) {
  DeviceState start;
  if (!saved.empty()) start = Get(DeviceState::Decode(saved));
  ClientCore core = Get(ClientCore::Create(options_, std::move(start), cache_));
  const std::atomic<bool> stop = false;
  std::optional<ClientEvent> next = Started{};
  std::size_t commands_done = 0;
  while (next) {
    const auto commands = core.OnEvent(*std::exchange(next, std::nullopt), now);
    state = core.state();
    for (const ClientCommand& command : commands) {
      if (++commands_done > commands_max || (kills && kills(command))) return false;
      if (std::holds_alternative<SaveState>(command)) {
        ++saves;
        saved = core.state().Encode();
      } else if (const auto* send = std::get_if<SendRequest>(&command)) {
        ++exchanges;
        timeouts.push_back(send->timeout);
        next = ReplyArrived{carries ? carries(exchanges, send->request, server_)
                                    : server_.Handle(send->request)};
      } else if (const auto* train = std::get_if<StartTraining>(&command)) {
        ++trainings;
        next = TrainingDone{RunTraining(train->job, data_, stop)};
      } else if (const auto* deploy = std::get_if<StartDeployment>(&command)) {
        next = DeploymentDone{deploys(deploy->job)};
      } else if (const auto* install = std::get_if<InstallModel>(&command)) {
        installed.push_back(install->model_file);
      } else if (const auto* wait = std::get_if<WaitUntil>(&command)) {
        waits.push_back(wait->time - now);
        now = wait->time;
        next = TimerFired{};
      } else if (const auto* log = std::get_if<WriteLog>(&command)) {
        messages.push_back(log->message);
      } else if (const auto* record = std::get_if<RecordActivity>(&command)) {
        activities.push_back(*record);
      } else if (const auto* finished = std::get_if<Finished>(&command)) {
        outcome = finished->outcome;
      }
    }
  }
  return true;
}

}  // namespace fl::client::testing
