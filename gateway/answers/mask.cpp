// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "store/journal/mask.h"

#include <utility>

namespace mailgate::answers {

namespace journal = store::journal;

Network maskedNetwork(Network network) noexcept {
    return journal::masked(network);
}

std::string maskedHeloName(std::string_view helo, const AddressBytes& client) {
    const Network whole{client, 128};
    return journal::maskedHelo(helo, whole.toString(), journal::masked(whole).toString());
}

store::JournalSession maskedSession(store::JournalSession session) {
    if (session.client_masked) return session;
    const Network whole{session.client, 128}, left = journal::masked(whole);
    const std::string address = whole.toString(), by = left.toString();
    const auto mask = [&](std::string& text) { text = journal::withReplaced(text, address, by); };
    session.client = left.address;
    session.client_masked = true;
    session.client_port = 0;
    session.rule = journal::maskedRule(session.rule);
    session.helo = journal::maskedHelo(session.helo, address, by);
    mask(session.reply);
    for (store::JournalMail& mail : session.mail) {
        mask(mail.reply);
        for (store::JournalRefusal& refused : mail.refused)
            mask(refused.reply);
        for (std::string& reply : mail.replies)
            mask(reply);
    }
    for (auto& [name, value] : session.balancer_told)
        mask(value);
    return session;
}

}  // namespace mailgate::answers
