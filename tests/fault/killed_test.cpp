// A server and two devices in one process that dies by SIGKILL at each operation of one round: each
// statement and commit of the server's database, before and after it, each write and flush of a
// body beside it, each system call on the devices' files, and each command of a device's core. What
// comes after it starts from what lies on the disk.

#include <atomic>
#include <map>
#include <optional>

#include <doctest/doctest.h>
#include <sys/mman.h>

#include "fl/client/core/client_core.h"
#include "fl/client/state/device_folder.h"
#include "fl/client/state/file_content_cache.h"
#include "fl/client/train/training_job.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/tests/fault/small_fleet.h"
#include "fl/tests/support/dying_calls.h"
#include "fl/tests/support/sanitized.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::fault {
namespace {

using fl::testing::Get;
using fl::testing::TemporaryFolder;
namespace fs = std::filesystem;

constexpr std::size_t kDevices = 2;
constexpr std::size_t kPieceBytes = 64;

enum class State : int {
  kStarting,
  kSelecting,   // The server: answers check-ins of a round that has no cohort yet,
  kCollecting,  // or of one that has,
  kMidChunk,    // takes a piece,
  kCommitting,  // makes the pieces one accepted update,
  kFolding,
  kPublishing,
  kIdle,      // A device: between its tasks,
  kTraining,  // until the update is on its disk,
  kStaged,    // until the first byte leaves,
  kUploading,
  kAcknowledged,  // until that is on its disk.
  kCount,
};

// What outlives the process that wrote it.
struct Shared {
  std::atomic<State> state;
  std::atomic<int> trained[kDevices];  // Since the folder was made.
  std::atomic<bool> staged[kDevices];
  std::atomic<bool> trained_again;
};

class Mapped {
 public:
  Mapped() : memory_(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, kFlags, -1, 0)) {
    REQUIRE(memory_ != MAP_FAILED);
    shared_ = new (memory_) Shared{};
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() { ::munmap(memory_, sizeof(Shared)); }
  Shared& operator*() const { return *shared_; }
  Shared* operator->() const { return shared_; }

 private:
  static constexpr int kFlags = MAP_SHARED | MAP_ANONYMOUS;
  void* memory_;
  Shared* shared_;
};

// The server: a core over a database in a file.
class Server {
 public:
  Server(const std::shared_ptr<const server::FederationPlan>& plan, const fs::path& folder,
         Shared& shared)
      : plan_(plan), shared_(shared) {
    server::SqliteOptions options;
    options.body_file_bytes_min = 1;
    options.before_operation = []() -> Result<> {
      fl::testing::PassMoment();
      return Ok{};
    };
    storage_ = Get(server::OpenSqliteStorage((folder / "state.db").string(), options));
    core_ = Get(server::ServerCore::Create(*storage_, plan_, TimePoint()));
  }

  net::Response Handle(const std::string& device, const net::Request& request, TimePoint now) {
    const State before = shared_.state;
    shared_.state = StateFor(request);
    const auto output = core_->Handle(
        std::vector<server::ServerEvent>{server::RequestArrived{
            0, {"spiffe://fl/fleet/" + device, net::Role::kClient}, request, nullptr, false}},
        now);
    for (const server::ServerCommand& command : output.commands) Fold(command, now);
    has_cohort_ = has_cohort_ || !output.wakes.empty();
    shared_.state = before;
    return output.replies.front().response;
  }

  // A round that was folding when the process died is folded by its successor.
  void Wake() {
    shared_.state = State::kFolding;
    const auto output =
        core_->Handle(std::vector<server::ServerEvent>{server::TimerFired{}}, TimePoint());
    for (const server::ServerCommand& command : output.commands) Fold(command, TimePoint());
  }

 private:
  State StateFor(const net::Request& request) const {
    if (request.method == "PATCH") return State::kMidChunk;
    if (request.target.ends_with("/commit")) return State::kCommitting;
    return has_cohort_ ? State::kCollecting : State::kSelecting;
  }

  void Fold(const server::ServerCommand& command, TimePoint now) {
    const std::uint64_t round = std::get<server::StartFold>(command).round;
    shared_.state = State::kFolding;
    auto result = std::make_shared<const Result<server::RoundResult>>(
        server::RunFold(*storage_, *plan_, round));
    shared_.state = State::kPublishing;
    core_->Handle(std::vector<server::ServerEvent>{server::FoldDone{round, result}}, now);
  }

  std::shared_ptr<const server::FederationPlan> plan_;
  Shared& shared_;
  std::unique_ptr<server::Storage> storage_;
  std::unique_ptr<server::ServerCore> core_;
  bool has_cohort_ = false;
};

// A device: a core over a folder.
class Device {
 public:
  Device(std::size_t index, const server::FederationPlan& plan, const fs::path& folder,
         Server& server, Shared& shared)
      : index_(index),
        name_("device-" + std::to_string(1000 + index)),
        data_(SmallShares(plan, index + 1).back()),
        folder_(Get(client::DeviceFolder::Open(folder / name_))),
        cache_(folder / name_ / "cache"),
        server_(server),
        shared_(shared) {
    client::ClientOptions options;
    options.name = name_;
    options.stop_when_done = true;
    options.chunk_bytes = kPieceBytes;
    core_ = std::make_unique<client::ClientCore>(
        Get(client::ClientCore::Create(options, folder_.TakeState(), cache_)));
    next_ = client::Started{};
    state_ = core_->state().staged ? State::kStaged : State::kIdle;
  }

  bool finished() const { return !next_; }

  // Until it waits or is finished.
  void Run() {
    bool waits = false;
    while (next_ && !waits) {
      for (auto& command : core_->OnEvent(*std::exchange(next_, std::nullopt), now_)) {
        if (std::holds_alternative<client::StartTraining>(command)) state_ = State::kTraining;
        shared_.state = state_;
        fl::testing::PassMoment();
        waits = std::holds_alternative<client::WaitUntil>(command);
        std::visit([this](auto& what) { Do(what); }, command);
      }
    }
  }

 private:
  void Do(const client::SaveState&) {
    Get(folder_.Save(core_->state()));
    if (core_->state().staged) {
      shared_.staged[index_] = true;
      state_ = State::kStaged;
    } else if (state_ == State::kAcknowledged) {
      state_ = State::kIdle;
    }
  }
  void Do(const client::SendRequest& command) {
    const bool upload = command.request.target.starts_with("/v1/updates/");
    if (upload) state_ = State::kUploading;
    shared_.state = state_;
    net::Response response = server_.Handle(name_, command.request, now_);
    if (command.request.target.ends_with("/commit") && response.status == 200) {
      state_ = State::kAcknowledged;
    }
    shared_.state = state_;
    fl::testing::PassMoment();
    next_ = client::ReplyArrived{std::move(response)};
  }
  void Do(const client::StartTraining& command) {
    static const std::atomic<bool> stop = false;
    if (shared_.staged[index_]) shared_.trained_again = true;
    ++shared_.trained[index_];
    auto result = client::RunTraining(command.job, data_, stop);
    fl::testing::PassMoment();
    next_ = client::TrainingDone{std::move(result)};
  }
  void Do(const client::WaitUntil& command) {
    now_ = command.time;
    next_ = client::TimerFired{};
  }
  void Do(const client::RecordActivity& command) { Get(folder_.AppendActivity(command.what)); }
  void Do(const client::Finished& command) { Get(command.outcome); }
  void Do(const client::WriteLog&) {}
  void Do(const client::StartDeployment&) { FAIL("no task to deploy was expected"); }
  void Do(const client::InstallModel&) { FAIL("no task to deploy was expected"); }

  std::size_t index_;
  std::string name_;
  client::LocalData data_;
  client::DeviceFolder folder_;
  client::FileContentCache cache_;
  Server& server_;
  Shared& shared_;
  std::unique_ptr<client::ClientCore> core_;
  std::optional<client::ClientEvent> next_;
  TimePoint now_{};
  State state_ = State::kIdle;
};

// Plays the round to its end, or dies.
void Play(const std::shared_ptr<const server::FederationPlan>& plan, const fs::path& folder,
          Shared& shared) {
  shared.state = State::kStarting;
  Server server(plan, folder, shared);
  server.Wake();
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < kDevices; ++i) {
    devices.push_back(std::make_unique<Device>(i, *plan, folder, server, shared));
  }
  bool finished = false;
  for (int turn = 0; turn < 1000 && !finished; ++turn) {
    finished = true;
    for (const auto& device : devices) {
      device->Run();
      finished = finished && device->finished();
    }
  }
  REQUIRE(finished);
}

Digest ModelIn(const fs::path& folder) {
  const auto storage = Get(server::OpenSqliteStorage((folder / "state.db").string()));
  const auto transaction = Get(storage->Begin("small", server::TransactionMode::kOptimistic));
  const auto federation = Get(transaction->FindFederation("small")).value();
  CHECK(federation.version == 1);
  CHECK(Get(transaction->FindRound("small", 1)).value().accepted == kDevices);
  return Get(transaction->FindModel("small", federation.version)).value().digest;
}

TEST_CASE("Killed at any operation of a round: server and devices end with the same model") {
  const auto plan =
      SmallPlan("count = 1\npopulation_min = 2\ngoal = 2\nmin_report = 2\nwait_s = 2");
  Digest undisturbed;
  {
    const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
    Play(plan, folder.path(), *Mapped());
    undisturbed = ModelIn(folder.path());
  }
  std::map<State, int> kills;
  long moments = 0;
  for (long nth = 0;; nth += fl::testing::kSanitized ? 9 : 1) {
    CAPTURE(nth);
    const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
    const Mapped shared;
    if (!fl::testing::DiesAfter(nth, [&] { Play(plan, folder.path(), *shared); })) break;
    ++moments;
    ++kills[shared->state];
    Play(plan, folder.path(), *shared);
    REQUIRE(ModelIn(folder.path()) == undisturbed);
    REQUIRE_FALSE(shared->trained_again);
    for (std::size_t i = 0; i < kDevices; ++i) REQUIRE(shared->trained[i] <= 2);
  }
  CHECK(moments > (fl::testing::kSanitized ? 30 : 350));
  constexpr const char* kNames[] = {"starting",   "selecting", "collecting", "mid-chunk",
                                    "committing", "folding",   "publishing", "idle",
                                    "training",   "staged",    "uploading",  "acknowledged"};
  std::string counts;
  for (int state = 0; state < static_cast<int>(State::kCount); ++state) {
    CAPTURE(kNames[state]);
    // Under a sanitizer only every ninth moment is tried.
    if (!fl::testing::kSanitized) CHECK(kills[static_cast<State>(state)] >= 1);
    counts +=
        std::string(kNames[state]) + " " + std::to_string(kills[static_cast<State>(state)]) + ", ";
  }
  MESSAGE(counts, moments, " in all");
}

}  // namespace
}  // namespace fl::fault
