#include "fl/server/http/server_shell.h"

#include <chrono>
#include <utility>

namespace fl::server {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr int kTicksBetweenPolls = 20;

net::Response NoFederation(const net::Peer& peer) {
  const Error error{ErrorCode::kNotFound,
                    "expected the name of a federation, or the task or blob of one, that this "
                    "server has"};
  return peer.role == net::Role::kAdmin ? AdminRefusalResponse(error) : RefusalResponse(error);
}

}  // namespace

ServerShell::ServerShell(Storage& storage, std::size_t threads, const Logger& logger,
                         const ClientLimits& limits)
    : storage_(storage),
      logger_(logger),
      gate_(limits),
      pool_(std::make_unique<ThreadPool>(threads)) {}

Result<std::unique_ptr<ServerShell>> ServerShell::Create(Storage& storage,
                                                         std::vector<ServedFederation> federations,
                                                         std::size_t threads, const Logger& logger,
                                                         const OffencePolicy& offences,
                                                         const ClientLimits& limits) {
  std::unique_ptr<ServerShell> shell(new ServerShell(storage, threads, logger, limits));
  for (ServedFederation& served : federations) {
    ServerOptions options;
    options.evaluates = static_cast<bool>(served.measure);
    options.offences = offences;
    FL_TRY(auto core, ServerCore::Create(storage, served.plan, SystemClock().Now(), options));
    const FederationStrand::Shared shared{*shell->pool_, shell->digests_, shell->gate_};
    shell->strands_.push_back(std::make_unique<FederationStrand>(
        std::move(core), storage, shared, std::move(served.measure), logger));
    storage.Watch(served.plan->name(), [flag = &shell->changed_elsewhere_] { *flag = true; });
  }
  shell->clock_thread_ = std::thread([raw = shell.get()] { raw->KeepTime(); });
  return shell;
}

ServerShell::~ServerShell() {
  Stop();
  if (clock_thread_.joinable()) clock_thread_.join();
  for (const auto& strand : strands_) storage_.Watch(strand->plan().name(), nullptr);
  pool_.reset();
}

void ServerShell::Stop() {
  if (stopping_.exchange(true)) return;
  for (const auto& strand : strands_) strand->Stop();
}

bool ServerShell::done() const {
  for (const auto& strand : strands_) {
    if (!strand->done()) return false;
  }
  return true;
}

Result<> ServerShell::ConfirmStorage(Duration patience) {
  for (const auto& strand : strands_) {
    if (stopping_) return Error{ErrorCode::kUnavailable, "the server is stopping"};
    FL_TRY_OK(strand->ConfirmStorage(patience));
  }
  return Ok{};
}

void ServerShell::OnRequest(net::Peer peer, net::Request request,
                            std::unique_ptr<net::Responder> responder) {
  if (stopping_) return;
  if (auto refusal = gate_.Take(peer, request, clock_.Now())) {
    return PutOffWith(*std::move(refusal), PutOffReason::kRate, peer, *responder);
  }
  if (auto refusal = PutOff(peer, request, waiting())) {
    return PutOffWith(*std::move(refusal), PutOffReason::kBehind, peer, *responder);
  }
  ++routing_;
  // std::function wants copyable captures.
  auto shared_peer = std::make_shared<net::Peer>(std::move(peer));
  auto shared_request = std::make_shared<net::Request>(std::move(request));
  auto shared_responder = std::make_shared<std::unique_ptr<net::Responder>>(std::move(responder));
  pool_->Post([this, shared_peer, shared_request, shared_responder] {
    Route(std::move(*shared_peer), std::move(*shared_request), std::move(*shared_responder));
    --routing_;
  });
}

Duration ServerShell::PauseOf(const net::Peer& peer) {
  return gate_.PauseOf(peer, clock_.Now());
}

// The gate hears of it first: the client may ask again as soon as it is answered.
void ServerShell::PutOffWith(net::Response refusal, PutOffReason why, const net::Peer& peer,
                             net::Responder& responder) {
  gate_.NoteAnswer(peer, refusal, why, clock_.Now());
  responder.Send(std::move(refusal));
}

std::size_t ServerShell::waiting() const {
  std::size_t waiting = routing_;
  for (const auto& strand : strands_) waiting += strand->waiting();
  return waiting;
}

// What the core would refuse in any case goes to the first strand, so that it is counted there.
void ServerShell::Route(net::Peer peer, net::Request request,
                        std::unique_ptr<net::Responder> responder) {
  const Result<DecodedRequest> decoded = DecodeRequest(peer, request);
  if (!decoded) {
    strands_.front()->metrics().CountRequest(decoded);
    strands_.front()->Post(std::move(peer), std::move(request), nullptr, std::move(responder));
    return;
  }
  if (auto refusal = uploads_.Take(ClientName(peer), *decoded, clock_.Now())) {
    return PutOffWith(*std::move(refusal), PutOffReason::kUploads, peer, *responder);
  }
  FederationStrand* strand = StrandOf(*decoded);
  if (strand == nullptr) {
    responder->Send(NoFederation(peer));
    return;
  }
  strand->metrics().CountRequest(decoded);
  const auto start = TimeHistogram::Clock::now();
  auto checked =
      CheckRequest(storage_, strand->plan(), {peer, request, *decoded}, clock_.Now(), &digests_);
  if (checked != nullptr) strand->metrics().step(TimedStep::kCheck).AddSince(start);
  strand->Post(std::move(peer), std::move(request), std::move(checked), std::move(responder));
}

FederationStrand* ServerShell::StrandOf(const DecodedRequest& request) {
  if (strands_.size() == 1) return strands_.front().get();
  if (const auto* check_in = std::get_if<CheckIn>(&request)) {
    return Named(check_in->message.federation);
  }
  if (const auto* page = std::get_if<AdminRead>(&request)) return Named(page->federation);
  if (const auto* order = std::get_if<AdminOrder>(&request)) return Named(order->federation);
  if (const auto* allow = std::get_if<AllowClient>(&request)) return Named(allow->federation);
  const auto transaction =
      storage_.Begin(strands_.front()->plan().name(), TransactionMode::kOptimistic);
  if (!transaction) return nullptr;
  if (const auto task = TaskOf(request)) {
    const auto row = (*transaction)->FindTask(task->value);
    return row && *row ? Named((*row)->federation) : nullptr;
  }
  const auto owner = (*transaction)->FederationOfBlob(std::get<ReadBlob>(request).digest);
  return owner && *owner ? Named(**owner) : nullptr;
}

FederationStrand* ServerShell::Named(const std::string& name) const {
  for (const auto& strand : strands_) {
    if (strand->plan().name() == name) return strand.get();
  }
  return nullptr;
}

void ServerShell::KeepTime() {
  SystemClock clock;
  for (int tick = 0; !stopping_; ++tick) {
    std::this_thread::sleep_for(kTick);
    bool changed = false;
    if (tick % kTicksBetweenPolls == 0) {
      // Our own commits are seen here too; asking a held check-in again once a second is cheap.
      const Result<> polled = storage_.PollChanges();
      if (!polled) logger_.Warning({}, "storage: " + polled.error().message);
      changed = changed_elsewhere_.exchange(false);
    }
    for (const auto& strand : strands_) strand->Tick(clock.Now(), changed);
  }
}

}  // namespace fl::server
