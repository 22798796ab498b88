// SPDX-License-Identifier: Apache-2.0
/// \file  Ctrl-C, SIGTERM and the end of the terminal: what a command says that they end, and where they have to wait.
#pragma once

#include <signal.h>

#include <array>
#include <stdexcept>
#include <string>

namespace mailgate::cli {

/// The command ends by a signal that it has heard, after a sentence: whoever waits for it, a shell's loop too, is to know.
class Interrupted : public std::runtime_error {
  public:
    Interrupted(int signal, const std::string& sentence) : std::runtime_error(sentence), signal_(signal) {}
    int signal() const noexcept { return signal_; }

  private:
    int signal_;
};

/// Prints "mailgate: SENTENCE" and ends the process by the signal. May be called by a handler of signals.
[[noreturn]] void endBy(int signal, const char* sentence) noexcept;

// Of a change of rules:
inline constexpr const char* kInterrupted = "interrupted: nothing changed";
inline constexpr const char* kInterruptedUpgraded =
    "interrupted: no rule was changed, but the database has been upgraded: earlier versions of mailgate "
    "refuse it";

/// For the time of its life, which one at a time has. What is ignored (nohup(1)) stays ignored.
class Interrupts {
  public:
    /// They are noted.
    Interrupts() noexcept;
    /// They end the process at once, with the sentence, which has to live as long.
    explicit Interrupts(const char* sentence) noexcept;
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    /// From here on they are noted.
    static void hold() noexcept;
    /// From here on they end the process with the sentence; one that was noted does so now.
    static void release(const char* sentence) noexcept;
    /// The one that was noted; 0: none was.
    static int noted() noexcept;

  private:
    static constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, 3> before_{};
};

}  // namespace mailgate::cli
