// What `auto` may spend, round by round and client by client.
#include "fl/compression/rate/budget.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "fl/compression/check_plan.h"
#include "fl/compression/encode_segments.h"
#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl::rate {
namespace {

using testing::CodeOf;
using testing::Get;

Result<BudgetRule> Read(const std::string& text) {
  return ReadBudget(Get(ParseRecipe(text)).stages.front());
}

BudgetRule RuleOf(const std::string& text) {
  return Get(Read(text));
}

std::string RefusalOf(const std::string& text) {
  const auto rule = Read(text);
  return rule ? std::string() : rule.error().message;
}

RoundFeedback Loss(double loss) {
  RoundFeedback feedback;
  feedback.loss = loss;
  feedback.updates = 4;
  feedback.examples = 400;
  return feedback;
}

TEST_CASE("budget: what stands behind auto") {
  const BudgetRule plain = RuleOf("auto bytes=60KB");
  CHECK(plain == BudgetRule{.bytes = 60'000});
  CHECK_FALSE(plain.moves());
  const BudgetRule all =
      RuleOf("auto bytes=60KB start=25% patience=5 warmup=3 per=weight deadline=30s");
  CHECK(all == BudgetRule{60'000, 0.25, 5, 3, true, true, 30});
  CHECK(all.LeastBytes() == 3750);
  CHECK(RuleOf("auto deadline=1.5s").bytes == 1'000'000'000);
  CHECK(RuleOf("auto deadline=1.5s").deadline_s == 1.5);
  CHECK(RuleOf("auto bytes=1KB deadline=round").deadline_s == BudgetRule::kRound);
  CHECK(RuleOf("auto bytes=1KB start=1%").start == 0.01);
}

TEST_CASE("budget: what is refused, in words") {
  const auto says = [](const std::string& text, std::string_view part) {
    CAPTURE(text);
    CHECK(RefusalOf(text).find(part) != std::string::npos);
  };
  says("auto", "expected what an update may take");
  says("auto start=25%", "expected what an update may take");
  says("auto deadline=30s start=25%", "expected bytes=N beside them");
  says("auto deadline=30s per=weight", "expected bytes=N beside them");
  says("auto bytes=1KB warmup=3", "expected start=P% beside them");
  says("auto bytes=1KB patience=3", "expected start=P% beside them");
  for (const char* start : {"0.9%", "100%", "25", "x%", "%", "-3%"})
    says(std::string("auto bytes=1KB start=") + start, "start: expected");
  for (const char* rounds : {"0", "10001", "x", "-1"}) {
    says(std::string("auto bytes=1KB start=25% warmup=") + rounds, "warmup: expected");
    says(std::string("auto bytes=1KB start=25% patience=") + rounds, "patience: expected");
  }
  for (const char* deadline : {"0s", "30", "1000001s", "s", "soon"})
    says(std::string("auto bytes=1KB deadline=") + deadline, "deadline: expected");
  says("auto bytes=1KB per=client", "per: expected per=weight");
  says("auto bytes=1KB bytes=2KB", "given twice");
  says("auto bytes=1KB budget=2KB", "unknown option");
}

TEST_CASE("budget: a state is read as it was written, and no other bytes are") {
  const BudgetState state{0.5F, 1.25F, 1.0F, 300.0F, 7};
  const Bytes part = state.Encode();
  REQUIRE(part.size() == BudgetState::kBytes);
  CHECK(Get(BudgetState::Decode(part)) == state);
  const auto refused = [](BudgetState wrong) {
    return CodeOf(BudgetState::Decode(wrong.Encode())) == ErrorCode::kInvalidArgument;
  };
  const float infinite = std::numeric_limits<float>::infinity();
  CHECK(refused({.share = 0}));
  CHECK(refused({.share = 1.001F}));
  CHECK(refused({.share = std::numeric_limits<float>::quiet_NaN()}));
  CHECK(refused({.loss = -1}));
  CHECK(refused({.best = infinite}));
  CHECK(refused({.examples = infinite}));
  CHECK(CodeOf(BudgetState::Decode(ByteSpan(part).first(19))) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(BudgetState::Decode(Bytes(21))) == ErrorCode::kInvalidArgument);
}

TEST_CASE("budget: it doubles when the loss stands still, up to the cap") {
  const BudgetRule rule = RuleOf("auto bytes=1KB start=25% patience=3");
  BudgetState state = FirstBudget(rule);
  CHECK(state.share == 0.25F);
  std::uint64_t round = 1;
  double loss = 2;
  while (loss > 0.5) {
    state = NextBudget(rule, state, round++, Loss(loss));
    loss *= 0.9;
    CHECK(state.share == 0.25F);
    CHECK(state.waited == 0);
  }
  std::vector<float> shares;
  for (int i = 0; i < 12; ++i) {
    state = NextBudget(rule, state, round++, Loss(0.5));
    shares.push_back(state.share);
  }
  CHECK(std::ranges::is_sorted(shares));
  CHECK(std::ranges::find(shares, 0.5F) != shares.end());
  CHECK(shares.back() == 1.0F);
  CHECK(ChooseBudget(rule, state, {round, 10, {}}).bytes == 1000);
  // Rounds whose loss nobody knows, or that is none, change nothing.
  const BudgetState still = FirstBudget(rule);
  RoundFeedback unknown = Loss(0);
  unknown.loss.reset();
  CHECK(NextBudget(rule, still, 1, unknown) == still);
  CHECK(NextBudget(rule, still, 1, Loss(-1)) == still);
  CHECK(NextBudget(rule, still, 1, Loss(std::numeric_limits<double>::infinity())) == still);
  // Without patience= it stays.
  const BudgetRule fixed = RuleOf("auto bytes=1KB start=25%");
  CHECK(NextBudget(fixed, still, 1, Loss(0.5)) == still);
}

TEST_CASE("budget: a warm-up falls from the cap to the start, and waits with the loss") {
  const BudgetRule rule = RuleOf("auto bytes=1600 start=25% warmup=2 patience=1");
  const BudgetState state = FirstBudget(rule);
  const auto bytes = [&](std::uint64_t round) {
    return ChooseBudget(rule, state, {round, 1, {}}).bytes;
  };
  CHECK(bytes(1) == 1600);
  CHECK(bytes(2) >= 799);
  CHECK(bytes(2) <= 801);
  CHECK(bytes(3) == 400);
  CHECK(bytes(100) == 400);
  CHECK(bytes(0) == 400);
  CHECK(NextBudget(rule, state, 2, Loss(0.5)) == state);
  CHECK(NextBudget(rule, state, 3, Loss(0.5)).best == 0.5F);
  CHECK(ChooseBudget(rule, state, {1, 1, {}}).reason == "warm-up, the cap");
  CHECK(ChooseBudget(rule, state, {3, 1, {}}).reason == "25 % of the cap");
}

TEST_CASE("budget: in proportion to the weight to the power two thirds") {
  const BudgetRule rule = RuleOf("auto bytes=8KB start=50% per=weight");
  BudgetState state = FirstBudget(rule);
  const auto bytes = [&](std::uint64_t examples) {
    return static_cast<double>(ChooseBudget(rule, state, {5, examples, {}}).bytes);
  };
  CHECK(bytes(12345) == 4000);  // Nobody knows the mean yet.
  state = NextBudget(rule, state, 1, Loss(1));
  CHECK(state.examples == 100.0F);
  CHECK(bytes(100) == doctest::Approx(4000).epsilon(0.001));
  CHECK(bytes(200) == doctest::Approx(4000 * 1.5874).epsilon(0.001));
  CHECK(bytes(50) == doctest::Approx(4000 / 1.5874).epsilon(0.001));
  CHECK(bytes(800) == 8000);  // 16000 by its weight.
  CHECK(bytes(1) == 1000);    // A quarter of the usual at the least.
  CHECK(bytes(0) == 1000);
  CHECK(bytes(std::numeric_limits<std::uint64_t>::max()) == 8000);
}

TEST_CASE("budget: a deadline leaves seven tenths of what the link carries") {
  const BudgetRule rule = RuleOf("auto bytes=60KB deadline=30s");
  const auto choose = [&](double seconds, double speed) {
    return ChooseBudget(rule, FirstBudget(rule), {1, 1, TimeLeft{seconds, speed, true}});
  };
  CHECK(choose(10, 1000).bytes == 7000);
  CHECK(choose(10, 1000).reason == "10 s left to send at 1000 bytes/s");
  CHECK(choose(100, 1000).bytes == 60'000);
  CHECK(choose(100, 1000).reason == "the cap");
  CHECK(choose(0, 1000).bytes == 0);
  CHECK(choose(-5, 1000).bytes == 0);
}

CompressionConfig Compression(const std::string& recipe) {
  CompressionConfig compression;
  compression.gathered = {recipe, {}};
  compression.rules.push_back({{"*", {}}, {recipe, {}}});
  return compression;
}

TEST_CASE("budget: one part of the round's parameters for all segments, behind the codecs' own") {
  const TensorLayout layout({{"a", Shape{60, 50}}, {"b", Shape{40, 90}}});
  CompressionConfig compression = Compression("auto bytes=1500 start=50% patience=1");
  compression.rules.insert(compression.rules.begin(),
                           RecipeRule{{"a", {}}, {"shared_mask 10% | quantize 8", {}}});
  const SegmentPlan plan = Get(SegmentPlan::Create(compression, layout));
  RoundParameters parameters = plan.InitialRoundParameters();
  REQUIRE(parameters.bytes.size() == sizeof(std::uint64_t) + BudgetState::kBytes);
  CHECK(Get(plan.ReadBudgetState(parameters)).share == 0.5F);
  const std::vector<float> aggregate(layout.total());
  parameters.round = 1;
  for (int i = 0; i < 2; ++i) parameters = plan.NextRoundParameters(parameters, aggregate, Loss(1));
  CHECK(Get(plan.ReadBudgetState(parameters)).share == 1.0F);
  CHECK(parameters.round == 3);
  parameters.bytes.pop_back();
  CHECK(CodeOf(plan.ReadBudgetState(parameters)) == ErrorCode::kInvalidArgument);
  const SegmentPlan plain = Get(SegmentPlan::Create(Compression("auto bytes=1500"), layout));
  CHECK(plain.InitialRoundParameters().bytes.empty());
  CHECK(plain.EncodedBytesMax() == 1500);
}

TEST_CASE("budget: an update fills what its round allows, and no time sends nothing") {
  const TensorLayout layout({{"a", Shape{60, 50}}, {"b", Shape{40, 90}}});
  const SegmentPlan plan = Get(SegmentPlan::Create(Compression("auto bytes=1500"), layout));
  const auto flat = testing::NormalValues(layout.total(), RngStream(4));
  const auto size = [&](std::uint64_t bytes) {
    std::size_t total = 100;
    EncodeSegments(plan, flat, {}, RngStream(1), {{100, bytes}}, [&](const EncodedSegment& each) {
      total += 1 + VarintSize(each.payload.size()) + each.payload.size();
    });
    return total;
  };
  for (const std::uint64_t bytes : {400U, 700U, 1500U}) {
    CHECK(size(bytes) <= bytes);
    CHECK(static_cast<double>(size(bytes)) >= 0.95 * static_cast<double>(bytes));
  }
  CHECK(size(0) == 104);
}

TEST_CASE("budget: a plan is refused whose smallest budget cannot hold the rest") {
  const auto check = [](const std::string& recipe, const std::string& weights) {
    const std::string text =
        "name = \"p\"\n[model]\ninput = [8]\nlayers = [\"dense 200\"]\n"
        "[aggregation]\nweights = \"" +
        weights + "\"\n[compression]\ngathered = \"" + recipe +
        "\"\n[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"" + recipe + "\"\n";
    const auto plan = CheckPlan(Get(ParsePlan(text, "p.toml")), "p.toml");
    return plan ? std::string() : plan.error().message;
  };
  CHECK(check("auto bytes=1000 start=25%", "examples").empty());
  CHECK(check("auto bytes=1000 start=5%", "examples").find("by start= and per=") !=
        std::string::npos);
  CHECK(check("auto bytes=1000 per=weight", "examples").empty());
  CHECK(check("auto bytes=1000 per=weight", "uniform").find("all weigh the same") !=
        std::string::npos);
  CHECK(check("auto deadline=30s", "uniform").empty());
}

}  // namespace
}  // namespace fl::rate
