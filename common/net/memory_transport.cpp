#include "fl/common/net/memory_transport.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace fl::net {

// Where the answer to the exchange under way arrives.
class MemoryTransport::Mailbox {
 public:
  // From now on only the answer to this exchange is taken.
  void Open(std::uint64_t exchange) {
    const std::lock_guard lock(mutex_);
    exchange_ = exchange;
    answer_.reset();
  }
  void Put(std::uint64_t exchange, Response answer) {
    const std::lock_guard lock(mutex_);
    if (exchange != exchange_ || answer_) return;
    answer_ = std::move(answer);
    changed_.notify_all();
  }
  void Cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }
  bool cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  Result<Response> Take(Duration timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return answer_ || cancelled_; });
    exchange_ = 0;
    if (cancelled_) return Error{ErrorCode::kUnavailable, "memory transport: cancelled"};
    if (answer_) return *std::exchange(answer_, std::nullopt);
    return Error{ErrorCode::kTimeout, "memory transport: expected an answer in time, found none"};
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t exchange_ = 0;
  std::optional<Response> answer_;
  bool cancelled_ = false;
};

class MemoryTransport::MailboxResponder final : public Responder {
 public:
  MailboxResponder(std::shared_ptr<Mailbox> mailbox, std::uint64_t exchange)
      : mailbox_(std::move(mailbox)), exchange_(exchange) {}
  MailboxResponder(const MailboxResponder&) = delete;
  MailboxResponder& operator=(const MailboxResponder&) = delete;
  ~MailboxResponder() override {
    if (mailbox_ != nullptr) Send({.status = 503, .headers = {}, .body = {}});
  }
  void Send(Response response) override {
    FL_CHECK(mailbox_ != nullptr, "a responder answers once");
    std::exchange(mailbox_, nullptr)->Put(exchange_, std::move(response));
  }

 private:
  std::shared_ptr<Mailbox> mailbox_;
  std::uint64_t exchange_;
};

MemoryTransport::MemoryTransport(RequestHandler& handler, Peer peer, HttpLimits limits)
    : handler_(handler),
      peer_(std::move(peer)),
      limits_(limits),
      mailbox_(std::make_shared<Mailbox>()) {}
MemoryTransport::~MemoryTransport() = default;

void MemoryTransport::FailAt(std::uint64_t exchange, MemoryFault fault) {
  fault_at_ = exchange;
  fault_ = fault;
}

void MemoryTransport::CutAt(std::uint64_t exchange, std::uint64_t bytes) {
  cut_at_ = exchange;
  cut_bytes_ = bytes;
}

void MemoryTransport::Cancel() {
  mailbox_->Cancel();
}

Result<Response> MemoryTransport::Exchange(const Request& request, Duration timeout) {
  exchanges_ += 1;
  const MemoryFault fault = exchanges_ == fault_at_ ? fault_ : MemoryFault::kNone;
  if (mailbox_->cancelled()) return Error{ErrorCode::kUnavailable, "memory transport: cancelled"};
  if (fault == MemoryFault::kNotSent) {
    return Error{ErrorCode::kUnavailable, "memory transport: the request was not sent"};
  }
  const Error cut{ErrorCode::kUnavailable, "memory transport: the connection was cut"};
  const std::uint64_t left = exchanges_ == cut_at_ ? cut_bytes_ : UINT64_MAX;
  const std::uint64_t sent = SerializeHead(request).size() + request.body.size();
  bytes_sent_ += std::min(sent, left);
  if (left < sent) return cut;
  mailbox_->Open(exchanges_);
  handler_.OnRequest(peer_, request, std::make_unique<MailboxResponder>(mailbox_, exchanges_));
  FL_TRY(Response response, mailbox_->Take(timeout));
  if (fault == MemoryFault::kAnswerLost) {
    return Error{ErrorCode::kUnavailable, "memory transport: the answer was lost"};
  }
  const std::uint64_t answered = SerializeHead(response).size() + response.body.size();
  if (left - sent < answered) {
    bytes_received_ += left - sent;
    return cut;
  }
  bytes_received_ += SerializeHead(response).size();
  if (fault == MemoryFault::kAnswerTruncated) {
    bytes_received_ += response.body.size() / 2;
    return Error{ErrorCode::kUnavailable, "memory transport: the answer was cut in its body"};
  }
  bytes_received_ += response.body.size();
  if (response.body.size() > limits_.body_bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "memory transport: expected a body of at most " +
                                                std::to_string(limits_.body_bytes_max) +
                                                " bytes, found " +
                                                std::to_string(response.body.size())};
  }
  return response;
}

}  // namespace fl::net
