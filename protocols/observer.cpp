#include "protocols/observer.h"

#include "protocols/imap/imap_observer.h"
#include "protocols/line_observer.h"
#include "protocols/pop3/pop3_observer.h"
#include "protocols/sieve/sieve_observer.h"
#include "protocols/smtp/smtp_observer.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace mailgate {

namespace {

constexpr std::size_t kMaxGreetingBytes = 1000;

Greeting judgeSmtp(std::string_view line) noexcept {
    const std::optional<int> code = smtpReplyCode(line);
    if (!code) return Greeting::Foreign;
    if (*code == 220) return Greeting::Welcome;
    if (*code / 100 == 4) return Greeting::Deferred;
    return *code / 100 == 5 ? Greeting::Refused : Greeting::Foreign;
}

Greeting judgeImap(std::string_view line) noexcept {
    if (takeWord(line) != "*") return Greeting::Foreign;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK") || equalsIgnoreCase(status, "PREAUTH")) return Greeting::Welcome;
    return equalsIgnoreCase(status, "BYE") ? Greeting::Deferred : Greeting::Foreign;
}

Greeting judgePop3(std::string_view line) noexcept {
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "+OK")) return Greeting::Welcome;
    return equalsIgnoreCase(status, "-ERR") ? Greeting::Deferred : Greeting::Foreign;
}

Greeting judgeSieve(std::string_view line) noexcept {
    if (line.starts_with('"')) return Greeting::Welcome;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK")) return Greeting::Welcome;
    const bool deferred = equalsIgnoreCase(status, "BYE") || equalsIgnoreCase(status, "NO");
    return deferred ? Greeting::Deferred : Greeting::Foreign;
}

}  // namespace

void LineObserver::observe(Side from, std::string_view bytes) noexcept {
    if (opaque_) return;
    try {
        if (from == Side::Client) {
            hearClient(bytes);
        } else {
            hearServer(bytes);
        }
    } catch (const std::exception&) {
        becomeOpaque();  // out of memory: the session matters more than its journal entry
    }
}

void LineObserver::startedTls() {
    facts_.tls = "starttls";
    becomeOpaque();
}

void LineObserver::offeredUser(std::string name) {
    if (name.empty()) return;
    if (name.size() > kMaxNameBytes) name.resize(kMaxNameBytes);
    facts_.user = std::move(name);
}

void LineObserver::loggedIn(std::string name) {
    facts_.authenticated = true;
    facts_.user.clear();
    offeredUser(std::move(name));
}

std::unique_ptr<Observer> makeObserver(Protocol protocol, SessionFacts& facts) {
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return std::make_unique<SmtpObserver>(protocol, facts);
        case Protocol::Imap:
            return std::make_unique<ImapObserver>(facts);
        case Protocol::Pop3:
            return std::make_unique<Pop3Observer>(facts);
        case Protocol::Sieve:
            return std::make_unique<SieveObserver>(facts);
        case Protocol::Tcp:
            return nullptr;
    }
    return nullptr;
}

Greeting judgeGreeting(Protocol protocol, std::string_view bytes) noexcept {
    if (protocol == Protocol::Tcp) return bytes.empty() ? Greeting::Incomplete : Greeting::Welcome;

    const std::size_t end = bytes.substr(0, kMaxGreetingBytes).find('\n');
    if (end == std::string_view::npos) {
        return bytes.size() < kMaxGreetingBytes ? Greeting::Incomplete : Greeting::Foreign;
    }
    std::string_view line = bytes.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return judgeSmtp(line);
        case Protocol::Imap:
            return judgeImap(line);
        case Protocol::Pop3:
            return judgePop3(line);
        case Protocol::Sieve:
            return judgeSieve(line);
        case Protocol::Tcp:
            break;
    }
    return Greeting::Foreign;
}

}  // namespace mailgate
