#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fl/server/core/admin.h"
#include "fl/server/core/calibration.h"
#include "fl/server/core/server_core.h"
#include "fl/server/journal/journal.h"

namespace fl::server {

// The work of ServerCore::Handle on one batch, inside one transaction. Every Result of a member
// carries the storage's errors alone: what a client did wrong becomes a response. Thread safety:
// one thread; used once.
class Batch {
 public:
  Batch(Transaction& transaction, const FederationPlan& plan, const ServerOptions& options,
        AdminView view)
      : transaction_(transaction),
        journal_(transaction),
        plan_(plan),
        options_(options),
        view_(std::move(view)),
        now_(view_.now) {}

  // Reads the rows, takes the events in their order, moves the round on, answers. The caller
  // commits.
  Result<ServerOutput> Run(std::span<const ServerEvent> events);

 private:
  struct Arrival {
    const RequestArrived* event = nullptr;
    Result<DecodedRequest> request;
    std::optional<net::Response> answer;
    bool may_wait = false;
    std::optional<std::uint64_t> stored_piece_of;
  };

  // batch.cpp: events in, rows and answers out.
  Result<> Load();
  Result<> Take(const ServerEvent& event, std::vector<Arrival>& arrivals);
  Result<> TakeRequest(Arrival& arrival);
  Result<> AnswerLate(Arrival& arrival);
  Result<> CountTraffic(const std::vector<Arrival>& arrivals);
  Result<> Save();
  Result<net::Response> Refuse(const Error& error, std::uint64_t round, bool near_work = false);
  Result<> TakeEvaluation(const Evaluated& evaluated);
  Result<net::Response> AnswerBlob(const ReadBlob& request);
  Result<net::Response> ObeyOrder(const AdminOrder& order);
  Result<> Note(std::string text);
  void NoteProgress();

  // batch_offences.cpp: clients that are refused again and again.
  Result<std::optional<net::Response>> HoldOff(const std::string& client);
  Result<> NoteRefusal(const Error& error, std::uint64_t round);
  Result<> Forgive();
  Result<net::Response> Allow(const AllowClient& order);

  // batch_round.cpp: the round's states.
  Result<> Advance();
  Result<bool> AdvanceRound();
  Result<bool> OpenRound();
  Result<std::vector<std::string>> PresentClients();
  Result<bool> Select();
  Result<bool> AdvancePhase();
  Result<bool> CloseOrWait();
  Result<> Abandon(const std::string& why);
  Result<> TakeFold(const FoldDone& done);
  Result<> StoreModel(const RoundResult& result);
  Result<> AskEvaluators();
  Result<> DropOldBlobs();
  Result<> DropOldChanges(std::uint64_t oldest);
  Result<bool> AdvanceDeployment();
  bool round_is_open() const;
  bool is_collecting() const;
  bool is_last_phase() const;
  bool work_is_near() const;
  Result<> ListCommands(ServerOutput& output);
  TimePoint WakeAt() const;

  // batch_calibration.cpp: the ranges that devices find together.
  Result<> LoadTally();
  Result<> BeginCalibration();
  Result<bool> AdvanceCalibration();
  Result<> OfferCalibrateTask(const wire::CheckInRequest& request, const std::string& client,
                              wire::CheckInAnswer& answer);
  Result<std::optional<Digest>> FindRanges(std::uint64_t version);
  Result<std::optional<Error>> CheckRoom(const TaskRow& task, const CheckedUpdate& update);
  Result<> TakeCalibration(const TaskRow& task);

  // batch_check_in.cpp: steps 1 and 2.
  Result<> TouchClient(const RequestArrived& event, bool create);
  Result<std::optional<Error>> TakePhaseMessage(const std::string& client,
                                                const wire::PhaseMessage& message);
  std::optional<Error> CheckCapabilities(const wire::CheckInRequest& request) const;
  Result<> AnswerCheckIn(const CheckIn& request, Arrival& arrival);
  Result<> OfferTrainTask(const wire::CheckInRequest& request, const std::string& client,
                          wire::CheckInAnswer& answer);
  Result<> OfferEvaluateTask(const wire::CheckInRequest& request, const std::string& client,
                             wire::CheckInAnswer& answer);
  Result<> OfferDeployTask(const wire::CheckInRequest& request, const std::string& client,
                           wire::CheckInAnswer& answer);
  Result<wire::Task> BuildTask(const TaskRow& row, const wire::CheckInRequest& request);
  Result<wire::ModelSource> SourceOf(std::uint64_t version, Edition edition,
                                     std::optional<std::uint64_t> version_held);
  Result<std::optional<ChangeRow>> MakeReleasedChange(const ModelRow& model, std::uint64_t from);
  Result<std::optional<ChangeRow>> ChangeTo(const ModelRow& model, Edition edition,
                                            std::uint64_t from);

  // batch_upload.cpp: steps 7 and 8.
  Result<net::Response> AnswerUpload(const RequestArrived& event, const DecodedRequest& request);
  Result<net::Response> Whole(TaskRow& task, const RequestArrived& event);
  Result<net::Response> Reserve(TaskRow& task, const UploadReserve& request);
  Result<net::Response> Chunk(TaskRow& task, const UploadChunk& request, ByteSpan bytes);
  Result<net::Response> Offset(const TaskRow& task);
  Result<net::Response> CommitUpload(TaskRow& task, const UploadCommit& request,
                                     const RequestArrived& event);
  Result<net::Response> Accept(TaskRow& task, const CheckedUpdate& update);
  Result<> TakeClientEvaluation(const TaskRow& task, const Metrics& metrics);
  Result<Result<CheckedUpdate>> Check(const TaskRow& task, const RequestArrived& event,
                                      ByteSpan update, const std::optional<Digest>& reserved);
  std::optional<Error> Closed(const TaskRow& task, const std::optional<RoundRow>& own_round) const;
  Result<std::optional<Error>> ClosedFor(const TaskRow& task);

  Transaction& transaction_;
  Journal journal_;
  const FederationPlan& plan_;
  const ServerOptions& options_;
  AdminView view_;
  TimePoint now_;

  FederationRow federation_;
  std::string client_;                     // Whose request is being taken; empty for an admin's.
  std::optional<OffenderRow> offender_;    // Its row.
  std::optional<RoundRow> round_;          // The newest.
  std::optional<CalibrationTally> tally_;  // Once it was needed.
  bool tally_changed_ = false;
  bool wakes_all_ = false;
  std::vector<std::string> wakes_;
  std::optional<std::uint64_t> stored_piece_of_;  // ServerReply's, of the request being taken.
  BatchAccount account_;
  // What NoteProgress has noted last: what Load found, at first.
  std::optional<std::pair<std::uint64_t, RoundState>> noted_round_;
  FederationState noted_state_ = FederationState::kRunning;
};

}  // namespace fl::server
