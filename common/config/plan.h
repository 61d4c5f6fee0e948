#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/calibration_config.h"
#include "fl/common/config/personalize_config.h"
#include "fl/common/config/simulation_config.h"

namespace fl {

// Where a value stands in the plan's text; line and column start at 1.
struct Location {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend bool operator==(const Location&, const Location&) = default;
};

// A piece of text in a language of its own and where it stands, for a later parser's errors.
struct LocatedText {
  std::string text;
  Location location;
  friend bool operator==(const LocatedText&, const LocatedText&) = default;
};

// [model]: the network as readable lines; nn::BuildGraph reads them.
struct ModelConfig {
  std::vector<std::size_t> input;   // Extents of one sample, channels last, e.g. [28, 28, 1].
  std::vector<LocatedText> layers;  // "conv 32 5x5 same", "relu", "flatten", "dense 10", ...
  std::string loss = "softmax_cross_entropy";  // Or "mean_squared_error".
};

// [data]: what a sample is. Sources (files) are named by the client's --data, or by [simulation]
// for fl-sim.
struct DataConfig {
  std::string label;                     // CSV: the label's column; empty: the last one.
  std::vector<std::string> categorical;  // CSV: columns to one-hot encode. All others are numeric.
  std::vector<std::string> ignore;       // CSV: columns to leave out.
  std::string missing = "refuse";  // CSV: empty or "?" fields: or "mean" (numeric) / own category.
  std::optional<double> target_max;  // Regression: larger targets count as this one.
  std::string normalize =
      "none";  // "none", "unit" (bytes / 255), "standard" (mean and scale below), or "fitted": each
               // device's own mean and deviation, which go with its local model.
  std::string fit = "feature";  // With "fitted": over "all" values, by "channel" or by "feature".
  std::vector<double> mean;     // With "standard": one value for each feature, or one for all.
  std::vector<double> scale;    // With "standard": divisors, > 0, as many as mean.
  double holdout = 0.2;         // Share of a client's samples that it never trains on, in [0, 0.9].
};

// [training]: local training; a job takes it as it stands.
struct TrainingConfig {
  std::uint32_t epochs = 1;          // Passes over the local data, >= 1.
  std::uint32_t batch_size = 10;     // Samples a step, >= 1.
  double learning_rate = 0.1;        // In round 1, > 0.
  double learning_rate_decay = 1.0;  // Factor from round to round, in (0, 1].
  double momentum = 0.0;             // In [0, 1).
  double weight_decay = 0.0;         // L2, >= 0.
  double proximal = 0.0;             // FedProx's mu, >= 0.
  double width = 1.0;          // Share of each hidden layer's units that a round trains, (0, 1].
  double gradient_clip = 0.0;  // Largest L2 norm of a step's gradient; 0: no clipping.
  std::vector<LocatedText> freeze;  // Globs over tensor names: what is neither trained nor sent.
};

// [rounds]: the policy.
struct RoundsConfig {
  std::uint32_t count = 10;          // Rounds to publish before the federation is done, >= 1.
  std::uint32_t population_min = 1;  // Clients known before the first round opens, >= 1.
  std::uint32_t goal = 1;            // Updates wanted, >= 1.
  double over_select = 1.0;          // Cohort = ceil(goal * over_select), in [1, 4].
  std::uint32_t min_report = 1;      // Fewest updates to publish with, in [1, goal].
  double deadline_s = 300;           // From opening to closing, seconds, > 0.
  std::uint32_t max_staleness = 0;   // Rounds that an update may be late; 0: only its own.
  double wait_s = 5;                 // How long an idle client stays away, about, seconds, > 0.
  std::vector<std::string> phases = {
      "collect"};  // "hello" before "collect" asks each of the cohort for a greeting first.
};

// [[recipe]]: which codec for which tensors; the first rule that matches a tensor's name wins.
struct RecipeRule {
  LocatedText tensors;  // A glob over tensor names: "*", "dense*.weight".
  LocatedText recipe;   // In the recipe language.
};

// [compression]: how updates are encoded.
struct CompressionConfig {
  std::vector<RecipeRule> rules;      // None: everything raw.
  std::uint32_t gather_below = 1024;  // Smaller tensors are coded as one, by `gathered`.
  LocatedText gathered = {"quantize 8",
                          {}};  // Recipe of the gathered ones (only where a rule is not raw).
  bool residual = true;         // Error feedback on lossy recipes.
  std::uint32_t residual_rounds_max =
      0;  // A residual is dropped when this many rounds have passed since it changed; 0: never.
  double momentum = 0.0;  // Of each client's changes, from one of its updates to the next, in
                          // [0, 1); 0: none.
};

// [[stream]]: more than the two streams that each update has (delta, metrics).
struct StreamConfig {
  std::string name;    // Unique, not "delta" or "metrics".
  std::string source;  // What the client measures: "label_counts".
  LocatedText recipe = {"raw", {}};
  std::string combiner = "sum";  // "sum" or "weighted_mean".
};

// [aggregation]: how updates become the next model.
struct AggregationConfig {
  std::string weights = "examples";  // "examples" or "uniform".
  std::string strategy = "fedavg";   // "fedavg" or "fetch_sgd".
  double momentum = 0.9;             // "fetch_sgd": of the aggregates, round by round, in [0, 1).
  // "fetch_sgd": of sketched values, those that a step changes: a share, or from 1 on how many.
  double keep = 0;                // 0: an eighth of the columns.
  double server_step = 1.0;       // Factor on the aggregate, in (0, 10].
  std::string publish = "exact";  // The wanted model: "exact", "half" (bf16), "lattice" (in steps).
  // With "lattice": step of the matrices, in [2^-12, 4]; vectors take half. Absent ("auto"): the
  // server chooses it, round by round.
  std::optional<double> lattice_step = 0.0625;
  std::uint64_t downlink_bytes = 0;  // With "auto": most bytes of a usual change; 0: no bound.
  std::uint32_t change_versions_max =
      1;                               // Not "lattice": versions back that a change is offered to.
  std::string released = "published";  // Or "average": a running average of the versions.
  double average_decay = 0.85;  // With "average": most weight of the earlier versions, in [0, 1).
  bool keep_updates = false;    // Keep a round's updates after it is published.
};

// [privacy]
struct PrivacyConfig {
  double clip_norm = 0;   // Largest L2 norm of delta + residual that a client sends; 0: any.
  double norm_bound = 0;  // Largest L2 norm that the server accepts; 0: no bound. >= clip_norm.
  double noise_multiplier = 0;      // Refused when not 0: not available in this version.
  bool secure_aggregation = false;  // Refused when true: not available in this version.
};

// [[deployment.pass]]: a step of the pass list; its other keys as they stand, for the pass's own
// parser.
struct PassConfig {
  using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;
  struct Field {
    std::string key;
    Value value;
    Location location;
  };
  LocatedText name;
  std::vector<Field> fields;
};

// [deployment]: the local model. No passes: nothing is deployed.
struct DeploymentConfig {
  std::uint32_t version = 1;
  double drop_points_max = 2.0;  // Points of accuracy that it may lie below the teacher, >= 0.
  std::uint64_t bytes_max = 0;   // Largest model file; 0: no bound.
  double drift_max = 0;  // Drift of what is served above which a device deploys anew; 0: never.
  std::uint32_t made_below = 50;  // A device with fewer samples gets made ones, too; 0: never.
  PersonalizeConfig personalize;
  CalibrationConfig calibration;
  std::vector<PassConfig> passes;
};

// [evaluation]: what each version is measured on.
struct EvaluationConfig {
  std::string data;           // The server's own data, a source (see fl::data); empty: none.
  std::uint32_t clients = 0;  // Asked to measure each version's released model on their hold-out.
};

// All that clients need to take part, and what fl-sim needs to play them. Read from TOML by
// LoadPlan; checked in itself there (unknown keys, types, ranges) and as a whole by
// compression::CheckPlan.
struct Plan {
  std::string name;  // The federation's: 1 to 64 of a-z 0-9 - _.
  std::uint64_t seed = 1;
  ModelConfig model;
  DataConfig data;
  TrainingConfig training;
  RoundsConfig rounds;
  CompressionConfig compression;
  std::vector<StreamConfig> streams;
  AggregationConfig aggregation;
  PrivacyConfig privacy;
  EvaluationConfig evaluation;
  DeploymentConfig deployment;
  SimulationConfig simulation;

  std::string source;  // The text itself: what clients download and the plan's digest is of.
};

// Reads a plan. Errors are kInvalidArgument or kMalformed and begin "NAME:LINE:COLUMN: ", NAME as
// given (a file's path).
Result<Plan> ParsePlan(std::string_view text, std::string_view name);
Result<Plan> LoadPlan(const std::string& path);

// The plan's text with "key.subkey=value" settings applied (a value in TOML's notation; a bare word
// counts as a string), as fl-sim --set does; the result is again a plan's text. kInvalidArgument
// names the setting.
Result<std::string> OverridePlan(std::string_view text, const std::vector<std::string>& settings);

}  // namespace fl
