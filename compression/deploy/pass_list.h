#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

// `distil`: trains a small network (the student) on the local data to say what the global model
// (the teacher) says (Hinton et al. 2015, arXiv:1503.02531).
//   L = alpha * crossentropy(student, label) + (1 - alpha) * T^2 * KL(teacher / T, student / T)
struct DistilConfig {
  std::vector<std::string>
      layers;                   // The student's, as in [model]; none: the teacher itself goes on.
  std::uint32_t epochs = 10;    // Passes over the local training data, >= 1.
  std::uint32_t steps = 0;      // Steps in all; 0: as many as the epochs have.
  std::uint32_t batch = 32;     // Samples a step, >= 1.
  double learning_rate = 0.05;  // After the warm-up, > 0; halved when a run fails.
  double momentum = 0.9;        // In [0, 1).
  double alpha = 0.3;           // Weight of the labels, in [0, 1].
  double temperature = 4;       // In [1, 20].
  std::uint32_t warmup = 50;    // Steps in which the learning rate rises to its value.
  double clip = 1.0;            // Largest L2 norm of a step's gradient, > 0.
  nn::Graph student;  // Of `layers`, built and checked against the teacher's input and output.
};

enum class Observer : std::uint8_t {
  kMinMax,  // The least and the largest activation seen.
  kMse,     // The range in between that loses least.
};

// `ptq_static`: weights to int8, a scale for each channel; activations to int8 with ranges measured
// on local samples.
struct PtqStaticConfig {
  std::uint32_t samples = 512;  // Calibration samples at most, >= 1.
  Observer observer = Observer::kMse;
};

// `verify`: measures the integer model on samples that no other pass saw. The gate stands in
// [deployment].
struct VerifyConfig {};

struct Pass {
  std::string name;
  Location location;
  std::variant<DistilConfig, PtqStaticConfig, VerifyConfig> config;
};

using PassList = std::vector<Pass>;

// Reads [[deployment.pass]]: keys `layers`, `epochs`, `steps`, `batch`, `learning_rate`,
// `momentum`, `alpha`, `temperature`, `warmup`, `clip` of distil; `samples`, `observer` ("minmax",
// "mse"), `weights` ("channel") of ptq_static. Refuses, "LINE:COLUMN: ..." first: unknown passes
// and keys, values out of range, an order other than [distil] ptq_static verify, a student that
// does not fit the teacher's input and output. kInvalidArgument or kUnsupported.
Result<PassList> ParsePassList(const DeploymentConfig& deployment, const nn::Graph& teacher);

}  // namespace fl::deploy
