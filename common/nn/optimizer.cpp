#include "fl/common/nn/optimizer.h"

#include <cmath>
#include <string>

#include "fl/common/nn/kernels/select.h"

namespace fl::nn {
namespace {

Result<> CheckField(std::string_view name, double value, bool valid, std::string_view range) {
  if (valid && std::isfinite(value)) return {};
  return Error{ErrorCode::kInvalidArgument, std::string(name) + ": expected " + std::string(range) +
                                                ", found " + std::to_string(value)};
}

}  // namespace

Result<> SgdConfig::Validate() const {
  FL_TRY_OK(CheckField("learning_rate", learning_rate, learning_rate > 0, "a number above 0"));
  FL_TRY_OK(CheckField("momentum", momentum, momentum >= 0 && momentum < 1, "a number in [0, 1)"));
  FL_TRY_OK(CheckField("weight_decay", weight_decay, weight_decay >= 0, "0 or more"));
  FL_TRY_OK(CheckField("proximal", proximal, proximal >= 0, "0 or more"));
  return CheckField("gradient_clip", gradient_clip, gradient_clip >= 0, "0 or more");
}

double RoundLearningRate(double base, double decay, std::uint64_t round) {
  double rate = base;
  for (std::uint64_t i = 1; i < round && decay < 1; ++i) rate *= decay;
  return rate;
}

Sgd::Sgd(const SgdConfig& config, std::size_t parameter_count, InstructionSet instruction_set)
    : config_(config),
      instruction_set_(instruction_set),
      trained_{{0, parameter_count}},
      velocity_(config.momentum > 0 ? parameter_count : 0) {
  FL_CHECK(config.Validate().has_value(), "a validated config");
}

Sgd::Sgd(const SgdConfig& config, const Graph& graph, InstructionSet instruction_set)
    : Sgd(config, graph.parameters.total(), instruction_set) {
  trained_ = TrainedRanges(graph);
}

void Sgd::Step(std::span<float> gradient, std::span<const float> anchor,
               std::span<float> parameters) {
  FL_CHECK(gradient.size() == parameters.size(), "a gradient for each parameter");
  const kernels::FloatKernels& kernels = kernels::FloatKernelsFor(instruction_set_);
  if (config_.proximal > 0) {
    FL_CHECK(anchor.size() == parameters.size(), "an anchor for each parameter");
    kernels.add_proximal(parameters.data(), anchor.data(), parameters.size(),
                         static_cast<float>(config_.proximal), gradient.data());
  }
  double scale = 1;
  if (config_.gradient_clip > 0) {
    const double norm = std::sqrt(kernels.sum_of_squares(gradient.data(), gradient.size()));
    if (norm > config_.gradient_clip) scale = config_.gradient_clip / norm;
  }
  double rate = config_.learning_rate;
  ++steps_;
  if (steps_ < config_.warm_up_steps) {
    rate *= static_cast<double>(steps_) / static_cast<double>(config_.warm_up_steps);
  }
  FL_CHECK(velocity_.empty() || velocity_.size() == parameters.size(),
           "the parameters of the constructor");
  for (const CoordinateRange& range : trained_) {
    kernels.sgd({.parameters = parameters.data() + range.first,
                 .gradient = gradient.data() + range.first,
                 .velocity = velocity_.empty() ? nullptr : velocity_.data() + range.first,
                 .count = range.count,
                 .scale = static_cast<float>(scale),
                 .decay = static_cast<float>(config_.weight_decay),
                 .momentum = static_cast<float>(config_.momentum),
                 .rate = static_cast<float>(rate)});
  }
}

}  // namespace fl::nn
