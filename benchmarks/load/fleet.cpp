#include "fl/benchmarks/load/fleet.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/update.h"
#include "fl/compression/check_plan.h"
#include "fl/compression/recipe.h"

namespace fl::bench {
namespace {

constexpr std::size_t kPieceBytes = 1U << 20;
constexpr std::size_t kTaskAt = 4;  // Magic and version come before it.
constexpr std::size_t kBaseAt = 12;
constexpr std::size_t kRecipeAt = 20;

void PutInteger(std::uint64_t value, std::size_t bytes, std::byte* at) {
  for (std::size_t i = 0; i < bytes; ++i) at[i] = std::byte(value >> (8 * i));
}

std::uint32_t Crc(ByteSpan bytes, std::uint32_t before = 0) {
  return static_cast<std::uint32_t>(::crc32(before,
                                            reinterpret_cast<const unsigned char*>(bytes.data()),
                                            static_cast<unsigned>(bytes.size())));
}

wire::UpdateStream RawStream(const server::StreamPlan& plan) {
  wire::UpdateStream stream{plan.id, {}};
  const auto segments = plan.segments->segments();
  stream.entries.reserve(segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    std::vector<float> values(segments[i].codec->count());
    // Metrics must lie in [0, 1]; a delta may lie anywhere.
    RngStream(1).Child("segment", i).FillUniform(values);
    for (float& value : values) value *= 0.01F;
    std::vector<float> decoded(values.size());
    ByteWriter out;
    segments[i].codec->Encode(values, decoded, {}, RngStream(2), out);
    stream.entries.push_back({i, std::move(out).Take()});
  }
  return stream;
}

std::string TaskTarget(std::uint64_t task) {
  char text[64];
  std::snprintf(text, sizeof(text), "/v1/updates/%016llx", static_cast<unsigned long long>(task));
  return text;
}

}  // namespace

Result<UpdateTemplate> UpdateTemplate::Of(const server::FederationPlan& plan) {
  wire::Update update;
  update.examples = 100;
  update.streams = {RawStream(plan.streams()[0]), RawStream(plan.streams()[1])};
  UpdateTemplate made;
  made.bytes_ = wire::EncodeUpdate(update);
  // One byte each for 100 examples and 2 streams.
  made.header_bytes_ = kRecipeAt + sizeof(std::uint64_t) + 2;
  const std::size_t rest = made.header_bytes_ + sizeof(std::uint32_t);
  made.rest_crc_ = Crc(ByteSpan(made.bytes_).subspan(rest, made.bytes_.size() - rest - 4));
  return made;
}

void UpdateTemplate::Fill(const wire::Task& task, Bytes& bytes) const {
  if (bytes.size() != bytes_.size()) bytes = bytes_;
  PutInteger(task.id, 8, bytes.data() + kTaskAt);
  PutInteger(task.model.digest.prefix(), 8, bytes.data() + kBaseAt);
  PutInteger(task.recipe, 8, bytes.data() + kRecipeAt);
  const std::uint32_t header = Crc(ByteSpan(bytes).first(header_bytes_));
  PutInteger(header, 4, bytes.data() + header_bytes_);
  const std::size_t rest = header_bytes_ + 4;
  const std::uint32_t first = Crc(ByteSpan(bytes).first(rest));
  const auto rest_bytes = static_cast<z_off_t>(bytes.size() - rest - 4);
  const auto all = static_cast<std::uint32_t>(::crc32_combine(first, rest_crc_, rest_bytes));
  PutInteger(all, 4, bytes.data() + bytes.size() - 4);
}

Outgoing Device::CheckIn() {
  step_ = Step::kCheckIn;
  wire::CheckInRequest request;
  request.version_held = held_;
  request.codecs = KnownStages();
  request.wait = wait_;
  message_ = wire::Encode(request);
  return {RequestHead("POST", "/v1/check-in", message_.size()), message_};
}

Outgoing Device::Next(const Incoming& answer) {
  if (answer.status == 0) return {{}, {}, true};
  if (step_ == Step::kCheckIn) return AfterCheckIn(answer);
  if (step_ == Step::kModel) {
    if (answer.status != 200) CountRefusal(answer, false);
    held_ = task_.model.version;
    return Send();
  }
  spent_ += answer.seconds;
  return AfterUpload(answer);
}

Outgoing Device::AfterCheckIn(const Incoming& answer) {
  ++counts_.check_ins;
  counts_.check_in_seconds.push_back(static_cast<float>(answer.seconds));
  const auto told = wire::Decode<wire::CheckInAnswer>(answer.body);
  if (answer.status != 200 || !told) {
    CountRefusal(answer, false);
    return CheckIn();
  }
  if (told->done) return {{}, {}, true};
  if (!told->task || update_ == nullptr) return CheckIn();
  task_ = *told->task;
  round_ = task_.round;
  spent_ = 0;
  const bool fetch = task_.model.blob && task_.model.version != held_;
  if (!fetch) {
    held_ = task_.model.version;
    return Send();
  }
  step_ = Step::kModel;
  return {RequestHead("GET", "/v1/blobs/" + task_.model.blob->ToHex(), 0), {}};
}

bool Device::CountRefusal(const Incoming& answer, bool could_wait) {
  ++counts_.refused;
  const auto refusal = wire::Decode<wire::Refusal>(answer.body);
  const bool has_window = refusal && refusal->again_max_ms > 0;
  if (has_window) ++counts_.put_off[could_wait ? 0 : 1];
  return has_window;
}

Outgoing Device::Send() {
  const bool in_pieces = update_->size() > kPieceBytes;
  // Once: a device that is put off has its update still.
  if (made_for_ != task_.id) {
    update_->Fill(task_, body_);
    if (in_pieces) digest_ = crypto::Sha256(body_);
    made_for_ = task_.id;
  }
  counts_.bytes_up += body_.size();
  offset_ = 0;
  const std::string target = TaskTarget(task_.id);
  if (!in_pieces) {
    step_ = Step::kCommit;
    return {RequestHead("PUT", target, body_.size()), body_};
  }
  return Reserve();
}

Outgoing Device::Reserve() {
  step_ = Step::kReserve;
  message_ = wire::Encode(wire::ReserveRequest{body_.size(), digest_});
  return {RequestHead("POST", TaskTarget(task_.id) + "/reserve", message_.size()), message_};
}

Outgoing Device::SendPiece() {
  const std::string target = TaskTarget(task_.id);
  if (offset_ == body_.size()) {
    step_ = Step::kCommit;
    return {RequestHead("POST", target + "/commit", message_.size()), message_};
  }
  step_ = Step::kPiece;
  const ByteSpan piece =
      ByteSpan(body_).subspan(offset_, std::min(kPieceBytes, body_.size() - offset_));
  const std::string at = "Upload-Offset: " + std::to_string(offset_) + "\r\n";
  offset_ += piece.size();
  return {RequestHead("PATCH", target, piece.size(), at), piece};
}

Outgoing Device::AfterUpload(const Incoming& answer) {
  if (answer.status != 200) {
    const bool begins = step_ == Step::kReserve || offset_ == 0;
    const bool may_return = CountRefusal(answer, begins);
    return may_return && step_ == Step::kReserve ? Reserve() : CheckIn();
  }
  if (step_ != Step::kCommit) return SendPiece();
  ++counts_.updates;
  counts_.update_seconds.push_back(static_cast<float>(spent_));
  return CheckIn();
}

Result<> Fleet::Add(std::size_t devices, const UpdateTemplate* update, bool wait,
                    const std::string& prefix) {
  for (std::size_t i = 0; i < devices; ++i) {
    Device& device = devices_.emplace_back(update, wait, counts_);
    FL_TRY_OK(loop_.Add(device, pki_.Certify(prefix + std::to_string(devices_.size())),
                        pki_.device_key()));
  }
  return Ok{};
}

double Quantile(std::vector<float> values, double share) {
  if (values.empty()) return 0;
  const auto index = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index),
                   values.end());
  return static_cast<double>(values[index]);
}

Result<std::shared_ptr<const server::FederationPlan>> MakePlan(const std::string& text) {
  FL_TRY(Plan plan, ParsePlan(text, "plan"));
  FL_TRY(auto checked, CheckPlan(std::move(plan), "plan"));
  return server::FederationPlan::Create(std::move(checked));
}

}  // namespace fl::bench
