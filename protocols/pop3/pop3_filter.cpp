#include "protocols/pop3/pop3_filter.h"

#include <array>
#include <utility>

namespace mailgate {

void Pop3Filter::onClient(std::string_view& bytes) {
    while (!opaque()) {
        const auto line = client_lines_.next(bytes);
        if (!line) return;
        hearCommandLine(*line);
    }
}

Pop3Filter::Kind Pop3Filter::kindOf(std::string_view verb, std::string_view arguments) noexcept {
    struct Entry {
        std::string_view verb;
        Kind bare;
        Kind with_argument;
    };
    // AUTH alone lists the mechanisms in older servers, LANG alone the languages (RFC 6856 3.2).
    static constexpr std::array<Entry, 8> kVerbs{{{"USER", Kind::Other, Kind::User},
                                                  {"PASS", Kind::Pass, Kind::Pass},
                                                  {"APOP", Kind::Apop, Kind::Apop},
                                                  {"AUTH", Kind::Listing, Kind::Auth},
                                                  {"CAPA", Kind::Listing, Kind::Listing},
                                                  {"LANG", Kind::Listing, Kind::Other},
                                                  {"STLS", Kind::StartTls, Kind::StartTls},
                                                  {"QUIT", Kind::Quit, Kind::Quit}}};
    for (const Entry& entry : kVerbs) {
        if (equalsIgnoreCase(verb, entry.verb)) return arguments.empty() ? entry.bare : entry.with_argument;
    }
    return Kind::Other;
}

void Pop3Filter::hearCommandLine(std::string_view line) {
    if (sasl_.expectsResponse()) {
        offeredUser(sasl_.respond(line));
        return await({.kind = Kind::Auth, .user = {}});
    }
    std::string_view arguments = line;
    const std::string_view verb = takeWord(arguments);
    Command command{.kind = kindOf(verb, arguments), .user = {}};
    switch (command.kind) {
        case Kind::User:
            user_ = arguments.substr(0, kMaxNameBytes);
            offeredUser(user_);
            break;
        case Kind::Pass:
            command.user = user_;
            break;
        case Kind::Apop:
            command.user = takeWord(arguments).substr(0, kMaxNameBytes);
            offeredUser(command.user);
            break;
        case Kind::Auth:
            sasl_.start(takeWord(arguments));
            if (!arguments.empty()) offeredUser(sasl_.initial(takeWord(arguments)));
            break;
        case Kind::Quit:
            facts_.quit = true;
            break;
        case Kind::Listing:
        case Kind::StartTls:
        case Kind::Other:
            break;
    }
    await(std::move(command));
}

void Pop3Filter::await(Command command) {
    if (unanswered_.full()) return becomeOpaque();
    unanswered_.push(std::move(command));
}

void Pop3Filter::onServer(std::string_view bytes) {
    while (!opaque()) {
        const auto line = server_lines_.next(bytes);
        if (!line) return;
        if (!in_listing_) {
            hearReplyLine(*line);
        } else if (*line == ".") {
            in_listing_ = false;
        }
    }
}

void Pop3Filter::hearReplyLine(std::string_view line) {
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "+OK")) return hearReply(true);
    if (equalsIgnoreCase(status, "-ERR")) return hearReply(false);
    if (status == "+") return hearPrompt();
    becomeOpaque();
}

void Pop3Filter::hearReply(bool ok) {
    if (!greeting_over_) {
        greeting_over_ = true;
        facts_.greeted = ok;
        return;
    }
    if (!unanswered_.empty()) return answered(unanswered_.pop(), ok);
    // An -ERR that nobody asked for is a server's farewell.
    if (ok) return becomeOpaque();
    facts_.goodbye = true;
}

void Pop3Filter::hearPrompt() {
    if (unanswered_.empty() || unanswered_.pop().kind != Kind::Auth) return becomeOpaque();
    sasl_.prompt();
    // The server takes for a response what we took for a command.
    if (sasl_.prompted() && !unanswered_.empty()) becomeOpaque();
}

void Pop3Filter::answered(const Command& command, bool ok) {
    switch (command.kind) {
        case Kind::Listing:
            in_listing_ = ok;
            break;
        case Kind::Pass:
        case Kind::Apop:
            if (!ok) break;
            loggedIn(command.user);
            becomeOpaque();
            break;
        case Kind::Auth:
            if (ok) {
                saslAccepted();
                becomeOpaque();
            }
            sasl_.end();
            // The server takes for a command what we took for a response.
            if (!unanswered_.empty() && unanswered_.front().kind == Kind::Auth) becomeOpaque();
            break;
        case Kind::StartTls:
            if (ok) startedTls();
            break;
        case Kind::Quit:
            facts_.goodbye = ok;
            break;
        case Kind::User:
        case Kind::Other:
            break;
    }
}

}  // namespace mailgate
