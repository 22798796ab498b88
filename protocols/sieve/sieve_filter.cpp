#include "protocols/sieve/sieve_filter.h"

#include <limits>
#include <utility>

namespace mailgate {

namespace {

/// Of a literal's bytes: a SASL response's beginning, where the name is.
constexpr std::size_t kMaxStringKept = 1024;

}  // namespace

bool SieveFilter::serverAtBoundary() const noexcept {
    return !in_reply_ && !response_continues_ && !server_literal_.active() && !server_lines_.midLine();
}

bool SieveFilter::interruptible() const noexcept {
    return serverAtBoundary() && unanswered_.empty() && !command_continues_;
}

void SieveFilter::onClient(std::string_view& bytes) {
    while (!opaque()) {
        if (client_literal_.active()) {
            if (bytes.empty()) return;
            client_literal_.take(bytes);
            if (!client_literal_.active()) literalEnded();
            continue;
        }
        const auto line = client_lines_.next(bytes);
        if (!line) return;
        hearCommandLine(*line);
    }
}

SieveFilter::Kind SieveFilter::kindOf(std::string_view verb) noexcept {
    if (equalsIgnoreCase(verb, "AUTHENTICATE")) return Kind::Authenticate;
    if (equalsIgnoreCase(verb, "STARTTLS")) return Kind::StartTls;
    return equalsIgnoreCase(verb, "LOGOUT") ? Kind::Logout : Kind::Other;
}

void SieveFilter::hearCommandLine(std::string_view line) {
    if (std::exchange(command_continues_, false)) return hearStrings(line);
    if (sasl_.expectsResponse()) {
        wanted_ = Wanted::Response;
        return hearStrings(line);
    }
    const Kind kind = kindOf(takeWord(line));
    if (kind == Kind::Logout) facts_.quit = true;
    wanted_ = kind == Kind::Authenticate ? Wanted::Mechanism : Wanted::Nothing;
    await(kind);
    hearStrings(line);
}

/// A command's arguments: quoted strings, numbers, and at the end of the line perhaps a literal, with which
/// the command goes on in the next line.
void SieveFilter::hearStrings(std::string_view text) {
    for (skipSpaces(text); !text.empty(); skipSpaces(text)) {
        const auto literal = literalAtEnd(text);
        if (literal && literal->at == 0) return hearLiteral(literal->bytes);
        if (const auto quoted = takeQuoted(text)) {
            hearString(*quoted);
        } else {
            takeWord(text);
        }
    }
}

void SieveFilter::hearLiteral(std::uint64_t size) {
    if (size == std::numeric_limits<std::uint64_t>::max()) return becomeOpaque();
    command_continues_ = true;
    client_literal_.start(size, wanted_ == Wanted::Nothing ? 0 : kMaxStringKept);
    if (!client_literal_.active()) literalEnded();
}

void SieveFilter::hearString(std::string_view value) {
    switch (std::exchange(wanted_, Wanted::Nothing)) {
        case Wanted::Mechanism:
            sasl_.start(value);
            wanted_ = Wanted::InitialResponse;
            break;
        case Wanted::InitialResponse:
            offeredUser(sasl_.initial(value));
            break;
        case Wanted::Response:
            offeredUser(sasl_.respond(value));
            break;
        case Wanted::Nothing:
            break;
    }
}

void SieveFilter::literalEnded() {
    hearString(client_literal_.takeKept());
}

void SieveFilter::await(Kind kind) {
    if (unanswered_.full()) return becomeOpaque();
    unanswered_.push(kind);
}

void SieveFilter::onServer(std::string_view bytes) {
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

void SieveFilter::hearResponseLine(std::string_view line) {
    if (!response_continues_) {
        std::string_view rest = line;
        const std::string_view status = takeWord(rest);
        response_ = equalsIgnoreCase(status, "OK")    ? Response::Ok
                    : equalsIgnoreCase(status, "NO")  ? Response::No
                    : equalsIgnoreCase(status, "BYE") ? Response::Bye
                                                      : Response::Data;
    }
    const auto literal = literalAtEnd(line);
    response_continues_ = literal.has_value();
    if (literal) {
        server_literal_.start(literal->bytes, 0);
    } else {
        hearResponse();
    }
}

void SieveFilter::hearResponse() {
    switch (response_) {
        case Response::Data:
            return hearData();
        case Response::Ok:
            return answered(true);
        case Response::No:
            return answered(false);
        case Response::Bye:
            in_reply_ = false;
            greeting_over_ = true;
            facts_.goodbye = true;
            return;
    }
}

/// A capability; or, while AUTHENTICATE is what the server answers, its challenge, which is complete in
/// itself.
void SieveFilter::hearData() {
    const bool challenge =
        sasl_.active() && !unanswered_.empty() && unanswered_.front() == Kind::Authenticate;
    if (challenge) {
        sasl_.prompt();
    } else {
        in_reply_ = true;
    }
}

void SieveFilter::answered(bool ok) {
    in_reply_ = false;
    if (!greeting_over_) {
        greeting_over_ = true;
        facts_.greeted = ok;
        return;
    }
    if (unanswered_.empty()) {
        if (ok) becomeOpaque();
        return;
    }
    switch (unanswered_.pop()) {
        case Kind::Authenticate:
            if (ok) {
                saslAccepted();
                becomeOpaque();
            }
            sasl_.end();
            break;
        case Kind::StartTls:
            if (ok) startedTls();
            break;
        case Kind::Logout:
            facts_.goodbye = ok;
            break;
        case Kind::Other:
            break;
    }
}

}  // namespace mailgate
