// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter for POP3 (RFC 1939, RFC 2449, RFC 5034) up to the login.
///
/// Opaque as soon as the server says +OK to PASS, APOP, AUTH or STLS. Replies belong to commands by their order.
#pragma once

#include "protocols/stream/login_filter.h"
#include "protocols/stream/reply_queue.h"

#include <cstdint>
#include <string>

namespace mailgate {

class Pop3Filter final : public LoginFilter {
  public:
    using LoginFilter::LoginFilter;

    bool serverAtBoundary() const noexcept override { return !in_listing_; }
    bool interruptible() const noexcept override {
        return serverAtBoundary() && unanswered_.empty() && !sasl_.active();
    }

  private:
    /// Listing: a command whose +OK is followed by lines up to a single dot.
    enum class Kind : std::uint8_t { Other, Listing, User, Pass, Apop, Auth, StartTls, Quit, XClient };

    bool mustWait() const noexcept override;
    Decision onCommand(std::string_view bytes) override;
    std::string refusal(std::string_view command) const override;
    std::optional<std::size_t> replySize(std::string_view bytes) const noexcept override;
    std::string_view onReply(std::string_view reply) override;

    static Kind kindOf(std::string_view verb, std::string_view arguments) noexcept;
    void onResponse(std::string_view line);
    void onVerb(Kind kind, std::string_view arguments);
    void onUser(std::string_view name);

    std::string_view onGreeting(bool ok, std::string_view text);
    void onStatus(bool ok, std::string_view text);
    void onPrompt();
    void answered(Kind kind, bool ok, std::string_view text);
    void loginAnswered(bool ok, bool tried, std::string_view text);

    ReplyQueue<Kind> unanswered_;
    std::string user_;         ///< the last USER
    bool user_taken_ = false;  ///< there was one, and the server did not refuse it
    bool in_listing_ = false;
};

}  // namespace mailgate
