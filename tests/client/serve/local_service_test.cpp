#include "fl/client/serve/local_service.h"

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "fl/common/base/file.h"
#include "fl/common/crypto/sha256.h"
#include "fl/tests/client/serve/small_models.h"
#include "fl/tests/support/local_http.h"
#include "fl/tests/support/process.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::client {
namespace {

using fl::testing::Eventually;
using fl::testing::Get;
using nlohmann::json;
using testing::SmallIntegerFile;
using testing::SmallModelFile;

constexpr double kPatience = 60;
constexpr const char* kZeros = R"({"sample":[0,0,0,0]})";

// Keeps the answer for whoever waits for it.
class PromisedAnswer final : public net::Responder {
 public:
  explicit PromisedAnswer(std::promise<net::Response> answer) : answer_(std::move(answer)) {}
  void Send(net::Response response) override { answer_.set_value(std::move(response)); }

 private:
  std::promise<net::Response> answer_;
};

// A service over a folder, without a socket.
class Bench {
 public:
  explicit Bench(const Bytes& installed = {}, Duration period = std::chrono::milliseconds(1))
      : store_(folder_.path()) {
    if (!installed.empty()) REQUIRE(store_.Install(installed));
    slot_.emplace(store_, log_, period);
    service_.emplace(*slot_);
  }

  net::Response Ask(const std::string& method, const std::string& target,
                    const std::string& body = {}, net::Headers headers = {},
                    const std::string& host = "localhost") {
    std::promise<net::Response> promise;
    auto answer = promise.get_future();
    service_->OnRequest({}, {method, target, host, std::move(headers), ToBytes(body)},
                        std::make_unique<PromisedAnswer>(std::move(promise)));
    return answer.get();
  }
  json Predict(const std::string& body) {
    const net::Response response = Ask("POST", "/predict", body);
    REQUIRE(response.status == 200);
    return json::parse(AsText(response.body));
  }
  bool Serves(const Bytes& file) {
    return Eventually(kPatience, [&] {
      const auto model = slot_->current();
      return model != nullptr && model->digest() == crypto::Sha256(file);
    });
  }

  const InstalledStore& store() const { return store_; }
  ModelSlot& slot() { return *slot_; }
  LocalService& service() { return *service_; }

 private:
  const fl::testing::TemporaryFolder folder_;
  const Logger log_{LogLevel::kOff};
  InstalledStore store_;
  std::optional<ModelSlot> slot_;
  std::optional<LocalService> service_;
};

std::string Text(const net::Response& response) {
  return std::string(AsText(response.body));
}

TEST_CASE("LocalService: answers class, label and probabilities with the model's digest") {
  const Bytes file = SmallModelFile(1);
  Bench bench(file);
  const json answer = bench.Predict(R"({"samples":[[0,0,0,0],[20,0,0,5]]})");
  CHECK(answer.at("model_sha256") == crypto::Sha256(file).ToHex());
  REQUIRE(answer.at("predictions").size() == 2);
  const json& first = answer.at("predictions")[0];
  CHECK(first.at("class") == 1);
  CHECK(first.at("label") == "bee");
  REQUIRE(first.at("probabilities").size() == 3);
  CHECK(first.at("probabilities")[1].get<double>() == doctest::Approx(0.99991).epsilon(1e-4));
  CHECK(first.at("confidence") == first.at("probabilities")[1]);
  CHECK(answer.at("predictions")[1].at("label") == "ant");
}

TEST_CASE("LocalService: an int8 model answers by the integer engine") {
  Bench bench(SmallIntegerFile(2));
  CHECK(bench.Predict(kZeros).at("predictions")[0].at("class") == 2);
  CHECK(json::parse(Text(bench.Ask("GET", "/model"))).at("precision") == "int8");
}

TEST_CASE("LocalService: samples are raw, the model's normalization is applied") {
  // Class 2 begins with 10; the first feature counts in 255ths.
  Bench bench(SmallModelFile(2, "unit"));
  CHECK(bench.Predict(R"({"sample":[255,0,0,0]})").at("predictions")[0].at("class") == 2);
  CHECK(bench.Predict(R"({"sample":[5100,0,0,0]})").at("predictions")[0].at("class") == 0);
}

TEST_CASE("LocalService: the card says what the model is") {
  const Bytes file = SmallModelFile(0);
  Bench bench(file);
  const net::Response response = bench.Ask("GET", "/model");
  CHECK(response.status == 200);
  CHECK(net::FindHeader(response.headers, "Content-Type") == "application/json");
  const json card = json::parse(Text(response));
  CHECK(card.at("name") == "insects");
  CHECK(card.at("bytes") == file.size());
  CHECK(card.at("precision") == "fp32");
  CHECK(card.at("parameters") == 15);
  CHECK(card.at("layers") == json({"dense 3"}));
  CHECK(card.at("labels") == json({"ant", "bee", "cat"}));
  CHECK(card.at("accuracy") == 0.75);
  CHECK(card.at("model_version").is_null());
  CHECK(card.at("installed").get<std::string>().starts_with("20"));
  CHECK(card.at("notes").at("federation") == "insects");
}

TEST_CASE("LocalService: the card says how a file holds its floats") {
  nn::FloatModel model = testing::SmallModel(0);
  model.storage = nn::FloatStorage::kBf16;
  Bench bench(nn::SerializeModelFile({std::move(model), {}, {}, {}}));
  CHECK(json::parse(Text(bench.Ask("GET", "/model"))).at("precision") == "bf16");
}

TEST_CASE("LocalService: what is wrong is refused with what was expected and found") {
  Bench bench(SmallModelFile(0));
  const auto refusal = [&](unsigned status, const net::Response& response) {
    CHECK(response.status == status);
    return json::parse(Text(response)).at("error").get<std::string>();
  };
  CHECK(refusal(400, bench.Ask("POST", "/predict", "{")).find("expected JSON") !=
        std::string::npos);
  CHECK(refusal(422, bench.Ask("POST", "/predict", R"({"sample":[1]})")) ==
        "sample 0: expected 4 values, found 1");
  CHECK(refusal(422, bench.Ask("POST", "/predict", R"({"sample":[1e39,0,0,0]})")).find("fp32") !=
        std::string::npos);
  std::string many = R"({"samples":[[0,0,0,0])";
  for (std::size_t i = 0; i < PredictLimits().samples_max; ++i) many += ",[0,0,0,0]";
  refusal(413, bench.Ask("POST", "/predict", many + "]}"));
  refusal(404, bench.Ask("GET", "/other"));
  const net::Response wrong_method = bench.Ask("GET", "/predict");
  refusal(405, wrong_method);
  CHECK(net::FindHeader(wrong_method.headers, "Allow") == "POST");
  refusal(405, bench.Ask("POST", "/model"));
}

TEST_CASE("LocalService: a web page is refused, by its Origin or by the name it came by") {
  Bench bench(SmallModelFile(0));
  CHECK(bench.Ask("POST", "/predict", kZeros, {{"Origin", "https://example.org"}}).status == 403);
  for (const char* host : {"example.org", "127.example.org:80", "localhost.example.org"}) {
    CHECK(bench.Ask("GET", "/model", {}, {}, host).status == 403);
  }
  for (const char* host : {"localhost:8080", "127.0.0.1:1", "[::1]:1", "[::1]", ""}) {
    CHECK(bench.Ask("GET", "/model", {}, {}, host).status == 200);
  }
}

TEST_CASE("LocalService: until something is installed it answers 503, then it serves") {
  Bench bench;
  CHECK(bench.Ask("GET", "/health").status == 503);
  CHECK(bench.Ask("GET", "/model").status == 503);
  CHECK(bench.Ask("POST", "/predict", kZeros).status == 503);
  REQUIRE(bench.store().Install(SmallModelFile(1)));
  REQUIRE(bench.Serves(SmallModelFile(1)));
  CHECK(bench.Ask("GET", "/health").status == 200);
}

TEST_CASE("LocalService: once it is stopped it predicts no more") {
  Bench bench(SmallModelFile(0));
  bench.service().Stop();
  CHECK(bench.Ask("POST", "/predict", kZeros).status == 503);
}

TEST_CASE("LocalService: a damaged file changes nothing until a good one is installed") {
  const Bytes first = SmallModelFile(0);
  Bench bench(first);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, first.size() - 1}) {
    const std::filesystem::path path = bench.store().current_path();
    REQUIRE(WriteFileAtomically(path, ByteSpan(first).first(size)));
    bench.slot().Refresh();
    CHECK(bench.Predict(kZeros).at("predictions")[0].at("class") == 0);
  }
  REQUIRE(WriteFileAtomically(bench.store().current_path(), SmallModelFile(2)));
  REQUIRE(bench.Serves(SmallModelFile(2)));
  CHECK(bench.Predict(kZeros).at("predictions")[0].at("class") == 2);
}

TEST_CASE("LocalService: each answer is wholly of one model while models are swapped") {
  const std::vector<Bytes> files = {SmallModelFile(0), SmallModelFile(1), SmallModelFile(2)};
  std::map<std::string, std::size_t> favourite;
  for (std::size_t i = 0; i < files.size(); ++i) {
    favourite[crypto::Sha256(files[i]).ToHex()] = i;
  }
  Bench bench(files[0]);
  const auto server = Get(net::HttpServer::StartLocal({}, {}, 2, bench.service()));
  std::string body = R"({"samples":[[0,0,0,0])";
  for (int i = 1; i < 100; ++i) body += ",[0,0,0,0]";
  body += "]}";
  std::atomic<bool> stop = false;
  std::atomic<int> right = 0;
  std::atomic<int> wrong = 0;
  Guarded<std::set<std::size_t>> seen;
  std::vector<std::thread> askers;
  askers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    askers.emplace_back([&] {
      const auto client = fl::testing::LocalHttp::ToPort(server->port());
      while (!stop) {
        const auto answer = client.Ask("POST", "/predict", body);
        const json parsed = json::parse(answer.body, nullptr, false);
        bool is_right = answer.status == 200 && !parsed.is_discarded() &&
                        parsed.at("predictions").size() == 100;
        if (is_right) {
          const std::size_t model = favourite.at(parsed.at("model_sha256"));
          seen.With([&](auto& models) { models.insert(model); });
          for (const json& one : parsed.at("predictions")) is_right &= one.at("class") == model;
        }
        ++(is_right ? right : wrong);
      }
    });
  }
  for (std::size_t i = 1; i <= 30; ++i) {
    const bool goes_back = i % 4 == 0;
    REQUIRE((goes_back ? bench.store().Rollback() : bench.store().Install(files[i % 3])));
    REQUIRE(bench.Serves(Get(bench.store().Current())));
    const int before = right;
    Eventually(kPatience, [&] { return right > before; });
  }
  stop = true;
  for (std::thread& asker : askers) asker.join();
  CHECK(wrong == 0);
  CHECK(right >= 30);
  CHECK(seen.With([](auto& models) { return models.size(); }) == 3);
}

}  // namespace
}  // namespace fl::client
