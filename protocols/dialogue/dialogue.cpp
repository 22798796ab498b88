// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/dialogue.h"

namespace mailgate {

namespace {

constexpr std::size_t kMaxDialogueCommandBytes = 1000;
constexpr int kMaxCommands = 10;
// Of all commands together: bounds what never comes to the end of a line.
constexpr std::size_t kMaxReceivedBytes = std::size_t{16} * 1024;

}  // namespace

Dialogue::Step Conversation::onBytes(std::string_view bytes) {
    Step step;
    bytes = bytes.substr(0, kMaxReceivedBytes - received_);
    received_ += bytes.size();
    while (!done_) {
        const auto line = lines_.next(bytes);
        if (!line) break;
        const Step next = line->size() > kMaxDialogueCommandBytes ? answer({}) : answer(*line);
        step.reply += next.reply;
        done_ = next.done;
        if (++commands_ == kMaxCommands) break;
    }
    if (!done_ && (commands_ == kMaxCommands || received_ == kMaxReceivedBytes)) {
        step.reply += goodbye_;
        done_ = true;
    }
    step.done = done_;
    return step;
}

}  // namespace mailgate
