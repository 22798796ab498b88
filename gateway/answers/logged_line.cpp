// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/logged_line.h"

#include "gateway/answers/journal.h"
#include "protocols/values/network.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <variant>

namespace mailgate::answers {

namespace {

/// Where the value ends that begins the text: "<a b>" and "a,".
std::string_view valueOf(std::string_view text) noexcept {
    return text.starts_with('<') ? text.substr(0, text.find('>') + 1)  // npos + 1 is 0
                                 : text.substr(0, text.find_first_of(" \t,;)"));
}

/// What stands behind "key=" in a line of a log; empty: nothing does.
std::string_view valueIn(std::string_view line, std::string_view key) noexcept {
    constexpr std::string_view kBefore = " \t,(";
    for (std::size_t at = 0; (at = line.find(key, at)) != std::string_view::npos; at += key.size()) {
        if (at > 0 && kBefore.find(line[at - 1]) == std::string_view::npos) continue;
        if (line.substr(at + key.size()).starts_with('=')) return valueOf(line.substr(at + key.size() + 1));
    }
    return {};
}

/// Postfix's logs have it in front: "517C1168: client=...", "... postfix/qmgr[267]: 517C1168: from=<...".
std::string_view queueIdIn(std::string_view line) noexcept {
    constexpr std::string_view kBehindProgram = "]: ", kEnd = ": ";
    constexpr std::size_t kLeast = 6;
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                               kDigits = "0123456789";
    const auto isOfId = [&](char character) {
        return kLetters.find(character) != std::string_view::npos ||
               kDigits.find(character) != std::string_view::npos;
    };
    if (const std::size_t program = line.find(kBehindProgram); program != std::string_view::npos)
        line.remove_prefix(program + kBehindProgram.size());
    const std::size_t end = line.find(kEnd);
    if (end == std::string_view::npos || end < kLeast) return {};
    line = line.substr(0, end);
    const bool has_digit = line.find_first_of(kDigits) != std::string_view::npos;  // "NOQUEUE" has none
    return has_digit && std::all_of(line.begin(), line.end(), isOfId) ? line : std::string_view();
}

/// "Received: from x (x [198.51.100.7]) by mx (Postfix) with ESMTP id 5BA4ABFD for <...": what its site called the mail.
std::string_view receivedAs(std::string_view line) noexcept {
    constexpr std::string_view kBlanks = " \t\r\n";  // a header may be folded
    bool is_behind_with = false, is_behind_id = false;
    for (std::size_t from = 0; (from = line.find_first_not_of(kBlanks, from)) != std::string_view::npos;) {
        const std::size_t end = std::min(line.find_first_of(kBlanks, from), line.size());
        const std::string_view word = line.substr(from, end - from);
        if (is_behind_id) return valueOf(word);
        is_behind_id = is_behind_with && word == "id";
        is_behind_with = is_behind_with || word == "with";
        from = end;
    }
    return {};
}

/// The first address between brackets, which "smtpd[380]" has not.
std::string_view bracketedAddress(std::string_view line) {
    for (std::size_t at = 0; (at = line.find('[', at)) != std::string_view::npos; ++at)
        if (const auto address = withoutTag(between(line.substr(at), "[", "]")); isAddress(address))
            return address;
    return {};
}

/// HAProxy's logs begin with "192.0.2.1:40000 [27/Nov/2026:23:58:11.400]". Whatever the address is, a port is behind it.
std::string_view balancedClient(std::string_view line) {
    constexpr std::string_view kDigits = "0123456789", kBefore = " [";
    for (std::size_t at = 0; (at = line.find(kBefore, at)) != std::string_view::npos; ++at) {
        const std::string_view day = line.substr(at + kBefore.size());
        if (day.find_first_not_of(kDigits) != 2 || day[2] != '/') continue;
        const std::string_view before = line.substr(0, at);
        const std::string_view word = before.substr(before.rfind(' ') + 1);  // npos + 1 is 0
        if (const auto address = word.substr(0, word.rfind(':')); isAddress(address)) return address;
    }
    return {};
}

/// nginx's have "client 192.0.2.1:40000 connected to ..." and "client: 192.0.2.1, server: ...".
std::string_view namedClient(std::string_view line) {
    constexpr std::string_view kName = "client";
    for (std::size_t at = 0; (at = line.find(kName, at)) != std::string_view::npos; at += kName.size()) {
        std::string_view rest = line.substr(at + kName.size());
        if (rest.starts_with(':')) rest.remove_prefix(1);
        if (!rest.starts_with(' ')) continue;
        if (const auto address = addressOf(valueOf(rest.substr(1))); !address.empty()) return address;
    }
    return {};
}

/// Where the line says that it is the client's, or, of a mail server's, the first one between brackets.
std::string_view clientIn(std::string_view line) {
    if (const auto remote = valueIn(line, "rip"); isAddress(remote)) return remote;
    if (const auto client = balancedClient(line); !client.empty()) return client;
    if (const auto client = namedClient(line); !client.empty()) return client;
    return bracketedAddress(line);
}

/// "<>" names nobody.
bool namesSomebody(std::string_view value) {
    return !envelopeAddress(value).empty();
}

}  // namespace

LoggedLine readLoggedLine(std::string_view line) {
    LoggedLine found{.queue_id = queueIdIn(line),
                     .message_id = valueIn(line, "message-id"),
                     .from = valueIn(line, "from"),
                     .to = valueIn(line, "to"),
                     .user = valueIn(line, "user"),
                     .sasl_username = valueIn(line, "sasl_username"),
                     .client = {}};
    if (found.queue_id.empty()) found.queue_id = receivedAs(line);
    if (found.message_id.empty()) found.message_id = valueIn(line, "msgid");  // as Dovecot's lmtp(8) has it
    const bool is_line = !found.queue_id.empty() || !found.message_id.empty() || namesSomebody(found.from) ||
                         namesSomebody(found.to) || namesSomebody(found.user) ||
                         namesSomebody(found.sasl_username) || !valueIn(line, "rip").empty() ||
                         line.find(' ') != std::string_view::npos;
    if (is_line) found.client = clientIn(line);
    return found;
}

bool isAddress(std::string_view text) {
    return std::holds_alternative<Network>(parseNetwork(text));
}

std::string_view addressOf(std::string_view word) {
    constexpr std::string_view kDigits = "0123456789";
    if (const auto address = withoutTag(word); isAddress(address)) return address;
    const std::size_t colon = word.rfind(':');
    if (colon == std::string_view::npos ||
        word.find_first_not_of(kDigits, colon + 1) != std::string_view::npos)
        return {};
    word = word.substr(0, colon);
    return isAddress(word) ? word : std::string_view();
}

std::string_view between(std::string_view text, std::string_view begin, std::string_view end) noexcept {
    const std::size_t from = text.find(begin);
    if (from == std::string_view::npos) return {};
    text.remove_prefix(from + begin.size());
    return text.substr(0, text.find(end));
}

std::string_view withoutTag(std::string_view address) noexcept {
    constexpr std::string_view kTag = "IPv6:";
    return startsWithIgnoreCase(address, kTag) ? address.substr(kTag.size()) : address;
}

std::string_view queuedAs(std::string_view text) noexcept {
    constexpr std::string_view kWords = "queued as ";
    const std::size_t at = text.find(kWords);
    if (at == std::string_view::npos) return {};
    text.remove_prefix(at + kWords.size());
    return text.substr(0, text.find_first_of(" \t,;.)"));
}

std::vector<std::string> addressesIn(std::string_view text) {
    constexpr std::string_view kAround = " \t[](){}<>,;\"'";
    std::vector<std::string> addresses;
    for (std::size_t from = 0; (from = text.find_first_not_of(kAround, from)) != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(kAround, from), text.size());
        const std::string_view word = text.substr(from, end - from);
        const std::string found(addressOf(word));
        from = end;
        const auto network = parseNetwork(found);
        const auto* const address = std::get_if<Network>(&network);
        if (address == nullptr || address->prefix_length != 128 || word == text) continue;
        if (std::find(addresses.begin(), addresses.end(), found) == addresses.end())
            addresses.push_back(found);
    }
    return addresses;
}

}  // namespace mailgate::answers
