// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "protocols/values/address.h"
#include "protocols/values/text.h"
#include "store/journal/mask.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace mailgate::answers {

namespace journal = store::journal;

namespace {

bool isDigit(char character) noexcept {
    return character >= '0' && character <= '9';
}

bool isHexDigit(char character) noexcept {
    return isDigit(character) || (lower(character) >= 'a' && lower(character) <= 'f');
}

bool isSeparator(char character) noexcept {
    return character == ':' || character == '.';
}

bool isAlphanumeric(char character) noexcept {
    return isDigit(character) || (lower(character) >= 'a' && lower(character) <= 'z');
}

template <typename Belongs>
std::string_view leading(std::string_view text, Belongs belongs) noexcept {
    const auto end = std::find_if_not(text.begin(), text.end(), belongs);
    return text.substr(0, static_cast<std::size_t>(end - text.begin()));
}

/// Without the zeroes in front of it.
std::string_view plainNumber(std::string_view number) noexcept {
    const std::size_t first = number.find_first_not_of('0');
    return number.substr(std::min(first, number.size() - 1));
}

/// An address within a text.
struct Found {
    std::size_t length = 0;  ///< 0: there is none
    std::string left;        ///< what is shown in its place
};

/// Four numbers with dots between them, however large: what is doubtful is an address. Further ones belong to it.
Found v4In(std::string_view text, const Network& client) {
    constexpr std::size_t kOctets = 4;
    std::vector<std::string_view> numbers;
    std::size_t at = 0;
    while (true) {
        const std::string_view number = leading(text.substr(at), isDigit);
        if (number.empty()) break;
        at += number.size();
        numbers.push_back(plainNumber(number));
        if (at >= text.size() || text[at] != '.') break;
        ++at;
    }
    if (numbers.size() < kOctets) return {};
    if (text[at - 1] == '.') --at;
    const auto dotted = [&](std::size_t first, std::size_t second, std::size_t third, std::size_t fourth) {
        std::string joined;
        for (const std::size_t index : {first, second, third, fourth})
            joined.append(joined.empty() ? "" : ".").append(numbers[index]);
        return joined;
    };
    // As names in DNS have it, the other way round.
    if (dotted(3, 2, 1, 0) == client.toString()) return {at, maskedNetwork(client).toString()};
    numbers[3] = "0/24";
    return {at, dotted(0, 1, 2, 3)};
}

/// As inet_pton(3) takes it: groups without needless zeroes.
std::string plainV6(std::string_view address) {
    std::string plain;
    while (!address.empty()) {
        const std::string_view group = leading(address, isHexDigit);
        if (!group.empty()) plain += plainNumber(group);
        address.remove_prefix(group.size());
        const std::string_view between = leading(address, isSeparator);
        plain += between;
        address.remove_prefix(between.size());
    }
    return plain;
}

/// Without the last group, or what separates it from the next.
std::string_view shortened(std::string_view run) noexcept {
    if (isSeparator(run.back())) return run.substr(0, run.size() - 1);
    while (!run.empty() && isHexDigit(run.back()))
        run.remove_suffix(1);
    return run;
}

/// The longest that the text begins with. Numbers and groups that go on with it belong to it.
Found v6In(std::string_view text) {
    constexpr std::size_t kMostSeparators = 7 + 1 + 3;
    std::size_t separators = 0;
    const std::string_view whole =
        leading(text, [](char character) { return isHexDigit(character) || isSeparator(character); });
    if (std::count(whole.begin(), whole.end(), ':') < 2) return {};
    std::string_view run = leading(
        whole, [&](char character) { return !isSeparator(character) || ++separators <= kMostSeparators; });
    std::optional<IpAddress> address;
    while (!run.empty() && !(address = IpAddress::parseV6(plainV6(run))))
        run = shortened(run);
    if (!address || address == IpAddress{}) return {};
    std::size_t end = run.size();
    while (end + 1 < whole.size() &&
           (whole[end] == ':' ? isHexDigit(whole[end + 1]) : whole[end] == '.' && isDigit(whole[end + 1])))
        end += 1 + leading(whole.substr(end + 1), isHexDigit).size();
    return {end, journal::masked(Network{address->bytes, 128}).toString()};
}

/// Whether an address may begin in `text` at `at`, and which.
Found addressAt(std::string_view text, std::size_t at, const Network& client) {
    const char before = at == 0 ? ' ' : text[at - 1];
    Found found;
    if (text[at] == ':' ? !isAlphanumeric(before) : isHexDigit(text[at]) && !isHexDigit(before))
        found = v6In(text.substr(at));
    if (found.length == 0 && isDigit(text[at]) && !isDigit(before)) found = v4In(text.substr(at), client);
    return found;
}

}  // namespace

Network maskedNetwork(Network network) noexcept {
    return journal::masked(network);
}

std::string maskedText(std::string_view text, const AddressBytes& client) {
    constexpr std::string_view kTag = "ipv6:";
    const Network whole{client, 128};
    std::string masked;
    for (std::size_t at = 0; at < text.size();) {
        if (startsWithIgnoreCase(text.substr(at), kTag)) {
            masked += text.substr(at, kTag.size());
            at += kTag.size();
            continue;
        }
        const Found found = addressAt(text, at, whole);
        if (found.length == 0) {
            masked += text[at++];
            continue;
        }
        masked += found.left;
        at += found.length;
        // Where it is masked already.
        const std::string_view length = std::string_view(found.left).substr(found.left.find('/'));
        if (text.substr(at).starts_with(length)) at += length.size();
    }
    return masked;
}

bool tellsAddress(std::string_view text) {
    if (text.find_first_of("[:") != std::string_view::npos) return true;
    for (std::size_t at = 0; at < text.size(); ++at)
        if (addressAt(text, at, Network{}).length > 0) return true;
    return false;
}

bool tellsAddressOfHelo(std::string_view name) {
    // The end of an address, too.
    constexpr std::string_view kBeginning = "0.0.0";
    if (tellsAddress(name) || name.find(']') != std::string_view::npos) return true;
    if (name.starts_with('.') && tellsAddress(std::string(kBeginning).append(name))) return true;
    while (!name.empty()) {
        const std::size_t end = std::min(name.find('.'), name.size());
        const std::string_view label = name.substr(0, end);
        if (!label.empty() && label.find_first_not_of("0123456789") == std::string_view::npos) return true;
        name.remove_prefix(std::min(end + 1, name.size()));
    }
    return false;
}

std::string withoutPaths(std::string_view text) {
    constexpr std::string_view kQuotes = "\"'`", kBefore = " \t(=\"'`", kEnds = " \t,;)\"'`";
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
        const char before = at == 0 ? ' ' : text[at - 1];
        if (text[at] != '/' || kBefore.find(before) == std::string_view::npos) {
            shown += text[at++];
            continue;
        }
        const bool is_quoted = kQuotes.find(before) != std::string_view::npos;
        // Before ": what is wrong with it" a path may have spaces.
        const std::size_t colon = text.find(": ", at);
        const std::size_t end = is_quoted                         ? text.find(before, at)
                                : colon != std::string_view::npos ? colon
                                                                  : text.find_first_of(kEnds, at);
        shown += "a file";
        at = std::min(end, text.size());
    }
    return shown;
}

store::JournalSession maskedSession(store::JournalSession session) {
    const AddressBytes client = session.client;
    const auto mask = [&](std::string& text) { text = maskedText(text, client); };
    if (!session.client_masked) session.client = journal::masked(Network{client, 128}).address;
    session.client_masked = true;
    session.client_port = 0;
    session.rule = journal::maskedRule(session.rule);
    session.rule_id = 0;
    mask(session.helo);
    mask(session.reply);
    mask(session.user);
    for (std::string& user : session.failed_users)
        mask(user);
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
