#include "fl/tests/support/dying_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdarg>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace {

long calls_left = -1;

// Whether the call whose turn it is ends the process.
bool TurnHasCome() {
  return calls_left >= 0 && calls_left-- == 0;
}

void DieWhenTurnHasCome() {
  if (TurnHasCome()) ::kill(::getpid(), SIGKILL);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): --wrap names them so.
extern "C" {
int __real_open(const char* path, int flags, ...);
ssize_t __real_write(int descriptor, const void* data, size_t size);
int __real_fsync(int descriptor);
int __real_rename(const char* from, const char* to);
int __real_fchmod(int descriptor, mode_t mode);

int __wrap_open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  // Begun above. NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized)
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  DieWhenTurnHasCome();
  return __real_open(path, flags, mode);
}
// The last write before death is half done.
ssize_t __wrap_write(int descriptor, const void* data, size_t size) {
  if (!TurnHasCome()) return __real_write(descriptor, data, size);
  static_cast<void>(__real_write(descriptor, data, size / 2));
  return ::kill(::getpid(), SIGKILL);
}
int __wrap_fsync(int descriptor) {
  DieWhenTurnHasCome();
  return __real_fsync(descriptor);
}
int __wrap_rename(const char* from, const char* to) {
  DieWhenTurnHasCome();
  return __real_rename(from, to);
}
int __wrap_fchmod(int descriptor, mode_t mode) {
  DieWhenTurnHasCome();
  return __real_fchmod(descriptor, mode);
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace fl::testing {

bool DiesAfter(long calls, const std::function<void()>& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    calls_left = calls;
    work();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void PassMoment() {
  DieWhenTurnHasCome();
}

}  // namespace fl::testing
