#include "protocols/imap/imap_filter.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace mailgate {

namespace {

constexpr std::size_t kMaxTagBytes = 128;
/// Logins in flight; clients have one.
constexpr std::size_t kMaxUnansweredLogins = 16;

/// Responses that end in text for people, where {5} is no literal (RFC 9051 7.1).
bool isStatus(std::string_view word) noexcept {
    static constexpr std::array<std::string_view, 5> kStatus{"OK", "NO", "BAD", "BYE", "PREAUTH"};
    return std::any_of(kStatus.begin(), kStatus.end(),
                       [word](std::string_view status) { return equalsIgnoreCase(word, status); });
}

}  // namespace

bool ImapFilter::serverAtBoundary() const noexcept {
    return !server_lines_.midLine() && !server_literal_.active() && !response_continues_;
}

bool ImapFilter::interruptible() const noexcept {
    return serverAtBoundary() && commands_unanswered_ == 0 && !command_continues_;
}

void ImapFilter::onClient(std::string_view& bytes) {
    while (!opaque()) {
        if (client_literal_.active()) {
            if (bytes.empty()) return;
            literal_ahead_ = literal_waits_;
            client_literal_.take(bytes);
            if (!client_literal_.active()) literalEnded();
            continue;
        }
        const auto line = client_lines_.next(bytes);
        if (!line) return;
        hearCommandLine(*line);
    }
}

ImapFilter::Kind ImapFilter::kindOf(std::string_view verb) noexcept {
    if (equalsIgnoreCase(verb, "LOGIN")) return Kind::Login;
    if (equalsIgnoreCase(verb, "AUTHENTICATE")) return Kind::Authenticate;
    if (equalsIgnoreCase(verb, "STARTTLS")) return Kind::StartTls;
    return equalsIgnoreCase(verb, "LOGOUT") ? Kind::Logout : Kind::Other;
}

void ImapFilter::hearCommandLine(std::string_view line) {
    if (command_continues_) {
        literal_ahead_ = literal_waits_;
        return hearLiteral(line);
    }
    if (sasl_.expectsResponse()) return offered(sasl_.respond(line));

    std::string_view arguments = line;
    const std::string_view tag = takeWord(arguments);
    const Kind kind = kindOf(takeWord(arguments));
    if (tag.size() > kMaxTagBytes) return becomeOpaque();
    ++commands_unanswered_;
    hearCommand(kind, tag, arguments);
    if (line.ends_with('}')) literal_tag_ = tag;
    hearLiteral(line);
}

void ImapFilter::hearCommand(Kind kind, std::string_view tag, std::string_view arguments) {
    switch (kind) {
        case Kind::Login:
            await(kind, tag);
            hearLoginName(arguments);
            break;
        case Kind::Authenticate:
            await(kind, tag);
            sasl_.start(takeWord(arguments));
            if (!arguments.empty()) offered(sasl_.initial(takeWord(arguments)));
            break;
        case Kind::StartTls:
            await(kind, tag);
            break;
        case Kind::Logout:
            facts_.quit = true;
            break;
        case Kind::Other:
            break;
    }
}

/// An astring: atom, quoted string or literal (RFC 9051 9). A quoted string without its end is not a name:
/// what follows in it may be the password.
void ImapFilter::hearLoginName(std::string_view arguments) {
    const auto literal = literalAtEnd(arguments);
    if (literal && literal->at == 0) {
        login_name_expected_ = true;
    } else if (auto quoted = takeQuoted(arguments)) {
        offered(std::move(*quoted));
    } else if (!arguments.starts_with('"')) {
        offered(std::string(takeWord(arguments).substr(0, kMaxNameBytes)));
    }
}

/// Whether the command goes on after `line` with a literal.
void ImapFilter::hearLiteral(std::string_view line) {
    const auto literal = literalAtEnd(line);
    command_continues_ = literal.has_value();
    if (!literal) return;
    if (literal->bytes == std::numeric_limits<std::uint64_t>::max()) return becomeOpaque();
    // Still waiting for an earlier literal's leave: replies can no longer be told apart.
    if (literal_waits_) return becomeOpaque();
    literal_waits_ = literal->synchronizing;
    literal_ahead_ = false;
    client_literal_.start(literal->bytes, login_name_expected_ ? kMaxNameBytes : 0);
    if (!client_literal_.active()) literalEnded();
}

void ImapFilter::literalEnded() {
    std::string kept = client_literal_.takeKept();
    if (std::exchange(login_name_expected_, false)) offered(std::move(kept));
}

void ImapFilter::await(Kind kind, std::string_view tag) {
    if (unanswered_.size() == kMaxUnansweredLogins) return becomeOpaque();
    unanswered_.push_back({.kind = kind, .tag = std::string(tag), .user = {}});
}

void ImapFilter::offered(std::string user) {
    if (user.empty()) return;
    if (!unanswered_.empty()) unanswered_.back().user = user;
    offeredUser(std::move(user));
}

void ImapFilter::onServer(std::string_view bytes) {
    while (!opaque()) {
        if (server_literal_.active()) {
            if (bytes.empty()) return;
            server_literal_.take(bytes);
            continue;
        }
        const auto line = server_lines_.next(bytes);
        if (!line) return;
        hearResponseLine(*line);
    }
}

void ImapFilter::hearResponseLine(std::string_view line) {
    if (response_continues_) return skipServerLiteral(line);
    if (!greeting_over_) return hearGreeting(line);

    std::string_view text = line;
    const std::string_view tag = takeWord(text);
    const std::string_view word = takeWord(text);
    if (tag == "+") return hearContinuation();
    if (tag != "*") return hearTagged(tag, equalsIgnoreCase(word, "OK"));
    hearUntagged(word, line);
}

void ImapFilter::hearUntagged(std::string_view word, std::string_view line) {
    if (!isStatus(word)) return skipServerLiteral(line);
    if (equalsIgnoreCase(word, "BYE")) facts_.goodbye = true;
    // RFC 9051 7.1.3: the answer to a line that had no tag to be found.
    if (equalsIgnoreCase(word, "BAD") && commands_unanswered_ > 0) --commands_unanswered_;
}

void ImapFilter::hearGreeting(std::string_view line) {
    greeting_over_ = true;
    const bool untagged = takeWord(line) == "*";
    const std::string_view status = takeWord(line);
    const bool preauth = equalsIgnoreCase(status, "PREAUTH");
    facts_.greeted = untagged && (preauth || equalsIgnoreCase(status, "OK"));
    if (untagged && equalsIgnoreCase(status, "BYE")) facts_.goodbye = true;
    if (facts_.greeted && preauth) becomeOpaque();
}

void ImapFilter::hearContinuation() {
    if (literal_waits_) {
        literal_waits_ = false;
    } else if (sasl_.active()) {
        sasl_.prompt();
    }
}

void ImapFilter::hearTagged(std::string_view tag, bool ok) {
    if (commands_unanswered_ > 0) --commands_unanswered_;
    if (literal_waits_ && tag == literal_tag_) literalRefused();
    const auto command = std::find_if(unanswered_.begin(), unanswered_.end(),
                                      [tag](const Command& waiting) { return waiting.tag == tag; });
    if (command == unanswered_.end()) return;
    const Command answered = std::move(*command);
    unanswered_.erase(command);
    completed(answered, ok);
}

/// RFC 9051 4.3: a tagged NO or BAD instead of leave; the client goes on with its next command. If it has
/// already sent bytes of the literal, nobody can tell what the server takes them for.
void ImapFilter::literalRefused() {
    literal_waits_ = false;
    if (literal_ahead_) return becomeOpaque();
    client_literal_.cancel();
    command_continues_ = false;
    login_name_expected_ = false;
}

void ImapFilter::completed(const Command& command, bool ok) {
    switch (command.kind) {
        case Kind::Authenticate:
            sasl_.end();
            [[fallthrough]];
        case Kind::Login:
            if (!ok) return;
            loggedIn(command.user);
            return becomeOpaque();
        case Kind::StartTls:
            if (ok) startedTls();
            return;
        case Kind::Logout:
        case Kind::Other:
            return;
    }
}

void ImapFilter::skipServerLiteral(std::string_view line) {
    const auto literal = literalAtEnd(line);
    response_continues_ = literal.has_value();
    if (literal) server_literal_.start(literal->bytes, 0);
}

}  // namespace mailgate
