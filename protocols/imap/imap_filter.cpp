// SPDX-License-Identifier: Apache-2.0
#include "protocols/imap/imap_filter.h"

#include "protocols/stream/literals.h"
#include "protocols/stream/word_list.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mailgate {

namespace {

constexpr std::size_t kMaxTagBytes = 128;
constexpr std::size_t kMaxImapCommandBytes = std::size_t{64} << 10;

/// Responses that end in text for people, where {5} is no literal (RFC 9051 7.1).
bool isStatus(std::string_view word) noexcept {
    static constexpr std::array<std::string_view, 5> kStatus{"OK", "NO", "BAD", "BYE", "PREAUTH"};
    return std::any_of(kStatus.begin(), kStatus.end(),
                       [word](std::string_view status) { return equalsIgnoreCase(word, status); });
}

/// RFC 9051 9: what a tag and a command's name are made of.
bool isAtom(std::string_view word) noexcept {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
        return c > ' ' && c < 0x7f && std::string_view("(){%*\"\\").find(c) == std::string_view::npos;
    });
}

bool isTag(std::string_view word) noexcept {
    return isAtom(word) && word.size() <= kMaxTagBytes && word.find('+') == std::string_view::npos;
}

/// The tag and the name that `line` begins with, each with one space behind it, are taken off it.
struct Head {
    std::string_view tag;
    std::string_view verb;
};
Head takeHead(std::string_view& line) noexcept {
    Head head;
    for (std::string_view* word : {&head.tag, &head.verb}) {
        *word = line.substr(0, line.find_first_of(" \r\n"));
        line.remove_prefix(word->size());
        if (line.starts_with(' ')) line.remove_prefix(1);
    }
    return head;
}

/// RFC 9051 6.2.2: a mechanism's name, and base64.
bool isMechanism(std::string_view arguments) noexcept {
    return arguments.find_first_of("{\"(") == std::string_view::npos;
}

/// ID's one list.
bool isPlainList(std::string_view arguments) noexcept {
    const std::string_view list = withoutLineEnd(arguments);
    return list.starts_with('(') && list.ends_with(')') &&
           isStrings(list.substr(1, list.size() - 2), list.size());
}

/// With what gateways tell a server about a client in ID: Dovecot believes those of its login_trusted_networks.
bool namesClient(std::string_view field) noexcept {
    static constexpr std::array<std::string_view, 6> kPrefixes{"x-originating-", "x-connected-", "x-proxy-",
                                                               "x-session-",     "x-forward-",   "x-client-"};
    return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                       [field](std::string_view prefix) { return startsWithIgnoreCase(field, prefix); });
}

/// A refusal that says nothing about the password (RFC 5530 3, RFC 2221).
bool isTemporary(std::string_view text) noexcept {
    static constexpr std::array<std::string_view, 7> kCodes{
        "[UNAVAILABLE]", "[PRIVACYREQUIRED]", "[INUSE]",  "[LIMIT]",
        "[SERVERBUG]",   "[CONTACTADMIN]",    "[REFERRAL"};
    return std::any_of(kCodes.begin(), kCodes.end(),
                       [text](std::string_view code) { return startsWithIgnoreCase(text, code); });
}

}  // namespace

/// The last command is not whole, or its reply decides about the stream; or there are enough of them.
bool ImapFilter::mustWait() const noexcept {
    if (unanswered_.empty()) return false;
    if (awaits_ != Awaits::Reply) return awaits_ == Awaits::Leave;
    switch (unanswered_.back().kind) {
        case Kind::Authenticate:
            return !responds();
        case Kind::Login:
        case Kind::StartTls:
        case Kind::Logout:
            return true;
        case Kind::Id:
        case Kind::Other:
            break;
    }
    return unanswered_.size() >= kMaxPipelined;
}

ImapFilter::Kind ImapFilter::kindOf(std::string_view verb) noexcept {
    if (equalsIgnoreCase(verb, "LOGIN")) return Kind::Login;
    if (equalsIgnoreCase(verb, "AUTHENTICATE")) return Kind::Authenticate;
    if (equalsIgnoreCase(verb, "STARTTLS")) return Kind::StartTls;
    if (equalsIgnoreCase(verb, "ID")) return Kind::Id;
    return equalsIgnoreCase(verb, "LOGOUT") ? Kind::Logout : Kind::Other;
}

ImapFilter::Decision ImapFilter::onCommand(std::string_view bytes) {
    if (awaits_ == Awaits::Literal) return onRest(bytes);
    if (responds()) return onResponse(bytes);

    std::string_view arguments = bytes;
    const Head head = takeHead(arguments);
    const Kind kind = kindOf(head.verb);
    const std::size_t limit = kind == Kind::Authenticate ? kMaxSaslLineBytes : kMaxLoginLineBytes;
    const Extent extent = measureCommand(bytes, std::nullopt, limit, Lists::Allowed);
    if (extent.state == Extent::State::TooLong) violate(Violation::TooLong);
    if (extent.state == Extent::State::Lost) violate(Violation::BadCommand);
    if (violation() || extent.state == Extent::State::Partial) return {};

    const std::string_view command = bytes.substr(0, extent.bytes);
    if (command.find('\0') != std::string_view::npos)
        violate(command.starts_with(kHeaderLine) ? Violation::ProxyHeader : Violation::BadCommand);
    // A tag may be that word; what follows it in a header is no command.
    if (equalsIgnoreCase(head.tag, "PROXY") &&
        (no_header_ || equalsIgnoreCase(head.verb, "TCP4") || equalsIgnoreCase(head.verb, "TCP6") ||
         equalsIgnoreCase(head.verb, "UNKNOWN")))
        violate(Violation::ProxyHeader);
    arguments = command.substr(std::min(bytes.size() - arguments.size(), command.size()));
    if (kind == Kind::Id) onWords(kind, WordReader(arguments, std::nullopt, Lists::Allowed));
    if (violation()) return {};
    const bool plain =
        kind == Kind::Login ? isPlain(arguments, std::nullopt) : kind == Kind::Id && isPlainList(arguments);
    if (extent.state == Extent::State::Malformed || !isTag(head.tag) || !isAtom(head.verb) ||
        (extent.unasked && !plain) || (kind == Kind::Authenticate && !isMechanism(arguments)))
        return {.action = Action::Refuse, .bytes = extent.bytes};
    if (tls_.demanded() && (kind == Kind::Login || kind == Kind::Authenticate))
        return {.action = Action::RefuseInClear, .bytes = extent.bytes};
    Action action = Action::Pass;
    if (kind == Kind::StartTls && tls_.endsHere()) {
        if (!withoutLineEnd(arguments).empty()) return {.action = Action::Refuse, .bytes = extent.bytes};
        action = onStartTls(extent.bytes, bytes);
        tls_tag_ = head.tag;
    }
    if (violation()) return {};
    if (!passes(action)) return {.action = action, .bytes = extent.bytes};
    const bool in_use = std::any_of(unanswered_.begin(), unanswered_.end(),
                                    [&head](const Command& waiting) { return waiting.tag == head.tag; });
    if (in_use) return {.action = Action::Hold};

    named_ = false;
    onWords(kind, WordReader(arguments, std::nullopt, Lists::Allowed));
    unanswered_.push_back({.kind = kind, .tag = std::string(head.tag)});
    awaits_ = extent.literal ? Awaits::Leave : Awaits::Reply;
    literal_ = extent.literal.value_or(0);
    command_bytes_ = extent.bytes;
    return {.action = action, .bytes = extent.bytes};
}

/// The literal that was given leave, and what follows it: the server waits for it, so that it cannot be refused.
ImapFilter::Decision ImapFilter::onRest(std::string_view bytes) {
    const Extent extent = measureCommand(bytes, literal_, kMaxLoginLineBytes, Lists::Allowed);
    if (extent.state == Extent::State::Partial) return {};
    const bool too_long =
        extent.state == Extent::State::TooLong || command_bytes_ + extent.bytes > kMaxImapCommandBytes;
    const std::string_view text = bytes.substr(0, extent.bytes);
    const Kind kind = unanswered_.back().kind;
    const bool odd = extent.unasked && (kind != Kind::Login || !isPlain(text, literal_));
    if (too_long) {
        violate(Violation::TooLong);
    } else if (extent.state != Extent::State::Whole || odd || text.find('\0') != std::string_view::npos) {
        violate(Violation::BadCommand);
    } else {
        onWords(kind, WordReader(text, literal_, Lists::Allowed));
    }
    if (violation()) return {};
    awaits_ = extent.literal ? Awaits::Leave : Awaits::Reply;
    literal_ = extent.literal.value_or(0);
    command_bytes_ += extent.bytes;
    return {.action = Action::Pass, .bytes = extent.bytes};
}

ImapFilter::Decision ImapFilter::onResponse(std::string_view bytes) {
    const std::optional<std::size_t> end = endOfLine(bytes, kMaxSaslLineBytes);
    if (!end) return {};
    if (*end == std::string_view::npos) {
        violate(Violation::TooLong);
        return {};
    }
    const std::string_view line = withoutLineEnd(bytes.substr(0, *end));
    if (hasControls(line)) {
        violate(Violation::BadCommand);
        return {};
    }
    offered(sasl_.respond(line));
    return {.action = Action::Pass, .bytes = *end};
}

void ImapFilter::onWords(Kind kind, WordReader words) {
    switch (kind) {
        case Kind::Id:
            while (const auto field = words.next()) {
                if (no_header_ && namesClient(*field)) return violate(Violation::ForbiddenCommand);
            }
            break;
        case Kind::Login:
            onLogin(words);
            break;
        case Kind::Authenticate:
            onMechanism(words);
            break;
        case Kind::Logout:
            facts_.quit = true;
            break;
        case Kind::StartTls:
        case Kind::Other:
            break;
    }
}

/// The name is the first argument, wherever the command is in parts.
void ImapFilter::onLogin(WordReader& words) {
    if (std::exchange(named_, true)) return;
    beginLogin();
    auto name = words.next();
    named_ = name.has_value();
    if (name) offered(std::move(*name));
}

void ImapFilter::onMechanism(WordReader& words) {
    beginLogin();
    sasl_.start(words.next().value_or(std::string()));
    if (const auto response = words.next()) offered(sasl_.initial(*response));
}

std::string ImapFilter::nameIn(std::string_view command) const {
    const Kind kind = kindOf(takeHead(command).verb);
    WordReader words(command, std::nullopt, Lists::Allowed);
    const std::string first = words.next().value_or(std::string());
    return kind == Kind::Login ? first : initialName(first, words.next().value_or(std::string()));
}

std::string ImapFilter::refusal(std::string_view command, Action why) const {
    const std::string_view tag = takeHead(command).tag;
    std::string reply(isTag(tag) ? tag : "*");
    if (why == Action::RefuseInClear) return reply + " " + std::string(kTlsFirst) + "\r\n";
    if (why == Action::RefuseSecond) return reply + " BAD TLS is already active.\r\n";
    return reply + " BAD Command not understood and not passed on.\r\n";
}

std::string ImapFilter::startTlsReply(bool ready) const {
    return tls_tag_ + (ready ? " OK Begin TLS negotiation now.\r\n"
                             : " NO [UNAVAILABLE] TLS is not available for now.\r\n");
}

/// A line, and what follows a literal at its end, unless it ends in text.
std::optional<std::size_t> ImapFilter::replySize(std::string_view bytes) const noexcept {
    std::size_t at = 0;
    while (true) {
        const std::size_t end = bytes.find('\n', at);
        if (end == std::string_view::npos) return std::nullopt;
        std::string_view line = withoutLineEnd(bytes.substr(at, end + 1 - at));
        const auto literal = literalAtEnd(line);
        const bool first = at == 0;
        at = end + 1;
        if (!literal) return at;
        if (first && (takeWord(line) != "*" || isStatus(takeWord(line)))) return at;
        if (literal->bytes > kMaxUnfinishedBytes) return std::string_view::npos;
        at += static_cast<std::size_t>(literal->bytes);
        if (at > bytes.size()) return std::nullopt;
    }
}

std::optional<std::string> ImapFilter::onReply(std::string_view reply) {
    readReply(withoutLineEnd(reply.substr(0, reply.find('\n') + 1)));
    return tls_.endsHere() && !violation() ? withOffers(reply) : std::nullopt;
}

void ImapFilter::readReply(std::string_view line) {
    if (!greeting_over_) return onGreeting(line);
    std::string_view text = line;
    const std::string_view tag = takeWord(text);
    if (tag == "+") {
        onContinuation();
    } else if (tag != "*") {
        onTagged(tag, text);
    } else if (equalsIgnoreCase(takeWord(text), "BYE")) {
        facts_.goodbye = true;
    }
}

/// The reply with the capabilities that the client may be told, if it lists any.
std::optional<std::string> ImapFilter::withOffers(std::string_view reply) {
    constexpr std::string_view kCode = "[CAPABILITY ";
    const std::string_view line = withoutLineEnd(reply.substr(0, reply.find('\n') + 1));
    std::string_view list = line;
    const bool untagged = takeWord(list) == "*";
    const std::string_view status = takeWord(list);
    bool whole = true;
    if (isStatus(status) && startsWithIgnoreCase(list, kCode)) {
        list.remove_prefix(kCode.size());
        whole = list.find(']') != std::string_view::npos;
        list = list.substr(0, list.find(']'));
    } else if (!untagged || !equalsIgnoreCase(status, "CAPABILITY")) {
        return std::nullopt;
    } else if (reply.size() > line.size() + 2) {
        // It is made of atoms (RFC 9051 9).
        violate(Violation::UnexpectedReply);
        return std::nullopt;
    }
    const auto offered = offers(list, whole);
    if (!offered) return std::nullopt;
    std::string text(reply.substr(0, static_cast<std::size_t>(list.data() - reply.data())));
    text += *offered;
    return text += reply.substr(text.size() - offered->size() + list.size());
}

/// `whole`: words may be added. Only to what is a server's list (RFC 9051 7.2.2), and not once a client is logged in.
std::optional<std::string> ImapFilter::offers(std::string_view list, bool whole) const {
    auto offered = withoutWords(list, [this](std::string_view word) {
        const bool mechanism = startsWithIgnoreCase(word, "AUTH=");
        const bool before = (tls_.refused() && equalsIgnoreCase(word, "STARTTLS")) ||
                            (tls_.within() && equalsIgnoreCase(word, "LOGINDISABLED"));
        return before || (mechanism && (tls_.demanded() || bindsChannel(word)));
    });
    if (!whole || opaque() || !tls_.offered()) return offered;
    if (!hasWord(list, "IMAP4rev1") && !hasWord(list, "IMAP4rev2")) return offered;
    const auto add = [&offered, list](std::string_view word) {
        if (hasWord(list, word)) return;
        if (!offered) offered = std::string(list);
        if (!offered->empty() && offered->back() != ' ') *offered += ' ';
        *offered += word;
    };
    if (tls_.addsOffer()) add("STARTTLS");
    if (tls_.required) add("LOGINDISABLED");
    return offered;
}

void ImapFilter::onGreeting(std::string_view line) {
    const bool untagged = takeWord(line) == "*";
    const std::string_view status = takeWord(line);
    const bool preauth = equalsIgnoreCase(status, "PREAUTH");
    facts_.goodbye = untagged && equalsIgnoreCase(status, "BYE");
    facts_.greeted = untagged && (preauth || equalsIgnoreCase(status, "OK"));
    greeting_over_ = true;
    if (!facts_.greeted && !facts_.goodbye) return violate(Violation::UnexpectedReply);
    // Nothing that such a client says could wait for TLS.
    if (preauth && tls_.demanded()) return violate(Violation::UnexpectedReply);
    if (preauth) becomeOpaque();
}

void ImapFilter::onContinuation() {
    if (unanswered_.empty()) return violate(Violation::UnexpectedReply);
    if (awaits_ == Awaits::Leave) {
        awaits_ = Awaits::Literal;
    } else if (unanswered_.back().kind == Kind::Authenticate && !responds()) {
        sasl_.prompt();
    } else {
        violate(Violation::UnexpectedReply);
    }
}

void ImapFilter::onTagged(std::string_view tag, std::string_view text) {
    const std::string_view status = takeWord(text);
    const bool ok = equalsIgnoreCase(status, "OK");
    const bool bad = equalsIgnoreCase(status, "BAD");
    const auto command = std::find_if(unanswered_.begin(), unanswered_.end(),
                                      [tag](const Command& waiting) { return waiting.tag == tag; });
    if (command == unanswered_.end() || (!ok && !bad && !equalsIgnoreCase(status, "NO")))
        return violate(Violation::UnexpectedReply);
    if (command + 1 == unanswered_.end() && awaits_ != Awaits::Reply) {
        // RFC 9051 4.3: NO or BAD instead of leave; the client goes on with its next command. After leave the
        // server would take for a command what we take for the literal.
        if (ok || awaits_ == Awaits::Literal) return violate(Violation::UnexpectedReply);
        awaits_ = Awaits::Reply;
        unanswered_.erase(command);
        return;
    }
    const Kind kind = command->kind;
    unanswered_.erase(command);
    if (ok) {
        completed(kind);
    } else {
        failed(kind, !bad, text);
    }
}

void ImapFilter::completed(Kind kind) {
    if (kind == Kind::StartTls) startTlsAnswered(true);
    if (kind == Kind::Login || kind == Kind::Authenticate) accepted();
}

/// BAD is about the command's form. So is a NO to an exchange in which the client has shown nothing.
void ImapFilter::failed(Kind kind, bool understood, std::string_view text) {
    const bool tried = kind == Kind::Login || (kind == Kind::Authenticate && sasl_.tried());
    if (kind == Kind::StartTls) startTlsAnswered(false);
    if (kind == Kind::Authenticate) sasl_.end();
    if (isTemporary(text)) {
        if (kind == Kind::Login || kind == Kind::Authenticate) deferred();
    } else if (understood && tried) {
        refused();
    }
}

}  // namespace mailgate
