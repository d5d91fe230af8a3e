// Ctrl-C, and crashes: exit code 130 for the first, 70 and a command that reproduces it for the second.
#pragma once

#include <atomic>
#include <string>

namespace cnnc {

// `command` is what the user typed, as a shell reads it back.
void install_signal_handlers(const std::string& command);

// While one of these lives, the first Ctrl-C only sets `interrupted()`: the loop ends in its own way. The second one
// ends the program at once.
class Interruptible {
public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
};
const std::atomic<bool>& interrupted();

} // namespace cnnc
