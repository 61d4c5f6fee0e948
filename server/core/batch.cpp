#include "fl/server/core/batch.h"

#include <algorithm>
#include <utility>

#include "fl/common/base/error_detail.h"
#include "fl/server/core/admin.h"
#include "fl/server/core/round_policy.h"

namespace fl::server {

Result<ServerOutput> Batch::Run(std::span<const ServerEvent> events) {
  FL_TRY_OK(Load());
  std::vector<Arrival> arrivals;
  for (const ServerEvent& event : events) FL_TRY_OK(Take(event, arrivals));
  FL_TRY_OK(Advance());
  // Check-ins are answered last, so that they get the tasks of a round that this batch has opened.
  for (Arrival& arrival : arrivals) {
    if (!arrival.answer) FL_TRY_OK(AnswerLate(arrival));
  }
  FL_TRY_OK(Advance());
  FL_TRY_OK(CountTraffic(arrivals));
  FL_TRY_OK(Save());
  ServerOutput output;
  for (Arrival& arrival : arrivals) {
    output.replies.push_back(
        {arrival.event->id, *std::move(arrival.answer), arrival.may_wait, arrival.stored_piece_of});
  }
  FL_TRY_OK(ListCommands(output));
  output.wake_at = WakeAt();
  output.wakes_all = wakes_all_;
  output.wakes = std::move(wakes_);
  account_.standing = {federation_.state,           federation_.version,
                       federation_.clients,         federation_.round,
                       round_ ? round_->cohort : 0, round_ ? round_->accepted : 0};
  output.account = std::move(account_);
  return output;
}

Result<> Batch::Load() {
  FL_TRY(auto federation, transaction_.FindFederation(plan_.name()));
  if (!federation) {
    return Error{ErrorCode::kInternal, plan_.name() + ": the storage has lost the federation"};
  }
  federation_ = *std::move(federation);
  if (federation_.round > 0) {
    FL_TRY(round_, transaction_.FindRound(plan_.name(), federation_.round));
  }
  if (round_) noted_round_.emplace(round_->number, round_->state);
  noted_state_ = federation_.state;
  return Ok{};
}

void Batch::NoteProgress() {
  if (round_ && noted_round_ != std::pair(round_->number, round_->state)) {
    noted_round_.emplace(round_->number, round_->state);
    account_.rounds.push_back(*round_);
  }
  if (std::exchange(noted_state_, federation_.state) != federation_.state) {
    account_.states.push_back(federation_.state);
  }
}

Result<> Batch::Save() {
  if (round_) FL_TRY_OK(transaction_.Put(*round_));
  if (std::exchange(tally_changed_, false)) {
    FL_TRY_OK(transaction_.PutTensor(plan_.name(), CalibrationTally::kTensor, tally_->Encode()));
  }
  return transaction_.Put(federation_);
}

Result<> Batch::Take(const ServerEvent& event, std::vector<Arrival>& arrivals) {
  if (const auto* arrived = std::get_if<RequestArrived>(&event)) {
    arrivals.push_back(
        {arrived, DecodeRequest(arrived->peer, arrived->request), std::nullopt, false, {}});
    return TakeRequest(arrivals.back());
  }
  if (const auto* done = std::get_if<FoldDone>(&event)) return TakeFold(*done);
  if (const auto* evaluated = std::get_if<Evaluated>(&event)) return TakeEvaluation(*evaluated);
  return Ok{};
}

// What changes the round is taken at once; what only asks for its state is answered after the round
// has moved on.
Result<> Batch::TakeRequest(Arrival& arrival) {
  client_.clear();
  if (arrival.event->peer.role == net::Role::kClient) {
    FL_TRY(arrival.answer, HoldOff(ClientName(arrival.event->peer)));
    if (arrival.answer) return Ok{};
  }
  if (!arrival.request) {
    if (arrival.event->peer.role == net::Role::kAdmin) {
      arrival.answer = RefusalOfAdmin(arrival.event->request, arrival.request.error());
      return Ok{};
    }
    FL_TRY(arrival.answer, Refuse(arrival.request.error(), federation_.round));
    return Ok{};
  }
  const DecodedRequest& request = *arrival.request;
  const std::string client = ClientName(arrival.event->peer);
  if (const auto* order = std::get_if<AdminOrder>(&request)) {
    FL_TRY(arrival.answer, ObeyOrder(*order));
  } else if (const auto* allow = std::get_if<AllowClient>(&request)) {
    FL_TRY(arrival.answer, Allow(*allow));
  } else if (TaskOf(request)) {
    FL_TRY_OK(TouchClient(*arrival.event, false));
    FL_TRY(arrival.answer, AnswerUpload(*arrival.event, request));
    arrival.stored_piece_of = std::exchange(stored_piece_of_, std::nullopt);
  } else if (const auto* check_in = std::get_if<CheckIn>(&request)) {
    std::optional<Error> refused = CheckCapabilities(check_in->message);
    if (!refused) {
      FL_TRY_OK(TouchClient(*arrival.event, true));
      if (check_in->message.phase) {
        FL_TRY(refused, TakePhaseMessage(client, *check_in->message.phase));
      }
    }
    if (refused) {
      FL_TRY(arrival.answer, Refuse(*refused, federation_.round));
    }
  }
  return Ok{};
}

Result<> Batch::AnswerLate(Arrival& arrival) {
  const DecodedRequest& request = *arrival.request;
  if (const auto* check_in = std::get_if<CheckIn>(&request)) {
    return AnswerCheckIn(*check_in, arrival);
  }
  if (const auto* blob = std::get_if<ReadBlob>(&request)) {
    client_.clear();  // Nothing that is refused here is a fault of the client's.
    FL_TRY(arrival.answer, AnswerBlob(*blob));
    return Ok{};
  }
  // The pages read rows, so these must be as they will be stored.
  FL_TRY_OK(Save());
  FL_TRY(arrival.answer, AnswerAdminRead(transaction_, plan_, std::get<AdminRead>(request), view_));
  return Ok{};
}

// A held check-in counts when it is answered for good.
Result<> Batch::CountTraffic(const std::vector<Arrival>& arrivals) {
  Traffic traffic;
  for (const Arrival& arrival : arrivals) {
    if (arrival.may_wait || arrival.event->peer.role == net::Role::kAdmin) continue;
    const net::Request& request = arrival.event->request;
    const net::Response& response = *arrival.answer;
    traffic.bytes_up += net::SerializeHead(request).size() + request.body.size();
    traffic.body_bytes_up += request.body.size();
    traffic.bytes_down += net::SerializeHead(response).size() + response.body.size();
    traffic.body_bytes_down += response.body.size();
    ++traffic.requests;
  }
  account_.traffic = traffic;
  if (traffic.requests == 0) return Ok{};
  return transaction_.AddTraffic(plan_.name(), federation_.round, traffic);
}

Result<net::Response> Batch::Refuse(const Error& error, std::uint64_t round, bool near_work) {
  FL_TRY_OK(NoteRefusal(error, round));
  ++account_.refused[error.code];
  if (!near_work) return RefusalResponse(error);
  const Pace pace = PaceOf(plan_.plan().rounds, error.message, true);
  return RefusalResponse(error, pace.again_min_ms, pace.again_max_ms);
}

Result<> Batch::TakeEvaluation(const Evaluated& evaluated) {
  FL_TRY(auto model, transaction_.FindModel(plan_.name(), evaluated.version));
  if (!model) return Ok{};
  model->loss = evaluated.loss;
  model->accuracy = evaluated.accuracy;
  model->loss_published = evaluated.loss_published.value_or(evaluated.loss);
  model->accuracy_published = evaluated.accuracy_published.value_or(evaluated.accuracy);
  return transaction_.Put(*model);
}

Result<net::Response> Batch::AnswerBlob(const ReadBlob& request) {
  FL_TRY(auto bytes, transaction_.ReadBlob(request.digest));
  if (!bytes) {
    return Refuse(
        {ErrorCode::kNotFound, "blob " + request.digest.ToHex() + ": not, or no more, here"},
        federation_.round);
  }
  if (!request.range) return net::Response{200, {}, *std::move(bytes)};
  const std::uint64_t size = bytes->size();
  const std::uint64_t first = request.range->first;
  if (first >= size) {
    return Refuse({ErrorCode::kMalformed,
                   "Range: expected a first byte below " + std::to_string(size) + ", found " +
                       std::to_string(first),
                   ErrorDetail::kRangeSyntax},
                  federation_.round);
  }
  const std::uint64_t last = std::min(request.range->last.value_or(size - 1), size - 1);
  const ByteSpan part = ByteSpan(*bytes).subspan(first, last - first + 1);
  net::Response response{206, {}, Bytes(part.begin(), part.end())};
  response.headers = {{"Content-Range", "bytes " + std::to_string(first) + "-" +
                                            std::to_string(last) + "/" + std::to_string(size)}};
  return response;
}

Result<net::Response> Batch::ObeyOrder(const AdminOrder& order) {
  if (!order.federation.empty() && order.federation != plan_.name()) {
    return AdminRefusalResponse(
        {ErrorCode::kNotFound, "no federation is called " + order.federation});
  }
  const bool over = federation_.state != FederationState::kRunning &&
                    federation_.state != FederationState::kPaused;
  if (over && !(order.action == AdminAction::kStop)) {
    return AdminRefusalResponse(
        {ErrorCode::kWrongState, plan_.name() + ": expected a federation with rounds to come"});
  }
  switch (order.action) {
    case AdminAction::kStart:
      federation_.state = FederationState::kRunning;
      FL_TRY_OK(Note("started by an admin"));
      break;
    case AdminAction::kPause:
      federation_.state = FederationState::kPaused;
      FL_TRY_OK(Note("paused by an admin"));
      break;
    case AdminAction::kStop:
      if (round_is_open()) FL_TRY_OK(Abandon("stopped by an admin"));
      federation_.state = FederationState::kStopped;
      FL_TRY_OK(Note("stopped by an admin"));
      break;
  }
  wakes_all_ = true;
  FL_TRY_OK(Save());
  return RenderAdminPage(transaction_, plan_, AdminPage::kStatus, view_);
}

Result<> Batch::Note(std::string text) {
  return transaction_.Add(EventRow{plan_.name(), now_, federation_.round, std::move(text)});
}

}  // namespace fl::server
