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
    const std::string_view remote = valueIn(line, "rip");
    const bool is_line = !found.queue_id.empty() || !found.message_id.empty() || namesSomebody(found.from) ||
                         namesSomebody(found.to) || namesSomebody(found.user) ||
                         namesSomebody(found.sasl_username) || !remote.empty() ||
                         line.find(' ') != std::string_view::npos;
    if (is_line) found.client = isAddress(remote) ? remote : bracketedAddress(line);
    return found;
}

bool isAddress(std::string_view text) {
    return std::holds_alternative<Network>(parseNetwork(text));
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
        const std::string word(text.substr(from, end - from));
        from = end;
        const auto network = parseNetwork(word);
        const auto* const address = std::get_if<Network>(&network);
        if (address == nullptr || address->prefix_length != 128 || word == text) continue;
        if (std::find(addresses.begin(), addresses.end(), word) == addresses.end()) addresses.push_back(word);
    }
    return addresses;
}

}  // namespace mailgate::answers
