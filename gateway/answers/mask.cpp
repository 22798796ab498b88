// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "store/journal/mask.h"

#include <algorithm>
#include <cstddef>
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

std::string maskedText(std::string_view text, const AddressBytes& client) {
    const Network whole{client, 128};
    return journal::withReplaced(text, whole.toString(), journal::masked(whole).toString());
}

bool tellsAddress(std::string_view text) noexcept {
    if (text.find_first_of("[:") != std::string_view::npos) return true;
    constexpr int kNumbers = 4;
    int numbers = 0;
    bool in_number = false;
    for (const char character : text) {
        const bool is_digit = character >= '0' && character <= '9';
        if (is_digit && !in_number && ++numbers == kNumbers) return true;
        if (!is_digit && !(character == '.' && in_number)) numbers = 0;
        in_number = is_digit;
    }
    return false;
}

bool tellsAddressOfHelo(std::string_view name) noexcept {
    // The end of an address literal, too.
    if (tellsAddress(name) || name.find(']') != std::string_view::npos) return true;
    while (!name.empty()) {
        const std::size_t end = std::min(name.find('.'), name.size());
        const std::string_view label = name.substr(0, end);
        if (!label.empty() && label.find_first_not_of("0123456789") == std::string_view::npos) return true;
        name.remove_prefix(std::min(end + 1, name.size()));
    }
    return false;
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
    session.rule_id = 0;
    session.helo = journal::maskedHelo(session.helo, address, by);
    mask(session.reply);
    mask(session.user);
    for (store::JournalMail& mail : session.mail) {
        mask(mail.from);
        mask(mail.message_id);
        for (std::string& recipient : mail.recipients)
            mask(recipient);
        mask(mail.reply);
        for (store::JournalRefusal& refused : mail.refused) {
            mask(refused.to);
            mask(refused.reply);
        }
        for (std::string& reply : mail.replies)
            mask(reply);
    }
    for (auto& [name, value] : session.balancer_told)
        mask(value);
    return session;
}

}  // namespace mailgate::answers
