#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>
#include <sys/ioctl.h>

#include "fl/server/app/admin_commands.h"
#include "fl/server/app/run_server.h"
#include "fl/server/storage/backup.h"

namespace fl::server {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongCall = 2;

constexpr const char* kExample = R"(Example: serve a plan, then look at it as an admin
  fl-server run configs/quickstart.toml --state state --listen 127.0.0.1:8443 --pki pki/server
  fl-server status --server 127.0.0.1:8443 --pki pki/admin)";

struct CommandLine {
  RunOptions run;
  AdminOptions admin;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string model_file;
  std::string backup;
};

// Of the terminal that standard output is; 0: it is none.
std::size_t OutputColumns() {
  constexpr std::size_t kUnknown = 80;
  if (::isatty(STDOUT_FILENO) != 1) return 0;
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kUnknown;
}

// Mistakes of the call or of a config against all else.
int ExitStatus(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kMalformed:
    case ErrorCode::kNotFound:
    case ErrorCode::kUnsupported:
      return kWrongCall;
    default:
      return kFailed;
  }
}

int Report(const Result<>& result) {
  if (result) return EXIT_SUCCESS;
  std::cerr << "fl-server: " << result.error().message << "\n";
  return ExitStatus(result.error().code);
}

void AddRun(CLI::App& app, CommandLine& line) {
  CLI::App* run = app.add_subcommand("run", "Serve the federations of the given plans");
  run->add_option("PLAN", line.run.plans, "The plans, one TOML file for each federation")
      ->required();
  run->add_option("--state", line.run.state,
                  "Folder of the server's state; goes on with what it holds")
      ->required();
  run->add_option("--listen", line.run.listen,
                  "HOST:PORT; port 0 takes a free one, see STATE/address")
      ->capture_default_str();
  run->add_option("--pki", line.run.pki,
                  "Folder with ca.crt, server.crt, server.key and perhaps revoked.crl")
      ->required();
  run->add_option("--metrics", line.run.metrics,
                  "HOST:PORT of a loopback address for /metrics, /healthz and /readyz over plain "
                  "HTTP; off without; port 0: see STATE/metrics-address");
  run->add_option("--threads", line.run.threads, "Threads that check updates and fold")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  run->add_option("--log-level", line.log_level)
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  run->add_option("--log-format", line.log_format)
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  run->add_option(
      "--data-root", line.run.data_roots,
      "Where the plan's evaluation data are looked for; also the environment's FL_DATASETS");
  run->add_option(
         "--hold-for", line.run.offences.hold_s,
         "Seconds that a client waits after its second refusal in a row for a fault of its "
         "own; twice as long after each further one, up to an hour")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  run->add_option("--deny-after", line.run.offences.deny_after,
                  "Such refusals in a row after which a client is denied; 0: never")
      ->capture_default_str();
  run->add_option("--deny-for", line.run.offences.deny_s, "Seconds that it is denied for")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str();
  run->add_option("--requests-per-second", line.run.requests_per_second,
                  "Requests that one client may make in the long run, ten times as many at once; "
                  "0: no limit")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  run->add_flag("--until-done", line.run.until_done,
                "End when each federation is done and its clients know");
}

void AddBackup(CLI::App& app, CommandLine& line) {
  CLI::App* backup =
      app.add_subcommand("backup", "Copy a state folder, also while a server runs on it");
  backup->add_option("TO", line.backup, "A folder that is empty or does not exist yet")->required();
  backup->add_option("--state", line.run.state, "The folder that the server was given")->required();
}

CLI::App* AddAdmin(CLI::App& app, const char* name, const char* what, CommandLine& line) {
  CLI::App* command = app.add_subcommand(name, what);
  command->add_option("--server", line.admin.server, "HOST:PORT of the server")->required();
  command
      ->add_option("--pki", line.admin.pki, "Folder with an admin's ca.crt, client.crt, client.key")
      ->required();
  command->add_option("--federation", line.admin.federation,
                      "Its name, where the server has several");
  command->add_flag("--json", line.admin.json, "Print the server's JSON");
  return command;
}

int RunCommand(const CLI::App& app, CommandLine& line) {
  const std::string command = app.get_subcommands().front()->get_name();
  if (command == "run") {
    const char* root =
        std::getenv("FL_DATASETS");  // NOLINT(concurrency-mt-unsafe): before any thread.
    if (root != nullptr) line.run.data_roots.emplace_back(root);
    const Logger logger(*ParseLogLevel(line.log_level), *ParseLogFormat(line.log_format));
    return Report(RunServer(line.run, logger));
  }
  if (command == "backup") {
    const Result<> copied = BackUpState(line.run.state, line.backup);
    if (copied) std::cout << "copied to " << line.backup << "\n";
    return Report(copied);
  }
  if (command == "status" && line.admin.follow) return Report(FollowRounds(line.admin, std::cout));
  if (command == "status" && line.admin.watch) {
    return Report(WatchStatus(line.admin, std::cout, OutputColumns));
  }
  if (command == "model") return Report(SaveModel(line.admin, line.model_file));
  return Report(RunAdminCommand(command, line.admin, std::cout));
}

int Main(int argc, char** argv) {
  CommandLine line;
  CLI::App app("The server of federations: publishes plans and models, folds updates.",
               "fl-server");
  app.footer(kExample);
  app.set_version_flag("--version", FL_VERSION);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-server: " + std::string(error.what()) + "; see fl-server --help\n";
  });
  AddRun(app, line);
  AddBackup(app, line);
  CLI::App* status = AddAdmin(app, "status", "Where the federation stands", line);
  CLI::Option* follow = status->add_flag(
      "--follow", line.admin.follow,
      "Print one line of JSON for each round that is published, until the federation is done");
  status
      ->add_flag("--watch", line.admin.watch,
                 "Show it live on a terminal, else a line at each change, until it is done")
      ->excludes(follow);
  AddAdmin(app, "clients", "The clients that are known", line);
  AddAdmin(app, "report", "All rounds, bytes and deployments", line);
  AddAdmin(app, "events", "What an operator may want to know", line);
  AddAdmin(app, "refusals", "The last requests that were refused, and who has to wait", line);
  AddAdmin(app, "allow", "Lift what repeated refusals have brought upon a client", line)
      ->add_option("CLIENT", line.admin.client, "Its name")
      ->required();
  AddAdmin(app, "start", "Open rounds again after a pause", line);
  AddAdmin(app, "pause", "Open no more rounds; the open one goes on", line);
  AddAdmin(app, "stop", "End the federation; the open round is abandoned", line);
  AddAdmin(app, "model", "Save the published model", line)
      ->add_option("FILE", line.model_file, "A safetensors file")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : kWrongCall;
  }
  return RunCommand(app, line);
}

}  // namespace
}  // namespace fl::server

int main(int argc, char** argv) {
  try {
    return fl::server::Main(argc, argv);
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "fl-server: %s\n", error.what());
    return 1;
  }
}
