// SPDX-License-Identifier: Apache-2.0
/// \file  What the filters of IMAP, POP3 and ManageSieve have in common: all is understood up to the login.
///
/// What both sides send is judged as whole commands and replies, one at a time, before it goes on. While the meaning
/// of what comes next depends on a reply (a login, a SASL exchange, STARTTLS, the continuation request for a
/// literal), it waits for that reply. What no grammar allows is answered here and never reaches the server. So is,
/// where TLS ends at the gateway (TlsPolicy), STARTTLS, and a login that has to wait for it; what the server announces is
/// edited to fit.
#pragma once

#include "protocols/stream/sasl.h"
#include "protocols/stream/stream_filter.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// The longest command line and literal that Dovecot takes before the login.
inline constexpr std::size_t kMaxLoginLineBytes = 8192;
/// SASL responses, which may be tokens; Postfix's limit, above Dovecot's.
inline constexpr std::size_t kMaxSaslLineBytes = 12288;
/// Commands in flight whose replies are told apart; further ones wait.
inline constexpr std::size_t kMaxPipelined = 32;

class LoginFilter : public StreamFilter {
  public:
    LoginFilter(SessionFacts& facts, const ScreenConfig& screen) noexcept
        : facts_(facts), no_header_(screen.no_header), tls_(screen.tls), greeting_over_(screen.greeted) {}

    std::string answerStartTls(bool ready) final;
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept final;
    bool noReplyPending() const noexcept final { return lost_ || interruptible(); }
    void finish(std::string_view /*told*/) noexcept final {}

  protected:
    /// What is to be done with the first command, or the part of it that has to go on at once. It counts as
    /// seen when it passes; in all other cases nothing may be remembered of it.
    enum class Action : std::uint8_t {
        More,
        Hold,
        Pass,
        Refuse,         ///< is not understood
        RefuseSecond,   ///< STARTTLS within TLS
        RefuseInClear,  ///< has to wait for TLS
        StartTls,       ///< the gateway's to answer
        Mirror,         ///< a STARTTLS that passes, and after which nothing does
    };
    struct Decision {
        Action action = Action::More;
        std::size_t bytes = 0;  ///< but for More and Hold: including the line's end
    };
    static constexpr bool refuses(Action action) noexcept {
        return action == Action::Refuse || action == Action::RefuseSecond || action == Action::RefuseInClear;
    }

    // These may throw std::bad_alloc, and violate().
    virtual bool mustWait() const noexcept = 0;
    virtual Decision onCommand(std::string_view bytes) = 0;
    /// The reply to a command that the server must not get, and why.
    virtual std::string refusal(std::string_view command, Action why) const = 0;
    /// The user name that a login offers which has to wait for TLS; empty: not seen. Never a password.
    virtual std::string nameIn(std::string_view command) const = 0;
    /// The reply to the STARTTLS that came last.
    virtual std::string startTlsReply(bool ready) const = 0;
    /// How long the first reply in `bytes` is; nothing: not whole.
    virtual std::optional<std::size_t> replySize(std::string_view bytes) const noexcept = 0;
    /// Returns what goes on in its place. Nothing, usually: it goes on as it came.
    virtual std::optional<std::string> onReply(std::string_view reply) = 0;

    void violate(Violation violation) noexcept {
        if (!violation_) violation_ = violation;
        lost_ = lost_ || violation == Violation::UnexpectedReply || violation == Violation::NoMemory;
    }
    void becomeOpaque() noexcept { opaque_ = true; }
    /// What becomes of a STARTTLS without arguments, the first `command` of `bytes`.
    Action onStartTls(std::size_t command, std::string_view bytes) noexcept;
    static constexpr bool passes(Action action) noexcept {
        return action == Action::Pass || action == Action::Mirror;
    }
    /// The server has answered one.
    void startTlsAnswered(bool ok);

    /// A login begins, of which nothing is known yet.
    void beginLogin() noexcept { attempt_.clear(); }
    /// The user name in it; empty: not seen.
    void offered(std::string name);
    void accepted();
    void refused();
    /// The server could not or would not check the password.
    void deferred() noexcept { facts_.authenticated.reset(); }

    SessionFacts& facts_;
    SaslExchange sasl_;
    const bool no_header_;
    const TlsPolicy tls_;
    bool greeting_over_ = false;

  private:
    Rest onClient(std::string_view bytes, Output& out);
    Rest onServer(std::string_view bytes, Output& out);
    Rest passHello(std::string_view bytes, Output& out) noexcept;
    bool refuse(std::string_view command, Action why, Output& out);
    void noteInClear(std::string_view command);
    bool takeStartTls(std::size_t command, Output& out);

    std::string attempt_;           ///< the name in the login that is going on
    std::uint32_t hello_left_ = 0;  ///< of a TLS ClientHello's record
    bool hello_ = false;            ///< one has gone on, and the server has not spoken yet
    bool lost_ = false;             ///< what the server says next would not be understood: none of it goes on
    bool mirrored_ = false;         ///< the server has a STARTTLS that it has not answered
    std::uint8_t refusals_ = 0;
};

}  // namespace mailgate
