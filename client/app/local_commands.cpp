#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "fl/client/app/commands.h"
#include "fl/client/app/draw.h"
#include "fl/client/deploy/installed_store.h"
#include "fl/client/deploy/local_model.h"
#include "fl/client/serve/drift_file.h"
#include "fl/client/state/device_folder.h"
#include "fl/client/state/file_content_cache.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::client {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPictureBytesMax = 64U << 20;
constexpr std::size_t kActivityLines = 20;

// The plan that the device follows, which says how data are read.
Result<std::shared_ptr<const CheckedPlan>> FollowedPlan(const std::string& state) {
  FL_TRY(const DeviceState device, DeviceFolder::ReadState(state));
  FileContentCache cache(fs::path(state) / "cache");
  auto plan = device.plan ? cache.FindPlan(*device.plan) : nullptr;
  if (plan == nullptr) {
    return Error{ErrorCode::kNotFound,
                 state + ": expected the plan of a federation, found none; run the device first"};
  }
  return plan;
}

Result<LocalModel> LoadInstalled(const std::string& state) {
  const auto file = InstalledStore(DeviceFolder::LocalPath(state)).Current();
  if (!file) {
    if (file.error().code != ErrorCode::kNotFound) return file.error();
    return Error{ErrorCode::kNotFound, state + ": no local model is installed yet"};
  }
  return LocalModel::Load(*file);
}

Result<std::shared_ptr<const data::Dataset>> OpenPicture(const std::string& path,
                                                         const CheckedPlan& plan) {
  FL_TRY(const Bytes bytes, ReadFile(path, kPictureBytesMax));
  FL_TRY(const data::SourceOptions options, SourceOptionsOf(plan));
  auto samples = ParsePgm(bytes, options.classes);
  if (!samples) return samples.error().At(path);
  FL_TRY(data::Dataset dataset, data::Dataset::Create(*std::move(samples), options.normalization));
  return std::make_shared<const data::Dataset>(std::move(dataset));
}

// Predicts samples and prints them as they come; JSON all together at the end.
class PredictionPrinter {
 public:
  PredictionPrinter(LocalModel& model, const PredictCall& call) : model_(model), call_(call) {}

  Result<> Print(const std::string& name, const data::Dataset& dataset, std::size_t index,
                 bool labelled) {
    FL_TRY(const data::Dataset normalized, dataset.WithNormalization(model_.normalization()));
    std::vector<float> sample(dataset.features());
    normalized.CopySample(index, sample);
    FL_TRY(const Prediction prediction, model_.Predict(sample));
    dataset.CopySample(index, sample);
    if (dataset.classes() == 0) {
      PrintNumber(name, prediction, dataset.targets()[index]);
      return {};
    }
    const std::string truth =
        labelled ? ClassName(static_cast<std::size_t>(dataset.labels()[index])) : std::string();
    if (call_.draw) Draw(dataset.shape(), sample);
    PrintClass(name, prediction, truth);
    return {};
  }

  void Finish() const {
    if (call_.json) std::cout << all_.dump(2) << '\n';
  }

 private:
  void Draw(const Shape& shape, std::span<const float> sample) const {
    if (call_.json || shape.rank() < 2) return;
    const std::size_t height = shape[0];
    const std::size_t width = shape[1];
    if (height * width != sample.size()) return;
    std::cout << DrawPicture(sample, height, width);
  }

  std::string ClassName(std::size_t index) const {
    return index < model_.labels().size() ? model_.labels()[index] : std::to_string(index);
  }

  // An empty `truth` is not known.
  void PrintClass(const std::string& name, const Prediction& prediction, const std::string& truth) {
    const std::string predicted = ClassName(prediction.index);
    if (call_.json) {
      nlohmann::ordered_json row = {
          {"sample", name}, {"predicted", predicted}, {"confidence", prediction.confidence}};
      if (!truth.empty()) row["label"] = truth;
      all_.push_back(std::move(row));
      return;
    }
    char confidence[32];
    std::snprintf(confidence, sizeof(confidence), "%.1f %%",
                  100.0 * static_cast<double>(prediction.confidence));
    std::cout << name << ": " << predicted << " (" << confidence << ")";
    if (!truth.empty()) std::cout << (truth == predicted ? ", right" : ", wrong: " + truth);
    std::cout << '\n';
  }

  void PrintNumber(const std::string& name, const Prediction& prediction, float target) {
    if (call_.json) {
      all_.push_back(
          {{"sample", name}, {"predicted", prediction.outputs.front()}, {"target", target}});
      return;
    }
    std::cout << name << ": " << prediction.outputs.front() << " (target " << target << ")\n";
  }

  LocalModel& model_;
  const PredictCall& call_;
  nlohmann::ordered_json all_ = nlohmann::ordered_json::array();
};

nlohmann::ordered_json DescribeDevice(const DeviceState& device, const std::string& state) {
  const auto local = InstalledStore(DeviceFolder::LocalPath(state)).Current();
  nlohmann::ordered_json info;
  info["client"] = device.client;
  info["federation"] = device.federation;
  if (device.plan) info["plan_sha256"] = device.plan->ToHex();
  if (device.model) info["model_version"] = device.model->version;
  info["check_ins"] = device.counters.check_ins;
  info["trained"] = device.counters.trained;
  info["evaluated"] = device.counters.evaluated;
  info["deployed"] = device.counters.deployed;
  info["accepted"] = device.counters.accepted;
  info["refused"] = device.counters.refused;
  info["bytes_up"] = device.counters.bytes_up;
  // As measured; what is not yet is left out.
  if (device.speed.upload_bytes_per_second > 0)
    info["upload_bytes_per_second"] = device.speed.upload_bytes_per_second;
  if (device.speed.training_s > 0) info["training_seconds"] = device.speed.training_s;
  info["update_waiting"] = device.staged.has_value();
  info["residual_norm"] = device.residual == nullptr ? 0.0 : NormL2(device.residual->values);
  if (device.residual != nullptr) info["residual_round"] = device.residual_round;
  if (device.velocity != nullptr) info["velocity_norm"] = NormL2(device.velocity->values);
  info["residual_tensors_dropped"] = device.counters.residual_tensors_dropped;
  info["local_model_bytes"] = local ? local->size() : 0;
  // What who serves it has seen; left out where nobody has.
  if (const auto drift = ReadDrift(state))
    info["served"] = nlohmann::ordered_json::parse(drift->json, nullptr, false);
  return info;
}

}  // namespace

Result<> Predict(const PredictCall& call) {
  FL_TRY(const std::shared_ptr<const CheckedPlan> plan, FollowedPlan(call.state));
  FL_TRY(LocalModel model, LoadInstalled(call.state));
  PredictionPrinter printer(model, call);
  for (const std::string& path : call.images) {
    FL_TRY(const auto picture, OpenPicture(path, *plan));
    FL_TRY_OK(printer.Print(path, *picture, 0, false));
  }
  if (!call.data.empty()) {
    FL_TRY(const auto dataset, OpenSamples(call.data, *plan));
    for (std::size_t i = 0; i < std::min(call.count, dataset->count()); ++i) {
      FL_TRY_OK(printer.Print("sample " + std::to_string(i), *dataset, i, true));
    }
  }
  printer.Finish();
  return {};
}

Result<> Rollback(const std::string& state) {
  FL_TRY_OK(InstalledStore(DeviceFolder::LocalPath(state)).Rollback());
  std::cout << "the previous local model is installed again\n";
  return {};
}

Result<> ShowInfo(const std::string& state, bool json) {
  FL_TRY(const DeviceState device, DeviceFolder::ReadState(state));
  nlohmann::ordered_json info = DescribeDevice(device, state);
  const auto lines = DeviceFolder::ReadActivity(state, kActivityLines);
  if (json) {
    info["activity"] = nlohmann::ordered_json::array();
    for (const std::string& line : lines) {
      // A crash can have cut the last line.
      auto activity = nlohmann::ordered_json::parse(line, nullptr, false);
      if (!activity.is_discarded()) info["activity"].push_back(std::move(activity));
    }
    std::cout << info.dump(2) << '\n';
    return {};
  }
  for (const auto& [key, value] : info.items()) {
    std::cout << key << ": " << (value.is_string() ? value.get<std::string>() : value.dump())
              << '\n';
  }
  std::cout << "last activity:\n";
  for (const std::string& line : lines) std::cout << "  " << line << '\n';
  return {};
}

}  // namespace fl::client
