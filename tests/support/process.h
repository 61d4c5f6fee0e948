#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>

// Programs under test: each child has its standard streams in files, dies with the test, and is
// waited for with a deadline.
namespace fl::testing {

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteText(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  REQUIRE(out.flush().good());
}

// Asks every ten milliseconds until `holds` or the deadline; says which.
inline bool Eventually(double seconds, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

// A program of this build.
inline std::string Program(const std::string& name) {
  return FL_TEST_BINARY_DIR "/" + name;
}

class Process {
 public:
  // Starts `arguments` (the first is the program) in a process group of its own; its output goes to
  // `output`.out and `output`.err, which begin empty.
  Process(const std::vector<std::string>& arguments, const std::filesystem::path& output)
      : output_(output) {
    std::vector<std::string> texts = arguments;
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    const std::string out = output.string() + ".out";
    const std::string err = output.string() + ".err";
    const pid_t parent = ::getpid();
    id_ = ::fork();
    REQUIRE(id_ >= 0);
    if (id_ == 0) Become(pointers, out, err, parent);
    // Both sides set the group, so that it stands whichever runs first.
    ::setpgid(id_, id_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { Kill(); }

  pid_t id() const { return id_; }
  std::string out() const { return ReadText(output_.string() + ".out"); }
  std::string err() const { return ReadText(output_.string() + ".err"); }

  void Signal(int signal) const {
    if (!status_) ::kill(id_, signal);
  }

  // The exit status, 128 + N after signal N; nothing when it still runs at the deadline.
  std::optional<int> Wait(double seconds) {
    Eventually(seconds, [this] { return !Runs(); });
    return status_;
  }

  bool Runs() {
    int raw = 0;
    if (!status_ && ::waitpid(id_, &raw, WNOHANG) == id_) Remember(raw);
    return !status_;
  }

  // As a power cut: SIGKILL, and gone when it returns.
  void Kill() {
    if (!Runs()) return;
    ::kill(id_, SIGKILL);
    int raw = 0;
    while (::waitpid(id_, &raw, 0) < 0 && errno == EINTR) continue;
    Remember(raw);
  }

 private:
  [[noreturn]] static void Become(const std::vector<char*>& arguments, const std::string& out,
                                  const std::string& err, pid_t parent) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND;
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), kFlags, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), kFlags, 0600), STDERR_FILENO);
    ::execv(arguments.front(), arguments.data());
    ::_exit(127);
  }

  void Remember(int raw) { status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw); }

  std::filesystem::path output_;
  pid_t id_ = -1;
  std::optional<int> status_;
};

struct Outcome {
  std::optional<int> status;
  std::string out;
  std::string err;
};

// Runs a program to its end; nothing is its status after `seconds`.
inline Outcome RunProgram(const std::vector<std::string>& arguments,
                          const std::filesystem::path& output, double seconds = 60) {
  Process process(arguments, output);
  const auto status = process.Wait(seconds);
  return {status, process.out(), process.err()};
}

}  // namespace fl::testing
