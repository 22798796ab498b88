// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/interrupts.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string_view>

namespace mailgate::cli {

namespace {

// Of a handler's: both are lock-free.
std::atomic<const char*> said_at_once = nullptr;  ///< null: they are noted
std::atomic<int> noted_signal = 0;

void write(std::string_view text) noexcept {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

extern "C" void onInterrupt(int signal) {
    if (const char* const sentence = said_at_once.load()) endBy(signal, sentence);
    noted_signal = signal;
}

}  // namespace

void endBy(int signal, const char* sentence) noexcept {
    if (::isatty(STDERR_FILENO) != 0) write("\n");  // behind the "^C" of the terminal
    for (const std::string_view part :
         {std::string_view("mailgate: "), std::string_view(sentence), std::string_view("\n")})
        write(part);
    ::signal(signal, SIG_DFL);
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, signal);
    ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
    ::raise(signal);
    ::_exit(128 + signal);
}

Interrupts::Interrupts() noexcept : Interrupts(nullptr) {}

Interrupts::Interrupts(const char* sentence) noexcept {
    noted_signal = 0;
    said_at_once = sentence;
    struct sigaction hear {};
    hear.sa_handler = onInterrupt;
    for (std::size_t at = 0; at < kSignals.size(); ++at) {
        ::sigaction(kSignals[at], &hear, &before_[at]);
        if (before_[at].sa_handler == SIG_IGN) ::sigaction(kSignals[at], &before_[at], nullptr);
    }
}

Interrupts::~Interrupts() {
    for (std::size_t at = 0; at < kSignals.size(); ++at)
        ::sigaction(kSignals[at], &before_[at], nullptr);
}

void Interrupts::hold() noexcept {
    said_at_once = nullptr;
}

void Interrupts::release(const char* sentence) noexcept {
    said_at_once = sentence;
    if (const int signal = noted()) endBy(signal, sentence);
}

int Interrupts::noted() noexcept {
    return noted_signal;
}

}  // namespace mailgate::cli
