#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/round_policy.h"
#include "fl/tests/server/support/test_server.h"

namespace fl::server::testing {

inline std::string TaskTarget(std::uint64_t task) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string target = "/v1/updates/";
  for (int shift = 60; shift >= 0; shift -= 4) target.push_back(kDigits[(task >> shift) & 15U]);
  return target;
}

inline net::Request CheckInOf(bool wait = false,
                              std::optional<std::uint64_t> version_held = std::nullopt,
                              std::optional<wire::PhaseMessage> phase = std::nullopt) {
  wire::CheckInRequest message;
  message.codecs = KnownStages();
  message.wait = wait;
  message.version_held = version_held;
  message.phase = std::move(phase);
  return {"POST", "/v1/check-in", "localhost", {}, wire::Encode(message)};
}

inline wire::CheckInAnswer CheckInAs(Server& server, const std::string& device,
                                     std::optional<std::uint64_t> version_held = std::nullopt,
                                     std::optional<wire::PhaseMessage> phase = std::nullopt) {
  const net::Response response =
      server.Send(Device(device), CheckInOf(false, version_held, std::move(phase)));
  REQUIRE(response.status == 200);
  return Get(wire::Decode<wire::CheckInAnswer>(response.body));
}

inline wire::UpdateStream EncodeAll(const StreamPlan& plan, std::span<const float> flat,
                                    const RoundParameters& parameters) {
  wire::UpdateStream stream{plan.id, {}};
  for (std::size_t i = 0; i < plan.segments->segments().size(); ++i) {
    const Codec& codec = *plan.segments->segments()[i].codec;
    std::vector<float> values(codec.count());
    std::vector<float> decoded(codec.count());
    plan.segments->Gather(i, flat, values);
    ByteWriter out;
    codec.Encode(values, decoded, parameters, RngStream(5).Child("segment", i), out);
    stream.entries.push_back({i, std::move(out).Take()});
  }
  return stream;
}

// What a fake device answers to a task: metrics, and for a train task a delta of its own choice and
// a count in each further stream. `parameters`: what its round shares; none: what the recipe gives.
inline wire::Update UpdateFor(const FederationPlan& plan, const wire::Task& task,
                              std::span<const float> delta, std::uint64_t examples,
                              const std::optional<Bytes>& parameters = std::nullopt) {
  wire::Update update;
  update.task = TaskId{task.id};
  update.base = task.model.digest.prefix();
  update.recipe = task.recipe;
  update.examples = examples;
  if (task.kind == wire::TaskKind::kTrain) {
    const RoundParameters shared{parameters ? *parameters : plan.initial_parameters().bytes,
                                 task.round};
    update.streams.push_back(EncodeAll(plan.streams()[0], delta, shared));
  }
  const std::vector<float> metrics = task.kind == wire::TaskKind::kDeploy
                                         ? std::vector<float>{3000.0F, 0.9F, 0.8F, 1.0F}
                                         : std::vector<float>{2.0F, 0.5F, 1.0F, 10.0F};
  update.streams.push_back(EncodeAll(plan.streams()[1], metrics, {}));
  for (std::size_t i = 2; i < plan.streams().size() && task.kind == wire::TaskKind::kTrain; ++i) {
    const std::vector<float> ones(plan.streams()[i].segments->layout().total(), 1.0F);
    update.streams.push_back(EncodeAll(plan.streams()[i], ones, {}));
  }
  return update;
}

// A delta that depends on the device and the round alone.
inline std::vector<float> DeltaOf(const FederationPlan& plan, const std::string& device,
                                  std::uint64_t round) {
  std::vector<float> delta(plan.layout().total());
  RngStream rng = RngStream(3).Child("delta", device).Child("round", round);
  rng.FillUniform(delta);
  return delta;
}

inline std::uint64_t ExamplesOf(const std::string& device) {
  return 10 + static_cast<std::uint64_t>(device.back()) % 7;
}

// The samples of a fake device, ExamplesOf of them, and what a model of ones makes of them.
inline std::vector<float> SamplesOf(const FederationPlan& plan, const std::string& device) {
  std::vector<float> samples(ExamplesOf(device) * plan.graph().input_shape().count());
  RngStream rng = RngStream(4).Child("samples", device);
  rng.FillNormal(samples);
  return samples;
}

inline nn::Calibration CalibrationOf(const FederationPlan& plan, std::span<const float> samples) {
  const nn::Graph& graph = plan.checked().calibration->graph;
  const std::vector<float> ones(graph.parameters.total(), 1.0F);
  return Get(nn::Calibrate(graph, ones, samples, samples.size() / graph.input_shape().count()));
}

inline wire::Update CalibrationUpdate(const wire::Task& task, const nn::Calibration& calibration) {
  wire::Update update{
      TaskId{task.id}, task.model.digest.prefix(), task.recipe, calibration.samples, {}};
  update.streams.push_back({wire::kStreamCalibration, {}});
  for (std::size_t i = 0; i < calibration.histograms.size(); ++i)
    update.streams.front().entries.push_back({i, calibration.histograms[i].Encode()});
  return update;
}

inline Bytes GoodUpdate(const FederationPlan& plan, const wire::Task& task,
                        const std::string& device,
                        const std::optional<Bytes>& parameters = std::nullopt) {
  if (task.kind == wire::TaskKind::kCalibrate) {
    return wire::EncodeUpdate(
        CalibrationUpdate(task, CalibrationOf(plan, SamplesOf(plan, device))));
  }
  return wire::EncodeUpdate(
      UpdateFor(plan, task, DeltaOf(plan, device, task.round), ExamplesOf(device), parameters));
}

inline net::Request BlobRequest(const Digest& digest) {
  return {"GET", "/v1/blobs/" + digest.ToHex(), "localhost", {}, {}};
}

// What the task's round shares, where it shares anything.
inline std::optional<Bytes> ParametersFor(Server& server, const std::string& device,
                                          const wire::Task& task) {
  if (!task.round_parameters) return std::nullopt;
  const net::Response blob = server.Send(Device(device), BlobRequest(*task.round_parameters));
  REQUIRE(blob.status == 200);
  return blob.body;
}

inline net::Response Put(Server& server, const std::string& device, std::uint64_t task,
                         Bytes body) {
  return server.Send(Device(device), {"PUT", TaskTarget(task), "localhost", {}, std::move(body)});
}

inline ErrorCode RefusalCode(const net::Response& response) {
  if (response.status < 300) return ErrorCode::kOk;
  const auto refusal = wire::Decode<wire::Refusal>(response.body);
  return refusal ? static_cast<ErrorCode>(refusal->code) : ErrorCode::kInternal;
}

// Each device checks in and uploads what it is asked for, in the given order, until the federation
// is done.
inline void PlayAll(Server& server, const std::vector<std::string>& devices, int turns_max = 1000) {
  for (int turn = 0; turn < turns_max; ++turn) {
    bool all_done = true;
    for (const std::string& device : devices) {
      const wire::CheckInAnswer answer = CheckInAs(server, device);
      all_done = all_done && answer.done;
      if (answer.phase) {
        CheckInAs(server, device, std::nullopt,
                  wire::PhaseMessage{answer.phase->round, answer.phase->phase, {1, 2}});
      }
      if (answer.task) {
        const net::Response response = Put(server, device, answer.task->id,
                                           GoodUpdate(server.plan(), *answer.task, device,
                                                      ParametersFor(server, device, *answer.task)));
        CHECK(response.status == 200);
      }
    }
    if (all_done) return;
    server.Pass(0.1);
  }
  FAIL("the federation did not end");
}

}  // namespace fl::server::testing
