#include "fl/tests/fault/failing_disk.h"

#include <fstream>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/crypto/sha256.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/tests/fault/one_device.h"
#include "fl/tests/support/sanitized.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::fault {
namespace {

using fl::testing::Get;
using fl::testing::TemporaryFolder;
namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = 64;
constexpr const char* kDatabase = "state.db";
constexpr const char* kLog = "state.db-wal";

std::shared_ptr<const server::FederationPlan> OneDevicePlan() {
  static const auto plan = SmallPlan("count = 1\npopulation_min = 1\ngoal = 1\nwait_s = 2");
  return plan;
}

// What the rows say of the device's upload.
struct Durable {
  std::uint64_t committed = 0;  // Bytes, that can be read.
  bool accepted = false;
  friend bool operator==(const Durable&, const Durable&) = default;
};

Durable UploadIn(server::Storage& storage) {
  const auto transaction = Get(storage.Begin("small", server::TransactionMode::kOptimistic));
  const auto cohort = Get(transaction->Cohort("small", 1));
  if (cohort.empty()) return {};
  const server::StoredBody body = Get(transaction->ReadBody(cohort.front().id));
  const bool is_dropped =
      Get(transaction->FindRound("small", 1))->state == server::RoundState::kPublished;
  if (cohort.front().state == server::TaskState::kAccepted && !is_dropped) {
    CHECK(crypto::Sha256(body.bytes()) == cohort.front().digest);
  }
  CHECK((body.bytes().size() == cohort.front().committed || is_dropped));
  return {cohort.front().committed, cohort.front().state == server::TaskState::kAccepted};
}

Result<std::unique_ptr<server::Storage>> OpenState(const fs::path& folder,
                                                   std::uint64_t body_file_bytes_min) {
  server::SqliteOptions options;
  options.body_file_bytes_min = body_file_bytes_min;
  return server::OpenSqliteStorage((folder / kDatabase).string(), options);
}

// A server core over a database in `folder`, and its only device.
class Federation {
 public:
  // Bodies are rows, or in files where these are of so many bytes at least.
  explicit Federation(const fs::path& folder, std::uint64_t body_file_bytes_min = 1U << 20)
      : storage_(Get(OpenState(folder, body_file_bytes_min))),
        core_(Get(server::ServerCore::Create(*storage_, OneDevicePlan(), now_))),
        history_(*OneDevicePlan()) {}

  // Called with each request before it is handled, and after that with what the device was told.
  std::function<void(const net::Request&)> before = [](const net::Request&) {};
  std::function<void(const net::Request&, const net::Response&)> after =
      [](const net::Request&, const net::Response&) {};

  Digest Play() {
    PlayOneDevice(*OneDevicePlan(), kPieceBytes, now_, history_,
                  [this](const net::Request& request) { return Carry(request); });
    history_.Look(*storage_);
    REQUIRE(history_.faults() == std::vector<std::string>{});
    REQUIRE(history_.trainings() == 1);
    REQUIRE(history_.published() == 1);
    return history_.model(1);
  }
  // The answer to an operator, and whether nothing was stored meanwhile.
  std::pair<net::Response, bool> Look(const std::string& page) {
    const net::Peer admin{"spiffe://fl/admin/operator", net::Role::kAdmin};
    const net::Request request{"GET", "/v1/admin/" + page, "localhost", {}, {}};
    const auto output = Handle(server::RequestArrived{0, admin, request, nullptr, false});
    return {output.replies.front().response, output.failure.has_value()};
  }
  server::Storage& storage() { return *storage_; }
  std::size_t failures() const { return failures_; }

 private:
  Result<net::Response> Carry(const net::Request& request) {
    before(request);
    const auto output = Handle(
        server::RequestArrived{0, {"spiffe://fl/fleet/device-1000", {}}, request, nullptr, false});
    const net::Response& response = output.replies.front().response;
    CHECK((response.status == 503) == output.failure.has_value());
    if (output.failure) {
      const auto refusal = Get(wire::Decode<wire::Refusal>(response.body));
      CHECK(refusal.code == static_cast<std::uint16_t>(ErrorCode::kUnavailable));
      CHECK(refusal.again_max_ms > 0);
    }
    after(request, response);
    for (int attempt = 0; attempt < 3 && !commands_.empty(); ++attempt) {
      const std::uint64_t round = std::get<server::StartFold>(commands_.front()).round;
      commands_.clear();
      Handle(server::FoldDone{round, std::make_shared<const Result<server::RoundResult>>(
                                         server::RunFold(*storage_, *OneDevicePlan(), round))});
      // As a shell's timer does when the outcome could not be stored.
      if (commands_.empty()) Handle(server::TimerFired{});
    }
    return response;
  }

  server::ServerOutput Handle(server::ServerEvent event) {
    auto output = core_->Handle(std::vector<server::ServerEvent>{std::move(event)}, now_);
    failures_ += output.failure ? 1 : 0;
    commands_.insert(commands_.end(), output.commands.begin(), output.commands.end());
    return output;
  }

  TimePoint now_{};
  std::unique_ptr<server::Storage> storage_;
  std::unique_ptr<server::ServerCore> core_;
  History history_;
  std::vector<server::ServerCommand> commands_;
  std::size_t failures_ = 0;
};

Digest UndisturbedModel() {
  const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
  return Federation(folder.path()).Play();
}

Durable ToldBy(const net::Request& request, const net::Response& response) {
  if (!request.target.starts_with("/v1/updates/") || response.status != 200) return {};
  if (request.method == "HEAD") {
    return {std::stoull(std::string(net::FindHeader(response.headers, "Upload-Offset"))), false};
  }
  const auto answer = Get(wire::Decode<wire::UploadAnswer>(response.body));
  return {answer.committed, answer.accepted};
}

// Each run fails at another call. Whatever the device is told must be in what a power cut would
// leave, and the round goes on, in the same process, to the same model.
void FailAtEach(DiskFault fault, long failing, std::uint64_t body_file_bytes_min,
                std::size_t failures_min) {
  const Digest undisturbed = UndisturbedModel();
  std::size_t failures = 0;
  for (long nth = 0;; nth += fl::testing::kSanitized ? 5 : 1) {
    CAPTURE(nth);
    const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
    const TemporaryFolder image(TemporaryFolder::Medium::kMemory);
    WatchDisk(folder.path(), image.path());
    Federation federation(folder.path(), body_file_bytes_min);
    federation.after = [&](const net::Request& request, const net::Response& response) {
      const Durable told = ToldBy(request, response);
      if (told == Durable{}) return;
      const TemporaryFolder copy(TemporaryFolder::Medium::kMemory);
      fs::copy(image.path(), copy.path(), fs::copy_options::recursive);
      const auto left = Get(server::OpenSqliteStorage((copy.path() / kDatabase).string()));
      const Durable durable = UploadIn(*left);
      REQUIRE(durable.committed >= told.committed);
      REQUIRE((durable.accepted || !told.accepted));
    };
    FailDisk(fault, nth, failing);
    const Digest model = federation.Play();
    const bool failed = DiskHasFailed();
    FailDisk(DiskFault::kNone, 0);
    REQUIRE(model == undisturbed);
    failures += federation.failures() > 0 ? 1 : 0;
    if (!failed) break;
  }
  CHECK(failures >= failures_min);
}

TEST_CASE("Failing disk: at any flush that fails nothing is told that a power cut would take") {
  for (const std::uint64_t bytes_min : {1ULL << 20, 1ULL}) {
    FailAtEach(DiskFault::kSync, 1, bytes_min, fl::testing::kSanitized ? 1 : 8);
  }
}

TEST_CASE("Failing disk: full from any write on, and then no more, it goes on where it was") {
  for (const std::uint64_t bytes_min : {1ULL << 20, 1ULL}) {
    FailAtEach(DiskFault::kWrite, 3, bytes_min, fl::testing::kSanitized ? 4 : 30);
  }
}

TEST_CASE("Failing disk: an operator's pages are read while nothing can be stored") {
  const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
  const TemporaryFolder image(TemporaryFolder::Medium::kMemory);
  Federation federation(folder.path());
  WatchDisk(folder.path(), image.path());
  constexpr long kAll = 1000000;
  FailDisk(DiskFault::kWrite, 0, kAll);
  for (const char* page : {"status", "clients", "events", "refusals", "report", "model"}) {
    CAPTURE(page);
    const auto [response, failed] = federation.Look(page);
    CHECK(failed);
    CHECK(response.status == 200);
  }
  const std::string status(AsText(federation.Look("status").first.body));
  CHECK(status.find("\"storage_failure\": {") != std::string::npos);
  CHECK(status.find("full") != std::string::npos);
  CHECK(federation.Look("cake").first.status == 404);
  FailDisk(DiskFault::kNone, 0);
  CHECK(!federation.Look("status").second);
}

TEST_CASE("Failing disk: the write of the last piece, torn at any place, costs at most itself") {
  const Digest undisturbed = UndisturbedModel();
  const TemporaryFolder folder(TemporaryFolder::Medium::kMemory);
  Bytes database;
  Bytes log_before;
  Bytes log_after;
  Durable told_before;
  Durable told_after;
  {
    Federation federation(folder.path());
    federation.before = [&](const net::Request& request) {
      if (request.method != "PATCH") return;
      told_before = UploadIn(federation.storage());
      database = Get(ReadFile(folder.path() / kDatabase, 1U << 24));
      log_before = Get(ReadFile(folder.path() / kLog, 1U << 24));
    };
    federation.after = [&](const net::Request& request, const net::Response& response) {
      if (request.method != "PATCH") return;
      told_after = ToldBy(request, response);
      log_after = Get(ReadFile(folder.path() / kLog, 1U << 24));
    };
    federation.Play();
  }
  REQUIRE(told_before.committed > 0);
  REQUIRE(told_after.committed > told_before.committed);
  REQUIRE(log_after.size() > log_before.size());
  std::size_t lost = 0;
  std::size_t kept = 0;
  const std::size_t step = fl::testing::kSanitized ? 2003 : 211;
  for (std::size_t torn = log_before.size(); torn < log_after.size() + step; torn += step) {
    for (const bool garbage : {false, true}) {
      CAPTURE(torn);
      CAPTURE(garbage);
      const TemporaryFolder power_cut(TemporaryFolder::Medium::kMemory);
      Bytes log(log_after.begin(),
                log_after.begin() + static_cast<std::ptrdiff_t>(std::min(torn, log_after.size())));
      if (garbage) log.resize(log_after.size(), std::byte{0x5a});
      Get(WriteFileAtomically(power_cut.path() / kDatabase, database));
      Get(WriteFileAtomically(power_cut.path() / kLog, log));
      Federation federation(power_cut.path());
      const Durable found = UploadIn(federation.storage());
      REQUIRE(
          (found.committed == told_before.committed || found.committed == told_after.committed));
      ++(found.committed == told_before.committed ? lost : kept);
      REQUIRE(federation.Play() == undisturbed);
    }
  }
  CHECK(lost > 4);
  CHECK(kept >= 2);
}

}  // namespace
}  // namespace fl::fault
