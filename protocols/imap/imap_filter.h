// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter for IMAP (RFC 9051, RFC 3501) up to the login.
///
/// Opaque as soon as the server says OK to a login or to STARTTLS, or greets with PREAUTH. A tagged reply belongs
/// to the command in flight that has its tag; no two have the same. Where TLS ends at the gateway, STARTTLS, LOGINDISABLED
/// and AUTH= are put right wherever the server lists its capabilities: CAPABILITY, and the code of that name.
#pragma once

#include "protocols/stream/login_filter.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mailgate {

class WordReader;

class ImapFilter final : public LoginFilter {
  public:
    /// To a login that has to wait for TLS.
    static constexpr std::string_view kTlsFirst =
        "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.";

    using LoginFilter::LoginFilter;

    bool serverAtBoundary() const noexcept override { return true; }
    bool interruptible() const noexcept override { return unanswered_.empty(); }

  private:
    enum class Kind : std::uint8_t { Other, Id, Login, Authenticate, StartTls, Logout };
    /// What the last command in flight waits for.
    enum class Awaits : std::uint8_t {
        Reply,
        Leave,    ///< the server's, for a literal
        Literal,  ///< the client's: leave was given
    };

    struct Command {
        Kind kind = Kind::Other;
        std::string tag;
    };

    bool mustWait() const noexcept override;
    Decision onCommand(std::string_view bytes) override;
    std::string refusal(std::string_view command, Action why) const override;
    std::string nameIn(std::string_view command) const override;
    std::string startTlsReply(bool ready) const override;
    std::optional<std::size_t> replySize(std::string_view bytes) const noexcept override;
    std::optional<std::string> onReply(std::string_view reply) override;

    static Kind kindOf(std::string_view verb) noexcept;
    bool responds() const noexcept { return sasl_.active() && sasl_.prompted(); }
    Decision onResponse(std::string_view bytes);
    Decision onRest(std::string_view bytes);
    void onWords(Kind kind, WordReader words);
    void onLogin(WordReader& words);
    void onMechanism(WordReader& words);

    void readReply(std::string_view line);
    std::optional<std::string> withOffers(std::string_view reply);
    std::optional<std::string> offers(std::string_view list, bool whole) const;
    void onGreeting(std::string_view line);
    void onContinuation();
    void onTagged(std::string_view tag, std::string_view text);
    void completed(Kind kind);
    void failed(Kind kind, bool understood, std::string_view text);

    std::vector<Command> unanswered_;
    std::string tls_tag_;            ///< of the last STARTTLS that is the gateway's to answer
    std::size_t literal_ = 0;        ///< its size, while leave is awaited or was given
    std::size_t command_bytes_ = 0;  ///< bytes of the last command so far
    Awaits awaits_ = Awaits::Reply;
    bool named_ = false;  ///< LOGIN's first argument was seen
};

}  // namespace mailgate
