#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "fl/client/serve/model_slot.h"
#include "fl/client/serve/predict_request.h"
#include "fl/common/base/log.h"
#include "fl/common/base/thread_pool.h"
#include "fl/common/net/http.h"

namespace fl::client {

// The installed local model as a service for the programs of its machine:
//   POST /predict   see ParsePredictRequest and ServedModel::Answer; the body is JSON
//   GET /health     200 {"status": "ok", "model_sha256": HEX}; 503 while there is no model
//   GET /model      the model card; 503 while there is no model
// A refusal is {"error": "what was expected and what was found"}: 400 (not such JSON), 422 (wrong
// number of values, numbers beyond fp32), 413 (too many samples), 404, 405, and 403 for what a web
// page sends: requests with an Origin, or for a host that is not this machine's own name. One
// thread predicts, one request after the other, each wholly by the model that was served when its
// turn came. Thread safety: shared objects safe.
class LocalService final : public net::RequestHandler {
 public:
  // `slot` outlives the service, the service its servers.
  explicit LocalService(const ModelSlot& slot, const PredictLimits& limits = {})
      : slot_(slot), limits_(limits) {}

  void OnRequest(net::Peer peer, net::Request request,
                 std::unique_ptr<net::Responder> responder) override;

  // From now on requests that wait for their turn are answered 503.
  void Stop() { is_stopping_ = true; }

  // Drift of the model that is served, as JSON, for `fl-client info`; empty while it has no
  // reference. Blocks until predictions under way are done.
  std::string DescribeDrift();

 private:
  net::Response Predict(const net::Request& request) const;

  const ModelSlot& slot_;
  const PredictLimits limits_;
  std::atomic<bool> is_stopping_ = false;
  ThreadPool pool_{1};  // Last: its jobs use the others.
};

}  // namespace fl::client
