#include "fl/benchmarks/load/server_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>
#include <utility>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fl/benchmarks/load/slow_flush.h"
#include "fl/common/base/check.h"
#include "fl/common/base/file.h"
#include "fl/server/app/run_server.h"

extern char** environ;  // NOLINT(readability-identifier-naming): as POSIX names it.

namespace fl::bench {
namespace {

constexpr auto kComesUp = std::chrono::seconds(20);
constexpr auto kPause = std::chrono::milliseconds(5);

crypto::Validity ADay() {
  const TimePoint now = SystemClock().Now();
  return {now - std::chrono::hours(1), now + std::chrono::hours(24)};
}

void Pin(std::size_t processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  ::sched_setaffinity(0, sizeof(set), &set);
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

[[noreturn]] void Serve(const ServeConfig& config, std::uint64_t* flushes) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGPIPE, SIG_DFL);  // As the program has it.
  if (config.one_core) Pin(0);
  if (config.flush > Duration(0)) SlowDownFlushes(config.flush, flushes);
  server::RunOptions options;
  options.plans = {config.state / "plan.toml"};
  options.state = config.state / "state";
  options.pki = config.state / "pki";
  options.threads = config.threads;
  options.requests_per_second = config.requests_per_second;
  const Result<> served = server::RunServer(options, Logger(LogLevel::kWarning));
  if (!served) std::cerr << "fl-bench: server: " << served.error().message << "\n";
  ::_exit(served ? 0 : 1);
}

}  // namespace

ScratchFolder::ScratchFolder(const std::filesystem::path& where) {
  std::string pattern = (where / "fl-bench-XXXXXX").string();
  const char* const made = ::mkdtemp(pattern.data());
  FL_CHECK(made != nullptr, "no folder can be made for a benchmark's state");
  path_ = made;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

LoadPki::LoadPki()
    : authority_(crypto::CertificateAuthority::Create(ADay())),
      key_(crypto::PrivateKey::Generate()),
      key_pem_(key_.ToPem()) {}

net::TlsFiles LoadPki::Server() const {
  const crypto::PrivateKey key = crypto::PrivateKey::Generate();
  auto certificate = authority_.Issue({.name = "server",
                                       .role = crypto::CertificateRole::kServer,
                                       .hosts = {"127.0.0.1"},
                                       .validity = ADay()},
                                      key);
  FL_CHECK(certificate.has_value(), "a server's certificate can be issued");
  net::TlsFiles files;
  files.authority = authority();
  files.certificate = *std::move(certificate);
  files.key = key.ToPem();
  return files;
}

std::string LoadPki::Certify(const std::string& name) const {
  auto certificate = authority_.Issue(
      {.name = name, .role = crypto::CertificateRole::kClient, .hosts = {}, .validity = ADay()},
      key_);
  FL_CHECK(certificate.has_value(), "a device's certificate can be issued");
  return *std::move(certificate);
}

net::TlsFiles LoadPki::Device(const std::string& name) const {
  net::TlsFiles files;
  files.authority = authority();
  files.certificate = Certify(name);
  files.key = key_.ToPem();
  return files;
}

Result<> LoadPki::WriteServerFolder(const std::filesystem::path& folder) const {
  FL_TRY_OK(MakePrivateFolder(folder));
  const net::TlsFiles files = Server();
  FL_TRY_OK(WriteFileAtomically(folder / "ca.crt", AsBytes(files.authority)));
  FL_TRY_OK(WriteFileAtomically(folder / "server.crt", AsBytes(files.certificate)));
  return WriteFileAtomically(folder / "server.key", files.key.bytes(), 0600);
}

Result<ServerProcess> ServerProcess::Start(const ServeConfig& config, const LoadPki& pki) {
  FL_TRY_OK(pki.WriteServerFolder(config.state / "pki"));
  FL_TRY_OK(WriteFileAtomically(config.state / "plan.toml", AsBytes(config.plan)));
  void* const shared = ::mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  FL_CHECK(shared != MAP_FAILED, "out of memory");
  auto* const flushes = static_cast<std::uint64_t*>(shared);
  const pid_t process = ::fork();
  if (process == 0) Serve(config, flushes);
  if (process < 0) return Error{ErrorCode::kIo, "bench: cannot start a server's process"};
  ServerProcess server(process);
  server.flushes_ = flushes;
  const std::filesystem::path address = config.state / "state" / "address";
  const auto deadline = std::chrono::steady_clock::now() + kComesUp;
  while (std::chrono::steady_clock::now() < deadline) {
    std::ifstream file(address);
    std::string text;
    if (std::getline(file, text)) {
      const char* const digits = text.data() + text.rfind(':') + 1;
      std::from_chars(digits, text.data() + text.size(), server.port_);
      return server;
    }
    std::this_thread::sleep_for(kPause);
  }
  return Error{ErrorCode::kIo, "bench: the server did not come up"};
}

ServerProcess::ServerProcess(ServerProcess&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      port_(other.port_),
      flushes_(std::exchange(other.flushes_, nullptr)) {}

ServerProcess::~ServerProcess() {
  if (process_ > 0) {
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
  }
  if (flushes_ != nullptr) ::munmap(flushes_, sizeof(std::uint64_t));
}

double ServerProcess::cpu_seconds() const {
  std::ifstream file("/proc/" + std::to_string(process_) + "/stat");
  std::string text;
  std::getline(file, text);
  // Fields 14 and 15, counted from 1; the name, field 2, may hold spaces.
  std::size_t at = text.rfind(')');
  for (int field = 2; field < 14 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return 0;
  double user = 0;
  double system = 0;
  if (std::sscanf(text.c_str() + at, "%lf %lf", &user, &system) != 2) return 0;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double ServerProcess::StatusMb(const std::string& field) const {
  std::ifstream file("/proc/" + std::to_string(process_) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) return std::stod(line.substr(field.size() + 1)) / 1000 * 1.024;
  }
  return 0;
}

double ServerProcess::memory_mb() const {
  return StatusMb("VmRSS");
}

double ServerProcess::peak_memory_mb() const {
  return StatusMb("VmHWM");
}

std::size_t ServerProcess::descriptors() const {
  std::size_t count = 0;
  std::error_code failed;
  const std::filesystem::path folder = "/proc/" + std::to_string(process_) + "/fd";
  for (auto it = std::filesystem::directory_iterator(folder, failed);
       !failed && it != std::filesystem::directory_iterator(); ++it) {
    ++count;
  }
  return count;
}

std::uint64_t ServerProcess::flushes() const {
  return __atomic_load_n(flushes_, __ATOMIC_RELAXED);
}

OnProcessor::OnProcessor(std::size_t processor) {
  Pin(processor);
}

OnProcessor::~OnProcessor() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (std::size_t i = 0; i < std::thread::hardware_concurrency(); ++i) CPU_SET(i, &all);
  ::sched_setaffinity(0, sizeof(all), &all);
}

Result<Usage> RunProgram(const std::vector<std::string>& arguments) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  const auto begin = std::chrono::steady_clock::now();
  const int failed = ::posix_spawn(&process, raw.front(), &actions, nullptr, raw.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  rusage usage{};
  if (failed != 0 || ::wait4(process, &status, 0, &usage) < 0 || status != 0) {
    return Error{ErrorCode::kIo, "bench: " + arguments.front() + " failed"};
  }
  const auto end = std::chrono::steady_clock::now();
  return Usage{std::chrono::duration<double>(end - begin).count(),
               Seconds(usage.ru_utime) + Seconds(usage.ru_stime),
               static_cast<double>(usage.ru_maxrss) * 1.024 / 1000};
}

}  // namespace fl::bench
