// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/meanings.h"

#include "gateway/answers/journal.h"
#include "gateway/answers/logged_line.h"
#include "gateway/answers/rules_text.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

namespace mailgate::answers {

namespace {

constexpr std::string_view kShellSafe =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+=:,./-";

using Text = std::optional<std::string> store::JournalFilter::*;

struct KnownKind {
    std::string_view name, words, option;
    Text member;
    bool is_slow = false;
};
constexpr KnownKind kMessageId{"message_id", "a Message-ID", "--message-id",
                               &store::JournalFilter::message_id};
constexpr KnownKind kQueueId{"queue_id", "a queue id", "--queue-id", &store::JournalFilter::queue_id};
constexpr KnownKind kFrom{"from", "a sender", "--from", &store::JournalFilter::from};
constexpr KnownKind kTo{"to", "a recipient", "--to", &store::JournalFilter::to};
constexpr KnownKind kFromDomain{"from", "a sender's domain", "--from", &store::JournalFilter::from};
constexpr KnownKind kToDomain{"to", "a recipient's domain", "--to", &store::JournalFilter::to};
constexpr KnownKind kUser{"user", "a user", "--user", &store::JournalFilter::user};
constexpr KnownKind kHelo{"helo", "a HELO name", "--helo", &store::JournalFilter::helo, true};

Meaning meaning(const KnownKind& kind, std::string_view value) {
    const std::string_view word = value.empty() ? "<>" : value;
    // One that looks like an option would be taken for that.
    const std::string option =
        fmt::format("mailgate sessions {}{}", kind.option, value.starts_with('-') ? '=' : ' ');
    Meaning meaning{.name = kind.name,
                    .words = kind.words,
                    .command = option + shellWord(word),
                    .ascii_command = option + asciiShellWord(word),
                    .filter = {}};
    meaning.filter.*kind.member = value;
    meaning.is_slow = kind.is_slow;
    return meaning;
}

std::vector<Meaning> addressMeanings(const Network& network) {
    const auto meaningAs = [&](std::string_view name, std::string_view words, std::string_view option) {
        const std::string command = fmt::format("mailgate sessions {} {}", option, network.toString());
        return Meaning{
            .name = name, .words = words, .command = command, .ascii_command = command, .filter = {}};
    };
    std::vector<Meaning> meanings{meaningAs("client", "a client", "--client"),
                                  meaningAs("balancer", "a balancer", "--balancer")};
    meanings[0].filter.client = network;
    meanings[1].filter.balancer = network;
    return meanings;
}

constexpr std::size_t kWholeId = 26;

/// The time in an id is ten digits of Crockford's base 32; fewer name no session.
bool mayBeSessionId(std::string_view text) noexcept {
    constexpr std::size_t kLeast = 10;
    return text.size() >= kLeast && text.size() <= kWholeId && text.front() >= '0' && text.front() <= '7' &&
           std::all_of(text.begin(), text.end(), [](char character) {
               return std::string_view("0123456789abcdefghjkmnpqrstvwxyz").find(lower(character)) !=
                      std::string_view::npos;
           });
}

bool mayBeDomain(std::string_view text) noexcept {
    return text.find('.') != std::string_view::npos && text.find(' ') == std::string_view::npos;
}

/// The first whole id among the words: "* BYE ... (01M8FQ...)", "\"session\":\"01M8FQ...\"". Between < and > it would be a Message-ID.
std::string_view sessionIdIn(std::string_view text) noexcept {
    constexpr std::string_view kAround = " \t\r\n[](){},;:=\"'";
    for (std::size_t from = 0; (from = text.find_first_not_of(kAround, from)) != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(kAround, from), text.size());
        const std::string_view word = text.substr(from, end - from);
        if (word.size() == kWholeId && mayBeSessionId(word)) return word;
        from = end;
    }
    return {};
}

/// What is meant in what people paste: the id in a refusal or in a line of our log, the address in "unknown[192.0.2.1]:40000" and
/// in "192.0.2.1:40000", the mailbox in "Bob <bob@example.net>", the queue id in "3B6E2A880B1:".
std::string_view essenceOf(std::string_view text) {
    if (const auto id = between(text, "[id ", "]"); mayBeSessionId(id)) return id;
    if (const auto id = text.substr(0, text.find(']')); mayBeSessionId(id)) return id;
    if (const auto id = between(text, "id ", " "); text.starts_with("id ") && mayBeSessionId(id)) return id;
    if (const auto id = queuedAs(text); !id.empty()) return id;
    if (const auto id = sessionIdIn(text); !id.empty()) return id;
    if (const auto address = withoutTag(between(text, "[", "]")); isAddress(address)) return address;
    if (const auto address = addressOf(text); !address.empty()) return address;
    if (const auto mailbox = between(text, " <", ">"); mailbox.find('@') != std::string_view::npos)
        return mailbox;
    return text.size() > 1 && text.back() == ':' ? text.substr(0, text.size() - 1) : text;
}

/// Of a line of a log: what names one mail, then who sent it to whom, then from where. Empty: it is none.
std::vector<Meaning> loggedMeanings(std::string_view line) {
    std::vector<Meaning> meanings;
    const auto add = [&](Meaning found) {
        found.is_slow = !meanings.empty();
        meanings.push_back(std::move(found));
    };
    const LoggedLine named = readLoggedLine(line);
    if (!named.queue_id.empty()) add(meaning(kQueueId, named.queue_id));
    if (!named.message_id.empty()) add(meaning(kMessageId, messageId(named.message_id)));
    for (const auto& [text, kind] : {std::pair<std::string_view, const KnownKind&>(named.from, kFrom),
                                     {named.to, kTo},
                                     {named.user, kUser},
                                     {named.sasl_username, kUser}})
        if (const std::string value = envelopeAddress(text); !value.empty()) add(meaning(kind, value));
    if (const auto network = parseNetwork(named.client); std::holds_alternative<Network>(network))
        add(std::move(addressMeanings(std::get<Network>(network)).front()));
    return meanings;
}

/// No quote and no backslash is left to itself: whoever takes $ and '...' apart sees one word as well. Octal: of \x shells take as many
/// digits as come.
std::string escapedShellWord(std::string_view text) {
    std::string word = "$'";
    for (const char character : text) {
        if (character == ' ' || kShellSafe.find(character) != std::string_view::npos)
            word += character;
        else
            word += fmt::format("\\{:03o}", static_cast<unsigned char>(character));
    }
    return word + "'";
}

}  // namespace

std::string shellWord(std::string_view text) {
    if (!text.empty() && text.find_first_not_of(kShellSafe) == std::string_view::npos)
        return std::string(text);
    if (plainLine(text) != text) return escapedShellWord(text);
    std::string word = "'";
    for (const char character : text) {
        if (character == '\'')
            word += "'\\''";
        else
            word += character;
    }
    return word + "'";
}

std::string asciiShellWord(std::string_view text) {
    return isAscii(text) ? shellWord(text) : escapedShellWord(text);
}

std::vector<Meaning> meaningsOf(std::string_view text) {
    // As a header and as Postfix's cleanup(8) name it.
    constexpr std::string_view kFields[] = {"message-id:", "message-id="};
    text = trimmed(text);
    if (text.empty()) return {};
    for (const std::string_view field : kFields)
        if (startsWithIgnoreCase(text, field))
            return {meaning(kMessageId, messageId(text.substr(field.size())))};
    const std::string_view pasted = text;
    text = essenceOf(text);
    // An id that is named as one says more than what is around it.
    if (!mayBeSessionId(text)) {
        const std::string_view next_id = queuedAs(pasted);
        auto logged = next_id.empty() || pasted.find("status=") != std::string_view::npos
                          ? loggedMeanings(pasted)
                          : std::vector<Meaning>();
        // Of a server's line of what it has sent on, its own id is meant, or, where it has sent it here, the other one.
        if (!logged.empty() && !next_id.empty())
            logged.insert(logged.begin() + 1, meaning(kQueueId, next_id));
        if (!logged.empty()) return logged;
    }
    const auto network = parseNetwork(text);
    if (const Network* const parsed = std::get_if<Network>(&network)) {
        auto meanings = addressMeanings(*parsed);
        // An address literal is a name in HELO as well.
        if (pasted.front() == '[' && pasted.back() == ']') meanings.push_back(meaning(kHelo, pasted));
        return meanings;
    }
    const std::string address = envelopeAddress(text);
    if (address.empty()) return {meaning(kFrom, "")};
    if (address.front() == '@') return {meaning(kFrom, address), meaning(kTo, address)};
    if (address.find('@') != std::string::npos)
        return {meaning(kMessageId, messageId(text)), meaning(kFrom, address), meaning(kTo, address),
                meaning(kUser, address)};
    std::vector<Meaning> meanings;
    if (mayBeSessionId(text)) {
        const std::string command = fmt::format("mailgate sessions show {}", text);
        meanings.push_back({.name = "session",
                            .words = "a session",
                            .command = command,
                            .ascii_command = command,
                            .filter = {},
                            .session_id = std::string(text)});
    }
    for (const KnownKind& kind : {kQueueId, kMessageId, kUser})
        meanings.push_back(meaning(kind, address));
    if (mayBeDomain(address))
        for (const KnownKind& kind : {kFromDomain, kToDomain})
            meanings.push_back(meaning(kind, "@" + address));
    meanings.push_back(meaning(kHelo, text));
    return meanings;
}

}  // namespace mailgate::answers
