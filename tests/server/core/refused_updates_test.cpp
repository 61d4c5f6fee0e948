#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <set>

#include "fl/common/base/error_detail.h"
#include "fl/common/base/file.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/server/support/many_codecs_plan.h"

// Each class of malformed update, by its code and detail, and what it leaves behind: nothing.
namespace fl::server::testing {
namespace {

using enum ErrorDetail;

// Where the parts of an update's header lie.
constexpr std::size_t kHeadBytes = 4 + 3 * 8;  // In front of the examples.

struct Exchange {
  Exchange() : server(MakePlan(std::string(kManyCodecsPlan))) {
    CheckInAs(server, "device-1");
    task = CheckInAs(server, "device-0").task.value();
    good = GoodUpdate(server.plan(), task, "device-0");
  }
  wire::Update Update() const {
    return UpdateFor(server.plan(), task, DeltaOf(server.plan(), "device-0", 1), 10);
  }
  // The payload of the tensor's segment.
  Bytes& PayloadOf(wire::Update& update, const std::string& name) const {
    const auto segments = server.plan().streams()[0].segments->segments();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      if (segments[i].name == name) return update.streams[0].entries[i].payload;
    }
    FAIL("no segment is called ", name);
    return update.streams[0].entries[0].payload;
  }
  net::Response Send(const wire::Update& update) { return Send(wire::EncodeUpdate(update)); }
  net::Response Send(Bytes bytes) { return Put(server, "device-0", task.id, std::move(bytes)); }
  net::Response Ask(const std::string& method, const std::string& target, Bytes body,
                    net::Headers headers = {}) {
    return server.Send(Device("device-0"),
                       {method, target, "localhost", std::move(headers), std::move(body)});
  }
  net::Response Post(const std::string& verb, std::uint64_t bytes, const Digest& digest) {
    return Ask("POST", TaskTarget(task.id) + "/" + verb,
               wire::Encode(wire::ReserveRequest{bytes, digest}));
  }
  net::Response Patch(std::uint64_t offset, ByteSpan bytes) {
    return Ask("PATCH", TaskTarget(task.id), Bytes(bytes.begin(), bytes.end()),
               {{"Upload-Offset", std::to_string(offset)}});
  }
  // The update with this stretch of one payload replaced.
  net::Response SendWith(const std::string& segment, std::size_t at, const Bytes& bytes) {
    wire::Update update = Update();
    Bytes& payload = PayloadOf(update, segment);
    REQUIRE(at + bytes.size() <= payload.size());
    std::ranges::copy(bytes, payload.begin() + static_cast<std::ptrdiff_t>(at));
    return Send(update);
  }
  // A header as it should be, and behind it these bytes and the CRC of all.
  net::Response SendBody(const Bytes& body) {
    Bytes bytes(good.begin(), good.begin() + kHeadBytes + 2 + 4);
    bytes.insert(bytes.end(), body.begin(), body.end());
    ByteWriter crc;
    crc.Write(Crc32(bytes));
    bytes.insert(bytes.end(), crc.bytes().begin(), crc.bytes().end());
    return Send(bytes);
  }
  net::Response SendPatched(std::size_t at, std::initializer_list<unsigned> values) {
    Bytes bytes = good;
    for (const unsigned value : values) bytes[at++] = static_cast<std::byte>(value);
    return Send(bytes);
  }
  // Tries all changes of one byte of the payload until one is refused so.
  net::Response Search(const std::string& segment, ErrorDetail wanted);

  Server server;
  wire::Task task;
  Bytes good;
};

std::string DetailOf(const net::Response& response) {
  return std::string(net::FindHeader(response.headers, "Refusal-Detail"));
}

Bytes BytesOf(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

template <typename T>
Bytes Little(T value) {
  ByteWriter out;
  out.Write(value);
  return std::move(out).Take();
}

net::Response Exchange::Search(const std::string& segment, ErrorDetail wanted) {
  wire::Update update = Update();
  Bytes& payload = PayloadOf(update, segment);
  const auto& plan = server.plan();
  const auto segments = plan.streams()[0].segments->segments();
  const auto found = std::ranges::find(segments, segment, &Segment::name);
  REQUIRE(found != segments.end());
  for (std::size_t at = 0; at < payload.size(); ++at) {
    const std::byte before = payload[at];
    for (unsigned flip = 1; flip < 256; ++flip) {
      payload[at] = before ^ static_cast<std::byte>(flip);
      const auto parsed = found->codec->Parse(payload, {}, PayloadLimits{});
      if (!parsed && parsed.error().detail == wanted) return Send(update);
    }
    payload[at] = before;
  }
  FAIL("no changed byte of ", segment, " is ", ErrorDetailName(wanted));
  return {};
}

struct Fault {
  ErrorCode code;
  ErrorDetail detail;
  std::function<net::Response(Exchange&)> send;
};

std::vector<Fault> EnvelopeFaults() {
  using E = Exchange;
  using enum ErrorCode;
  return {
      {kMalformed, kCutShort,
       [](E& e) { return e.Send(Bytes(e.good.begin(), e.good.begin() + 10)); }},
      {kMalformed, kMagic, [](E& e) { return e.SendPatched(0, {'X'}); }},
      {kWrongVersion, kFormatVersion, [](E& e) { return e.SendPatched(3, {9}); }},
      {kMalformed, kLongNumber,
       [](E& e) {
         return e.SendPatched(kHeadBytes, {0x80, 0});
       }},
      {kLimitExceeded, kExamplesCount,
       [](E& e) {
         wire::Update update = e.Update();
         update.examples = 1ULL << 40U;
         return e.Send(update);
       }},
      {kLimitExceeded, kStreamCount,
       [](E& e) {
         wire::Update update = e.Update();
         update.streams.resize(9);
         return e.Send(update);
       }},
      {kDigestMismatch, kHeaderCrc, [](E& e) { return e.SendPatched(5, {0xA5}); }},
      {kDigestMismatch, kBodyCrc, [](E& e) { return e.SendPatched(e.good.size() - 1, {0xA5}); }},
      {kMalformed, kTrailingBytes,
       [](E& e) {
         Bytes bytes = e.good;
         bytes.push_back(std::byte{0});
         return e.Send(bytes);
       }},
      {kShapeMismatch, kSegmentCount,
       [](E& e) {
         wire::Update update = e.Update();
         update.streams[0].entries.push_back({40, Bytes(1)});
         return e.Send(update);
       }},
      {kMalformed, kEntriesBeyondEnd,
       [](E& e) {
         return e.SendBody(BytesOf({0, 12}));
       }},
      {kMalformed, kPayloadBeyondEnd,
       [](E& e) {
         return e.SendBody(BytesOf({0, 1, 0, 100}));
       }},
      {kMalformed, kStreamOrder,
       [](E& e) {
         wire::Update update = e.Update();
         std::swap(update.streams[0], update.streams[1]);
         return e.Send(update);
       }},
      {kLimitExceeded, kUpdateBytes,
       [](E& e) { return e.Send(Bytes(e.server.plan().update_bytes_max() + 1)); }},
      {kLimitExceeded, kBodyBytes, [](E& e) { return e.Send(Bytes(kChunkBytesMax + 1)); }},
  };
}

// A change of the decoded update.
Fault Changed(ErrorCode code, ErrorDetail detail,
              const std::function<void(Exchange&, wire::Update&)>& change) {
  return {code, detail, [change](Exchange& e) {
            wire::Update update = e.Update();
            change(e, update);
            return e.Send(update);
          }};
}

std::vector<Fault> ClaimFaults() {
  using E = Exchange;
  using U = wire::Update;
  using enum ErrorCode;
  return {
      Changed(kUnknownTask, kTaskOther, [](E&, U& update) { update.task.value ^= 1U; }),
      Changed(kWrongBase, kBaseOther, [](E&, U& update) { update.base ^= 1U; }),
      Changed(kWrongRecipe, kRecipeOther, [](E&, U& update) { update.recipe ^= 1U; }),
      Changed(kBadWeight, kExamplesNone, [](E&, U& update) { update.examples = 0; }),
      Changed(kStreamMismatch, kStreamMissing, [](E&, U& update) { update.streams.pop_back(); }),
      Changed(kStreamMismatch, kStreamUnknown, [](E&, U& update) { update.streams[1].id = 5; }),
      Changed(kStreamMismatch, kDeltaMissing,
              [](E&, U& update) { update.streams[0].entries.clear(); }),
      Changed(kShapeMismatch, kSegmentUnknown,
              [](E&, U& update) { update.streams[0].entries.back().segment = 60; }),
      Changed(kShapeMismatch, kMetricsIncomplete,
              [](E&, U& update) { update.streams[1].entries.clear(); }),
  };
}

std::vector<Fault> PayloadFaults() {
  using E = Exchange;
  using enum ErrorCode;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // A grid's step is the upper half of an fp32.
  const auto step = [](std::uint16_t bits) {
    return [bits](E& e) { return e.SendWith("dense1.weight", 0, Little(bits)); };
  };
  const Bytes ones(100, std::byte{0xFF});
  return {
      Changed(kMalformed, kPayloadBytes,
              [](E& e, wire::Update& update) { e.PayloadOf(update, "dense6.weight").pop_back(); }),
      {kNotFinite, kValueNotFinite,
       [nan](E& e) { return e.SendWith("dense6.weight", 4, Little(nan)); }},
      {kLimitExceeded, kValueTooLarge,
       [](E& e) { return e.SendWith("dense6.weight", 4, Little(1e20F)); }},
      {kNormExceeded, kNormL2,
       [](E& e) { return e.SendWith("dense6.weight", 4, Little(2000.0F)); }},
      {kNotFinite, kScaleNotFinite, step(0x7FC0)},
      {kMalformed, kScaleNegative, step(0xBF80)},
      {kMalformed, kScaleUseless, step(0)},
      {kMalformed, kLevelUnknown, [ones](E& e) { return e.SendWith("dense1.weight", 20, ones); }},
      Changed(kMalformed, kPaddingBits,
              [](E& e, wire::Update& update) {
                e.PayloadOf(update, "dense1.weight").back() |= std::byte{0x80};
              }),
      {kMalformed, kIndexCount,
       [](E& e) { return e.SendWith("dense2.weight", 0, BytesOf({127})); }},
      {kMalformed, kIndexRange, [](E& e) { return e.Search("dense2.weight", kIndexRange); }},
      Changed(kMalformed, kIndexCutShort,
              [](E& e, wire::Update& update) {
                Bytes& payload = e.PayloadOf(update, "dense2.weight");
                payload.resize(2);
              }),
      {kMalformed, kRankCount, [](E& e) { return e.SendWith("dense3.weight", 0, BytesOf({200})); }},
      {kMalformed, kCodeNotShortest,
       [](E& e) { return e.Search("dense4.weight", kCodeNotShortest); }},
      {kMalformed, kCodeDamaged, [](E& e) { return e.Search("dense4.weight", kCodeDamaged); }},
      {kMalformed, kLevelCount, [](E& e) { return e.Search("dense5.weight", kLevelCount); }},
  };
}

std::vector<Fault> UploadFaults() {
  using E = Exchange;
  using enum ErrorCode;
  const Digest other = crypto::Sha256(AsBytes("other"));
  return {
      {kMalformed, kTaskSyntax, [](E& e) { return e.Ask("PUT", "/v1/updates/12", e.good); }},
      {kUnknownTask, kTaskUnknown,
       [](E& e) { return Put(e.server, "device-1", e.task.id, e.good); }},
      {kMalformed, kOffsetSyntax,
       [](E& e) { return e.Ask("PATCH", TaskTarget(e.task.id), e.good); }},
      {kWrongState, kReservationMissing, [](E& e) { return e.Patch(0, e.good); }},
      {kLimitExceeded, kReservationBytes,
       [other](E& e) { return e.Post("reserve", 1U << 30U, other); }},
      {kWrongOffset, kChunkOffset,
       [other](E& e) {
         e.Post("reserve", 100, other);
         return e.Patch(50, Bytes(10));
       }},
      {kLimitExceeded, kChunkBeyondEnd,
       [other](E& e) {
         e.Post("reserve", 100, other);
         return e.Patch(0, Bytes(101));
       }},
      {kWrongState, kCommitOther,
       [other](E& e) {
         e.Post("reserve", 100, other);
         return e.Post("commit", 99, other);
       }},
      {kWrongOffset, kCommitEarly,
       [other](E& e) {
         e.Post("reserve", 100, other);
         return e.Post("commit", 100, other);
       }},
      {kDigestMismatch, kUpdateDigest,
       [other](E& e) {
         e.Post("reserve", e.good.size(), other);
         e.Patch(0, e.good);
         return e.Post("commit", e.good.size(), other);
       }},
      {kLimitExceeded, kUploadsBegun,
       [](E& e) {
         net::Response last;
         for (std::uint8_t upload = 0; upload < 9; ++upload) {
           last = e.Post("reserve", 100, crypto::Sha256(Bytes(1, std::byte{upload})));
           e.Patch(0, Bytes(10));
         }
         return last;
       }},
  };
}

std::vector<Fault> RequestFaults() {
  using E = Exchange;
  using enum ErrorCode;
  return {
      {kNotFound, kRouteUnknown, [](E& e) { return e.Ask("DELETE", TaskTarget(e.task.id), {}); }},
      {kUnauthorized, kRoleWrong, [](E& e) { return e.Ask("GET", "/v1/admin/status", {}); }},
      {kMalformed, kMessageField,
       [](E& e) {
         wire::CheckInRequest message;
         message.codecs = {3, 2};
         return e.Ask("POST", "/v1/check-in", wire::Encode(message));
       }},
      {kLimitExceeded, kMessageBytes,
       [](E& e) {
         // The version comes before all else, so that this one is right.
         Bytes bytes = Little(wire::kProtocolVersion);
         bytes.resize(70000);
         return e.Ask("POST", "/v1/check-in", std::move(bytes));
       }},
      {kMalformed, kDigestSyntax, [](E& e) { return e.Ask("GET", "/v1/blobs/12", {}); }},
      {kMalformed, kRangeSyntax,
       [](E& e) {
         return e.Ask("GET", "/v1/blobs/" + Digest{}.ToHex(), {}, {{"Range", "lines=1-2"}});
       }},
      {kWrongState, kPhaseUnknown,
       [](E& e) {
         return e.server.Send(Device("device-0"),
                              CheckInOf(false, std::nullopt, wire::PhaseMessage{1, 7, {1}}));
       }},
  };
}

std::vector<Fault> AllFaults() {
  std::vector<Fault> all;
  for (const auto& some :
       {EnvelopeFaults(), ClaimFaults(), PayloadFaults(), UploadFaults(), RequestFaults()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// Both devices send what they should; the round is folded.
Digest FinishRound(Exchange& exchange) {
  CHECK(exchange.Send(exchange.good).status == 200);
  const wire::Task other = CheckInAs(exchange.server, "device-1").task.value();
  const Bytes update = GoodUpdate(exchange.server.plan(), other, "device-1");
  CHECK(Put(exchange.server, "device-1", other.id, update).status == 200);
  CHECK(exchange.server.federation().published == 1);
  return exchange.server.model();
}

TEST_CASE("Refused updates: each class has its own code and detail and leaves the model alone") {
  Exchange exchange;
  const Digest before = exchange.server.model();
  std::set<std::pair<ErrorCode, ErrorDetail>> seen;
  for (const Fault& fault : AllFaults()) {
    const net::Response response = fault.send(exchange);
    CAPTURE(ErrorDetailName(fault.detail));
    CHECK(RefusalCode(response) == fault.code);
    CHECK(DetailOf(response) == ErrorDetailName(fault.detail));
    CHECK(exchange.server.round(1).accepted == 0);
    CHECK(exchange.server.model() == before);
    seen.emplace(fault.code, fault.detail);
  }
  CHECK(seen.size() == AllFaults().size());
  CHECK(seen.size() >= 50);
  Exchange undisturbed;
  CHECK(FinishRound(exchange) == FinishRound(undisturbed));
}

TEST_CASE("Refused updates: a second and different update has a detail of its own") {
  Exchange exchange;
  CHECK(exchange.Send(exchange.good).status == 200);
  wire::Update other = exchange.Update();
  other.examples = 11;
  const net::Response response = exchange.Send(other);
  CHECK(RefusalCode(response) == ErrorCode::kDuplicate);
  CHECK(DetailOf(response) == "update_other");
}

TEST_CASE("Details: every number has a name, no two the same") {
  std::set<std::string_view> names;
  for (std::size_t i = 1; i < ErrorDetailCount(); ++i) {
    const std::string_view name = ErrorDetailName(static_cast<ErrorDetail>(i));
    CHECK_FALSE(name.empty());
    names.insert(name);
  }
  CHECK(names.size() == ErrorDetailCount() - 1);
  CHECK(ErrorDetailName(static_cast<ErrorDetail>(ErrorDetailCount())).empty());
  CHECK(ErrorDetailName(ErrorDetail::kNone).empty());
}

TEST_CASE("Details: each stands in the table that says what to do") {
  const Bytes page = Get(ReadFile(FL_TEST_SOURCE_DIR "/docs/operations.md", 1U << 20U));
  for (std::size_t i = 1; i < ErrorDetailCount(); ++i) {
    const std::string row =
        "| `" + std::string(ErrorDetailName(static_cast<ErrorDetail>(i))) + "` |";
    CAPTURE(row);
    CHECK(AsText(page).find(row) != std::string_view::npos);
  }
}

}  // namespace
}  // namespace fl::server::testing
