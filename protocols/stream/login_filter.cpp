// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/login_filter.h"

#include "protocols/stream/tls_record.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace mailgate {

namespace {

/// Dovecot ends a session sooner; a client must not keep us talking for ever.
constexpr std::uint8_t kMaxLoginRefusals = 10;

// RFC 8446 5.1, 4.1.2: a record, version 3.x, that holds a ClientHello.
constexpr std::size_t kHelloHead = 6;
constexpr std::size_t kRecordHead = 5;

/// Whether `bytes`, or what they are the beginning of, open a TLS session.
bool mayBeHello(std::string_view bytes) noexcept {
    return bytes.front() == kTlsHandshake && (bytes.size() < 2 || bytes[1] == 3) &&
           (bytes.size() < kHelloHead || bytes[kRecordHead] == 1);
}

}  // namespace

Rest LoginFilter::onBytes(Side from, std::string_view bytes, Output& out) noexcept {
    try {
        return from == Side::Client ? onClient(bytes, out) : onServer(bytes, out);
    } catch (const std::exception&) {
        violate(Violation::NoMemory);
        return Rest::Hold;
    }
}

Rest LoginFilter::onClient(std::string_view bytes, Output& out) {
    if (bytes.empty() || violation_) return Rest::Hold;
    if (starts_tls_ || mirrored_) {
        violate(Violation::PlaintextAfterStartTls);
        // What the server still says may go on, but for what follows its consent.
        starts_tls_ = starts_tls_ && tls_.mirror;
        return Rest::Hold;
    }
    if (!greeting_over_) return tls_.endsHere() ? Rest::Hold : passHello(bytes, out);
    while (!bytes.empty()) {
        if (opaque_) {
            out.pass(bytes.size());
            break;
        }
        if (mustWait()) break;
        // Where TLS does not begin like that, or has begun.
        if (tls_.endsHere() && bytes.front() == kTlsHandshake) {
            violate(Violation::BadCommand);
            break;
        }
        const Decision next = onCommand(bytes);
        if (violation_) break;
        if (next.action == Action::More) return Rest::More;
        if (next.action == Action::Hold) break;
        const std::string_view command = bytes.substr(0, next.bytes);
        mirrored_ = next.action == Action::Mirror;
        if (next.action == Action::StartTls) {
            if (!takeStartTls(command.size(), out)) break;
        } else if (refuses(next.action)) {
            if (!refuse(command, next.action, out)) break;
        } else if (command.ends_with("\r\n")) {
            out.pass(command.size());
        } else {
            // Whether a bare LF ends a line is not left to the server.
            out.pass(command.size() - 1);
            out.write("\r\n");
            out.drop(1);
        }
        bytes.remove_prefix(command.size());
    }
    return Rest::Hold;
}

/// The server speaks first in the clear, so a client waits; but a TLS client's hello has to reach the server to
/// be answered. Only the server's first byte tells whether it was taken for one.
Rest LoginFilter::passHello(std::string_view bytes, Output& out) noexcept {
    if (!hello_) {
        if (!mayBeHello(bytes)) return Rest::Hold;
        if (bytes.size() < kHelloHead) return Rest::More;
        hello_ = true;
        const auto byte = [bytes](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
        hello_left_ = static_cast<std::uint32_t>(kRecordHead + byte(3) * std::size_t{256} + byte(4));
    }
    const std::size_t passed = std::min<std::size_t>(hello_left_, bytes.size());
    out.pass(passed);
    hello_left_ -= static_cast<std::uint32_t>(passed);
    return Rest::Hold;
}

/// False: it has to wait until the answer cannot be taken for another command's.
bool LoginFilter::refuse(std::string_view command, Action why, Output& out) {
    if (refusals_ == kMaxLoginRefusals) {
        violate(why == Action::RefuseInClear ? Violation::TlsRequired : Violation::BadCommand);
        return false;
    }
    if (!noReplyPending() || !out.canReply()) return false;
    ++refusals_;
    if (why == Action::RefuseInClear) noteInClear(command);
    out.drop(command.size());
    out.reply(refusal(command, why));
    return true;
}

/// As a login that a server wants to see within TLS only.
void LoginFilter::noteInClear(std::string_view command) {
    ++facts_.tls_refusals;
    beginLogin();
    offered(nameIn(command));
    deferred();
}

/// Whoever sends something behind it wants it to be taken for what was said within TLS (CVE-2011-0411).
LoginFilter::Action LoginFilter::onStartTls(std::size_t command, std::string_view bytes) noexcept {
    if (tls_.refused()) return Action::RefuseSecond;
    if (!tls_.offered()) return Action::Pass;
    if (bytes.size() > command) violate(Violation::PlaintextAfterStartTls);
    if (!tls_.mirror) return Action::StartTls;
    return noReplyPending() ? Action::Mirror : Action::Hold;
}

/// False: it has to wait until all before it has been answered.
bool LoginFilter::takeStartTls(std::size_t command, Output& out) {
    if (!noReplyPending() || !out.canReply()) return false;
    out.drop(command);
    starts_tls_ = true;
    return true;
}

std::string LoginFilter::answerStartTls(bool ready) {
    starts_tls_ = false;
    if (ready) {
        facts_.user.clear();
        facts_.authenticated.reset();
    }
    return startTlsReply(ready);
}

Rest LoginFilter::onServer(std::string_view bytes, Output& out) {
    if (bytes.empty() || lost_) return Rest::Hold;
    if (starts_tls_) {
        // Behind its consent: it would be taken for what the server says within TLS.
        if (tls_.mirror) violate(Violation::UnexpectedReply);
        return Rest::Hold;
    }
    if (std::exchange(hello_, false)) {
        if (bytes.front() != kTlsHandshake && bytes.front() != kTlsAlert) {
            violate(Violation::BadCommand);
            lost_ = true;
            return Rest::Hold;
        }
        facts_.tls = TlsBegin::Implicit;
        becomeOpaque();
    }
    // What is held against the client does not keep it from the answers to what it said before.
    while (!bytes.empty() && !lost_) {
        if (opaque_) {
            out.pass(bytes.size());
            break;
        }
        const std::optional<std::size_t> size = replySize(bytes);
        if (size.value_or(bytes.size()) > kMaxUnfinishedBytes) {
            violate(Violation::UnexpectedReply);
            break;
        }
        if (!size) return Rest::More;
        const std::string_view reply = bytes.substr(0, *size);
        const std::optional<std::string> edited = onReply(reply);
        if (lost_) break;
        bytes.remove_prefix(*size);
        if (starts_tls_) {
            // Kept from the client until the server's handshake is over.
            out.drop(*size);
            if (!bytes.empty()) violate(Violation::UnexpectedReply);
            break;
        }
        if (edited) {
            out.write(*edited);
            out.drop(*size);
        } else {
            out.pass(*size);
        }
    }
    return Rest::Hold;
}

void LoginFilter::startTlsAnswered(bool ok) {
    starts_tls_ = ok && mirrored_;
    mirrored_ = false;
    if (!ok || tls_.endsHere()) return;
    facts_.tls = TlsBegin::StartTls;
    becomeOpaque();
}

void LoginFilter::offered(std::string name) {
    if (name.empty()) return;
    if (name.size() > kMaxNameBytes) name.resize(kMaxNameBytes);
    attempt_ = name;
    facts_.user = std::move(name);
}

void LoginFilter::accepted() {
    facts_.authenticated = true;
    facts_.user = std::exchange(attempt_, {});
    becomeOpaque();
}

void LoginFilter::refused() {
    facts_.authenticated = false;
    ++facts_.failed_logins;
    LeanVector<std::string>& failed = facts_.failed_users;
    const bool known = std::find(failed.begin(), failed.end(), attempt_) != failed.end();
    if (!attempt_.empty() && !known && failed.size() < kMaxFailedUsersKept) failed.own().push_back(attempt_);
    attempt_.clear();
}

}  // namespace mailgate
