#include <doctest/doctest.h>

#include "fl/common/net/memory_transport.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/tests/fault/one_device.h"

namespace fl::fault {
namespace {

using fl::testing::Get;

// A server core that answers at once.
class Core final : public net::RequestHandler {
 public:
  explicit Core(std::shared_ptr<const server::FederationPlan> plan)
      : plan_(std::move(plan)),
        storage_(Get(server::OpenSqliteStorage(":memory:"))),
        core_(Get(server::ServerCore::Create(*storage_, plan_, now))) {}

  void OnRequest(net::Peer peer, net::Request request,
                 std::unique_ptr<net::Responder> responder) override {
    auto output =
        Handle(server::RequestArrived{0, std::move(peer), std::move(request), nullptr, false});
    for (const server::ServerCommand& command : output.commands) {
      const std::uint64_t round = std::get<server::StartFold>(command).round;
      Handle(server::FoldDone{round, std::make_shared<const Result<server::RoundResult>>(
                                         server::RunFold(*storage_, *plan_, round))});
    }
    responder->Send(std::move(output.replies.front().response));
  }

  server::Storage& storage() { return *storage_; }
  TimePoint now;

 private:
  server::ServerOutput Handle(server::ServerEvent event) {
    return core_->Handle(std::vector<server::ServerEvent>{std::move(event)}, now);
  }

  std::shared_ptr<const server::FederationPlan> plan_;
  std::unique_ptr<server::Storage> storage_;
  std::unique_ptr<server::ServerCore> core_;
};

// A federation of one device and one round over a connection that is cut once.
struct Run {
  Run(const std::shared_ptr<const server::FederationPlan>& plan, std::size_t chunk_bytes,
      std::uint64_t exchange, std::uint64_t bytes)
      : core(plan), transport(core, {"spiffe://fl/fleet/device-1000", {}}), history(*plan) {
    transport.CutAt(exchange, bytes);
    PlayOneDevice(*plan, chunk_bytes, core.now, history,
                  [this](const net::Request& request) { return Carry(request); });
    history.Look(core.storage());
  }

  Result<net::Response> Carry(const net::Request& request) {
    const std::uint64_t before = transport.bytes_sent() + transport.bytes_received();
    const auto offset = net::FindHeader(request.headers, "Upload-Offset");
    if (request.method == "PATCH") {
      pieces += request.body.size();
      offsets.push_back(std::stoull(std::string(offset)));
    }
    auto response = transport.Exchange(request, std::chrono::seconds(60));
    sizes.push_back(transport.bytes_sent() + transport.bytes_received() - before);
    targets.push_back(request.method + request.target.substr(0, 12));
    return response;
  }

  Core core;
  net::MemoryTransport transport;
  History history;
  std::vector<std::uint64_t> sizes;  // Of each exchange, both ways.
  std::vector<std::string> targets;
  std::vector<std::uint64_t> offsets;  // Of each piece.
  std::uint64_t pieces = 0;            // Bytes of all pieces.
};

// Cuts the exchange at each of its bytes: each time the round ends with the same model, of one
// training, and no piece is sent that is committed.
void CutEverywhere(std::size_t chunk_bytes, const std::string& target) {
  const auto plan = SmallPlan("count = 1\npopulation_min = 1\ngoal = 1\nwait_s = 2");
  const Run whole(plan, chunk_bytes, 0, 0);
  REQUIRE(whole.history.published() == 1);
  std::size_t cuts = 0;
  for (std::size_t exchange = 0; exchange < whole.sizes.size(); ++exchange) {
    if (!whole.targets[exchange].starts_with(target)) continue;
    for (std::uint64_t bytes = 0; bytes < whole.sizes[exchange]; ++bytes) {
      CAPTURE(exchange);
      CAPTURE(bytes);
      const Run run(plan, chunk_bytes, exchange + 1, bytes);
      REQUIRE(run.history.faults() == std::vector<std::string>{});
      REQUIRE(run.history.trainings() == 1);
      REQUIRE(run.sizes.size() > whole.sizes.size());  // It had to ask again.
      REQUIRE(run.history.model(1) == whole.history.model(1));
      // A piece that was cut is sent once more, and none of the others.
      REQUIRE(run.offsets.size() <= whole.offsets.size() + 1);
      ++cuts;
    }
    if (target != "PATCH") break;
  }
  CHECK(cuts > 150);
}

TEST_CASE("Cut: an update that is sent whole counts once, at whatever byte its exchange ends") {
  CutEverywhere(1U << 20, "PUT");
}

TEST_CASE("Cut: an update in pieces goes on at the committed offset, at whatever byte one ends") {
  CutEverywhere(64, "PATCH");
}

TEST_CASE("Cut: a check-in that ends at whatever byte is asked again") {
  CutEverywhere(1U << 20, "POST/v1/check-in");
}

}  // namespace
}  // namespace fl::fault
