#include <doctest/doctest.h>

#include "fl/compression/deploy/passes/mixed_precision.h"
#include "fl/compression/deploy/sensitivity.h"
#include "fl/tests/compression/deploy/branches.h"
#include "fl/tests/compression/deploy/passes/bench.h"

namespace fl::deploy {
namespace {

using testing::Bench;
using testing::Branches;
using testing::CodeOf;
using testing::Get;
using testing::PassText;

std::string Refusal(const std::string& keys) {
  const auto list = Bench().Parse(PassText("mixed_precision", keys));
  return list ? "" : list.error().message;
}

// The pass on a network with a branch of little weight.
struct BranchesBench {
  Branches branches;
  data::Subset seen = branches.SeenSubset();
  std::atomic<bool> stop{false};
  PassInputs inputs{.teacher = {branches.graph, branches.parameters},
                    .training = seen,
                    .calibration = seen,
                    .verification = seen,
                    .gate = {},
                    .rng = RngStream(3),
                    .stop = stop,
                    .normalization = "",
                    .labels = {},
                    .notes = {}};

  // How far the unseen samples' outputs are from fp32 as the rounded weights make them; the report.
  double Divergence(const MixedPrecisionConfig& config, PassReport& report) const {
    WorkingModel model{.graph = branches.graph, .parameters = branches.parameters};
    Get(MixedPrecision(config).Run(inputs, model, report));
    return DivergenceOf({{}, model.precision});
  }
  double DivergenceOf(const WeightPlan& plan) const {
    const RoundedWeights rounded = Get(RoundWeights(branches.graph, branches.parameters, plan));
    return LogitDivergence(branches.Logits(branches.parameters, branches.Unseen()),
                           branches.Logits(rounded.parameters, branches.Unseen()), 8);
  }
};

constexpr nn::WeightSpec kCodings[] = {{.bits = 2}, {.bits = 3}, {.bits = 4},
                                       {.bits = 5}, {.bits = 6}, {.bits = 8}};

TEST_CASE("mixed_precision: by every way it loses less than uniform bits of the same bytes") {
  const BranchesBench bench;
  for (const std::uint8_t bits : {std::uint8_t{3}, std::uint8_t{4}}) {
    const double plain = bench.DivergenceOf({{.bits = bits}, {}});
    MixedPrecisionConfig config;
    config.codings.assign(std::begin(kCodings), std::end(kCodings));
    config.mean_bits = bits;
    config.probes = 20;
    config.evaluations = 60;
    for (const BitsBy by : {BitsBy::kHessian, BitsBy::kFisher, BitsBy::kLogits, BitsBy::kSearch}) {
      config.by = by;
      PassReport report;
      const double mixed = bench.Divergence(config, report);
      CAPTURE(report.summary);
      CHECK(mixed < 0.7 * plain);
    }
  }
}

TEST_CASE(
    "mixed_precision: where the mix measures worse the uniform bits are taken, in a file's "
    "bytes") {
  Bench uniform;
  Get(uniform.RunList(PassText("ptq_static", "bits = 3")));
  const auto bytes = SerializeWorkingModel(uniform.model, uniform.inputs).size();
  for (const std::string by : {"hessian", "kl"}) {
    CAPTURE(by);
    Bench bench;
    Get(bench.RunList(
        PassText("mixed_precision",
                 "by = \"" + by + "\"\nwidths = [\"2\", \"3\", \"4\", \"8\"]\n" +
                     "samples = 256\nprobes = 10\nmax_bytes = " + std::to_string(bytes))));
    const bool taken = bench.report.summary.ends_with("these were taken");
    CHECK(taken == (bench.FigureOf("uniform_divergence") < bench.FigureOf("divergence")));
    if (taken) CHECK(bench.model.precision.at("dense1").bits == 3);
    Get(bench.RunList(PassText("ptq_static")));
    CHECK(SerializeWorkingModel(bench.model, bench.inputs).size() <= bytes);
  }
}

TEST_CASE("mixed_precision: mean bits are the bytes of uniform bits, and more of them lose less") {
  double before = 1e9;
  for (const std::string bits : {"2", "3", "4", "4.5", "8"}) {
    Bench bench;
    Get(bench.RunList(PassText("mixed_precision", "samples = 64\nmean_bits = " + bits)));
    CHECK(bench.FigureOf("cost") <= bench.FigureOf("budget"));
    CHECK(bench.FigureOf("divergence") <= before);
    before = bench.FigureOf("divergence");
    CHECK(bench.model.precision.size() == 3);
    if (bits == "8") CHECK(bench.FigureOf("cost") == bench.FigureOf("budget"));
  }
}

HardwareProfile Device() {
  HardwareProfile profile;
  profile.fp32_gflops = 1;
  profile.int8_gops = 1;
  profile.memory_gbps = 0.01;  // Reading weights takes most of the time.
  profile.operators = {{"conv 16 3x3", {14, 14, 1}, 20736, 41, 21}};
  return profile;
}

TEST_CASE(
    "mixed_precision: a device that computes on packed codes gets bits by its latency table") {
  Bench bench;
  bench.profile = Device();
  bench.inputs.profile = &bench.profile;
  const auto run = [&](const std::string& us) {
    bench.model.precision.clear();
    return bench.RunList(
        PassText("mixed_precision", "by = \"hardware\"\nsamples = 64\nmax_us = " + us));
  };
  Get(run("100000"));
  const double whole = bench.FigureOf("cost");
  CHECK(bench.model.precision.at("dense1").bits == 8);
  // Codes are expanded: no choice is faster.
  const auto expanded = run(std::to_string(0.7 * whole));
  REQUIRE(CodeOf(expanded) == ErrorCode::kInvalidArgument);
  CHECK(expanded.error().message.find("us cannot be reached; the least is") != std::string::npos);
  bench.profile.types = {"fp32", "int8", "int4"};
  Get(run(std::to_string(0.7 * whole)));
  CHECK(bench.FigureOf("cost") <= 0.7 * whole);
  bool four = false;
  for (const auto& [node, spec] : bench.model.precision) four = four || spec.bits == 4;
  CHECK(four);
}

TEST_CASE("mixed_precision: a budget out of reach says what the least is") {
  Bench bench;
  const auto refused = bench.RunList(PassText("mixed_precision", "max_bytes = 100\nsamples = 64"));
  REQUIRE(CodeOf(refused) == ErrorCode::kInvalidArgument);
  CHECK(refused.error().message.starts_with(
      "mixed_precision: precision: a budget of 100 bytes cannot be reached; the least is "));
  const auto no_device = bench.RunList(PassText("mixed_precision", "max_us = 5"));
  REQUIRE(CodeOf(no_device) == ErrorCode::kInvalidArgument);
  CHECK(no_device.error().message.find("expected a device profile") != std::string::npos);
  bench.given = bench.Empty();
  CHECK(CodeOf(bench.RunList(PassText("mixed_precision"))) == ErrorCode::kInvalidArgument);
  bench.given = bench.digits.training;
  bench.stop = true;
  CHECK(CodeOf(bench.RunList(PassText("mixed_precision", "mean_bits = 4\nsamples = 64"))) ==
        ErrorCode::kUnavailable);
}

TEST_CASE("mixed_precision: keys that cannot be meant are refused where they stand") {
  CHECK(Refusal("").empty());
  CHECK(Refusal("mean_bits = 4\nmax_bytes = 9").find("expected one of") != std::string::npos);
  CHECK(Refusal("by = \"hardware\"\nmean_bits = 4").find("needs max_us") != std::string::npos);
  CHECK(Refusal("by = \"luck\"\nmean_bits = 4").find("expected \"hessian\" or") !=
        std::string::npos);
  CHECK(Refusal("widths = [\"4\", \"2\"]\nmean_bits = 4").find("ascending, found \"2\"") !=
        std::string::npos);
  CHECK(Refusal("widths = [\"16\"]\nmean_bits = 4").find("found \"16\"") != std::string::npos);
  CHECK(Refusal("mean_bits = 9").find("from 2 to 8") != std::string::npos);
  const auto order =
      Bench().Parse(PassText("ptq_static") + PassText("mixed_precision", "mean_bits = 4"));
  REQUIRE(!order);
  CHECK(order.error().message.find("mixed_precision must come before ptq_static: it decides the "
                                   "bits") != std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
