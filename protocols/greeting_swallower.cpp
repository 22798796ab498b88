// SPDX-License-Identifier: Apache-2.0
#include "protocols/greeting_swallower.h"

#include "protocols/mail_protocol.h"
#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <utility>

namespace mailgate {

GreetingSwallower::GreetingSwallower(Protocol protocol) noexcept : traits_(traitsOf(protocol)) {}

std::string_view GreetingSwallower::opening() const noexcept {
    return traits_.starttls.ask;
}

GreetingSwallower::State GreetingSwallower::onBytes(std::string_view bytes) {
    if (bytes.size() > kMaxUnfinishedBytes - kept_.size() - swallowed_) {
        fail("sends too much data instead of a greeting");
        return state_;
    }
    kept_ += bytes;
    while (state_ == State::Reading) {
        const std::size_t end = kept_.find('\n', read_);
        if (end == std::string::npos) return state_;
        const std::string_view line(kept_.data() + read_, end + 1 - read_);
        read_ = end + 1;
        onLine(withoutLineEnd(line));
        if (handsOn()) continue;
        kept_.erase(0, read_);
        swallowed_ += std::exchange(read_, 0);
    }
    // Nothing more was asked for: it would be taken for the answer to what the client says next.
    if (state_ == State::Done && kept_.size() > read_) fail("goes on behind its greeting");
    return state_;
}

GreetingSwallower::State GreetingSwallower::onEnd() {
    if (state_ == State::Reading) fail("closed the connection in its greeting");
    return state_;
}

void GreetingSwallower::onLine(std::string_view line) {
    const StartTlsScript& script = traits_.starttls;
    const bool first = !std::exchange(begun_, true);
    if (!first && !script.answered.empty() && beginsWithWords(line, script.answered)) {
        state_ = State::Done;
        return;
    }
    const bool welcome = traits_.judge_greeting(line) == Greeting::Welcome;
    const bool fits = script.goes_before ? script.goes_before(line) && (welcome || !first) : welcome;
    if (!fits) return fail("greets with: " + printable(line));
    const bool ends = !traits_.health.ends_greeting || traits_.health.ends_greeting(line);
    if (script.ask.empty() && ends) state_ = State::Done;
}

void GreetingSwallower::fail(std::string reason) {
    state_ = State::Failed;
    reason_ = std::move(reason);
    kept_.clear();
}

}  // namespace mailgate
