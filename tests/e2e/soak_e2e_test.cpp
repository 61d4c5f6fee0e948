#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"
#include "fl/tests/support/environment.h"
#include "fl/tests/support/process_usage.h"
#include "fl/tests/support/sanitized.h"

namespace fl::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPeriodSeconds = 2.5;  // One of four devices is away for two fifths of it:
constexpr double kAwaySeconds = 1.0;    // at any moment a tenth of them is.
constexpr std::size_t kSamplesMin = 4;

struct Sample {
  std::uint64_t server_bytes = 0;
  std::size_t server_descriptors = 0;
  std::uint64_t device_bytes = 0;  // Of the device that is never away.
  std::size_t device_descriptors = 0;
  FolderUsage state;
  FolderUsage device_state;
  std::uint64_t rounds = 0;
};

void Sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

Sample Take(Fleet& fleet) {
  const Usage server = UsageOf(fleet.server().id());
  const Usage device = UsageOf(fleet.device(0).id());
  return {server.resident_bytes,
          server.descriptors,
          device.resident_bytes,
          device.descriptors,
          UsageOf(std::filesystem::path(fleet.path("server"))),
          UsageOf(std::filesystem::path(fleet.device_state(0))),
          fleet.Status().at("published").get<std::uint64_t>()};
}

// The least of a part of the samples: what is held at quiet moments.
template <typename Field>
std::uint64_t Least(const std::vector<Sample>& samples, std::size_t first, std::size_t last,
                    Field field) {
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = first; i < last; ++i) {
    least = std::min<std::uint64_t>(least, field(samples[i]));
  }
  return least;
}

TEST_CASE(
    "Soak: real programs of which a tenth is away hold no more after hours than after minutes") {
  const auto seconds = static_cast<double>(FromEnvironment("FL_SOAK_SECONDS", 12));
  Fleet fleet(DigitsPlan(1'000'000));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitPublished(2);
  std::vector<Sample> samples;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  // A machine that is busy may take longer for what each part is judged by.
  for (std::size_t turn = 0; Clock::now() < end || samples.size() < kSamplesMin; ++turn) {
    const std::size_t away = 1 + turn % (Fleet::kDevices - 1);
    if (turn % 2 == 0) {
      fleet.device(away).Kill();
    } else {
      fleet.device(away).Signal(SIGTERM);
      REQUIRE(fleet.device(away).Wait(10) == 0);
    }
    Sleep(kAwaySeconds);
    fleet.StartDevice(away);
    Sleep(kPeriodSeconds - kAwaySeconds);
    samples.push_back(Take(fleet));
  }
  const std::size_t quarter = samples.size() / 4;
  const auto before = [&](auto field) { return Least(samples, quarter, 2 * quarter, field); };
  const auto after = [&](auto field) {
    return Least(samples, samples.size() - quarter, samples.size(), field);
  };
  const auto server = [](const Sample& sample) { return sample.server_bytes; };
  const auto device = [](const Sample& sample) { return sample.device_bytes; };
  const auto state = [](const Sample& sample) { return sample.state.bytes; };
  const auto device_state = [](const Sample& sample) { return sample.device_state.bytes; };
  const auto rounds = [](const Sample& sample) { return sample.rounds; };
  MESSAGE(samples.back().rounds, " rounds in ", seconds, " s; server ", before(server) / 1024,
          " KiB then ", after(server) / 1024, " KiB, device ", before(device) / 1024, " KiB then ",
          after(device) / 1024, " KiB, state folder ", before(state) / 1024, " KiB then ",
          after(state) / 1024, " KiB (rounds ", before(rounds), " to ", after(rounds),
          "), device's folder ", before(device_state) / 1024, " KiB then ",
          after(device_state) / 1024, " KiB, descriptors ", samples.back().server_descriptors,
          " and ", samples.back().device_descriptors);
  // A sanitizer keeps freed memory for a while.
  if (!kSanitized) {
    CHECK(after(server) <= before(server) + (4U << 20));
    CHECK(after(device) <= before(device) + (1U << 20));
  }
  CHECK(after([](const Sample& sample) { return sample.server_descriptors; }) <=
        before([](const Sample& sample) { return sample.server_descriptors; }) + 2);
  // At one moment a file of its state may be open, at another not.
  CHECK(after([](const Sample& sample) { return sample.device_descriptors; }) <=
        before([](const Sample& sample) { return sample.device_descriptors; }) + 1);
  CHECK(after([](const Sample& sample) { return sample.state.files; }) ==
        before([](const Sample& sample) { return sample.state.files; }));
  CHECK(after([](const Sample& sample) { return sample.device_state.files; }) <=
        before([](const Sample& sample) { return sample.device_state.files; }) + 1);
  // The rows that say who took part stay.
  CHECK(after(state) <= before(state) + 4096 * (after(rounds) - before(rounds)) + (4U << 20));
  fleet.server().Signal(SIGTERM);
  CHECK(fleet.server().Wait(10) == 0);
}

}  // namespace
}  // namespace fl::testing
