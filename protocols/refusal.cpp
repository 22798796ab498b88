// SPDX-License-Identifier: Apache-2.0
#include "protocols/refusal.h"

#include "protocols/mail_protocol.h"

#include <algorithm>
#include <utility>

namespace mailgate {

namespace {

std::size_t excessOf(std::string_view line) noexcept {
    return line.size() - std::min(line.size(), kMaxReplyLineBytes);
}

/// What is too much is taken from the rule's note, then from the end of the footer.
std::string lineOf(const ProtocolTraits& traits, Refusal refusal, RefusalText text) {
    if (traits.opaque()) return {};
    Wording wording = traits.wording(refusal);
    if (wording.code.empty()) return {};
    if (text.soft && !wording.soft_code.empty()) wording.code = wording.soft_code;
    if (!isPolicy(refusal)) text.footer = {};
    text.rule_note = text.rule_note.substr(0, refusal == Refusal::Rule ? kMaxReplyLineBytes : 0);
    std::string line = traits.reply_line(wording, RefusalNames(text));
    if (excessOf(line) == 0) return line;
    text.rule_note.remove_suffix(std::min(excessOf(line), text.rule_note.size()));
    RefusalNames names(text);
    line = traits.reply_line(wording, names);
    names.footer.resize(names.footer.size() - std::min(excessOf(line), names.footer.size()));
    return traits.reply_line(wording, names);
}

}  // namespace

std::string refusalLine(Protocol protocol, Refusal refusal, const RefusalText& text) {
    return lineOf(traitsOf(protocol), refusal, text);
}

bool footerFits(Protocol protocol, std::string_view gateway, std::string_view footer) {
    constexpr std::string_view kLongestAddress = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    constexpr std::string_view kUlid = "00000000000000000000000000";
    const RefusalText text{gateway, kLongestAddress, kUlid, footer};
    const std::string whole = RefusalNames(text).footer;
    for (int reason = 0; reason <= static_cast<int>(Refusal::ServerViolation); ++reason) {
        const auto refusal = static_cast<Refusal>(reason);
        const std::string line = refusalLine(protocol, refusal, text);
        if (isPolicy(refusal) && !line.empty() && line.find(whole) == std::string::npos) return false;
    }
    return true;
}

std::unique_ptr<Dialogue> makeRefusalDialogue(Protocol protocol, Refusal refusal, const RefusalText& text) {
    const ProtocolTraits& traits = traitsOf(protocol);
    const RefusalNames names(text);
    std::string line = lineOf(traits, refusal, text);
    if (traits.make_refusal_dialogue) return traits.make_refusal_dialogue(std::move(line), names);
    return std::make_unique<Farewell>(std::move(line));
}

std::unique_ptr<Dialogue> makeCheckDialogue(Protocol protocol, bool up, const RefusalText& text) {
    return up ? traitsOf(protocol).make_probe_dialogue(RefusalNames(text))
              : makeRefusalDialogue(protocol, Refusal::NoServer, text);
}

}  // namespace mailgate
