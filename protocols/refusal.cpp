// SPDX-License-Identifier: Apache-2.0
#include "protocols/refusal.h"

#include "protocols/mail_protocol.h"

#include <utility>

namespace mailgate {

namespace {

std::string lineOf(const ProtocolTraits& traits, Refusal refusal, const RefusalNames& names) {
    if (traits.opaque()) return {};
    const Wording wording = traits.wording(refusal);
    return wording.code.empty() ? std::string() : traits.reply_line(wording, names);
}

}  // namespace

std::string refusalLine(Protocol protocol, Refusal refusal, const RefusalText& text) {
    return lineOf(traitsOf(protocol), refusal, RefusalNames(text));
}

std::unique_ptr<Dialogue> makeRefusalDialogue(Protocol protocol, Refusal refusal, const RefusalText& text) {
    const ProtocolTraits& traits = traitsOf(protocol);
    const RefusalNames names(text);
    std::string line = lineOf(traits, refusal, names);
    if (traits.make_refusal_dialogue) return traits.make_refusal_dialogue(std::move(line), names);
    return std::make_unique<Farewell>(std::move(line));
}

std::unique_ptr<Dialogue> makeCheckDialogue(Protocol protocol, bool up, const RefusalText& text) {
    return up ? traitsOf(protocol).make_probe_dialogue(RefusalNames(text))
              : makeRefusalDialogue(protocol, Refusal::NoServer, text);
}

}  // namespace mailgate
