// SPDX-License-Identifier: Apache-2.0
#include "protocols/pop3/pop3_filter.h"

#include "protocols/stream/lines.h"
#include "protocols/stream/word_list.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mailgate {

namespace {

bool isVerb(std::string_view word) noexcept {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
               c == '_';
    });
}

/// A refusal that says nothing about the password (RFC 3206 4, RFC 2449 8.1). Dovecot has no code for a login
/// that it wants to see under TLS only.
bool isTemporaryInPop3(std::string_view text) noexcept {
    static constexpr std::array<std::string_view, 6> kCodes{"[SYS/",
                                                            "[IN-USE]",
                                                            "[LOGIN-DELAY]",
                                                            "[AUTH] Plaintext authentication disallowed",
                                                            "[AUTH] Cleartext authentication disallowed",
                                                            "Plaintext authentication disallowed"};
    return std::any_of(kCodes.begin(), kCodes.end(),
                       [text](std::string_view code) { return startsWithIgnoreCase(text, code); });
}

/// Dovecot forgets USER with a failed PASS; others keep it, and judge the next PASS.
bool lacksUser(std::string_view text) noexcept {
    return startsWithIgnoreCase(text, "No username given");
}

}  // namespace

bool Pop3Filter::mustWait() const noexcept {
    if (unanswered_.empty()) return false;
    switch (unanswered_.back()) {
        case Kind::Pass:
        case Kind::Apop:
        case Kind::Auth:
        case Kind::StartTls:
        case Kind::Quit:
            return true;
        case Kind::Other:
        case Kind::Listing:
        case Kind::Capabilities:
        case Kind::User:
        case Kind::XClient:
            break;
    }
    return unanswered_.size() >= kMaxPipelined;
}

Pop3Filter::Kind Pop3Filter::kindOf(std::string_view verb, std::string_view arguments) noexcept {
    struct Entry {
        std::string_view verb;
        Kind bare;
        Kind with_argument;
    };
    // AUTH alone lists the mechanisms in older servers, LANG alone the languages (RFC 6856 3.2).
    static constexpr std::array<Entry, 9> kVerbs{{{"USER", Kind::User, Kind::User},
                                                  {"PASS", Kind::Pass, Kind::Pass},
                                                  {"APOP", Kind::Apop, Kind::Apop},
                                                  {"AUTH", Kind::Listing, Kind::Auth},
                                                  {"CAPA", Kind::Capabilities, Kind::Capabilities},
                                                  {"LANG", Kind::Listing, Kind::Other},
                                                  {"STLS", Kind::StartTls, Kind::StartTls},
                                                  {"XCLIENT", Kind::XClient, Kind::XClient},
                                                  {"QUIT", Kind::Quit, Kind::Quit}}};
    for (const Entry& entry : kVerbs) {
        if (equalsIgnoreCase(verb, entry.verb)) return arguments.empty() ? entry.bare : entry.with_argument;
    }
    return Kind::Other;
}

Pop3Filter::Decision Pop3Filter::onCommand(std::string_view bytes) {
    const bool response = sasl_.active() && sasl_.prompted();
    const bool auth = startsWithIgnoreCase(bytes, "AUTH ");
    const std::optional<std::size_t> end =
        endOfLine(bytes, response || auth ? kMaxSaslLineBytes : kMaxLoginLineBytes);
    if (!end) return {};
    if (*end == std::string_view::npos) {
        violate(Violation::TooLong);
        return {};
    }
    const std::string_view line = withoutLineEnd(bytes.substr(0, *end));
    if (line.find('\0') != std::string_view::npos || (response && hasControls(line))) {
        violate(!response && bytes.starts_with(kHeaderLine) ? Violation::ProxyHeader : Violation::BadCommand);
        return {};
    }
    if (response) {
        onResponse(line);
        return {.action = Action::Pass, .bytes = *end};
    }
    const std::string_view verb = line.substr(0, line.find(' '));
    const std::string_view arguments = line.substr(std::min(verb.size() + 1, line.size()));
    const Kind kind = kindOf(verb, arguments);
    if (equalsIgnoreCase(verb, "PROXY")) violate(Violation::ProxyHeader);
    if (no_header_ && kind == Kind::XClient) violate(Violation::ForbiddenCommand);
    if (violation()) return {};
    // A password may hold any character but those that end a line. Behind a second space Dovecot sees no mechanism, and
    // says +OK before it lists those it has.
    const bool odd = kind == Kind::Pass
                         ? arguments.find('\r') != std::string_view::npos
                         : hasControls(line) || (kind == Kind::Auth && arguments.front() == ' ');
    if (!isVerb(verb) || odd) return {.action = Action::Refuse, .bytes = *end};
    if (tls_.demanded() && isLogin(kind, verb)) return {.action = Action::RefuseInClear, .bytes = *end};
    Action action = Action::Pass;
    if (kind == Kind::StartTls && tls_.endsHere())
        action = arguments.empty() ? onStartTls(*end, bytes) : Action::Refuse;
    if (violation()) return {};
    if (!passes(action)) return {.action = action, .bytes = *end};
    onVerb(kind, arguments);
    unanswered_.push(kind);
    return {.action = action, .bytes = *end};
}

/// AUTH alone, which asks for the mechanisms, among them.
bool Pop3Filter::isLogin(Kind kind, std::string_view verb) noexcept {
    return kind == Kind::User || kind == Kind::Pass || kind == Kind::Apop || equalsIgnoreCase(verb, "AUTH");
}

void Pop3Filter::onResponse(std::string_view line) {
    offered(sasl_.respond(line));
    unanswered_.push(Kind::Auth);
}

void Pop3Filter::onVerb(Kind kind, std::string_view arguments) {
    switch (kind) {
        case Kind::User:
            onUser(arguments);
            break;
        case Kind::Pass:
            beginLogin();
            offered(user_);
            break;
        case Kind::Apop:
            beginLogin();
            offered(std::string(takeWord(arguments).substr(0, kMaxNameBytes)));
            break;
        case Kind::Auth:
            beginLogin();
            sasl_.start(takeWord(arguments));
            if (!arguments.empty()) offered(sasl_.initial(takeWord(arguments)));
            break;
        case Kind::Quit:
            facts_.quit = true;
            break;
        case Kind::Listing:
        case Kind::Capabilities:
        case Kind::StartTls:
        case Kind::XClient:
        case Kind::Other:
            break;
    }
}

/// What follows the first word may be a password that was typed in the wrong place.
void Pop3Filter::onUser(std::string_view name) {
    user_ = takeWord(name).substr(0, kMaxNameBytes);
    offered(user_);
    user_taken_ = true;
}

std::string Pop3Filter::nameIn(std::string_view command) const {
    std::string_view arguments = withoutLineEnd(command);
    const std::string_view verb = takeWord(arguments);
    const Kind kind = kindOf(verb, arguments);
    const std::string_view word = takeWord(arguments);
    if (kind == Kind::User || kind == Kind::Apop) return std::string(word.substr(0, kMaxNameBytes));
    return kind == Kind::Auth ? initialName(word, takeWord(arguments)) : std::string();
}

std::string Pop3Filter::refusal(std::string_view /*command*/, Action why) const {
    if (why == Action::RefuseInClear) return std::string(kTlsFirst) + "\r\n";
    if (why == Action::RefuseSecond) return "-ERR TLS is already active.\r\n";
    return "-ERR Command not understood and not passed on.\r\n";
}

std::string Pop3Filter::startTlsReply(bool ready) const {
    return ready ? "+OK Begin TLS negotiation now.\r\n" : "-ERR [SYS/TEMP] TLS is not available for now.\r\n";
}

std::optional<std::size_t> Pop3Filter::replySize(std::string_view bytes) const noexcept {
    const std::size_t end = bytes.find('\n');
    return end == std::string_view::npos ? std::nullopt : std::optional(end + 1);
}

std::optional<std::string> Pop3Filter::onReply(std::string_view reply) {
    if (listing_ != Kind::Other) return onListed(reply);
    std::string_view text = withoutLineEnd(reply);
    const std::string_view status = takeWord(text);
    const bool ok = equalsIgnoreCase(status, "+OK");
    if (ok || equalsIgnoreCase(status, "-ERR")) {
        if (!greeting_over_) return onGreeting(ok, reply, text);
        onStatus(ok, text);
    } else if (status == "+") {
        onPrompt();
    } else {
        violate(Violation::UnexpectedReply);
    }
    return std::nullopt;
}

std::optional<std::string> Pop3Filter::onListed(std::string_view reply) {
    const std::string_view text = withoutLineEnd(reply);
    std::string_view rest = text;
    const std::string_view word = takeWord(rest);
    const Kind listing = listing_;
    if (text == ".") listing_ = Kind::Other;
    if (no_header_ && equalsIgnoreCase(word, "XCLIENT")) return std::string();
    if (!tls_.endsHere()) return std::nullopt;
    if (listing == Kind::Capabilities) return onCapability(reply, text);
    return bindsChannel(word) ? std::optional(std::string()) : std::nullopt;
}

std::optional<std::string> Pop3Filter::onCapability(std::string_view reply, std::string_view text) {
    if (text == ".") {
        if (!tls_.addsOffer() || tls_listed_) return std::nullopt;
        return std::string("STLS\r\n").append(reply);
    }
    constexpr std::string_view kBlanks = " \t";
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
    text.remove_prefix(word.size());
    const bool tls = equalsIgnoreCase(word, "STLS");
    const bool sasl = equalsIgnoreCase(word, "SASL");
    tls_listed_ = tls_listed_ || tls;
    if ((tls && tls_.refused()) || (tls_.demanded() && (sasl || equalsIgnoreCase(word, "USER"))))
        return std::string();
    const auto mechanisms = sasl ? withoutWords(text, bindsChannel) : std::nullopt;
    if (!mechanisms) return std::nullopt;
    if (isBlank(*mechanisms)) return std::string();
    const auto before = static_cast<std::size_t>(text.data() - reply.data());
    return std::string(reply.substr(0, before))
        .append(*mechanisms)
        .append(reply.substr(before + text.size()));
}

/// Dovecot offers XCLIENT there, with a code of its own.
std::optional<std::string> Pop3Filter::onGreeting(bool ok, std::string_view reply, std::string_view text) {
    constexpr std::string_view kOffer = "[XCLIENT] ";
    greeting_over_ = true;
    facts_.greeted = ok;
    if (!no_header_ || !startsWithIgnoreCase(text, kOffer)) return std::nullopt;
    const auto before = static_cast<std::size_t>(text.data() - reply.data());
    return std::string(reply).erase(before, kOffer.size());
}

void Pop3Filter::onStatus(bool ok, std::string_view text) {
    if (!unanswered_.empty()) {
        answered(unanswered_.pop(), ok, text);
    } else if (ok) {
        violate(Violation::UnexpectedReply);
    } else {
        // An -ERR that nobody asked for is a server's farewell.
        facts_.goodbye = true;
    }
}

/// The exchange is the last in the queue: what is behind it waits.
void Pop3Filter::onPrompt() {
    if (unanswered_.empty() || unanswered_.pop() != Kind::Auth) return violate(Violation::UnexpectedReply);
    sasl_.prompt();
}

void Pop3Filter::answered(Kind kind, bool ok, std::string_view text) {
    switch (kind) {
        case Kind::Listing:
        case Kind::Capabilities:
            if (ok) listing_ = kind;
            tls_listed_ = false;
            break;
        case Kind::User:
            user_taken_ = ok;
            if (!ok && isTemporaryInPop3(text)) deferred();
            break;
        case Kind::Pass:
            loginAnswered(ok, user_taken_ && !lacksUser(text), text);
            break;
        case Kind::Apop:
            loginAnswered(ok, true, text);
            break;
        case Kind::Auth:
            loginAnswered(ok, sasl_.tried(), text);
            sasl_.end();
            break;
        case Kind::StartTls:
            startTlsAnswered(ok);
            break;
        case Kind::Quit:
            facts_.goodbye = ok;
            break;
        case Kind::XClient:
        case Kind::Other:
            break;
    }
}

void Pop3Filter::loginAnswered(bool ok, bool tried, std::string_view text) {
    if (ok) {
        accepted();
    } else if (isTemporaryInPop3(text)) {
        deferred();
    } else if (tried) {
        refused();
    }
}

}  // namespace mailgate
