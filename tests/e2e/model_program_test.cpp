// fl-model as a process: statuses, messages, and what it leaves behind.
#include <algorithm>
#include <filesystem>

#include <doctest/doctest.h>

#include "fl/tests/support/process.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kFailed = 1;
constexpr int kWrongCall = 2;
const std::string kQuickstart = FL_TEST_SOURCE_DIR "/configs/quickstart.toml";
const std::string kSamples = "idx:" FL_TEST_SOURCE_DIR "/data/mnist-mini/train";

// A folder with a model that knows some digits.
class Desk {
 public:
  Desk() {
    const Outcome made = RunProgram(
        {Program("fl-sim"), "run", kQuickstart, "--set", "rounds.count=2", "--out", Path("sim")},
        folder_.path() / "outcome");
    REQUIRE(made.status == 0);
  }
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string Model() const { return Path("sim/model.safetensors"); }
  std::string Write(const std::string& name, const std::string& text) const {
    WriteText(Path(name), text);
    return Path(name);
  }
  Outcome Run(std::vector<std::string> call) const {
    call.insert(call.begin(), Program("fl-model"));
    return RunProgram(call, folder_.path() / "outcome");
  }
  Outcome Compress(const std::string& list, const std::string& out) const {
    return Run({"compress", Model(), "--passes", list, "--data", kSamples, "--out", out});
  }

 private:
  TemporaryFolder folder_;
};

// The call ends with the status, and its last line says why.
void CheckSays(const Outcome& outcome, int status, const std::vector<std::string>& parts) {
  CAPTURE(outcome.err);
  CHECK(outcome.status == status);
  REQUIRE(outcome.err.ends_with('\n'));
  const std::string_view text(outcome.err.data(), outcome.err.size() - 1);
  const std::string_view line = text.substr(text.rfind('\n') + 1);
  CHECK(line.starts_with("fl-model: "));
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(line.find(part) != std::string_view::npos);
  }
}

const std::string kInt8 = FL_TEST_SOURCE_DIR "/configs/passes/int8.toml";

TEST_CASE("fl-model: files that are damaged, missing or of another kind are named, with status 2") {
  const Desk desk;
  const std::string whole = ReadText(desk.Model());
  const std::string cut = desk.Write("cut.safetensors", whole.substr(0, whole.size() / 2));
  CheckSays(desk.Run({"info", cut}), kWrongCall, {cut});
  CheckSays(desk.Run({"bench", cut}), kWrongCall, {cut});
  CheckSays(desk.Run({"evaluate", cut, "--data", kSamples}), kWrongCall, {cut});
  CheckSays(desk.Run({"info", desk.Path("none")}), kWrongCall, {"none", "No such file"});
  CheckSays(desk.Run({"evaluate", desk.Model(), "--data", "idx:" + desk.Path("nothing")}),
            kWrongCall, {"nothing"});
  CheckSays(desk.Compress(desk.Path("none.toml"), desk.Path("o")), kWrongCall, {"none.toml"});
}

TEST_CASE("fl-model compress: a list in a wrong order is refused where it stands") {
  const Desk desk;
  const std::string list =
      desk.Write("list.toml",
                 "[deployment]\n[[deployment.pass]]\npass = \"ptq_static\"\n[[deployment.pass]]\n"
                 "pass = \"prune_channels\"\n[[deployment.pass]]\npass = \"verify\"\n");
  CheckSays(desk.Compress(list, desk.Path("o")), kWrongCall,
            {"list.toml:5:", "prune_channels must come before ptq_static"});
  CHECK_FALSE(fs::exists(desk.Path("o")));
}

TEST_CASE(
    "fl-model compress: what misses its bounds is not written, and what was reached is said") {
  const Desk desk;
  const std::string out = desk.Write("small.safetensors", "the file before");
  CheckSays(desk.Run({"compress", desk.Model(), "--passes", kInt8, "--data", kSamples, "--set",
                      "bytes_max=1000", "--out", out}),
            kFailed, {"was not written", "bytes; at most 1000"});
  CheckSays(desk.Run({"compress", desk.Model(), "--auto", "--max-bytes", "200", "--seconds", "1",
                      "--data", kSamples, "--out", out}),
            kFailed, {"was not written", "200"});
  CHECK(ReadText(out) == "the file before");
  CheckSays(desk.Compress(kInt8, desk.Path("no/folder/o")), kWrongCall, {"no/folder"});
  CheckSays(desk.Run({"compress", desk.Model(), "--passes", kInt8, "--auto", "--data", kSamples,
                      "--out", out}),
            kWrongCall, {"--passes or --auto"});
  CheckSays(desk.Run({"compress", desk.Model(), "--auto", "--prefer", "luck", "--data", kSamples,
                      "--out", out}),
            kWrongCall, {"--prefer: expected balance", "luck"});
}

TEST_CASE("fl-model: a compressed model is evaluated, timed, exported and read again") {
  const Desk desk;
  const std::string small = desk.Path("small.safetensors");
  REQUIRE(desk.Compress(kInt8, small).status == 0);
  CHECK(fs::file_size(small) < fs::file_size(desk.Model()) / 3);
  const Outcome accuracy = desk.Run({"evaluate", small, "--data", kSamples});
  CHECK(accuracy.status == 0);
  CHECK(accuracy.out.find("int8 engine") != std::string::npos);
  CHECK(desk.Run({"bench", small, "--runs", "20"}).status == 0);
  const std::string onnx = desk.Path("small.onnx");
  CHECK(desk.Run({"export", small, "--format", "onnx", "--out", onnx}).status == 0);
  CHECK(fs::file_size(onnx) > 0);
}

}  // namespace
}  // namespace fl::testing
