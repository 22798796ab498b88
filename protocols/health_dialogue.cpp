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

bool ends(bool (*is_last)(std::string_view line) noexcept, std::string_view line) noexcept {
    return is_last == nullptr || is_last(line);
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
    : traits_(traitsOf(protocol)), name_(std::move(name)) {}

HealthDialogue::Step HealthDialogue::open() {
    Step step;
    if (traits_.opaque()) {
        pass();
        state_ = State::Done;
    }
    step.decided = decided_;
    step.done = state_ == State::Done;
    return step;
}

HealthDialogue::Step HealthDialogue::onBytes(std::string_view bytes) {
    Step step;
    received_ += bytes.size();
    while (state_ != State::Done) {
        const auto line = lines_.next(bytes);
        if (!line) break;
        onLine(*line, step);
    }
    if (received_ > kMaxHealthBytes && state_ != State::Done) {
        fail("sends too much data");
        state_ = State::Done;
    }
    step.decided = decided_;
    step.done = state_ == State::Done;
    return step;
}

HealthDialogue::Step HealthDialogue::onEnd() {
    if (!decided_) {
        fail(state_ == State::Greeting ? "closed the connection without a greeting"
                                       : "closed the connection after its greeting");
    }
    state_ = State::Done;
    return {"", true, true};
}

void HealthDialogue::onLine(std::string_view line, Step& step) {
    switch (state_) {
        case State::Greeting:
            return onGreeting(line, step);
        case State::Hello:
            return onHelloReply(line, step);
        case State::Goodbye:
            if (ends(script().ends_reply, line)) state_ = State::Done;
            return;
        case State::Done:
            return;
    }
}

void HealthDialogue::onGreeting(std::string_view line, Step& step) {
    if (!begun_) {
        begun_ = true;
        switch (judgeGreeting(traits_.protocol, std::string(line) + '\n')) {
            case Greeting::Welcome:
            case Greeting::Incomplete:
                break;
            case Greeting::Unavailable:
            case Greeting::Refused:
                fail("greets with: " + quoted(line));
                if (const std::string_view waits = script().refusal_before_goodbye;
                    !waits.empty() && line.starts_with(waits))
                    return sendGoodbye(step);
                state_ = State::Done;
                return;
            case Greeting::Foreign:
                fail("does not speak " + std::string(toString(traits_.protocol)) +
                     ", but says: " + quoted(line));
                state_ = State::Done;
                return;
        }
    }
    if (!ends(script().ends_greeting, line)) return;
    if (!script().hello.empty()) {
        step.send.append(script().hello).append(name_).append("\r\n");
        state_ = State::Hello;
        return;
    }
    pass();
    sendGoodbye(step);
}

void HealthDialogue::onHelloReply(std::string_view line, Step& step) {
    if (!ends(script().ends_reply, line)) return;
    if (line.starts_with(script().hello_accepted))
        pass();
    else
        fail("answered " + std::string(script().hello) + "with: " + quoted(line));
    sendGoodbye(step);
}

void HealthDialogue::pass() {
    decided_ = true;
    good_ = true;
}

void HealthDialogue::fail(std::string reason) {
    if (std::exchange(decided_, true)) return;
    reason_ = std::move(reason);
}

void HealthDialogue::sendGoodbye(Step& step) {
    state_ = State::Goodbye;
    step.send += script().goodbye;
}

}  // namespace mailgate
