#include "fl/simulations/federation/device_actor.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/base/thread_pool.h"
#include "fl/simulations/federation/server_actor.h"
#include "fl/simulations/federation/shared_contents.h"
#include "fl/tests/simulations/small_federation.h"
#include "fl/tests/support/result.h"

namespace fl::sim {
namespace {

using testing::CornersData;
using testing::CornersPlan;
using testing::Get;

template <typename Message>
double BytesOf(const Message& message) {
  return static_cast<double>(net::SerializeHead(message).size() + message.body.size());
}

// What one task of a device took, and what travelled for it.
struct TaskSeen {
  double seconds = 0;  // From the check-in that brought it until its update was acknowledged.
  double messages = 0;
  double bytes_up = 0;
  double bytes_down = 0;
};

// One device and the server, played by hand until the device has done its tasks.
class Pair {
 public:
  Pair(const std::shared_ptr<const CheckedPlan>& plan, const DeviceProfile& profile)
      : server_(Get(ServerActor::Create(plan, nullptr, {queue_, pool_, stop_}))) {
    FederationData data = CornersData(*plan);
    client::LocalData local = client::SplitLocalData(data.ShareOf(0), plan->plan, profile.name);
    device_ = Get(DeviceActor::Create(
        {0, plan->plan.seed, profile, plan->plan.training.epochs}, std::move(local),
        {queue_, pool_, stop_, cache_, DeviceCache::Keep::kAsLongAsShared, log_}));
  }

  const DeviceActor& device() const { return *device_; }

  std::vector<TaskSeen> Play(std::size_t tasks) {
    std::vector<TaskSeen> all;
    TaskSeen task;
    TimePoint begun = queue_.now();
    while (all.size() < tasks) {
      REQUIRE_FALSE(queue_.empty());
      if (queue_.next_actor() == Queue::kServer) {
        PlayServer(task);
        continue;
      }
      Event event = queue_.Pop();
      if (std::holds_alternative<DeviceTimer>(event)) {  // A pause is over: it checks in.
        task = {};
        begun = queue_.now();
      }
      Get(device_->Handle(std::move(event)));
      if (device_->state().counters.accepted == all.size()) continue;
      task.seconds = ToSeconds(queue_.now() - begun);
      all.push_back(task);
    }
    return all;
  }

 private:
  void PlayServer(TaskSeen& task) {
    std::vector<Event> events;
    const TimePoint now = queue_.next_time();
    while (queue_.next_time() == now && queue_.next_actor() == Queue::kServer) {
      events.push_back(queue_.Pop());
      const auto* arrived = std::get_if<RequestReceived>(&events.back());
      if (arrived == nullptr) continue;
      ++task.messages;
      task.bytes_up += BytesOf(arrived->request);
    }
    auto outcome = Get(server_->Handle(std::move(events)));
    for (ServerActor::Reply& reply : outcome.replies) {
      ++task.messages;
      task.bytes_down += BytesOf(reply.response);
      device_->Deliver(reply.id, std::move(reply.response));
    }
  }

  Queue queue_;
  SharedContents cache_{4};
  std::atomic<bool> stop_{false};
  Logger log_{LogLevel::kOff};
  ThreadPool pool_{0};
  std::unique_ptr<ServerActor> server_;
  std::unique_ptr<DeviceActor> device_;
};

// Task 1: check-in, plan, training, update. Task 2: check-in, model, training, update. Each request
// has an answer, and nothing of it happens at the same time.
TEST_CASE(
    "DeviceActor: a task takes its messages' latencies, its bytes over bandwidth and training") {
  const auto plan = CornersPlan({"simulation.devices=1", "rounds.population_min=1", "rounds.goal=1",
                                 "rounds.min_report=1", "training.epochs=2",
                                 "model.layers=[\"dense 8000\", \"relu\", \"dense 4\"]"});
  const DeviceProfile profile{.name = DeviceName(0),
                              .link = {.bits_per_second_up = 600e3,
                                       .bits_per_second_down = 1.5e6,
                                       .latency = std::chrono::milliseconds(125)},
                              .examples_per_second = 900,
                              .drop_out = 0};
  Pair pair(plan, profile);
  const std::vector<TaskSeen> tasks = pair.Play(2);
  const double training = 2.0 * static_cast<double>(pair.device().data().training.count()) / 900;
  for (const TaskSeen& task : tasks) {
    CHECK(task.messages == 6);
    const double latencies = task.messages * 0.125;
    const double up = 8 * task.bytes_up / 600e3;
    const double down = 8 * task.bytes_down / 1.5e6;
    CHECK(task.seconds == doctest::Approx(latencies + up + down + training).epsilon(0.01));
    // None of them hides in the hundredth.
    CHECK(std::min({latencies, up, training}) > 0.1 * task.seconds);
  }
  const double model_bytes = 4.0 * static_cast<double>(plan->graph.parameters.total());
  CHECK(tasks[1].bytes_down > 0.5 * model_bytes);
  CHECK(8 * tasks[1].bytes_down / 1.5e6 > 0.1 * tasks[1].seconds);
}

}  // namespace
}  // namespace fl::sim
