#include "fl/tests/fault/faulty_server.h"

#include <algorithm>
#include <utility>

#include "fl/common/wire/messages.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/tests/support/result.h"

namespace fl::fault {
namespace {

using std::chrono::milliseconds;

constexpr Duration kHold = std::chrono::seconds(30);
constexpr Duration kFoldPause = std::chrono::seconds(1);
constexpr std::uint64_t kOperationsOfBatch = 60;
const Error kGone{ErrorCode::kUnavailable, "the connection is gone"};

std::uint64_t TaskOf(const net::Request& request) {
  const std::string_view hex =
      std::string_view(request.target).substr(std::string_view("/v1/updates/").size(), 16);
  return std::stoull(std::string(hex), nullptr, 16);
}

bool IsUpload(const net::Request& request) {
  return request.target.starts_with("/v1/updates/");
}

}  // namespace

FaultyServer::FaultyServer(std::shared_ptr<const server::FederationPlan> plan, Faults faults,
                           RngStream rng, Queue& queue, History& history)
    : plan_(std::move(plan)), faults_(faults), rng_(rng), queue_(queue), history_(history) {
  server::SqliteOptions options;
  options.before_operation = [this] { return BeforeOperation(); };
  storage_ = testing::Get(server::OpenSqliteStorage(":memory:", options));
  Start();
}

void FaultyServer::Start() {
  dead_ = false;
  core_ = testing::Get(server::ServerCore::Create(*storage_, plan_, queue_.now()));
  history_.Look(*storage_);
  wake_at_ = kNever;
  WakeTurn(Duration(0));
}

// What was on its way to it or waits in it is cut; whoever comes meanwhile is refused.
void FaultyServer::Die() {
  ++deaths_;
  ++life_;
  core_ = nullptr;
  turn_is_near_ = false;
  std::deque<Pending> cut = std::exchange(inbox_, {});
  for (auto& [id, pending] : std::exchange(held_, {})) cut.push_back(std::move(pending));
  for (Pending& pending : cut) pending.answer(kGone);
  queue_.Push(queue_.now() + milliseconds(rng_.UniformInteger(20'000)), Queue::kServer,
              [this] { Start(); });
}

Result<> FaultyServer::BeforeOperation() {
  if (dead_) return Error{ErrorCode::kIo, "the process is dead"};
  if (operations_left_ < 0 || operations_left_-- > 0) return Ok{};
  dead_ = fault_kills_;
  if (!dead_) ++failures_;
  return Error{ErrorCode::kIo, "the disk failed"};
}

void FaultyServer::Arm() {
  const double draw = rng_.UniformDouble();
  fault_kills_ = draw < faults_.dies;
  if (draw < faults_.dies + faults_.fails) {
    operations_left_ = static_cast<long>(rng_.UniformInteger(kOperationsOfBatch));
  }
}

bool FaultyServer::Disarm() {
  // A batch of fewer operations than were drawn dies at its end: all is stored, nobody hears it.
  if (operations_left_ >= 0 && fault_kills_) dead_ = true;
  operations_left_ = -1;
  if (!dead_) return true;
  dead_ = false;
  Die();
  return false;
}

void FaultyServer::Receive(const std::string& device, net::Request request, Answer answer) {
  if (core_ == nullptr) return answer(kGone);
  inbox_.push_back({device, std::move(request), std::move(answer), queue_.now()});
  WakeTurn(milliseconds(rng_.UniformInteger(20)));
}

void FaultyServer::WakeTurn(Duration delay) {
  if (std::exchange(turn_is_near_, true)) return;
  queue_.Push(queue_.now() + delay, Queue::kServer, [this, life = life_] {
    if (life == life_) Turn();
  });
}

void FaultyServer::Turn() {
  turn_is_near_ = false;
  std::deque<Pending> batch = std::exchange(inbox_, {});
  std::vector<server::ServerEvent> events;
  events.reserve(batch.size() + 1);
  bool uploads = false;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    uploads = uploads || IsUpload(batch[i].request);
    events.emplace_back(server::RequestArrived{i,
                                               {"spiffe://fl/fleet/" + batch[i].device, {}},
                                               batch[i].request,
                                               nullptr,
                                               !batch[i].last});
  }
  if (batch.empty()) events.emplace_back(server::TimerFired{});
  Arm();
  if (uploads && history_.accepted() >= die_after_) {
    die_after_ = SIZE_MAX;
    fault_kills_ = true;
    operations_left_ = static_cast<long>(rng_.UniformInteger(kOperationsOfBatch));
  }
  const server::ServerOutput output = core_->Handle(events, queue_.now());
  if (!Disarm()) {
    for (Pending& pending : batch) pending.answer(kGone);
    return;
  }
  history_.Look(*storage_);
  for (const server::ServerReply& reply : output.replies) {
    Pending& pending = batch[reply.id];
    if (reply.may_wait) {
      Hold(std::move(pending));
    } else {
      Reply(pending, reply.response);
    }
  }
  Take(output);
}

void FaultyServer::Reply(Pending& pending, net::Response response) {
  if (IsUpload(pending.request) && response.status == 200) {
    const std::uint64_t task = TaskOf(pending.request);
    if (pending.request.method == "HEAD") {
      history_.Committed(
          task, std::stoull(std::string(net::FindHeader(response.headers, "Upload-Offset"))));
    } else {
      const auto answer = testing::Get(wire::Decode<wire::UploadAnswer>(response.body));
      history_.Committed(task, answer.committed);
      if (answer.accepted) history_.Accepted(task, answer.round);
    }
  }
  pending.answer(std::move(response));
}

void FaultyServer::Hold(Pending pending) {
  const std::uint64_t id = ++holds_;
  const TimePoint over = std::max(queue_.now(), pending.since + kHold);
  held_.emplace(id, std::move(pending));
  queue_.Push(over, Queue::kServer, [this, id] {
    const auto found = held_.find(id);
    if (found == held_.end()) return;
    found->second.last = true;
    inbox_.push_back(std::move(found->second));
    held_.erase(found);
    WakeTurn(Duration(0));
  });
}

void FaultyServer::Take(const server::ServerOutput& output) {
  for (const server::ServerCommand& command : output.commands) {
    const auto* fold = std::get_if<server::StartFold>(&command);
    if (fold == nullptr) continue;
    queue_.Push(queue_.now() + milliseconds(rng_.UniformInteger(1000)), Queue::kServer,
                [this, life = life_, round = fold->round] {
                  if (life == life_) Fold(round);
                });
  }
  WakeHeld(output);
  if (output.wake_at == wake_at_ || output.wake_at == kNever) return;
  wake_at_ = std::max(output.wake_at, queue_.now());
  queue_.Push(wake_at_, Queue::kServer, [this, life = life_, at = wake_at_] {
    if (life != life_ || at != wake_at_) return;
    wake_at_ = kNever;
    WakeTurn(Duration(0));
  });
}

// As FederationStrand does.
void FaultyServer::WakeHeld(const server::ServerOutput& output) {
  for (auto held = held_.begin(); held != held_.end();) {
    if (!output.wakes_all && std::ranges::count(output.wakes, held->second.device) == 0) {
      ++held;
      continue;
    }
    inbox_.push_back(std::move(held->second));
    held = held_.erase(held);
  }
  if (!inbox_.empty()) WakeTurn(Duration(0));
}

void FaultyServer::Fold(std::uint64_t round) {
  Arm();
  auto result = std::make_shared<const Result<server::RoundResult>>(
      server::RunFold(*storage_, *plan_, round));
  const bool failed = !*result;
  server::ServerOutput output;
  if (!dead_) {
    output = core_->Handle(std::vector<server::ServerEvent>{server::FoldDone{round, result}},
                           queue_.now());
  }
  if (!Disarm()) return;
  history_.Look(*storage_);
  if (failed) output.wake_at = queue_.now() + kFoldPause;
  Take(output);
}

}  // namespace fl::fault
