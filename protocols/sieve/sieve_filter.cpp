// SPDX-License-Identifier: Apache-2.0
#include "protocols/sieve/sieve_filter.h"

#include "protocols/stream/literals.h"
#include "protocols/stream/word_list.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mailgate {

namespace {

/// What a server surely takes for arguments, the literals among them.
bool isSafe(std::string_view verb, std::string_view arguments) noexcept {
    if (arguments.starts_with(' ')) arguments.remove_prefix(1);
    if (equalsIgnoreCase(verb, "AUTHENTICATE")) return isStrings(arguments, 2);
    return equalsIgnoreCase(verb, "NOOP") && isStrings(arguments, 1);
}

bool isSieveVerb(std::string_view word) noexcept {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    });
}

/// A refusal that says nothing about the password (RFC 5804 1.3).
bool isTemporaryInSieve(std::string_view text) noexcept {
    static constexpr std::array<std::string_view, 5> kCodes{"(TRYLATER", "(ENCRYPT-NEEDED", "(QUOTA",
                                                            "(AUTH-TOO-WEAK", "(TRANSITION-NEEDED"};
    return std::any_of(kCodes.begin(), kCodes.end(),
                       [text](std::string_view code) { return startsWithIgnoreCase(text, code); });
}

}  // namespace

bool SieveFilter::mustWait() const noexcept {
    if (unanswered_.empty()) return false;
    switch (unanswered_.back()) {
        case Kind::Authenticate:
            return !responds();
        case Kind::StartTls:
        case Kind::Logout:
            return true;
        case Kind::Other:
        case Kind::Capability:
        case Kind::XClient:
            break;
    }
    return unanswered_.size() >= kMaxPipelined;
}

SieveFilter::Kind SieveFilter::kindOf(std::string_view verb) noexcept {
    if (equalsIgnoreCase(verb, "AUTHENTICATE")) return Kind::Authenticate;
    if (equalsIgnoreCase(verb, "CAPABILITY")) return Kind::Capability;
    if (equalsIgnoreCase(verb, "STARTTLS")) return Kind::StartTls;
    if (equalsIgnoreCase(verb, "XCLIENT")) return Kind::XClient;
    return equalsIgnoreCase(verb, "LOGOUT") ? Kind::Logout : Kind::Other;
}

/// A command, or a response in an exchange, which is a string alone.
SieveFilter::Decision SieveFilter::onCommand(std::string_view bytes) {
    const bool response = responds();
    const std::string_view verb =
        response ? std::string_view() : bytes.substr(0, bytes.find_first_of(" \r\n"));
    const Kind kind = kindOf(verb);
    const bool sasl = response || kind == Kind::Authenticate;
    const Extent extent =
        measureCommand(bytes, std::nullopt, sasl ? kMaxSaslLineBytes : kMaxLoginLineBytes, Lists::Unknown);
    if (extent.state == Extent::State::Partial) return {};

    const std::string_view command = bytes.substr(0, extent.bytes);
    const bool safe = response ? isStrings(command, 1)
                               : isSafe(verb, command.substr(std::min(verb.size(), command.size())));
    const bool malformed =
        extent.state == Extent::State::Malformed || extent.literal || (extent.unasked && !safe);
    if (extent.state == Extent::State::TooLong) {
        violate(Violation::TooLong);
    } else if (!response && (command.starts_with(kHeaderLine) || equalsIgnoreCase(verb, "PROXY"))) {
        violate(Violation::ProxyHeader);
    } else if (command.find('\0') != std::string_view::npos || extent.state == Extent::State::Lost ||
               (response && malformed)) {
        violate(Violation::BadCommand);
    } else if (no_header_ && kind == Kind::XClient) {
        violate(Violation::ForbiddenCommand);
    } else if (!response && (malformed || !isSieveVerb(verb))) {
        return {.action = Action::Refuse, .bytes = extent.bytes};
    }
    if (violation()) return {};
    if (response) {
        WordReader words(command, std::nullopt, Lists::Unknown);
        offered(sasl_.respond(words.next().value_or(std::string())));
        return {.action = Action::Pass, .bytes = extent.bytes};
    }
    if (tls_.demanded() && kind == Kind::Authenticate)
        return {.action = Action::RefuseInClear, .bytes = extent.bytes};
    Action action = Action::Pass;
    if (kind == Kind::StartTls && tls_.endsHere()) {
        const bool bare = withoutLineEnd(command.substr(verb.size())).empty();
        action = bare ? onStartTls(extent.bytes, bytes) : Action::Refuse;
    }
    if (violation()) return {};
    if (!passes(action)) return {.action = action, .bytes = extent.bytes};
    if (kind == Kind::Logout) facts_.quit = true;
    if (kind == Kind::Authenticate)
        onMechanism(WordReader(command.substr(verb.size()), std::nullopt, Lists::Unknown));
    unanswered_.push(kind);
    return {.action = action, .bytes = extent.bytes};
}

void SieveFilter::onMechanism(WordReader words) {
    beginLogin();
    sasl_.start(words.next().value_or(std::string()));
    if (const auto response = words.next()) offered(sasl_.initial(*response));
}

std::string SieveFilter::nameIn(std::string_view command) const {
    command.remove_prefix(command.find_first_of(" \r\n"));
    WordReader words(command, std::nullopt, Lists::Unknown);
    const std::string mechanism = words.next().value_or(std::string());
    return initialName(mechanism, words.next().value_or(std::string()));
}

std::string SieveFilter::refusal(std::string_view /*command*/, Action why) const {
    if (why == Action::RefuseInClear) return std::string(kTlsFirst) + "\r\n";
    if (why == Action::RefuseSecond) return "NO \"TLS is already active.\"\r\n";
    return "NO \"Command not understood and not passed on.\"\r\n";
}

std::string SieveFilter::startTlsReply(bool ready) const {
    return ready ? "OK \"Begin TLS negotiation now.\"\r\n"
                 : "NO (TRYLATER) \"TLS is not available for now.\"\r\n";
}

/// A line, and what follows the literals in it.
std::optional<std::size_t> SieveFilter::replySize(std::string_view bytes) const noexcept {
    std::size_t at = 0;
    while (true) {
        const std::size_t end = bytes.find('\n', at);
        if (end == std::string_view::npos) return std::nullopt;
        const auto literal = literalAtEnd(withoutLineEnd(bytes.substr(at, end + 1 - at)));
        at = end + 1;
        if (!literal) return at;
        if (literal->bytes > kMaxUnfinishedBytes) return std::string_view::npos;
        at += static_cast<std::size_t>(literal->bytes);
        if (at > bytes.size()) return std::nullopt;
    }
}

std::optional<std::string> SieveFilter::onReply(std::string_view reply) {
    if (reply.starts_with('"') || reply.starts_with('{')) return onData(reply);
    std::string_view text = withoutLineEnd(reply.substr(0, reply.find('\n') + 1));
    const std::string_view status = text.substr(0, text.find_first_of(" ("));
    text.remove_prefix(status.size());
    skipSpaces(text);
    const bool ok = equalsIgnoreCase(status, "OK");
    auto list_end = ok ? onListEnd(reply) : std::nullopt;
    if (equalsIgnoreCase(status, "BYE")) {
        in_reply_ = false;
        greeting_over_ = true;
        facts_.goodbye = true;
    } else if (ok || equalsIgnoreCase(status, "NO")) {
        onStatus(ok, text);
    } else {
        violate(Violation::UnexpectedReply);
    }
    return list_end;
}

/// A capability; or, while AUTHENTICATE is what the server answers, its challenge, which is complete in itself.
std::optional<std::string> SieveFilter::onData(std::string_view reply) {
    const bool asked = !greeting_over_ || !unanswered_.empty();
    if (greeting_over_ && asked && unanswered_.front() == Kind::Authenticate) {
        if (responds()) {
            violate(Violation::UnexpectedReply);
        } else {
            sasl_.prompt();
        }
        return std::nullopt;
    }
    if (!asked) violate(Violation::UnexpectedReply);
    if (!std::exchange(in_reply_, true)) tls_listed_ = false;
    // The literals of a server need no leave.
    const auto name = WordReader(reply, std::nullopt, Lists::Unknown).next();
    if (no_header_ && name && equalsIgnoreCase(*name, "XCLIENT")) return std::string();
    if (!tls_.endsHere()) return std::nullopt;
    if (name) return onCapability(*name, reply);
    violate(Violation::UnexpectedReply);
    return std::nullopt;
}

std::optional<std::string> SieveFilter::onCapability(std::string_view name, std::string_view reply) {
    if (equalsIgnoreCase(name, "STARTTLS")) {
        tls_listed_ = true;
        return tls_.refused() ? std::optional(std::string()) : std::nullopt;
    }
    if (!equalsIgnoreCase(name, "SASL")) return std::nullopt;
    if (tls_.demanded()) return "\"SASL\" \"\"\r\n";
    WordReader words(reply, std::nullopt, Lists::Unknown);
    words.next();
    const auto mechanisms = words.next();
    if (!mechanisms || !isStrings(reply, 2)) {
        violate(Violation::UnexpectedReply);
        return std::nullopt;
    }
    const auto offered = withoutWords(*mechanisms, bindsChannel);
    if (!offered) return std::nullopt;
    // RFC 5804 1.7: names, which need no escapes.
    if (hasControls(*offered) || offered->find_first_of("\"\\") != std::string::npos)
        violate(Violation::UnexpectedReply);
    return "\"SASL\" \"" + *offered + "\"\r\n";
}

/// What goes on in place of the OK that ends a list of capabilities.
std::optional<std::string> SieveFilter::onListEnd(std::string_view reply) {
    const bool list = !greeting_over_ || (!unanswered_.empty() && unanswered_.front() == Kind::Capability);
    if (!tls_.addsOffer() || !in_reply_ || !list || tls_listed_) return std::nullopt;
    return std::string("\"STARTTLS\"\r\n").append(reply);
}

void SieveFilter::onStatus(bool ok, std::string_view text) {
    in_reply_ = false;
    if (!greeting_over_) {
        greeting_over_ = true;
        facts_.greeted = ok;
        return;
    }
    if (unanswered_.empty()) return violate(Violation::UnexpectedReply);
    switch (unanswered_.pop()) {
        case Kind::Authenticate:
            loginAnswered(ok, text);
            break;
        case Kind::StartTls:
            startTlsAnswered(ok);
            break;
        case Kind::Logout:
            facts_.goodbye = ok;
            break;
        case Kind::Other:
        case Kind::Capability:
        case Kind::XClient:
            break;
    }
}

void SieveFilter::loginAnswered(bool ok, std::string_view text) {
    const bool tried = sasl_.tried();
    sasl_.end();
    if (ok) {
        accepted();
    } else if (isTemporaryInSieve(text)) {
        deferred();
    } else if (tried) {
        refused();
    }
}

}  // namespace mailgate
