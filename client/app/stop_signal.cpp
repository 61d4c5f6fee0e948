#include "fl/client/app/stop_signal.h"

#include <csignal>
#include <cstdlib>
#include <utility>

namespace fl::client {
namespace {

constexpr int kEndListening = SIGUSR1;

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, kEndListening);
  return signals;
}

}  // namespace

void StopSignal::Request() {
  {
    const std::lock_guard lock(mutex_);
    requested_ = true;
  }
  changed_.notify_all();
}

void StopSignal::SleepFor(Duration duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return requested_.load(); });
}

SignalListener::SignalListener(std::function<void()> on_stop) : on_stop_(std::move(on_stop)) {
  const sigset_t signals = HandledSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { Listen(); });
}

SignalListener::~SignalListener() {
  ::pthread_kill(thread_.native_handle(), kEndListening);
  thread_.join();
}

void SignalListener::Listen() {
  const sigset_t signals = HandledSignals();
  bool stopping = false;
  while (true) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0) continue;
    if (signal == kEndListening) return;
    if (stopping) std::_Exit(1);
    stopping = true;
    on_stop_();
  }
}

}  // namespace fl::client
