// SPDX-License-Identifier: Apache-2.0
#include "protocols/health_dialogue.h"

#include "protocols/mail_protocol.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <utility>

namespace mailgate {
namespace {

// As much of a server's line as a log reader needs.
constexpr std::size_t kQuotedBytes = 120;

std::string quoted(std::string_view line) {
    std::string text(line.substr(0, kQuotedBytes));
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    return text;
}

bool isSmtp(Protocol protocol) noexcept {
    return protocol == Protocol::Smtp || protocol == Protocol::Lmtp;
}

bool isLabel(std::string_view label) noexcept {
    constexpr std::size_t kLongest = 63;  // RFC 1035 2.3.4
    const auto fits = [](unsigned char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    };
    return !label.empty() && label.size() <= kLongest && label.front() != '-' && label.back() != '-' &&
           std::all_of(label.begin(), label.end(), fits);
}

}  // namespace

bool isQualifiedName(std::string_view name) noexcept {
    const std::size_t last_dot = name.rfind('.');
    if (last_dot == std::string_view::npos ||
        name.find_first_not_of("0123456789", last_dot + 1) == std::string_view::npos)
        return false;
    while (!name.empty()) {
        const std::size_t dot = std::min(name.find('.'), name.size());
        if (!isLabel(name.substr(0, dot))) return false;
        name.remove_prefix(std::min(dot + 1, name.size()));
    }
    return true;
}

std::string heloName(std::string_view name, const IpAddress& own) {
    if (isQualifiedName(name)) return std::string(name);
    return (own.isV4() ? "[" : "[IPv6:") + own.toString() + "]";
}

HealthDialogue::HealthDialogue(Protocol protocol, std::string name)
    : protocol_(protocol), name_(std::move(name)) {}

HealthDialogue::Step HealthDialogue::open() {
    Step step;
    if (protocol_ == Protocol::Tcp) {
        pass();
        state_ = State::Done;
    }
    step.decided = decided_;
    step.done = state_ == State::Done;
    return step;
}

HealthDialogue::Step HealthDialogue::hear(std::string_view bytes) {
    Step step;
    heard_ += bytes.size();
    while (state_ != State::Done) {
        const auto line = lines_.next(bytes);
        if (!line) break;
        hearLine(*line, step);
    }
    if (heard_ > kMaxHealthBytes && state_ != State::Done) {
        fail("talks without end");
        state_ = State::Done;
    }
    step.decided = decided_;
    step.done = state_ == State::Done;
    return step;
}

HealthDialogue::Step HealthDialogue::ended() {
    if (!decided_) {
        fail(state_ == State::Greeting ? "closed the connection without a greeting"
                                       : "closed the connection after its greeting");
    }
    state_ = State::Done;
    return {"", true, true};
}

void HealthDialogue::hearLine(std::string_view line, Step& step) {
    switch (state_) {
        case State::Greeting:
            return hearGreeting(line, step);
        case State::Ehlo:
            if (!lastLine(line)) return;
            if (line.starts_with("250"))
                pass();
            else
                fail((protocol_ == Protocol::Lmtp ? "answered LHLO with: " : "answered EHLO with: ") +
                     quoted(line));
            return sayGoodbye(step);
        case State::Goodbye:
            if (lastLine(line)) state_ = State::Done;
            return;
        case State::Done:
            return;
    }
}

void HealthDialogue::hearGreeting(std::string_view line, Step& step) {
    if (!begun_) {
        begun_ = true;
        switch (judgeGreeting(protocol_, std::string(line) + '\n')) {
            case Greeting::Welcome:
            case Greeting::Incomplete:
                break;
            case Greeting::Unavailable:
            case Greeting::Refused:
                fail("greets with: " + quoted(line));
                // RFC 5321 3.1: after a 554 the server waits for QUIT; all others have said their last word.
                if (isSmtp(protocol_) && line.starts_with('5')) return sayGoodbye(step);
                state_ = State::Done;
                return;
            case Greeting::Foreign:
                fail("does not speak " + std::string(toString(protocol_)) + ", but says: " + quoted(line));
                state_ = State::Done;
                return;
        }
    }
    if (!lastLine(line)) return;
    if (isSmtp(protocol_)) {
        step.say += (protocol_ == Protocol::Lmtp ? "LHLO " : "EHLO ") + name_ + "\r\n";
        state_ = State::Ehlo;
        return;
    }
    pass();
    sayGoodbye(step);
}

// The last line of a greeting or answer. SMTP: a code without the hyphen (RFC 5321 4.2.1). ManageSieve: the
// capabilities end with OK (RFC 5804 1.7), and so does the answer to LOGOUT. IMAP's LOGOUT is answered with
// BYE and the tagged OK (RFC 9051 6.1.3).
bool HealthDialogue::lastLine(std::string_view line) const noexcept {
    switch (protocol_) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return line.size() < 4 || line[3] != '-';
        case Protocol::Imap:
            return state_ == State::Greeting || !line.starts_with('*');
        case Protocol::Sieve:
            return startsWithIgnoreCase(line, "OK") || startsWithIgnoreCase(line, "NO") ||
                   startsWithIgnoreCase(line, "BYE");
        case Protocol::Pop3:
        case Protocol::Tcp:
            return true;
    }
    return true;
}

void HealthDialogue::pass() {
    decided_ = true;
    good_ = true;
}

void HealthDialogue::fail(std::string reason) {
    if (std::exchange(decided_, true)) return;
    reason_ = std::move(reason);
}

void HealthDialogue::sayGoodbye(Step& step) {
    state_ = State::Goodbye;
    switch (protocol_) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
        case Protocol::Pop3:
            step.say += "QUIT\r\n";
            return;
        case Protocol::Imap:
            step.say += "a LOGOUT\r\n";
            return;
        case Protocol::Sieve:
            step.say += "LOGOUT\r\n";
            return;
        case Protocol::Tcp:
            return;
    }
}

}  // namespace mailgate
