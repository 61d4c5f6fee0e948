#include "fl/common/nn/session.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/initialize.h"
#include "fl/tests/common/nn/reference_run.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

void CheckLayers(const Shape& input, const std::vector<std::string>& layers) {
  const Graph graph = Build(input, layers, "mean_squared_error");
  std::vector<float> parameters = InitializeParameters(graph, RngStream(7)).values;
  // Means and variances that are not those of a fresh model.
  for (const std::size_t tensor : graph.statistics) {
    for (std::size_t i = 0; i < graph.parameters[tensor].shape.count(); ++i)
      parameters[graph.parameters.offset(tensor) + i] += 0.1F * static_cast<float>(i % 7);
  }
  const std::vector<float> samples = Normals(3 * input.count(), 9);
  const std::size_t count = graph.output_shape().count();
  for (const InstructionSet set : SupportedInstructionSets()) {
    Session session = Get(Session::Create(graph, 3, set));
    std::vector<float> output(3 * count);
    session.Run(parameters, samples, 3, output);
    double worst = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const testing::ReferenceRun expected(
          graph, parameters, std::span(samples).subspan(i * input.count(), input.count()));
      for (std::size_t j = 0; j < count; ++j) {
        worst = std::max(
            worst, std::abs(expected.output()[j] - static_cast<double>(output[i * count + j])));
      }
    }
    CAPTURE(DescribeLayers(graph).front());
    CAPTURE(InstructionSetName(set));
    CHECK(worst < 1e-4);
  }
}

void CheckWindow(const Shape& input, const std::string& line) {
  CheckLayers(input, {line});
}

TEST_CASE("Session: convolutions and pools equal their definition for each padding and stride") {
  for (const char* padding : {"valid", "same"}) {
    for (const char* stride : {"stride=1", "stride=2", "stride=3"}) {
      const std::string options = " " + std::string(stride) + " " + padding;
      for (const char* channels : {"1", "5", "16", "37", "64"}) {
        CheckWindow({9, 11, 3}, "conv " + std::string(channels) + " 3x3" + options);
      }
      CheckWindow({8, 17, 1}, "conv 40 5x2" + options);
      CheckWindow({9, 11, 19}, "maxpool 3x2" + options);
      CheckWindow({9, 11, 19}, "avgpool 2x3" + options);
    }
  }
}

TEST_CASE("Session: depthwise and grouped convolutions equal their definition") {
  for (const char* padding : {"valid", "same"}) {
    for (const char* stride : {"stride=1", "stride=2", "stride=3"}) {
      const std::string options = " " + std::string(stride) + " " + padding;
      for (const std::size_t channels : {1U, 3U, 4U, 8U, 21U, 48U})
        CheckWindow({9, 11, channels}, "depthwise 3x2" + options);
      CheckWindow({9, 11, 6}, "conv 4 3x3" + options + " groups=2");
      CheckWindow({9, 11, 36}, "conv 54 2x3" + options + " groups=3");
    }
  }
}

TEST_CASE("Session: norms and functions of one value equal their definition") {
  for (const char* line : {"batchnorm", "layernorm", "relu6", "hard_swish", "sigmoid", "tanh"}) {
    CheckLayers({37}, {line});
    CheckLayers({5, 4, 19}, {line});
    CheckLayers({37}, {"dense 40", line, "relu"});
    // A range in which the functions bend, with values that are read twice.
    CheckLayers({5, 4, 3}, {"conv 20 3x3 same", "batchnorm", "add batchnorm1 batchnorm1 conv1",
                            line, "multiply add1"});
  }
}

TEST_CASE("Session: branches equal their definition") {
  CheckLayers({8, 8, 3}, {"conv 16 3x3 same",
                          "batchnorm",
                          "relu",
                          "depthwise 3x3 same",
                          "relu6",
                          "conv 16 1x1 groups=4",
                          "add relu1",
                          "skip: conv 4 1x1 from=conv1",
                          "concat add1 relu61",
                          "gate: global_avgpool",
                          "dense 9",
                          "hard_swish",
                          "dense 36",
                          "sigmoid",
                          "multiply sigmoid1 from=concat1",
                          "flatten",
                          "reshape 16x16x9",
                          "maxpool 3 same",
                          "avgpool 2 same",
                          "flatten",
                          "layernorm",
                          "dense 5"});
  // A value that a view of it and a function overwrite only where nobody else reads it.
  CheckLayers({4, 3, 1}, {"conv 2 3x3 same", "flatten", "relu", "tanh from=flatten1", "add relu1",
                          "sigmoid from=relu1", "add add1 from=sigmoid1"});
  // Heads that nobody reads are left out.
  CheckLayers({4}, {"dense 3", "exit: dense 2", "sigmoid", "dense 2 from=dense1"});
}

TEST_CASE("Session: memory of values that are no longer read is used again") {
  std::vector<std::string> layers;
  for (int i = 0; i < 20; ++i) layers.insert(layers.end(), {"conv 8 3x3 same", "relu"});
  const Graph deep = Build({16, 16, 8}, layers, "mean_squared_error");
  const Graph shallow =
      Build({16, 16, 8}, {"conv 8 3x3 same", "relu", "conv 8 3x3 same"}, "mean_squared_error");
  CHECK(Get(Session::Create(deep, 4)).memory_bytes() ==
        Get(Session::Create(shallow, 4)).memory_bytes());
}

TEST_CASE("Session: dense layers equal their definition for each number of rows and columns") {
  for (const std::size_t units :
       {1U, 3U, 8U, 15U, 16U, 17U, 31U, 32U, 33U, 63U, 64U, 65U, 130U, 260U}) {
    const Graph graph = Build({29}, {"dense " + std::to_string(units)}, "mean_squared_error");
    const NamedTensors parameters = InitializeParameters(graph, RngStream(7));
    const std::vector<float> samples = Normals(50 * 29, 9);
    for (const InstructionSet set : SupportedInstructionSets()) {
      for (const std::size_t batch : {1U, 2U, 5U, 13U, 14U, 15U, 29U, 50U}) {
        Session session = Get(Session::Create(graph, batch, set));
        std::vector<float> output(batch * units);
        session.Run(parameters.values, std::span(samples).first(batch * 29), batch, output);
        double worst = 0;
        for (std::size_t i = 0; i < batch * units; ++i) {
          double expected = static_cast<double>(parameters.tensor(1)[i % units]);
          for (std::size_t k = 0; k < 29; ++k) {
            expected += static_cast<double>(samples[i / units * 29 + k]) *
                        static_cast<double>(parameters.tensor(0)[k * units + i % units]);
          }
          worst = std::max(worst, std::abs(expected - static_cast<double>(output[i])));
        }
        CAPTURE(units);
        CAPTURE(batch);
        CAPTURE(InstructionSetName(set));
        CHECK(worst < 1e-5);
      }
    }
  }
}

TEST_CASE("Session: a ReLU in front leaves the caller's input alone and keeps NaN") {
  const Graph graph = Build({3}, {"relu", "flatten"}, "mean_squared_error");
  Session session = Get(Session::Create(graph, 1));
  const std::vector<float> input = {-1, 2, std::nanf("")};
  std::vector<float> output(3);
  session.Run({}, input, 1, output);
  CHECK(input[0] == -1);
  CHECK(output[0] == 0);
  CHECK(output[1] == 2);
  CHECK(std::isnan(output[2]));
}

TEST_CASE("Session: a batch of none is refused") {
  CHECK(CodeOf(Session::Create(Build({3}, {"dense 2"}), 0)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("Evaluate: loss and accuracy are means over all batches") {
  const Graph graph = Build({2}, {"relu", "flatten"});
  Session session = Get(Session::Create(graph, 2));
  std::size_t left = 3;
  const Evaluation evaluation = Evaluate(session, {}, [&](const BatchBuffer& buffer) {
    const std::size_t count = std::min<std::size_t>(left, 2);
    left -= count;
    for (std::size_t i = 0; i < count; ++i) {
      buffer.input[2 * i] = 5;
      buffer.input[2 * i + 1] = 5;
      buffer.labels[i] = left == 0 ? 1 : 0;
    }
    return count;
  });
  CHECK(evaluation.count == 3);
  CHECK(evaluation.loss == doctest::Approx(std::log(2.0)));
  CHECK(evaluation.accuracy == doctest::Approx(2.0 / 3));
}

TEST_CASE("Evaluate: no samples have no accuracy") {
  Session session = Get(Session::Create(Build({2}, {"relu", "flatten"}), 2));
  const Evaluation evaluation =
      Evaluate(session, {}, [](const BatchBuffer&) { return std::size_t{0}; });
  CHECK(evaluation.count == 0);
  CHECK(std::isnan(evaluation.accuracy));
}

TEST_CASE("ArgMax: ties keep the lower index and NaN is smallest") {
  CHECK(ArgMax(std::vector<float>{1, 3, 3}) == 1);
  CHECK(ArgMax(std::vector<float>{std::nanf(""), -3, std::nanf("")}) == 1);
}

}  // namespace
}  // namespace fl::nn
