// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter for POP3 (RFC 1939, RFC 2449, RFC 5034) up to the login.
///
/// Opaque as soon as the server says +OK to PASS, APOP, AUTH or STLS. Replies belong to commands by their order.
/// Where TLS ends at the gateway, CAPA's lines STLS, USER and SASL are put right, and AUTH's list of mechanisms.
#pragma once

#include "protocols/stream/login_filter.h"
#include "protocols/stream/reply_queue.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

class Pop3Filter final : public LoginFilter {
  public:
    /// To a login that has to wait for TLS.
    static constexpr std::string_view kTlsFirst =
        "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.";

    using LoginFilter::LoginFilter;

    bool serverAtBoundary() const noexcept override { return listing_ == Kind::Other; }
    bool interruptible() const noexcept override {
        return serverAtBoundary() && unanswered_.empty() && !sasl_.active();
    }

  private:
    /// Listing, Capabilities: a command whose +OK is followed by lines up to a single dot.
    enum class Kind : std::uint8_t {
        Other,
        Listing,
        Capabilities,
        User,
        Pass,
        Apop,
        Auth,
        StartTls,
        Quit,
        XClient
    };

    bool mustWait() const noexcept override;
    Decision onCommand(std::string_view bytes) override;
    std::string refusal(std::string_view command, Action why) const override;
    std::string nameIn(std::string_view command) const override;
    std::string startTlsReply(bool ready) const override;
    std::optional<std::size_t> replySize(std::string_view bytes) const noexcept override;
    std::optional<std::string> onReply(std::string_view reply) override;

    static Kind kindOf(std::string_view verb, std::string_view arguments) noexcept;
    void onResponse(std::string_view line);
    void onVerb(Kind kind, std::string_view arguments);
    void onUser(std::string_view name);

    static bool isLogin(Kind kind, std::string_view verb) noexcept;
    std::optional<std::string> onListed(std::string_view reply);
    std::optional<std::string> onCapability(std::string_view reply, std::string_view text);
    std::optional<std::string> onGreeting(bool ok, std::string_view reply, std::string_view text);
    void onStatus(bool ok, std::string_view text);
    void onPrompt();
    void answered(Kind kind, bool ok, std::string_view text);
    void loginAnswered(bool ok, bool tried, std::string_view text);

    ReplyQueue<Kind> unanswered_;
    std::string user_;            ///< the last USER
    bool user_taken_ = false;     ///< there was one, and the server did not refuse it
    Kind listing_ = Kind::Other;  ///< the command whose lines are coming
    bool tls_listed_ = false;     ///< STLS is among them
};

}  // namespace mailgate
