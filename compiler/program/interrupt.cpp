#include "compiler/program/interrupt.h"

#include <csignal>
#include <cstring>
#include <unistd.h>

namespace cnnc {

namespace {

// Lock-free, so that a signal handler may touch them.
std::atomic<bool> was_interrupted = false;
std::atomic<bool> polled = false;
static_assert(std::atomic<bool>::is_always_lock_free);
char crash_message[4096];
size_t crash_length = 0;

void on_interrupt(int signal)
{
  if (polled && !was_interrupted) {
    was_interrupted = true;
    return;
  }
  _exit(128 + signal); // 130 for Ctrl-C
}

[[maybe_unused]] void on_crash(int)
{
  if (write(STDERR_FILENO, crash_message, crash_length) < 0)
    _exit(70);
  _exit(70);
}

} // namespace

void install_signal_handlers(const std::string& command)
{
  const std::string text = "\ncnnc: internal error: it crashed. This reproduces it:\n  " + command + "\n";
  crash_length = std::min(text.size(), sizeof crash_message);
  std::memcpy(crash_message, text.data(), crash_length);

  struct sigaction interrupt {};
  interrupt.sa_handler = on_interrupt;
  sigaction(SIGINT, &interrupt, nullptr);
  sigaction(SIGTERM, &interrupt, nullptr);

#ifndef __SANITIZE_ADDRESS__ // which tells more
  // A stack of its own, so that an overflow of the other one can be told.
  static char stack[1 << 16];
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction crash {};
  crash.sa_handler = on_crash;
  crash.sa_flags = SA_ONSTACK | static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigaction(signal, &crash, nullptr);
#endif

  // `cnnc info net.yaml | head -1` ends quietly, even where the parent ignores the signal.
  std::signal(SIGPIPE, SIG_DFL);
}

Interruptible::Interruptible()
{
  was_interrupted = false;
  polled = true;
}

Interruptible::~Interruptible()
{
  polled = false;
}

const std::atomic<bool>& interrupted()
{
  return was_interrupted;
}

} // namespace cnnc
