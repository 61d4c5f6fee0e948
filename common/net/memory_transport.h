#pragma once

#include <cstdint>
#include <string>

#include "fl/common/net/http.h"

namespace fl::net {

enum class MemoryFault : std::uint8_t {
  kNone,
  kNotSent,          // The request never reaches the handler: kUnavailable.
  kAnswerLost,       // The handler has run, its answer is lost: kUnavailable.
  kAnswerTruncated,  // The handler has run, its answer ends in the middle of the body:
                     // kUnavailable.
};

// An HttpClient whose server is a RequestHandler in the same process: no socket, no TLS, the same
// bytes counted. A test makes the Nth exchange fail for each N until all goes through. Thread
// safety: one exchange at a time; Cancel from any thread.
class MemoryTransport final : public HttpClient {
 public:
  // `handler` must outlive the transport; it may answer from any thread.
  MemoryTransport(RequestHandler& handler, Peer peer, HttpLimits limits = {});
  ~MemoryTransport() override;
  MemoryTransport(const MemoryTransport&) = delete;
  MemoryTransport& operator=(const MemoryTransport&) = delete;

  // The exchange of this number, counted from 1, fails so; once.
  void FailAt(std::uint64_t exchange, MemoryFault fault);
  // The exchange of this number ends after so many bytes of it, the request's and then the
  // answer's, with kUnavailable; once. The handler hears of a request only when all of it has
  // arrived.
  void CutAt(std::uint64_t exchange, std::uint64_t bytes);
  // How many exchanges were begun.
  std::uint64_t exchanges() const { return exchanges_; }

  Result<Response> Exchange(const Request& request, Duration timeout) override;
  void Cancel() override;
  std::uint64_t bytes_sent() const override { return bytes_sent_; }
  std::uint64_t bytes_received() const override { return bytes_received_; }

 private:
  class Mailbox;
  class MailboxResponder;

  RequestHandler& handler_;
  Peer peer_;
  HttpLimits limits_;
  std::shared_ptr<Mailbox>
      mailbox_;  // Shared with the responders, which may outlive the transport.
  std::uint64_t exchanges_ = 0;
  std::uint64_t fault_at_ = 0;
  MemoryFault fault_ = MemoryFault::kNone;
  std::uint64_t cut_at_ = 0;
  std::uint64_t cut_bytes_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
};

}  // namespace fl::net
