// SPDX-License-Identifier: Apache-2.0
/// \file  All that the gateway has to know of a protocol: a row of constants and functions, one for each protocol.
///
/// Each protocol's folder defines its own (smtp/smtp_protocol.cpp, …); mail_protocol.cpp lists them.
#pragma once

#include "protocols/dialogue/dialogue.h"
#include "protocols/dialogue/refusal_wording.h"
#include "protocols/stream/stream_filter.h"
#include "protocols/values/protocol.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mailgate {

/// What the first bytes of a server mean to somebody who is about to hand it a client.
enum class Greeting : std::uint8_t {
    Incomplete,   ///< no whole line yet
    Welcome,      ///< 220, * OK, * PREAUTH, +OK, ManageSieve's OK or capability lines
    Unavailable,  ///< about the server itself (RFC 3463 x.3.x, [UNAVAILABLE], [SYS/TEMP]): another may serve
    Refused,  ///< about this client, for now or for good: the client must see it, and the server is healthy
    Foreign,  ///< not this protocol at all
};

/// How a health check continues after a server's greeting.
struct HealthScript {
    std::string_view hello = {};           ///< goes before the gateway's name; empty: the greeting is enough
    std::string_view hello_accepted = {};  ///< what the reply to it begins with
    std::string_view goodbye = {};         ///< the command that ends it, with its line end
    /// What a refusal begins with after which the server waits for the goodbye; empty: none does.
    std::string_view refusal_before_goodbye = {};
    /// Whether `line` is the last one of a greeting, of a reply. Null: every line is.
    bool (*ends_greeting)(std::string_view line) noexcept = nullptr;
    bool (*ends_reply)(std::string_view line) noexcept = nullptr;
};

/// How STARTTLS is said to a server (RFC 3207, RFC 9051 6.2.1, RFC 2595 4, RFC 5804 2.2), and what a connection that
/// takes another one's place after the client's STARTTLS has to get over.
struct StartTlsScript {
    std::string_view command = {};   ///< with its line end; empty: the protocol has none
    std::string_view accepted = {};  ///< what the reply to it begins with
    /// The server greets anew within TLS, and that greeting is the client's: ManageSieve's capabilities.
    bool greets_again = false;
    /// A greeting from before TLS, fit for a client whose server speaks TLS now; nothing: TLS cannot follow it. Null: it
    /// is as it came.
    std::optional<std::string> (*within)(std::string_view greeting) = nullptr;

    /// Asked behind the header of a connection that takes another one's place, since servers may greet twice.
    /// Empty: the greeting ends as HealthScript::ends_greeting says.
    std::string_view ask = {};
    std::string_view answered = {};  ///< what the last line of the answer begins with
    /// Whether `line` may stand before that. Null: any that judge_greeting() welcomes.
    bool (*goes_before)(std::string_view line) noexcept = nullptr;
};

/// What a balancer probe of a listener sends and expects; the answers as regular expressions.
struct BalancerScript {
    std::string_view greeting = {};
    std::string_view goodbye = {};
    std::string_view answer = {};
};

struct ProtocolTraits {
    Protocol protocol;

    /// The minimum that the protocol guarantees: no server may close on a silent client sooner; and where
    /// that is specified.
    std::chrono::milliseconds idle_floor{1};
    std::string_view idle_source = {};
    /// What a configuration that says nothing has: more than that.
    std::chrono::milliseconds idle_default{std::chrono::hours(1)};
    /// The ports that clients use, the usual one first: for what begins in the clear, and for TLS from the
    /// first byte on.
    std::span<const std::uint16_t> ports = {};
    std::span<const std::uint16_t> tls_ports = {};
    /// The registered name (IANA, "TLS ALPN Protocol IDs"); empty: there is none, as for SMTP and LMTP.
    std::string_view alpn = {};
    /// The name of the service in Dovecot's configuration; empty: it has none.
    std::string_view dovecot_service = {};

    HealthScript health = {};
    StartTlsScript starttls = {};
    BalancerScript balancer = {};
    /// What the gateway answers to a command that has to wait for TLS: without a tag, and without its line end.
    std::string_view tls_first = {};

    /// Null where there is nothing to see or to screen.
    std::unique_ptr<StreamFilter> (*make_filter)(SessionFacts& facts, const ScreenConfig& screen,
                                                 MailSink* sink) = nullptr;
    /// Of a whole line, without its end.
    Greeting (*judge_greeting)(std::string_view line) noexcept = nullptr;
    Wording (*wording)(Refusal refusal) noexcept = nullptr;
    /// The complete refusal: one line with its CRLF.
    std::string (*reply_line)(const Wording& wording, const RefusalNames& names) = nullptr;
    /// What follows a refusal, `line`. Null: nothing.
    std::unique_ptr<Dialogue> (*make_refusal_dialogue)(std::string line, const RefusalNames& names) = nullptr;
    /// The answers to a balancer probe while clients would be served.
    std::unique_ptr<Dialogue> (*make_probe_dialogue)(const RefusalNames& names) = nullptr;

    /// Nothing is known of what either side sends: there is no greeting to judge, and no reply that could be sent.
    constexpr bool opaque() const noexcept { return judge_greeting == nullptr; }
};

}  // namespace mailgate
