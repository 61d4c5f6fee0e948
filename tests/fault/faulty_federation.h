#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fl/client/core/client_core.h"
#include "fl/client/train/local_data.h"
#include "fl/tests/fault/faulty_server.h"
#include "fl/tests/fault/history.h"

namespace fl::fault {

// Shares of what goes wrong, each in [0, 1].
struct FaultRates {
  double lost = 0;         // Of the messages, on either way: they vanish,
  double twice = 0;        // arrive twice,
  double late = 0;         // take up to two minutes, which is longer than anybody waits,
  double cut = 0;          // or end with their connection, at any byte.
  double device_dies = 0;  // Of a device's commands: it dies before it and loses what isn't saved.
  FaultyServer::Faults server;
};

// A federation of the real two cores in virtual time, over a network and on machines where much
// goes wrong; all of it follows from the seed. Devices finish once the server says that it is done.
// Thread safety: one call at a time.
class FaultyFederation {
 public:
  struct Setup {
    std::shared_ptr<const server::FederationPlan> plan;
    std::uint64_t seed = 0;
    std::size_t chunk_bytes = 1U << 20;  // Most bytes of a piece of an update.
    FaultRates rates = {};
  };

  // One device for each entry of `data`.
  FaultyFederation(Setup setup, const std::vector<client::LocalData>& data);
  ~FaultyFederation();
  FaultyFederation(const FaultyFederation&) = delete;
  FaultyFederation& operator=(const FaultyFederation&) = delete;

  // Until every device is finished; then the history is closed. False: they did not finish within
  // `events_max` events.
  bool Run(std::size_t events_max = 200'000);

  History& history() { return history_; }
  FaultyServer& server() { return *server_; }
  // How many requests were sent, and how many pieces of updates among them.
  std::size_t requests() const { return requests_; }
  std::size_t piece_bytes() const { return piece_bytes_; }

 private:
  class Device;

  // `answer` hears of it at most twice, or never.
  void Send(const std::string& device, const net::Request& request,
            const FaultyServer::Answer& answer);
  void SendBack(const FaultyServer::Answer& answer, const Result<net::Response>& response);
  Duration Delay();

  Setup setup_;
  RngStream rng_;
  Queue queue_;
  History history_;
  std::unique_ptr<FaultyServer> server_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::size_t requests_ = 0;
  std::size_t piece_bytes_ = 0;
};

}  // namespace fl::fault
