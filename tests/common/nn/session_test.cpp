#include "fl/common/nn/session.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/internal/forward.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

// A node's output for one image by the definition, with bounds checked pixel by pixel.
std::vector<double> Reference(const Graph& graph, const Node& node,
                              std::span<const float> parameters, std::span<const float> input) {
  const Shape& in = graph.nodes[node.inputs[0]].shape;
  const auto pad = [&](std::size_t axis, std::size_t kernel) {
    const std::size_t covered = (node.shape[axis] - 1) * node.stride + kernel;
    return node.same_padding && covered > in[axis] ? static_cast<long>((covered - in[axis]) / 2)
                                                   : 0L;
  };
  const long pad_top = pad(0, node.kernel_height);
  const long pad_left = pad(1, node.kernel_width);
  const std::size_t channels_in = in[2];
  const std::size_t channels = node.shape[2];
  const bool convolution = node.kind == OpKind::kConv2d;
  const float* weight =
      convolution ? parameters.data() + graph.parameters.offset(node.parameters[0]) : nullptr;
  const float* bias =
      convolution ? parameters.data() + graph.parameters.offset(node.parameters[1]) : nullptr;
  std::vector<double> output;
  for (std::size_t y = 0; y < node.shape[0]; ++y) {
    for (std::size_t x = 0; x < node.shape[1]; ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = convolution ? static_cast<double>(bias[c]) : 0;
        double largest = -1e30;
        double seen = 0;
        for (std::size_t ky = 0; ky < node.kernel_height; ++ky) {
          for (std::size_t kx = 0; kx < node.kernel_width; ++kx) {
            const long from_y = static_cast<long>(y * node.stride + ky) - pad_top;
            const long from_x = static_cast<long>(x * node.stride + kx) - pad_left;
            if (from_y < 0 || from_x < 0 || from_y >= static_cast<long>(in[0]) ||
                from_x >= static_cast<long>(in[1])) {
              continue;
            }
            const float* pixel = input.data() + (static_cast<std::size_t>(from_y) * in[1] +
                                                 static_cast<std::size_t>(from_x)) *
                                                    channels_in;
            ++seen;
            if (!convolution) {
              sum += static_cast<double>(pixel[c]);
              largest = std::max(largest, static_cast<double>(pixel[c]));
              continue;
            }
            for (std::size_t i = 0; i < channels_in; ++i) {
              sum += static_cast<double>(pixel[i]) *
                     static_cast<double>(
                         weight[((ky * node.kernel_width + kx) * channels_in + i) * channels + c]);
            }
          }
        }
        output.push_back(convolution ? sum : node.kind == OpKind::kMaxPool ? largest : sum / seen);
      }
    }
  }
  return output;
}

void CheckWindow(const Shape& input, const std::string& line) {
  const Graph graph = Build(input, {line}, "mean_squared_error");
  const std::vector<float> parameters = InitializeParameters(graph, RngStream(7)).values;
  const std::vector<float> samples = Normals(3 * input.count(), 9);
  const std::size_t count = graph.output_shape().count();
  for (const InstructionSet set : SupportedInstructionSets()) {
    Session session = Get(Session::Create(graph, 3, set));
    std::vector<float> output(3 * count);
    session.Run(parameters, samples, 3, output);
    double worst = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::vector<double> expected =
          Reference(graph, graph.nodes[1], parameters,
                    std::span(samples).subspan(i * input.count(), input.count()));
      for (std::size_t j = 0; j < count; ++j) {
        worst = std::max(worst, std::abs(expected[j] - static_cast<double>(output[i * count + j])));
      }
    }
    CAPTURE(line);
    CAPTURE(InstructionSetName(set));
    CHECK(worst < 1e-4);
  }
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
