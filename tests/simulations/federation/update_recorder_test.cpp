#include "fl/simulations/federation/update_recorder.h"

#include <algorithm>
#include <map>

#include "fl/common/base/file.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/common/wire/update.h"
#include "fl/tests/simulations/small_federation.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::sim {
namespace {

using testing::Get;
using testing::SmallFederation;
using testing::TemporaryFolder;

// Content by path below the folder.
std::map<std::string, Bytes> ReadAll(const std::filesystem::path& folder) {
  std::map<std::string, Bytes> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = std::filesystem::relative(entry.path(), folder).string();
    files[name] = Get(ReadFile(entry.path(), 1U << 20));
  }
  return files;
}

std::map<std::string, Bytes> Recorded(const std::vector<std::string>& settings,
                                      RecordOptions options, std::size_t threads = 1) {
  const TemporaryFolder folder;
  options.folder = folder.path();
  SmallFederation federation(settings, {.threads = threads, .record = std::move(options)});
  federation.Play();
  return ReadAll(folder.path());
}

std::size_t CountOf(const std::map<std::string, Bytes>& files, std::string_view ending) {
  return static_cast<std::size_t>(
      std::ranges::count_if(files, [&](const auto& file) { return file.first.ends_with(ending); }));
}

TEST_CASE("UpdateRecorder: each accepted update lies beside its delta and the plan") {
  const TemporaryFolder folder;
  SmallFederation federation({}, {.threads = 1, .record = {.folder = folder.path()}});
  const server::Report report = federation.Play();
  const auto files = ReadAll(folder.path());
  CHECK(CountOf(files, ".update") == report.totals.accepted);
  CHECK(CountOf(files, ".safetensors") == report.totals.accepted);
  CHECK(files.size() == 2 * report.totals.accepted + 1);
  CHECK(files.contains("plan.toml"));
  std::uint64_t bytes = 0;
  for (const auto& [name, content] : files) bytes += name.ends_with(".update") ? content.size() : 0;
  CHECK(bytes <= report.totals.traffic.body_bytes_up);
}

// Of the first round, where there is no residual yet: the delta is the update, but for rounding.
TEST_CASE("UpdateRecorder: a delta is what was sent and what was left out") {
  const auto files = Recorded({}, {.folder = {}, .every = 5});
  const auto raw = Recorded({"compression.recipe=[]"}, {.folder = {}, .every = 5});
  REQUIRE(CountOf(files, ".safetensors") == 4);
  for (const auto& [name, content] : files) {
    if (!name.ends_with(".safetensors")) continue;
    CAPTURE(name);
    REQUIRE(raw.contains(name));
    const SafetensorsFile sent = Get(ParseSafetensors(content));
    const SafetensorsFile exact = Get(ParseSafetensors(raw.at(name)));
    REQUIRE(sent.tensors.size() == exact.tensors.size());
    for (std::size_t t = 0; t < sent.tensors.size(); ++t) {
      const auto values = Get(LoadFloats(sent.tensors[t]));
      const auto wanted = Get(LoadFloats(exact.tensors[t]));
      for (std::size_t i = 0; i < values.size(); ++i)
        CHECK(values[i] == doctest::Approx(wanted[i]).epsilon(1e-6));
    }
  }
}

TEST_CASE("UpdateRecorder: the same plan records the same bytes on any number of threads") {
  CHECK(Recorded({}, {}, 1) == Recorded({}, {}, 4));
}

TEST_CASE("UpdateRecorder: rounds between are left out") {
  const auto files = Recorded({}, {.folder = {}, .every = 2});
  for (const auto& [name, content] : files)
    CHECK((name == "plan.toml" || name.starts_with("round-000001/") ||
           name.starts_with("round-000003/") || name.starts_with("round-000005/")));
  CHECK(CountOf(files, ".update") == 12);
}

TEST_CASE("UpdateRecorder: recording ends before its limit is passed") {
  const auto files = Recorded({}, {.folder = {}, .bytes_max = 2500});
  std::size_t bytes = 0;
  for (const auto& [name, content] : files) bytes += name == "plan.toml" ? 0 : content.size();
  CHECK(bytes <= 2500);
  CHECK(CountOf(files, ".update") >= 1);
  CHECK(CountOf(files, ".update") < 20);
}

TEST_CASE("UpdateRecorder: a lossy plan without residuals records no deltas") {
  const auto files = Recorded({"compression.residual=false"}, {});
  CHECK(CountOf(files, ".update") == 20);
  CHECK(CountOf(files, ".safetensors") == 0);
}

}  // namespace
}  // namespace fl::sim
