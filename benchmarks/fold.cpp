#include "fl/server/fold/fold.h"

#include <unistd.h>

#include <cstdio>

#include <sys/resource.h>
#include <sys/wait.h>

#include "fl/benchmarks/load/fleet.h"
#include "fl/benchmarks/measure.h"
#include "fl/benchmarks/server.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/run_fold.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/sqlite_storage.h"

namespace fl::bench {
namespace {

constexpr std::size_t kUpdates = 20;
constexpr double kMebibyte = 1U << 20;

std::string PlanOf(const std::string& recipe) {
  return "name = \"fold\"\nseed = 1\n[model]\ninput = [2500]\n"
         "layers = [\"dense 1000\", \"dense 2500\", \"dense 1000\", \"dense 2500\"]\n"
         "loss = \"mean_squared_error\"\n"
         "[rounds]\npopulation_min = 20\ngoal = 20\nmin_report = 20\n"
         "[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"" +
         recipe + "\"\n";
}

Bytes EncodedUpdate(const server::FederationPlan& plan, std::uint64_t seed) {
  wire::Update update;
  update.recipe = plan.recipe();
  update.examples = 100;
  for (const server::StreamPlan& stream : plan.streams()) {
    if (stream.id > wire::kStreamMetrics) break;
    wire::UpdateStream& made = update.streams.emplace_back();
    made.id = stream.id;
    const auto segments = stream.segments->segments();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const Codec& codec = *segments[i].codec;
      std::vector<float> values(codec.count());
      RngStream(seed).Child("segment", i).FillUniform(values);
      ByteWriter out;
      codec.Encode(values, {}, plan.ParametersOf(stream, plan.initial_parameters()),
                   RngStream(seed), out);
      made.entries.push_back({i, std::move(out).Take()});
    }
  }
  return wire::EncodeUpdate(update);
}

struct InMemory {
  double axpy = 0;  // Both in bytes of fp32 a second of the processor.
  double fold = 0;
};

// Updates in memory, parsed; the sums are those of the fold. Each pass adds the same values by
// axpy, too, so that what else the machine does cancels.
Result<InMemory> FoldInMemory(const std::string& recipe, std::size_t repeats) {
  FL_TRY(const auto plan, MakePlan(PlanOf(recipe)));
  std::vector<server::JournalEntry> entries;
  for (std::size_t i = 0; i < kUpdates; ++i) {
    entries.push_back({i, 100, EncodedUpdate(*plan, i + 1), 1});
  }
  FL_TRY(const auto journal, server::ParsedJournal::Parse(*plan, std::move(entries)));
  const std::size_t count = plan->layout().total();
  std::vector<std::vector<float>> values(kUpdates, std::vector<float>(count, 0.25F));
  std::vector<double> axpy;
  std::vector<double> fold;
  for (std::size_t pass = 0; pass < repeats + 1; ++pass) {
    const double added = Seconds([&] {
      std::vector<float> sum(count);  // The fold's result is new memory, too.
      for (const std::vector<float>& one : values) kernels::Axpy(100.0F, one, sum);
    });
    const double folded = Seconds([&] { server::Fold(*plan, journal, {}, nullptr); });
    if (pass == 0) continue;
    axpy.push_back(added);
    fold.push_back(folded);
  }
  const double bytes = 4.0 * static_cast<double>(count * kUpdates);
  return InMemory{bytes / Median(axpy), bytes / Median(fold)};
}

// A round of updates in a database, as the server would close it.
Result<> FillStorage(server::Storage& storage, const server::FederationPlan& plan) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), server::TransactionMode::kExclusive));
  FL_TRY(auto federation, transaction->FindFederation(plan.name()));
  federation->round = 1;
  FL_TRY_OK(transaction->Put(*federation));
  server::RoundRow round;
  round.federation = plan.name();
  round.number = 1;
  round.state = server::RoundState::kFolding;
  round.cohort = kUpdates;
  round.accepted = kUpdates;
  FL_TRY_OK(transaction->Put(round));
  server::Journal journal(*transaction);
  for (std::size_t i = 0; i < kUpdates; ++i) {
    server::TaskRow task;
    task.id = i + 1;
    task.federation = plan.name();
    task.round = 1;
    task.slot = i;
    task.client = "device-" + std::to_string(i);
    const Bytes update = EncodedUpdate(plan, i + 1);
    task.reserved_bytes = update.size();
    for (std::size_t at = 0; at < update.size(); at += 1U << 20) {
      const ByteSpan rest = ByteSpan(update).subspan(at);
      FL_TRY_OK(
          journal.AppendChunk(task, rest.first(std::min<std::size_t>(rest.size(), 1U << 20))));
    }
    FL_TRY_OK(journal.Commit(task, 1, 100, TimePoint{}));
  }
  return transaction->Commit();
}

struct FromJournal {
  double rate = 0;     // Bytes of updates a second of the processor.
  double peak_mb = 0;  // MiB, resident, of a process that does nothing else.
  double before_mb = 0;
};

double PeakMb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

Result<> FoldOnce(server::Storage& storage, const server::FederationPlan& plan) {
  std::vector<server::JournalEntry> entries;
  {
    FL_TRY(const auto transaction,
           storage.Begin(plan.name(), server::TransactionMode::kOptimistic));
    FL_TRY(entries, server::Journal(*transaction).Read(plan.name(), 1));
  }
  FL_TRY(const auto journal, server::ParsedJournal::Parse(plan, std::move(entries)));
  server::Fold(plan, journal, {}, nullptr);
  return Ok{};
}

// In a process of its own, for its memory.
Result<FromJournal> FoldFromJournal(const std::string& path, std::size_t repeats) {
  FL_TRY(const auto plan, MakePlan(PlanOf("raw")));
  FL_TRY(const auto storage, server::OpenSqliteStorage(path));
  FromJournal measured;
  measured.before_mb = PeakMb();
  const double bytes = 4.0 * static_cast<double>(plan->layout().total() * kUpdates);
  std::vector<double> seconds;
  for (std::size_t pass = 0; pass < repeats + 1; ++pass) {
    Result<> done = Ok{};
    seconds.push_back(Seconds([&] { done = FoldOnce(*storage, *plan); }));
    FL_TRY_OK(done);
  }
  seconds.erase(seconds.begin());  // It warmed up.
  measured.rate = bytes / Median(std::move(seconds));
  measured.peak_mb = PeakMb();
  return measured;
}

Result<FromJournal> InChild(const std::string& path, std::size_t repeats) {
  int pipe[2];
  if (::pipe(pipe) != 0) return Error{ErrorCode::kIo, "bench: no descriptor is left"};
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<FromJournal> measured = FoldFromJournal(path, repeats);
    if (!measured) std::fprintf(stderr, "fl-bench: %s\n", measured.error().message.c_str());
    const bool told =
        measured && ::write(pipe[1], &*measured, sizeof(*measured)) == sizeof(*measured);
    ::_exit(told ? 0 : 1);
  }
  ::close(pipe[1]);
  FromJournal measured;
  const bool heard = ::read(pipe[0], &measured, sizeof(measured)) == sizeof(measured);
  ::close(pipe[0]);
  ::waitpid(child, nullptr, 0);
  if (!heard) return Error{ErrorCode::kIo, "bench: folding from the journal failed"};
  return measured;
}

Result<> AddJournal(const ServerConfig& config, Report& report) {
  const ScratchFolder folder(std::filesystem::temp_directory_path());
  const std::string path = (folder.path() / "state.db").string();
  FL_TRY(const auto plan, MakePlan(PlanOf("raw")));
  {
    FL_TRY(const auto storage, server::OpenSqliteStorage(path));
    FL_TRY_OK(server::ServerCore::Create(*storage, plan, SystemClock().Now()));
    FL_TRY_OK(FillStorage(*storage, *plan));
  }
  FL_TRY(const FromJournal measured, InChild(path, config.conditions.repeats));
  const double model = 4.0 * static_cast<double>(plan->layout().total()) / kMebibyte;
  char text[96];
  std::snprintf(text, sizeof(text), "2 models of %.0f MiB + 64 MiB; %.0f MiB before the fold",
                model, measured.before_mb);
  report.Add({"fold/journal", measured.rate / 1e9, "GB/s of fp32", Bar::AtLeast(4),
              "read, parsed and folded, the file in the page cache"});
  report.Add({"fold/memory", measured.peak_mb, "MiB", Bar::AtMost(2 * model + 64), text});
  return Ok{};
}

}  // namespace

Result<> RunFoldRows(const ServerConfig& config, Report& report) {
  const auto wanted = [&](std::string_view part) {
    return part.find(config.only) != std::string_view::npos;
  };
  if (wanted("fold")) {
    FL_TRY_OK(AddJournal(config, report));  // First, while this process is small.
    FL_TRY(const InMemory raw, FoldInMemory("raw", config.conditions.repeats));
    FL_TRY(const InMemory int8, FoldInMemory("quantize 8", config.conditions.repeats));
    const double least = __builtin_cpu_supports("avx512f") != 0 ? 1.5 : 1.3;
    report.Add({"fold/axpy", raw.axpy / 1e9, "GB/s of fp32", std::nullopt,
                "20 updates of 4 x 2.5 M values in memory"});
    report.Add({"fold/raw", raw.fold / raw.axpy, "of axpy", Bar::AtLeast(1), "in the same run"});
    report.Add(
        {"fold/int8", int8.fold / int8.axpy, "of axpy", Bar::AtLeast(least), "in the same run"});
    const auto numpy = config.peers.find("numpy_fold");
    if (numpy != config.peers.end()) {
      report.Add({"fold/numpy", raw.fold / 1e9 / numpy->second, "of numpy", std::nullopt,
                  "20 updates of 10 M values"});
    }
  }
  return Ok{};
}

}  // namespace fl::bench
