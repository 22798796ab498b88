// SPDX-License-Identifier: Apache-2.0
/// \file  Asks the journal: sessions by what is known of them, the busiest clients, senders and users.
///
/// Opens the file by itself, so it may run in another process while the gateway writes; it never makes the
/// writer wait. Sealed segments are asked through their terms, the open one is read; ten million sessions are
/// answered in milliseconds when a filter names an address, a user or an id.
///
/// Not thread-safe: one object for each thread.
#pragma once

#include "store/journal/record.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::store {

/// Everything that is set must hold. `from`, `to` and `queue_id` must hold for one and the same mail. Texts
/// are compared as comparable() (protocols/values/text.h) and without regard to case, except `queue_id`.
struct JournalFilter {
    std::optional<Network> client, balancer;
    std::optional<std::string> from;  ///< an address, "@domain", or "" for the null sender
    std::optional<std::string> to;    ///< an address or "@domain"
    std::optional<std::string> user, queue_id, listener;
    std::optional<std::string> server;  ///< "mx1" or "postfix/mx1"
    std::optional<bool> allowed;        ///< the access rules' verdict
    bool refused_only = false;
    bool failed_login = false;  ///< the server refused a login, whatever came after it
    /// Unix milliseconds; a session counts when any part of it lies in between.
    std::optional<std::int64_t> since_ms, until_ms;
};

/// Sums over a time for one client, sender or user.
struct JournalSums {
    std::string name;                 ///< the null sender is ""
    std::uint64_t sessions = 0;       ///< admitted and refused; of a sender: those in which it sent
    std::uint64_t refused = 0;        ///< of these, the refused ones
    std::uint64_t failed_logins = 0;  ///< of these, those in which the server refused a login
    std::uint64_t mails = 0;
    std::uint64_t mails_refused = 0;  ///< a sender's only: those that the server did not accept
    std::uint64_t bytes_in = 0, bytes_out = 0;
};

/// Refused: sessions, for senders mails.
enum class SumsBy : std::uint8_t { Sessions, Bytes, Refused, FailedLogins };

struct JournalTop {
    /// A sender's bytes are its messages'; a session's mails beyond the kept ones have no sender here.
    std::vector<JournalSums> clients, senders, users;
    std::uint64_t sessions = 0, refused = 0, failed_logins = 0;  ///< in all; the last two are among the first
};

class JournalQuery {
  public:
    /// Throws StoreError: Open when there is no journal yet.
    explicit JournalQuery(const std::string& url);
    ~JournalQuery();

    /// The last `limit` that pass the filter, in the order in which they ended.
    std::vector<JournalSession> newest(const JournalFilter& filter, std::size_t limit);

    /// Up to `limit` whose id begins with `prefix` (any case), the oldest first.
    std::vector<JournalSession> withId(const std::string& prefix, std::size_t limit = 2);

    /// A place in the journal, for following it.
    struct Position {
        std::int64_t session = 0, refused = 0;
    };
    Position end();
    /// What came after `position` and passes the filter; moves the position there. `limit` bounds the rows
    /// looked at.
    std::vector<JournalSession> after(const JournalFilter& filter, Position& position,
                                      std::size_t limit = 10'000);

    /// The first `limit` of each, by `by`, over the sessions from `since_ms` on.
    JournalTop top(std::int64_t since_ms, std::int64_t until_ms, SumsBy by, std::size_t limit);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
