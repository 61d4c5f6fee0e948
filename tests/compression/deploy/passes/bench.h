#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>

#include "fl/common/config/pass_file.h"
#include "fl/common/data/dataset.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/tests/compression/deploy/trained_digits.h"

namespace fl::deploy::testing {

// What passes work with: a network of digits, its training samples to calibrate with.
struct Bench {
  const TrainedDigits& digits = Convolutions();
  data::Subset given = digits.training;
  std::atomic<bool> stop{false};
  HardwareProfile profile;
  PassInputs inputs{.teacher = {digits.graph, digits.parameters},
                    .training = given,
                    .calibration = given,
                    .verification = digits.unseen,
                    .gate = {},
                    .rng = RngStream(3),
                    .stop = stop,
                    .normalization = "",
                    .labels = {},
                    .notes = {}};
  WorkingModel model{.graph = digits.graph, .parameters = digits.parameters};
  PassReport report;  // Of the last pass.

  Result<> Run(const Pass& pass) {
    report = {};
    return pass.Run(inputs, model, report);
  }
  // Passes as [[deployment.pass]] tables, "pass = " and their keys; in order, but with no need of
  // verify.
  Result<> RunList(const std::string& passes) {
    FL_TRY(const PassList list, Parse(passes));
    for (const PassEntry& entry : list) FL_TRY_OK(Run(*entry.pass));
    return {};
  }
  Result<PassList> Parse(const std::string& passes) const {
    FL_TRY(const DeploymentConfig config,
           ParsePassFile("[deployment]\nversion = 1\n" + passes, "list"));
    return ParsePassList(config, digits.graph, PassListUse::kFile);
  }

  // No samples; 40 that are all zero.
  data::Subset Empty() const { return data::Subset(digits.training.shared_dataset(), {}); }
  static data::Subset Constant() {
    data::Samples samples;
    samples.shape = Shape{28, 28, 1};
    samples.features = std::vector<float>(40 * 784, 0.0F);
    samples.labels.assign(40, 1);
    samples.classes = 10;
    return data::Subset(
        std::make_shared<data::Dataset>(Get(data::Dataset::Create(std::move(samples)))));
  }

  std::size_t IndexOf(const std::string& name) const {
    const auto found = std::ranges::find(model.graph.nodes, name, &nn::Node::name);
    return static_cast<std::size_t>(found - model.graph.nodes.begin());
  }
  const nn::QuantizedNode& NodeOf(const std::string& name) const {
    return model.quantized->nodes.at(IndexOf(name));
  }
  double FigureOf(const std::string& name) const {
    return std::ranges::find(report.figures, name, &Figure::name)->value;
  }

  // Mean square of what the integer model's logits differ by from the teacher's, on unseen samples.
  double IntegerError() const {
    constexpr std::size_t kCount = 200;
    nn::IntegerSession session = Get(nn::IntegerSession::Create(*model.quantized, kCount));
    std::vector<float> samples(kCount * 784);
    for (std::size_t i = 0; i < kCount; ++i)
      digits.unseen.CopySample(i, std::span(samples).subspan(i * 784, 784));
    std::vector<float> found(kCount * 10);
    session.Run(samples, kCount, found);
    const std::vector<float> wanted = Get(nn::OutputsOf(
        digits.graph, digits.parameters, {samples, kCount}, digits.graph.nodes.size() - 1));
    double sum = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double difference = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
      sum += difference * difference;
    }
    return sum / static_cast<double>(found.size());
  }
};

// "[[deployment.pass]]" with its lines.
inline std::string PassText(const std::string& name, const std::string& keys = "") {
  return "[[deployment.pass]]\npass = \"" + name + "\"\n" + keys + "\n";
}

}  // namespace fl::deploy::testing
