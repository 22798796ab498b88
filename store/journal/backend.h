// SPDX-License-Identifier: Apache-2.0
/// \file  What the journal wants of a database: a Sink that takes records, a Source that answers questions.
///
/// store/backends/journal.h opens those that a URL names. A database may be one file of one gateway, or one
/// that a fleet shares: nothing here says how records are told apart or kept, batches are whole transactions,
/// and only who gave a Position can read it.
///
/// Not thread-safe: one object for each thread. Errors are StoreError; after one a Sink is of no use any more (what
/// it remembers may be ahead of the database): open a new one, which continues where the database stands.
#pragma once

#include "store/journal/options.h"
#include "store/journal/record.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

/// Everything that is set must hold. `from`, `to`, `refused_to`, `queue_id`, `message_id` and `reply` must hold for one
/// and the same mail; `reply` also finds clients that were refused, by what they were told. Texts
/// are compared as comparable() (protocols/values/text.h) and without regard to case, except `queue_id`.
struct JournalFilter {
    std::optional<Network> client, balancer;
    std::optional<std::string> from;        ///< an address, "@domain", or "" for the null sender
    std::optional<std::string> to;          ///< an address or "@domain"
    std::optional<std::string> refused_to;  ///< the same, of recipients that the server refused
    std::optional<std::string> reply;       ///< a part of a reply of the server, or of a refusal
    std::optional<std::string> message_id;  ///< without < and >, as long as it is kept
    std::optional<std::string> user, queue_id, listener, protocol;
    std::optional<std::string> helo;    ///< a name, or ".domain" for all names in it
    std::optional<std::string> end;     ///< a close reason, or the reason of a refusal
    std::optional<std::string> rule;    ///< network of the rule that decided; "": the listener's default
    std::optional<std::string> tls;     ///< as in the record; "": none was seen
    std::optional<std::string> server;  ///< "mx1" or "postfix/mx1"
    std::optional<bool> allowed;        ///< the access rules' verdict
    bool refused_only = false;
    bool would_refuse = false;  ///< a listener in monitor mode set a refusal aside
    bool failed_login = false;  ///< the server refused a login, whatever came after it
    /// Unix milliseconds; a session counts when any part of it lies in between.
    std::optional<std::int64_t> since_ms, until_ms;
};

/// Sums over a time for one client, sender, user and so on. Mails are what the server accepted or refused, not what a client gave up.
struct JournalSums {
    std::string name;                 ///< the null sender is ""
    std::uint64_t sessions = 0;       ///< admitted and refused; of a sender or recipient: those with its mail
    std::uint64_t refused = 0;        ///< of these, the refused ones
    std::uint64_t failed_logins = 0;  ///< of these, those in which the server refused a login
    std::uint64_t mails = 0;
    /// Of these, those that it refused: the sender, all recipients or the message; of a recipient those not for it.
    std::uint64_t mails_refused = 0;
    std::uint64_t bytes_in = 0, bytes_out = 0;
};

/// What is summed up: for each client, for each sender …
enum class SumsOf : std::uint8_t {
    Clients,
    Networks,  ///< of clients: IPv4 /24, IPv6 /48
    Senders,
    Recipients,
    Users,
    Helos,
    Ends,  ///< close reasons; "refused: " and the reason of a refusal
};
inline constexpr std::size_t kSumsOf = 7;

/// In what order. Refused: sessions and mails.
enum class SumsBy : std::uint8_t { Sessions, Bytes, Refused, FailedLogins };

struct JournalTopQuery {
    std::optional<Network> client;
    std::optional<std::string> listener;
    std::int64_t since_ms = 0, until_ms = 0;  ///< as in JournalFilter
    std::vector<SumsOf> of{SumsOf::Clients, SumsOf::Senders, SumsOf::Users};
    SumsBy by = SumsBy::Sessions;
    std::size_t limit = 0;  ///< of each
};

struct JournalTop {
    /// By SumsOf; empty where it was not asked for. A sender's and a recipient's bytes are the messages'; mails of a
    /// session that have no place in the journal are in none of them.
    std::array<std::vector<JournalSums>, kSumsOf> sums;
    std::uint64_t sessions = 0, refused = 0, failed_logins = 0;  ///< in all; the last two are among the first

    const std::vector<JournalSums>& of(SumsOf what) const noexcept {
        return sums[static_cast<std::size_t>(what)];
    }
};

namespace journal {

/// What is left for maintenance to do.
enum class Maintenance : std::uint8_t {
    Done,
    MoreDue,  ///< one piece is done, others wait
    Reopen,   ///< the database that was opened is gone, or another is in its place
};

class Sink {
  public:
    virtual ~Sink() = default;

    /// All of them in one transaction, or none.
    virtual void append(std::span<const JournalSession> batch) = 0;

    /// Does one piece of what is due at `now_ms` (Unix milliseconds): forgets addresses, removes what is too
    /// old or too much. Records wait meanwhile, so a piece is small.
    virtual Maintenance maintain(std::int64_t now_ms) = 0;

    /// What the journal takes on the disk.
    virtual std::uint64_t bytes() const = 0;

    /// Unix milliseconds of the earliest start of a session, to a group of them; 0: there is none.
    virtual std::int64_t oldestMs() const { return 0; }
};

/// A place in the journal, for following it. The empty one is the beginning.
struct Position {
    std::string text;
};

class Source {
  public:
    virtual ~Source() = default;

    /// The last `limit` that pass the filter, in the order in which they ended.
    virtual std::vector<JournalSession> newest(const JournalFilter& filter, std::size_t limit) = 0;

    /// How many pass the filter, counted up to `at_most`.
    virtual std::size_t count(const JournalFilter& filter, std::size_t at_most) = 0;

    /// Up to `limit` whose id begins with `prefix` (any case), the oldest first. Two tell that it is not
    /// enough of one.
    virtual std::vector<JournalSession> withId(const std::string& prefix, std::size_t limit) = 0;

    virtual Position end() = 0;
    /// What came after `position` and passes the filter; moves the position there. `limit` bounds the records
    /// of a kind that are looked at.
    virtual std::vector<JournalSession> after(const JournalFilter& filter, Position& position,
                                              std::size_t limit) = 0;

    /// The sessions between these times, of this client and listener, summed up.
    virtual JournalTop top(const JournalTopQuery& query) = 0;
};

/// A record among those of its kind, of which one written later has a greater key. A key is no other record's, of
/// whatever kind, as long as the journal lives.
struct SpoolPlace {
    std::int64_t key = 0;  ///< 0: before the first
    std::string id{};      ///< the session's: another journal has another one there
    bool closed =
        false;  ///< no record is going to be kept, and removed, together with this one that is not there already
};

/// How far a journal has been read.
struct SpoolPosition {
    std::array<SpoolPlace, 3> places{};  ///< by JournalKind
    /// The pieces of the journal up to this one are read as a whole, but for those of the places.
    std::int64_t segment = 0;

    SpoolPlace& of(JournalKind kind) noexcept { return places[static_cast<std::size_t>(kind)]; }
    const SpoolPlace& of(JournalKind kind) const noexcept { return places[static_cast<std::size_t>(kind)]; }
};
/// In one line, and back; of what is no such line the beginning is left.
std::string spoolText(const SpoolPosition& position);
SpoolPosition spoolPosition(std::string_view text);

/// What is removed as a whole.
struct SpoolPiece {
    std::int64_t number = 0;
    JournalKind kind = JournalKind::Session;
    std::int64_t records = 0;
    std::int64_t first_key = 0;              ///< its records have this one and those that follow
    std::int64_t first_ms = 0, last_ms = 0;  ///< Unix time: the earliest start, the latest end
};
/// No piece has more records.
inline constexpr std::uint64_t kMostInPiece = 16'384;

/// The journal for who takes all of it elsewhere, record after record.
class Spool {
  public:
    using Visit = std::function<bool(std::int64_t key, JournalSession& record)>;
    /// How a journal stands to a place that was reached in one.
    enum class Standing : std::uint8_t {
        Same,
        Gone,  ///< that record has been removed since
        Other  ///< it was another journal, or this one later: it has been restored from a backup
    };

    virtual ~Spool() = default;

    virtual Standing find(JournalKind kind, const SpoolPlace& place) = 0;
    /// The last record up to that key; a key of 0: there is none.
    virtual SpoolPlace lastUpTo(JournalKind kind, std::int64_t key) = 0;
    /// Visits what comes after `place`, while that returns true, and moves it along. Of a record of Mail the mail's number is
    /// set; one whose session is known as a whole has its mails as they are kept.
    virtual void read(JournalKind kind, SpoolPlace& place, const Visit& visit) = 0;
    /// Records after the position.
    virtual std::uint64_t behind(const SpoolPosition& position) = 0;
    /// Those that there are, the oldest first.
    virtual std::vector<SpoolPiece> pieces() = 0;
    /// Notes in `position` what has to be known to tell later what was removed unread, and returns what was since that was
    /// done last: the numbers of pieces of the journal, which are removed as a whole.
    virtual std::vector<std::int64_t> settle(SpoolPosition& position) = 0;
    /// Nothing of the journal changes while `work` goes on, as far as it can be seen by this.
    virtual void inSnapshot(const std::function<void()>& work) = 0;
    /// Another database has been put in its place: open that.
    virtual bool isReplaced() const = 0;
};

using OpenSink = std::function<std::unique_ptr<Sink>(const JournalOptions& options)>;

}  // namespace journal
}  // namespace mailgate::store
