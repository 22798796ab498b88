// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "protocols/values/address.h"
#include "protocols/values/text.h"
#include "store/journal/mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
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

bool isBehind(std::string_view text, std::string_view suffix) noexcept {
    return startsWithIgnoreCase(text, suffix);
}

/// Hexadecimal digits with dots between them, as in ip6.arpa, of more than is left of a masked address.
Found nibblesIn(std::string_view text) {
    constexpr std::size_t kNibbles = 32, kLeft = 48 / 4;
    std::string digits;
    std::size_t at = 0;
    while (at < text.size() && isHexDigit(text[at])) {
        const bool ends = at + 1 == text.size() || !isHexDigit(text[at + 1]);
        if (!ends) return {};
        digits += text[at++];
        if (at + 1 >= text.size() || text[at] != '.' || !isHexDigit(text[at + 1])) break;
        // What is longer is another label.
        if (at + 2 < text.size() && isAlphanumeric(text[at + 2])) break;
        ++at;
    }
    if (digits.size() <= kLeft) return {};
    // Elsewhere it may stand in either way round.
    if (!isBehind(text.substr(at), ".ip6.arpa") && !isBehind(text.substr(at), ".ip6.int"))
        return {at, "::/48"};
    std::reverse(digits.begin(), digits.end());
    digits.resize(kNibbles, '0');
    std::string address;
    for (std::size_t index = 0; index < kNibbles; index += 4)
        address.append(address.empty() ? "" : ":").append(digits, index, 4);
    const auto whole = IpAddress::parseV6(address);
    return {at, whole ? journal::masked(Network{whole->bytes, 128}).toString() : "::/48"};
}

std::string decimalOf(const AddressBytes& address) {
    std::string digits = "0";  // the least first
    for (const std::uint8_t byte : address) {
        unsigned carry = byte;
        for (char& digit : digits) {
            carry += static_cast<unsigned>(digit - '0') * 256;
            digit = static_cast<char>('0' + carry % 10);
            carry /= 10;
        }
        for (; carry > 0; carry /= 10)
            digits += static_cast<char>('0' + carry % 10);
    }
    std::reverse(digits.begin(), digits.end());
    return digits;
}

/// The forms in which the client's own address may stand: made once for all texts of a session.
struct Client {
    explicit Client(const AddressBytes& address) {
        constexpr std::size_t kV4At = 12;
        const Network client{address, 128};
        text = client.toString();
        masked = journal::masked(client).toString();
        if (address == AddressBytes{}) return;
        AddressBytes number = address;
        if (client.isV4()) std::fill(number.begin(), number.begin() + kV4At, std::uint8_t{0});
        for (std::size_t at = client.isV4() ? kV4At : 0; at < number.size(); ++at)
            hex += fmt::format("{:02x}", number[at]);
        decimal = decimalOf(number);
    }

    std::string text, masked;
    std::string hex, decimal;  ///< as one number; empty: it has none
};

/// The client's own address as one number, as programs take it for one.
Found numberIn(std::string_view text, const Client& client) {
    if (client.hex.empty()) return {};
    const auto goesOn = [&](std::size_t at) { return at < text.size() && isHexDigit(text[at]); };
    const std::size_t prefix = startsWithIgnoreCase(text, "0x") ? 2 : 0, end = prefix + client.hex.size();
    if (startsWithIgnoreCase(text.substr(prefix), client.hex) && !goesOn(end)) return {end, client.masked};
    const std::string_view decimal = leading(text, isDigit);
    if (decimal.empty() || goesOn(decimal.size()) || plainNumber(decimal) != client.decimal) return {};
    return {decimal.size(), client.masked};
}

/// Four numbers with dots between them, however large: what is doubtful is an address. Further ones belong to it.
Found v4In(std::string_view text, const Client& client) {
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
    const bool is_reverse = isBehind(text.substr(at), ".in-addr.arpa");
    // Any four of them may be one, and in either order.
    if (numbers.size() > kOctets && !is_reverse) return {at, "0.0.0.0/24"};
    if (is_reverse) std::reverse(numbers.begin(), numbers.end());
    const auto dotted = [&](std::size_t first, std::size_t second, std::size_t third, std::size_t fourth) {
        std::string joined;
        for (const std::size_t index : {first, second, third, fourth})
            joined.append(joined.empty() ? "" : ".").append(numbers[index]);
        return joined;
    };
    // As names in DNS have it, the other way round.
    if (dotted(3, 2, 1, 0) == client.text) return {at, client.masked};
    numbers[3] = "0/24";
    return {at, dotted(0, 1, 2, 3)};
}

/// A name in a part of a /24 (RFC 2317), whose labels may be anything: "177.128/25.2.0.192.in-addr.arpa", "177.a.2.0.192.in-addr.arpa",
/// "177-128/25.2.0.192.in-addr.arpa", or in a part of a part.
Found classlessIn(std::string_view text) {
    constexpr std::size_t kOfNetwork = 3, kLongest = 255;
    constexpr std::string_view kBeside = " \t\r\n@<>[]";
    text = text.substr(0, kLongest);
    text = text.substr(0, text.find_first_of(kBeside));
    std::array<std::string_view, kOfNetwork> network;  // the last labels, the nearest first
    std::size_t labels = 0, at = 0;
    for (; at < text.size() && !isBehind(text.substr(at), ".in-addr.arpa"); ++labels) {
        if (at > 0) ++at;
        const std::string_view label = text.substr(at, text.find('.', at) - at);
        std::rotate(network.begin(), network.end() - 1, network.end());
        network.front() = label;
        at += label.size();
    }
    if (at >= text.size() || labels <= kOfNetwork) return {};
    std::string left;
    for (const std::string_view label : network) {
        if (label.empty() || leading(label, isDigit) != label) return {};
        left.append(plainNumber(label)).append(".");
    }
    return {at, left + "0/24"};
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
    std::string_view run = leading(text, [&](char character) {
        return isSeparator(character) ? ++separators <= kMostSeparators : isHexDigit(character);
    });
    if (std::count(run.begin(), run.end(), ':') < 2) return {};
    std::optional<IpAddress> address;
    while (!run.empty() && !(address = IpAddress::parseV6(plainV6(run))))
        run = shortened(run);
    if (!address || address == IpAddress{}) return {};
    std::size_t end = run.size();
    while (end + 1 < text.size() &&
           (text[end] == ':' ? isHexDigit(text[end + 1]) : text[end] == '.' && isDigit(text[end + 1])))
        end += 1 + leading(text.substr(end + 1), isHexDigit).size();
    return {end, journal::masked(Network{address->bytes, 128}).toString()};
}

/// Whether an address may begin in `text` at `at`, and which.
Found addressAt(std::string_view text, std::size_t at, const Client& client) {
    const char before = at == 0 ? ' ' : text[at - 1];
    Found found;
    const bool begins = isHexDigit(text[at]) && !isHexDigit(before);
    // No group has more than four digits: what is in front of these is not of it.
    constexpr std::size_t kMostOfGroup = 4;
    const bool begins_group =
        begins || leading(text.substr(at, kMostOfGroup + 1), isHexDigit).size() == kMostOfGroup;
    if (text[at] == ':' ? !isAlphanumeric(before) : begins_group) found = v6In(text.substr(at));
    if (found.length == 0 && begins && !isAlphanumeric(before)) found = nibblesIn(text.substr(at));
    const bool begins_number = begins || (isDigit(text[at]) && !isDigit(before));
    if (found.length == 0 && begins_number) found = numberIn(text.substr(at), client);
    if (found.length == 0 && isDigit(text[at]) && !isDigit(before)) found = classlessIn(text.substr(at));
    if (found.length == 0 && isDigit(text[at]) && !isDigit(before)) found = v4In(text.substr(at), client);
    return found;
}

/// The byte that is percent-encoded at the beginning of the text.
std::optional<unsigned char> encodedByte(std::string_view text) noexcept {
    if (text.size() < 3 || text[0] != '%' || !isHexDigit(text[1]) || !isHexDigit(text[2]))
        return std::nullopt;
    unsigned char byte = 0;
    std::from_chars(text.data() + 1, text.data() + 3, byte, 16);
    return byte;
}

/// As many as the longest way to write one has: three bytes, each of them encoded.
constexpr std::size_t kLongestCharacter = 9;

/// The character that stands at the beginning of the text in another way, and how long that is; 0: it is as it is.
std::pair<char, std::size_t> plainCharacter(std::string_view text) noexcept {
    constexpr std::string_view kDots[] = {"\u3002", "\uff61", "\u2024"};
    const auto first = encodedByte(text);
    // Three bytes, of which each may be encoded.
    std::array<char, 3> bytes{};
    std::size_t length = 0;
    for (char& byte : bytes) {
        const auto encoded = encodedByte(text.substr(length));
        if (length < text.size()) byte = encoded ? static_cast<char>(*encoded) : text[length];
        length = std::min(length + (encoded ? 3 : 1), text.size());
    }
    if (std::ranges::find(kDots, std::string_view(bytes.data(), bytes.size())) != std::end(kDots))
        return {'.', length};
    const auto byteAt = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    // U+FF01 to U+FF5E are those of ASCII.
    if (byteAt(0) == 0xEF && (byteAt(1) == 0xBC || byteAt(1) == 0xBD)) {
        const unsigned code = (byteAt(1) & 0x3FU) << 6 | (byteAt(2) & 0x3FU);  // without U+F000
        constexpr unsigned kFirst = 0xF01, kLast = 0xF5E;
        if (byteAt(2) >= 0x80 && code >= kFirst && code <= kLast)
            return {static_cast<char>(code - kFirst + '!'), length};
    }
    if (!first) return {'%', 0};
    const auto character = static_cast<char>(*first);
    const bool may_be_of_one = isHexDigit(character) || isSeparator(character) || character == '%' ||
                               character == '[' || character == ']';
    return {character, may_be_of_one ? 3U : 0U};
}

/// What may be of an address as it is written plainly, as often as it was encoded: from the end on, so that what stands behind a character
/// is plain already.
std::string inPlain(std::string_view text) {
    if (std::ranges::none_of(text, [](char one) { return one == '%' || (one & 0x80) != 0; }))
        return std::string(text);
    std::string back;  // the last character first
    back.reserve(text.size());
    for (std::size_t at = text.size(); at-- > 0;) {
        std::string ahead(1, text[at]);
        while (ahead.front() == '%' || (ahead.front() & 0x80) != 0) {
            for (std::size_t next = back.size(); ahead.size() < kLongestCharacter && next-- > 0;)
                ahead += back[next];
            const auto [character, length] = plainCharacter(ahead);
            if (length == 0) break;
            back.resize(back.size() - (length - 1));
            ahead.assign(1, character);
        }
        back += ahead.front();
    }
    std::reverse(back.begin(), back.end());
    return back;
}

bool hasAddress(std::string_view text, const Client& client) {
    for (std::size_t at = 0; at < text.size(); ++at)
        if (addressAt(text, at, client).length > 0) return true;
    return false;
}

std::string maskedPlain(std::string_view text, const Client& client) {
    constexpr std::string_view kTag = "ipv6:";
    std::string masked;
    for (std::size_t at = 0; at < text.size();) {
        if (startsWithIgnoreCase(text.substr(at), kTag)) {
            masked += text.substr(at, kTag.size());
            at += kTag.size();
            continue;
        }
        const Found found = addressAt(text, at, client);
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

std::string maskedOnce(std::string_view text, const Client& client) {
    const std::string plain = inPlain(text);
    // Nothing that has no address is written otherwise.
    return maskedPlain(plain != text && hasAddress(plain, client) ? plain : text, client);
}

/// What is left of an address may be one together with what stands beside it ("20" and "db8::/48", "a.b." and "1.2.3.0/24"): so that it is
/// the same once more, it is masked until it is. Of what nobody writes but to try this, nothing is left.
std::string maskedFor(const Client& client, std::string_view text) {
    constexpr int kMostTimes = 8;
    std::string masked(text);
    for (int times = 0; times < kMostTimes; ++times) {
        std::string again = maskedOnce(masked, client);
        if (again == masked) return masked;
        masked = std::move(again);
    }
    return "::/48";
}

}  // namespace

Network maskedNetwork(Network network) noexcept {
    return journal::masked(network);
}

std::string maskedText(std::string_view text, const AddressBytes& client) {
    return maskedFor(Client(client), text);
}

bool tellsAddress(std::string_view text) {
    const std::string plain = inPlain(text);
    return plain.find_first_of("[:") != std::string::npos || hasAddress(plain, Client(AddressBytes{}));
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

store::JournalSession maskedSession(store::JournalSession session) {
    const Client client(session.client);
    const auto mask = [&](std::string& text) { text = maskedFor(client, text); };
    if (!session.client_masked) session.client = journal::masked(Network{session.client, 128}).address;
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
