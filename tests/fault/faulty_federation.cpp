#include "fl/tests/fault/faulty_federation.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "fl/client/train/training_job.h"
#include "fl/tests/support/result.h"

namespace fl::fault {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kAwayMsMax = 30'000;  // A device that died.
constexpr std::uint64_t kLateMsMax = 120'000;

std::size_t SizeOf(const net::Request& request) {
  return net::SerializeHead(request).size() + request.body.size();
}

std::size_t SizeOf(const Result<net::Response>& response) {
  return response ? net::SerializeHead(*response).size() + response->body.size() : 0;
}

}  // namespace

// The shell of one client core.
class FaultyFederation::Device {
 public:
  Device(std::size_t index, client::LocalData data, FaultyFederation& federation)
      : index_(static_cast<Queue::Actor>(index)),
        name_("device-" + std::to_string(1000 + index)),
        data_(std::move(data)),
        federation_(federation),
        rng_(federation.rng_.Child("device", index)) {
    Push(milliseconds(rng_.UniformInteger(2000)), [this] { Start(); });
  }

  bool finished() const { return finished_; }

 private:
  Queue& queue() { return federation_.queue_; }
  History& history() { return federation_.history_; }

  // Dropped when the device has died in between.
  void Push(Duration delay, std::function<void()> what) {
    queue().Push(queue().now() + delay, index_, [this, life = life_, act = std::move(what)] {
      if (life == life_) act();
    });
  }

  void Start() {
    client::ClientOptions options;
    options.name = name_;
    options.host = "localhost:8443";
    options.stop_when_done = true;
    options.chunk_bytes = federation_.setup_.chunk_bytes;
    client::DeviceState state;
    if (!saved_.empty()) state = testing::Get(client::DeviceState::Decode(saved_));
    core_ = std::make_unique<client::ClientCore>(
        testing::Get(client::ClientCore::Create(options, std::move(state), cache_)));
    Handle(client::Started{});
  }

  void Die() {
    ++life_;
    exchange_ = 0;
    told_ = 0;
    core_ = nullptr;
    Push(milliseconds(rng_.UniformInteger(kAwayMsMax)), [this] { Start(); });
  }

  void Handle(client::ClientEvent event) {
    for (client::ClientCommand& command : core_->OnEvent(std::move(event), queue().now())) {
      if (rng_.UniformDouble() < federation_.setup_.rates.device_dies) return Die();
      std::visit([this](auto& what) { Do(what); }, command);
    }
  }

  void Do(const client::SaveState&) {
    saved_ = core_->state().Encode();
    if (core_->state().staged) history().Staged(*core_->state().staged);
  }
  void Do(client::SendRequest& command) {
    const std::uint64_t id = ++exchanges_;
    exchange_ = id;
    NotePiece(command.request);
    federation_.Send(name_, command.request,
                     [this, id, life = life_](const Result<net::Response>& response) {
                       if (life == life_ && id == exchange_) Hear(response);
                     });
    Push(command.timeout, [this, id] {
      if (id == exchange_) Hear(Error{ErrorCode::kTimeout, "no answer in time"});
    });
  }
  void Do(client::StartTraining& command) {
    history().Trained(command.job.task.id);
    static const std::atomic<bool> stop = false;
    auto result = client::RunTraining(command.job, data_, stop);
    Push(milliseconds(100 + rng_.UniformInteger(3000)),
         [this, result = std::move(result)] { Handle(client::TrainingDone{result}); });
  }
  void Do(const client::StartDeployment&) { FAIL("no task to deploy was expected"); }
  void Do(const client::InstallModel&) { FAIL("no task to deploy was expected"); }
  void Do(const client::WaitUntil& command) {
    Push(std::max(command.time - queue().now(), Duration(1)),
         [this] { Handle(client::TimerFired{}); });
  }
  void Do(const client::WriteLog&) {}
  void Do(const client::RecordActivity&) {}
  void Do(const client::Finished& command) {
    INFO(name_);
    testing::Get(command.outcome);
    finished_ = true;
  }

  void Hear(const Result<net::Response>& response) {
    exchange_ = 0;
    if (response && response->status == 200) {
      const auto offset = net::FindHeader(response->headers, "Upload-Offset");
      if (!offset.empty()) told_ = std::stoull(std::string(offset));
      if (piece_is_out_) {
        const auto answer = wire::Decode<wire::UploadAnswer>(response->body);
        if (answer) told_ = answer->committed;
      }
    }
    Handle(client::ReplyArrived{response});
  }

  // `told_` is what the device knows to be committed of the update that it sends.
  void NotePiece(const net::Request& request) {
    piece_is_out_ = request.target.starts_with("/v1/updates/") && request.method != "HEAD";
    if (request.target == "/v1/check-in") told_ = 0;
    if (request.method != "PATCH") return;
    const std::string_view offset = net::FindHeader(request.headers, "Upload-Offset");
    history().Sent(core_->state().staged->task, std::stoull(std::string(offset)), told_);
    federation_.piece_bytes_ += request.body.size();
  }

  Queue::Actor index_;
  std::string name_;
  client::LocalData data_;
  FaultyFederation& federation_;
  RngStream rng_;
  client::MemoryContentCache cache_;
  std::unique_ptr<client::ClientCore> core_;
  Bytes saved_;
  std::uint64_t life_ = 0;
  std::uint64_t exchange_ = 0;  // The one that it waits for; 0: none.
  std::uint64_t exchanges_ = 0;
  std::uint64_t told_ = 0;
  bool piece_is_out_ = false;
  bool finished_ = false;
};

FaultyFederation::FaultyFederation(Setup setup, const std::vector<client::LocalData>& data)
    : setup_(std::move(setup)), rng_(setup_.seed), history_(*setup_.plan) {
  server_ = std::make_unique<FaultyServer>(setup_.plan, setup_.rates.server, rng_.Child("server"),
                                           queue_, history_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    devices_.push_back(std::make_unique<Device>(i, data[i], *this));
  }
}

FaultyFederation::~FaultyFederation() = default;

bool FaultyFederation::Run(std::size_t events_max) {
  const auto finished = [](const auto& device) { return device->finished(); };
  for (std::size_t i = 0; i < events_max && !queue_.empty(); ++i) {
    queue_.Pop()();
    if (!std::ranges::all_of(devices_, finished)) continue;
    history_.Finish(server_->storage());
    return true;
  }
  return false;
}

Duration FaultyFederation::Delay() {
  const std::uint64_t longest = rng_.UniformDouble() < setup_.rates.late ? kLateMsMax : 50;
  return milliseconds(1 + rng_.UniformInteger(longest));
}

void FaultyFederation::Send(const std::string& device, const net::Request& request,
                            const FaultyServer::Answer& answer) {
  ++requests_;
  if (rng_.UniformDouble() < setup_.rates.lost) return;
  if (rng_.UniformDouble() < setup_.rates.cut) {
    // At a byte of the request, which then reaches nobody, or of the answer.
    constexpr std::size_t kAnswerBytes = 200;
    const bool arrives = rng_.UniformInteger(SizeOf(request) + kAnswerBytes) >= SizeOf(request);
    queue_.Push(queue_.now() + Delay(), Queue::kServer, [this, device, request, answer, arrives] {
      const Error cut{ErrorCode::kUnavailable, "the connection was cut"};
      const auto hangs_up = [answer, cut](const Result<net::Response>&) { answer(cut); };
      if (!arrives) return answer(cut);
      server_->Receive(device, request, hangs_up);
    });
    return;
  }
  const int copies = rng_.UniformDouble() < setup_.rates.twice ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    queue_.Push(queue_.now() + Delay(), Queue::kServer, [this, device, request, answer] {
      server_->Receive(device, request, [this, answer](const Result<net::Response>& response) {
        SendBack(answer, response);
      });
    });
  }
}

void FaultyFederation::SendBack(const FaultyServer::Answer& answer,
                                const Result<net::Response>& response) {
  if (rng_.UniformDouble() < setup_.rates.lost) return;
  const bool cut = rng_.UniformDouble() < setup_.rates.cut && SizeOf(response) > 0;
  const int copies = rng_.UniformDouble() < setup_.rates.twice ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    queue_.Push(queue_.now() + Delay(), Queue::kServer, [answer, response, cut] {
      if (cut) return answer(Error{ErrorCode::kUnavailable, "the answer was cut"});
      answer(response);
    });
  }
}

}  // namespace fl::fault
