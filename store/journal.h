/// \file  The journal: every session and mail transaction, kept where it can be asked.
///
/// Workers hand records over (record(), a bounded queue, one short lock); one writer thread batches them into
/// SQLite (its own file, WAL). The journal never delays mail: what it cannot take is counted and told, the
/// log line is written all the same. While the file cannot be written the records wait in the queue; only
/// what does not fit is lost.
///
/// What written() has counted, or flush() has said is written, is there after kill -9 (synchronous=NORMAL in
/// WAL: a power cut may undo the last commits, and leaves a sound file).
///
/// The tables, and how they are asked: store/journal_schema.h, store/journal_query.h.
#pragma once

#include "store/network.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

/// One mail transaction of a session.
struct JournalMail {
    std::string from;
    std::vector<std::string> recipients;
    std::uint32_t recipient_count = 0;
    std::uint32_t recipients_refused = 0;
    std::uint64_t size = 0;
    std::string reply;                 ///< the server's final reply
    std::vector<std::string> replies;  ///< LMTP: to each of `recipients`; empty: none came
    bool accepted = false;
};

/// One session that ended, or that was refused. The same facts as the log line (docs/log.md).
struct JournalSession {
    std::string id;               ///< ULID: sorts by time
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
    std::string helo, user, tls;
    bool authenticated = false;
    std::vector<JournalMail> mail;  ///< the first kMaxMailKept are kept
    std::uint32_t mail_count = 0;
    std::uint64_t bytes_in = 0, bytes_out = 0;
    std::int64_t header_ms = 0, connect_ms = -1, greeting_ms = -1, duration_ms = 0;  ///< -1: did not happen
    bool refused = false;
    std::string end;  ///< how it ended; for a refused one the reason

    std::int64_t endedMs() const noexcept { return started_ms + duration_ms; }
};

inline constexpr std::size_t kMaxMailKept = 256;

/// The client as text: "198.51.100.7", masked "198.51.100.0/24".
Network clientNetwork(const JournalSession& session) noexcept;

/// The name that the server gave the mail: what follows "queued as" (Postfix, also its long ids) or "id="
/// (Exim). Empty when the reply has none. Points into `reply`.
std::string_view queueIdOf(std::string_view reply) noexcept;

struct JournalOptions {
    std::string url;  ///< sqlite:PATH
    std::chrono::milliseconds keep_sessions{std::chrono::hours(24 * 90)};
    std::chrono::milliseconds keep_refused{std::chrono::hours(24 * 14)};
    std::uint64_t max_bytes = std::uint64_t{10} << 30;  ///< of the files; the oldest go first
    /// How long the host part of client addresses is kept (beyond IPv4 /24, IPv6 /48); not set: as long as
    /// the sessions.
    std::optional<std::chrono::milliseconds> mask_after;
    std::size_t max_queued = 100'000;  ///< records waiting for the writer; more are dropped and counted
};

class Journal {
  public:
    /// Called on the writer's thread (and on the one that calls stop()). Must not throw.
    struct Events {
        std::function<void(const std::string& what)> failed;  ///< once per change of state, one sentence
        std::function<void(std::uint64_t lost)> recovered;    ///< how many were lost meanwhile
    };
    Journal(JournalOptions options, Events events);
    ~Journal();  ///< stop()

    /// Opens, creates or migrates the database, starts the writer. Throws StoreError, but for what passes by
    /// itself (a full disk, an I/O error, another process' lock): that is told by `failed`, and opening is
    /// tried again.
    void start();
    /// Writes what is queued (bounded by five seconds) and joins. What could not be written is lost.
    void stop();

    /// Hands a record over. Any thread; never blocks on the disk, never throws. False: dropped and counted.
    bool record(JournalSession&& session) noexcept;

    /// Waits until everything recorded before is written; false when that took longer.
    bool flush(std::chrono::milliseconds at_most);

    std::size_t queued() const noexcept;
    std::uint64_t written() const noexcept;  ///< committed since the start
    std::uint64_t lost() const noexcept;
    std::uint64_t bytes() const noexcept;  ///< size of the files, as last looked at

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
