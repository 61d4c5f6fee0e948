#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "fl/benchmarks/load/load_loop.h"
#include "fl/benchmarks/load/server_process.h"
#include "fl/common/base/digest.h"
#include "fl/common/wire/messages.h"

namespace fl::bench {

// An update of a plan, raw values and metrics, of which only what belongs to a task changes from
// one to the next, so that making one costs the load almost nothing.
class UpdateTemplate {
 public:
  static Result<UpdateTemplate> Of(const server::FederationPlan& plan);
  // `bytes`, resized on the first call: the update for the task.
  void Fill(const wire::Task& task, Bytes& bytes) const;
  std::size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
  std::size_t header_bytes_ = 0;  // Without its CRC.
  std::uint32_t rest_crc_ = 0;    // Of what follows the header's CRC.
};

// A device that does each step of a round but training: it checks in and may be held, fetches the
// model when it does not have it, and sends an update, whole or in pieces, until it is stopped. It
// asks again at once whatever window it is given.
class Device final : public LoadPeer {
 public:
  struct Counts {
    std::uint64_t check_ins = 0;
    std::uint64_t updates = 0;
    std::uint64_t refused = 0;  // By a status that is no success.
    // Of them with a window to come back in: reservations and whole updates; all others.
    std::array<std::uint64_t, 2> put_off{};
    std::uint64_t bytes_up = 0;
    std::vector<float> check_in_seconds;
    std::vector<float> update_seconds;  // From the first byte to the last acknowledgement.
  };
  // `update` empty: it only checks in. `wait`: check-ins may be held.
  Device(const UpdateTemplate* update, bool wait, Counts& counts)
      : update_(update), wait_(wait), counts_(counts) {}

  Outgoing First() override { return CheckIn(); }
  Outgoing Next(const Incoming& answer) override;

  std::uint64_t round() const { return round_; }

 private:
  enum class Step : std::uint8_t { kCheckIn, kModel, kReserve, kPiece, kCommit };
  Outgoing CheckIn();
  Outgoing AfterCheckIn(const Incoming& answer);
  Outgoing Send();
  Outgoing SendPiece();
  Outgoing AfterUpload(const Incoming& answer);
  Outgoing Reserve();
  // Whether it was given a window.
  bool CountRefusal(const Incoming& answer, bool could_wait);

  const UpdateTemplate* update_;
  const bool wait_;
  Counts& counts_;
  Step step_ = Step::kCheckIn;
  wire::Task task_;
  std::optional<std::uint64_t> held_;
  std::uint64_t round_ = 0;
  std::size_t offset_ = 0;
  double spent_ = 0;  // On this update.
  Bytes body_;
  std::uint64_t made_for_ = 0;  // The task whose update body_ is; 0: none.
  Digest digest_;               // Of body_.
  Bytes message_;
};

// Devices of their own names with a connection each.
class Fleet {
 public:
  Fleet(const LoadPki& pki, const TlsContext& context, std::uint16_t port)
      : pki_(pki), loop_(context, port) {}
  Result<> Add(std::size_t devices, const UpdateTemplate* update, bool wait,
               const std::string& prefix = "device-");
  LoadLoop& loop() { return loop_; }
  Device::Counts& counts() { return counts_; }
  std::deque<Device>& devices() { return devices_; }

 private:
  const LoadPki& pki_;
  Device::Counts counts_;
  std::deque<Device> devices_;
  LoadLoop loop_;
};

// The value below which this share of them lies; 0 for none.
double Quantile(std::vector<float> values, double share);

Result<std::shared_ptr<const server::FederationPlan>> MakePlan(const std::string& text);

}  // namespace fl::bench
