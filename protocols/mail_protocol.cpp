// SPDX-License-Identifier: Apache-2.0
#include "protocols/mail_protocol.h"

#include "protocols/imap/imap_filter.h"
#include "protocols/pop3/pop3_filter.h"
#include "protocols/proxy/wire.h"
#include "protocols/sieve/sieve_filter.h"
#include "protocols/smtp/smtp_filter.h"
#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <algorithm>

namespace mailgate {

namespace {

constexpr std::size_t kMaxGreetingBytes = 1000;

/// RFC 3463: the second number of an enhanced status, 3, is the system's own state. A permanent one (RFC 7504: "does not
/// accept mail") is policy, which the client has to hear.
bool blamesSystem(std::string_view text) noexcept {
    return text.starts_with("4.3.");
}

Greeting judgeSmtp(std::string_view line) noexcept {
    const std::optional<int> code = smtpReplyCode(line);
    if (!code) return Greeting::Foreign;
    if (*code == 220) return Greeting::Welcome;
    if (*code < 400) return Greeting::Foreign;
    return line.size() > 4 && blamesSystem(line.substr(4)) ? Greeting::Unavailable : Greeting::Refused;
}

Greeting judgeImap(std::string_view line) noexcept {
    if (takeWord(line) != "*") return Greeting::Foreign;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK") || equalsIgnoreCase(status, "PREAUTH")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "BYE")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "[UNAVAILABLE]") ? Greeting::Unavailable : Greeting::Refused;
}

Greeting judgePop3(std::string_view line) noexcept {
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "+OK")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "-ERR")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "[SYS/") ? Greeting::Unavailable : Greeting::Refused;
}

Greeting judgeSieve(std::string_view line) noexcept {
    if (line.starts_with('"')) return Greeting::Welcome;
    const std::string_view status = takeWord(line);
    if (equalsIgnoreCase(status, "OK")) return Greeting::Welcome;
    if (!equalsIgnoreCase(status, "BYE") && !equalsIgnoreCase(status, "NO")) return Greeting::Foreign;
    return startsWithIgnoreCase(line, "(TRYLATER") ? Greeting::Unavailable : Greeting::Refused;
}

/// Sees to it that a client does not open with a PROXY header, then detaches.
class HeaderScreen final : public StreamFilter {
  public:
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override {
        std::size_t passed = bytes.size();
        for (std::size_t at = 0; from == Side::Client && at < bytes.size(); ++at) {
            v1_ = v1_ && bytes[at] == proxy::wire::kV1Signature[seen_];
            v2_ = v2_ && bytes[at] == proxy::wire::kV2Signature[seen_];
            ++seen_;
            const bool header = (v1_ && seen_ == proxy::wire::kV1Signature.size()) ||
                                (v2_ && seen_ == proxy::wire::kV2Signature.size());
            if (header) {
                violation_ = Violation::ForbiddenCommand;
                passed = at;
            }
            if (header || opaque()) break;
        }
        out.pass(passed);
        return Rest::Hold;
    }
    bool opaque() const noexcept override { return !v1_ && !v2_; }
    std::optional<Violation> violation() const noexcept override { return violation_; }
    bool serverAtBoundary() const noexcept override { return false; }
    bool settled() const noexcept override { return true; }
    bool interruptible() const noexcept override { return false; }
    void finish() noexcept override {}

  private:
    std::size_t seen_ = 0;
    bool v1_ = true;
    bool v2_ = true;
    std::optional<Violation> violation_;
};

}  // namespace

std::unique_ptr<StreamFilter> makeFilter(Protocol protocol, SessionFacts& facts, const ScreenConfig& screen,
                                         MailSink* sink) {
    switch (protocol) {
        case Protocol::Smtp:
        case Protocol::Lmtp:
            return std::make_unique<SmtpFilter>(protocol, facts, screen, sink);
        case Protocol::Imap:
            return std::make_unique<ImapFilter>(facts, screen);
        case Protocol::Pop3:
            return std::make_unique<Pop3Filter>(facts, screen);
        case Protocol::Sieve:
            return std::make_unique<SieveFilter>(facts, screen);
        case Protocol::Tcp:
            break;
    }
    return screen.no_header ? std::make_unique<HeaderScreen>() : nullptr;
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
