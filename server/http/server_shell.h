#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fl/common/base/log.h"
#include "fl/common/base/thread_pool.h"
#include "fl/common/net/http.h"
#include "fl/server/http/client_gate.h"
#include "fl/server/http/federation_strand.h"
#include "fl/server/http/overload.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// One federation to serve; `measure` may be empty.
struct ServedFederation {
  std::shared_ptr<const FederationPlan> plan;  // Shared with its core and jobs.
  Measure measure;
};

// Drives cores with real requests and the real clock: routes each request to its federation's
// strand, checks updates on a pool of threads before, and holds check-ins. Knows HTTP as values
// alone, so that any transport can call it. Thread safety: shared objects safe.
class ServerShell final : public net::RequestHandler {
 public:
  // Errors as ServerCore::Create. `storage` and `logger` must outlive the shell. threads >= 1.
  static Result<std::unique_ptr<ServerShell>> Create(Storage& storage,
                                                     std::vector<ServedFederation> federations,
                                                     std::size_t threads, const Logger& logger,
                                                     const OffencePolicy& offences = {},
                                                     const ClientLimits& limits = {});
  ~ServerShell() override;

  void OnRequest(net::Peer peer, net::Request request,
                 std::unique_ptr<net::Responder> responder) override;
  Duration PauseOf(const net::Peer& peer) override;
  // Answers what is held; later requests get 503.
  void Stop();
  // All federations are done, and every client that is present was told.
  bool done() const;

  // A write of each federation's rows goes through: a batch that stores is made and awaited, unless
  // one was stored within the last second. kUnavailable: stopping; kIo: the last batch could not be
  // stored; kTimeout. Blocks up to `patience` for each federation.
  Result<> ConfirmStorage(Duration patience);
  const std::vector<std::unique_ptr<FederationStrand>>& strands() const { return strands_; }
  std::size_t jobs_waiting() const { return pool_->waiting(); }
  ClientGate& gate() { return gate_; }

 private:
  ServerShell(Storage& storage, std::size_t threads, const Logger& logger,
              const ClientLimits& limits);
  void Route(net::Peer peer, net::Request request, std::unique_ptr<net::Responder> responder);
  void PutOffWith(net::Response refusal, PutOffReason why, const net::Peer& peer,
                  net::Responder& responder);
  // Requests that no core has taken yet.
  std::size_t waiting() const;
  FederationStrand* StrandOf(const DecodedRequest& request);
  FederationStrand* Named(const std::string& name) const;
  void KeepTime();

  Storage& storage_;
  const Logger& logger_;
  ClientGate gate_;
  std::vector<std::unique_ptr<FederationStrand>> strands_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::size_t> routing_ = 0;  // Requests before their strand.
  UploadsUnderWay uploads_;
  UploadDigests digests_;
  SystemClock clock_;
  std::atomic<bool> changed_elsewhere_ = false;
  std::unique_ptr<ThreadPool> pool_;  // Ends before the strands, whose jobs it runs.
  std::thread clock_thread_;
};

}  // namespace fl::server
