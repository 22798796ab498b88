// SPDX-License-Identifier: Apache-2.0
#include "protocols/starttls_dialogue.h"

#include "protocols/mail_protocol.h"
#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <utility>

namespace mailgate {

StartTlsDialogue::StartTlsDialogue(Protocol protocol, std::string name)
    : traits_(traitsOf(protocol)), name_(std::move(name)) {}

std::string StartTlsDialogue::onBytes(std::string_view bytes) {
    std::string send;
    if (state_ == State::Ready && !bytes.empty())
        fail("sends something in the clear behind its consent to TLS");
    if (over()) return send;
    received_ += bytes.size();
    if (received_ > kMaxUnfinishedBytes) {
        fail("sends too much data before TLS");
        return send;
    }
    kept_ += bytes;
    std::size_t read = 0;
    while (!over()) {
        const std::size_t end = kept_.find('\n', read);
        if (end == std::string::npos) break;
        onLine(std::string_view(kept_).substr(read, end + 1 - read), send);
        read = end + 1;
    }
    if (state_ == State::Ready && kept_.size() > read)
        fail("sends something in the clear behind its consent to TLS");
    // All of what was read belongs to a greeting that is the client's.
    if (state_ == State::NotWelcome) greeting_ += kept_.substr(read);
    kept_.erase(0, read);
    return send;
}

void StartTlsDialogue::onEnd() {
    if (over()) return;
    fail(state_ == State::Greeting ? "closed the connection without a greeting"
                                   : "closed the connection before TLS");
}

void StartTlsDialogue::onLine(std::string_view whole, std::string& send) {
    const std::string_view line = withoutLineEnd(whole);
    if (state_ == State::Greeting) return onGreeting(whole, line, send);
    const HealthScript& script = traits_.health;
    if (script.ends_reply && !script.ends_reply(line)) return;
    // The question has not gone out yet.
    if (!send.empty()) return fail("answers before it was asked: " + printable(line));
    if (state_ == State::Hello) {
        if (beginsWithWords(line, script.hello_accepted)) return sendCommand(send);
        return fail("answered " + std::string(script.hello) + "with: " + printable(line));
    }
    if (!beginsWithWords(line, traits_.starttls.accepted))
        return fail("answered STARTTLS with: " + printable(line));
    if (traits_.starttls.greets_again) greeting_.clear();
    if (traits_.starttls.within) {
        auto greeting = traits_.starttls.within(greeting_);
        if (!greeting) return fail("greets with: " + printable(withoutLineEnd(greeting_)));
        greeting_ = std::move(*greeting);
    }
    state_ = State::Ready;
}

void StartTlsDialogue::onGreeting(std::string_view whole, std::string_view line, std::string& send) {
    const bool first = greeting_.empty();
    greeting_ += whole;
    if (first) verdict_ = judgeGreeting(traits_.protocol, whole);
    if (verdict_ != Greeting::Welcome) {
        state_ = State::NotWelcome;
        return;
    }
    if (traits_.health.ends_greeting && !traits_.health.ends_greeting(line)) return;
    if (traits_.health.hello.empty()) return sendCommand(send);
    send.append(traits_.health.hello).append(name_).append("\r\n");
    state_ = State::Hello;
}

void StartTlsDialogue::sendCommand(std::string& send) {
    send += traits_.starttls.command;
    state_ = State::StartTls;
}

void StartTlsDialogue::fail(std::string reason) {
    state_ = State::Failed;
    reason_ = std::move(reason);
}

}  // namespace mailgate
