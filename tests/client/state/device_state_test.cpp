#include "fl/client/state/device_state.h"

#include <algorithm>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/crypto/sha256.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using testing::CodeOf;
using testing::Get;

std::shared_ptr<NamedTensors> SomeTensors(float first) {
  auto tensors = std::make_shared<NamedTensors>(
      TensorLayout({{"dense1.weight", Shape{2, 3}}, {"dense1.bias", Shape{3}}}));
  for (std::size_t i = 0; i < tensors->values.size(); ++i) {
    tensors->values[i] = first + static_cast<float>(i);
  }
  return tensors;
}

DeviceState FullState() {
  DeviceState state;
  state.client = "device-7";
  state.federation = "digits";
  state.plan = crypto::Sha256(AsBytes("plan"));
  state.model = HeldModel{12, crypto::Sha256(AsBytes("model"))};
  state.residual = SomeTensors(0.5F);
  state.residual_graph = LayoutDigest(state.residual->layout);
  state.residual_round = 11;
  state.velocity = SomeTensors(0.25F);
  StagedUpdate staged;
  staged.task = 0x1234567890ABCDEF;
  staged.round = 13;
  staged.plan = *state.plan;
  staged.round_parameters = ToBytes("shared");
  staged.update = ToBytes("an update");
  staged.residual = SomeTensors(-1.0F);
  staged.velocity = SomeTensors(-2.0F);
  state.staged = std::move(staged);
  state.counters.check_ins = 40;
  state.counters.bytes_up = 1'000'000;
  state.speed = {2500.5, 1.25};
  return state;
}

TEST_CASE("DeviceState: a full one survives saving and loading bit by bit") {
  const DeviceState state = FullState();
  const Bytes bytes = state.Encode();
  const DeviceState loaded = Get(DeviceState::Decode(bytes));
  CHECK(loaded.client == state.client);
  CHECK(loaded.federation == state.federation);
  CHECK(loaded.plan == state.plan);
  CHECK(loaded.model == state.model);
  CHECK(*loaded.residual == *state.residual);
  CHECK(loaded.residual_graph == state.residual_graph);
  CHECK(loaded.residual_round == state.residual_round);
  CHECK(*loaded.velocity == *state.velocity);
  REQUIRE(loaded.staged);
  CHECK(loaded.staged->task == state.staged->task);
  CHECK(loaded.staged->update == state.staged->update);
  CHECK(*loaded.staged->residual == *state.staged->residual);
  CHECK(*loaded.staged->velocity == *state.staged->velocity);
  CHECK(loaded.counters == state.counters);
  CHECK(loaded.speed == state.speed);
  CHECK(loaded.Encode() == bytes);
}

TEST_CASE("DeviceState: an empty one survives saving and loading") {
  const Bytes bytes = DeviceState().Encode();
  CHECK(Get(DeviceState::Decode(bytes)).Encode() == bytes);
  CHECK(bytes.size() < 128);
}

TEST_CASE("DeviceState: each flipped byte and each truncation is refused") {
  Bytes bytes = FullState().Encode();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CAPTURE(i);
    CHECK_FALSE(DeviceState::Decode(ByteSpan(bytes).first(i)));
    bytes[i] ^= std::byte{0x10};
    CHECK_FALSE(DeviceState::Decode(bytes));
    bytes[i] ^= std::byte{0x10};
  }
}

// Of the CRC, and of the speed before it, which schemas before 4 have not.
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kSpeedBytes = 16;

// The state's bytes with another body, under a checksum that fits.
Bytes WithChecksum(Bytes body) {
  ByteWriter out;
  out.WriteSpan(body);
  out.Write(Crc32(body));
  return std::move(out).Take();
}

TEST_CASE("DeviceState: schema 1 is read and its residual has no known round") {
  DeviceState state;
  state.client = "device-7";
  Bytes bytes = state.Encode();
  // magic schema "device-7" "" plan model graph residual, then the round.
  const std::size_t round_at = 4 + 2 + 9 + 1 + 1 + 1 + 32 + 1;
  bytes[4] = std::byte{1};
  const auto round = bytes.begin() + static_cast<std::ptrdiff_t>(round_at);
  bytes.erase(round, round + 2);  // The velocity's flag lies behind it.
  bytes.resize(bytes.size() - kChecksumBytes - kSpeedBytes);
  const DeviceState loaded = Get(DeviceState::Decode(WithChecksum(bytes)));
  CHECK(loaded.client == "device-7");
  CHECK(loaded.residual_round == 0);
}

TEST_CASE("DeviceState: schema 2 is read and has no velocity") {
  DeviceState state = FullState();
  state.velocity = nullptr;
  state.staged->velocity = nullptr;
  Bytes bytes = state.Encode();
  // The velocities' flags: one lies before the staged update's task, the other before the counters.
  const Bytes task = {std::byte{0xEF}, std::byte{0xCD}, std::byte{0xAB}, std::byte{0x90}};
  const auto found = std::ranges::search(bytes, task).begin();
  std::size_t counters = 0;
  for (const std::uint64_t counter : {40U, 0U, 0U, 0U, 0U, 0U, 0U, 1'000'000U}) {
    ByteWriter out;
    out.WriteVarint(counter);
    counters += out.size();
  }
  bytes.resize(bytes.size() - kChecksumBytes - kSpeedBytes);
  bytes.erase(bytes.end() - static_cast<std::ptrdiff_t>(counters) - 1);
  bytes.erase(found - 2);
  bytes[4] = std::byte{2};
  const DeviceState loaded = Get(DeviceState::Decode(WithChecksum(bytes)));
  CHECK(*loaded.residual == *state.residual);
  CHECK(loaded.residual_round == 11);
  CHECK(loaded.velocity == nullptr);
  REQUIRE(loaded.staged);
  CHECK(*loaded.staged->residual == *state.staged->residual);
  CHECK(loaded.staged->velocity == nullptr);
  CHECK(loaded.counters == state.counters);
}

TEST_CASE("DeviceState: schema 3 is read and knows no speed") {
  Bytes bytes = FullState().Encode();
  bytes.resize(bytes.size() - kChecksumBytes - kSpeedBytes);
  bytes[4] = std::byte{3};
  const DeviceState loaded = Get(DeviceState::Decode(WithChecksum(bytes)));
  CHECK(loaded.counters == FullState().counters);
  CHECK(loaded.speed == DeviceSpeed());
}

TEST_CASE("DeviceState: a speed that no device has is refused") {
  const auto code = [](const DeviceSpeed& speed) {
    DeviceState state;
    state.speed = speed;
    return CodeOf(DeviceState::Decode(state.Encode()));
  };
  CHECK(code({-1, 2}) == ErrorCode::kMalformed);
  CHECK(code({1, std::numeric_limits<double>::infinity()}) == ErrorCode::kNotFinite);
}

TEST_CASE("DeviceState: a newer schema is refused by its own code") {
  Bytes bytes = DeviceState().Encode();
  bytes.resize(bytes.size() - 4);
  bytes[4] = std::byte{5};
  CHECK(CodeOf(DeviceState::Decode(WithChecksum(bytes))) == ErrorCode::kWrongVersion);
}

TEST_CASE("DeviceState: a residual that is not finite is refused") {
  DeviceState state;
  auto tensors = SomeTensors(0);
  tensors->values[2] = std::numeric_limits<float>::infinity();
  state.residual = tensors;
  CHECK(CodeOf(DeviceState::Decode(state.Encode())) == ErrorCode::kNotFinite);
}

TEST_CASE("DeviceState: any bytes under a right checksum end in a value or an error") {
  const Bytes good = FullState().Encode();
  testing::ForAll(2000, [&](RngStream& rng) {
    Bytes bytes(good.begin(), good.end() - 4);
    for (int i = 0; i < 2; ++i) {
      bytes[6 + rng.UniformInteger(bytes.size() - 6)] =
          static_cast<std::byte>(rng.UniformInteger(256));
    }
    static_cast<void>(DeviceState::Decode(WithChecksum(bytes)));
  });
}

TEST_CASE("DeviceState: a larger file than accepted is refused") {
  DeviceStateLimits limits;
  const Bytes bytes = FullState().Encode();
  limits.bytes_max = bytes.size() - 1;
  CHECK(CodeOf(DeviceState::Decode(bytes, limits)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("LayoutDigest: differs by name and by shape") {
  const Digest digest = LayoutDigest(TensorLayout({{"a", Shape{2, 3}}}));
  CHECK(digest == LayoutDigest(TensorLayout({{"a", Shape{2, 3}}})));
  CHECK(digest != LayoutDigest(TensorLayout({{"a", Shape{3, 2}}})));
  CHECK(digest != LayoutDigest(TensorLayout({{"b", Shape{2, 3}}})));
}

}  // namespace
}  // namespace fl::client
