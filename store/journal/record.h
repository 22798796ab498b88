// SPDX-License-Identifier: Apache-2.0
/// \file  What is kept of a session and of each mail in it, in the log and the journal alike (docs/log.md).
/// How each field is written, read and told: store/journal/fields.h.
#pragma once

#include "protocols/values/network.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

struct JournalRefusal {
    std::string to;
    std::string reply;
};

/// One mail transaction of a session.
struct JournalMail {
    std::string from;
    std::vector<std::string> recipients;  ///< that the server accepted
    std::vector<JournalRefusal> refused;  ///< that it did not
    std::uint32_t recipient_count = 0;
    std::uint32_t refused_count = 0;
    std::uint64_t size = 0;
    std::string reply;  ///< the server's final reply; without a message its first refusal; empty: given up
    std::string queue_id;
    std::string message_id;            ///< of the message's header, without < and >; empty: none was seen
    std::vector<std::string> replies;  ///< LMTP: to each of `recipients`; empty: none came
    bool accepted = false;
    bool truncated = false;    ///< some of the recipients had no room
    std::uint32_t number = 0;  ///< of a Mail record: in its session, from 1 on
};

/// What a record is about.
enum class JournalKind : std::uint8_t {
    Session,  ///< an admitted session that is over
    Refused,  ///< a client that was refused
    /// One mail of a session that may go on, beyond those that go with the session's own record; the rest is
    /// what was known of the session then. Read back only where the session's own record is missing.
    Mail,
};

/// One session that ended, or that was refused. The same facts as the log line (docs/log.md).
struct JournalSession {
    JournalKind kind = JournalKind::Session;
    std::string id;               ///< ULID: sorts by time
    std::string gateway;          ///< that had it; read back from a fleet's journals only
    std::int64_t started_ms = 0;  ///< Unix time, milliseconds
    std::string listener, protocol;
    AddressBytes client{};
    bool client_masked = false;  ///< read back only: the host part is forgotten (IPv4 /24, IPv6 /48)
    std::uint16_t client_port = 0;
    std::optional<AddressBytes> balancer;
    AddressBytes destination{};
    std::uint16_t destination_port = 0;
    bool allowed = false;
    std::string rule;              ///< network of the rule that decided; empty: the listener's default
    std::string upstream, server;  ///< empty: none was reached
    std::string helo, user;
    std::string tls;  ///< how it began, or "balancer": that one ended it; empty: there was none
    std::string tls_version,
        tls_cipher;  ///< as far as they are known: where it ended here, or by the balancer's word
    // Of TLS that ended here:
    std::string tls_sni;
    bool tls_resumed = false;
    std::int64_t tls_handshake_ms = -1;  ///< -1: it did not
    std::string tls_error;               ///< what was wrong with its end; empty: nothing
    std::string tls_client_subject,
        tls_client_sha256;  ///< of the client's certificate; empty: it showed none
    bool tls_client_verified = false;
    // Of TLS that the gateway speaks with the server:
    std::string server_tls;  ///< how it began, or was to; empty: there was none
    std::string server_tls_version, server_tls_cipher;
    bool server_tls_resumed = false;
    bool server_tls_verified = false;   ///< its certificate
    std::string server_tls_error;       ///< why it did not begin though the server had consented
    std::optional<bool> authenticated;  ///< what the server said of the last login; none: nothing final
    std::uint32_t failed_logins = 0;
    std::vector<std::string> failed_users;  ///< the first few
    std::vector<JournalMail> mail;          ///< with a Mail record: that one
    std::uint32_t mail_count = 0;
    /// Names are the log's ("aws_vpce_id"); what the balancer's header told of the connection.
    std::vector<std::pair<std::string, std::string>> balancer_told;
    std::uint64_t bytes_in = 0, bytes_out = 0;
    std::int64_t header_ms = 0, connect_ms = -1, greeting_ms = -1, duration_ms = 0;  ///< -1: did not happen
    std::string end;        ///< how it ended; for a refused one the reason; empty: it is not known to be over
    std::string violation;  ///< what it did that ended it, if that did
    std::int64_t rule_id = 0;  ///< of the rule that refused it, or would have; 0: not known, or no rule
    /// Reasons, as `end` of a refused one has them, that a listener in monitor mode set aside.
    std::vector<std::string> would_refuse;
    std::string
        reply;  ///< what the client was told instead of a session, or would have been; of one that was admitted, and was
    ///< told to begin TLS first, that
    std::string limit;  ///< the limit that it reached, and its value
    std::uint32_t limit_value = 0;
    // Of refused ones:
    /// How many refusals of this client's network this one stands for, which were not recorded one by one.
    std::uint32_t repeated = 0;

    bool refused() const noexcept { return kind == JournalKind::Refused; }
    bool wasToldToBeginTls() const noexcept { return !refused() && would_refuse.empty() && !reply.empty(); }
    std::int64_t endedMs() const noexcept { return started_ms + duration_ms; }
};

/// A session's own record takes no more mails; others are records of their own.
inline constexpr std::size_t kMaxMailKept = 256;
/// What a record may take in memory: recipients beyond it are left out and marked.
inline constexpr std::size_t kMaxRecordBytes = std::size_t{64} << 10;

/// The client as text: "198.51.100.7", masked "198.51.100.0/24".
Network clientNetwork(const JournalSession& session) noexcept;

}  // namespace mailgate::store
