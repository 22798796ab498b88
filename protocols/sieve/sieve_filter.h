// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter for ManageSieve (RFC 5804) up to the login.
///
/// Opaque as soon as the server says OK to AUTHENTICATE or STARTTLS. Replies belong to commands by their order.
/// Where TLS ends at the gateway, STARTTLS and SASL are put right in the lists of capabilities.
#pragma once

#include "protocols/stream/login_filter.h"
#include "protocols/stream/reply_queue.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

class WordReader;

class SieveFilter final : public LoginFilter {
  public:
    /// To a login that has to wait for TLS.
    static constexpr std::string_view kTlsFirst =
        "NO (ENCRYPT-NEEDED) \"Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\"";

    using LoginFilter::LoginFilter;

    bool serverAtBoundary() const noexcept override { return !in_reply_; }
    bool interruptible() const noexcept override { return !in_reply_ && unanswered_.empty(); }

  private:
    enum class Kind : std::uint8_t { Other, Capability, Authenticate, StartTls, Logout, XClient };

    bool mustWait() const noexcept override;
    Decision onCommand(std::string_view bytes) override;
    std::string refusal(std::string_view command, Action why) const override;
    std::string nameIn(std::string_view command) const override;
    std::string startTlsReply(bool ready) const override;
    std::optional<std::size_t> replySize(std::string_view bytes) const noexcept override;
    std::optional<std::string> onReply(std::string_view reply) override;

    static Kind kindOf(std::string_view verb) noexcept;
    bool responds() const noexcept { return sasl_.active() && sasl_.prompted(); }
    void onMechanism(WordReader words);

    std::optional<std::string> onData(std::string_view reply);
    std::optional<std::string> onCapability(std::string_view name, std::string_view reply);
    std::optional<std::string> onListEnd(std::string_view reply);
    void onStatus(bool ok, std::string_view text);
    void loginAnswered(bool ok, std::string_view text);

    ReplyQueue<Kind> unanswered_;
    bool in_reply_ = false;    ///< between data lines and the OK, NO or BYE that ends them
    bool tls_listed_ = false;  ///< STARTTLS is among them
};

}  // namespace mailgate
