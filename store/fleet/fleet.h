// SPDX-License-Identifier: Apache-2.0
/// \file  A fleet: gateways that share their rules. Values, and the port under which the database is known where they meet.
///
/// Every gateway keeps its rules in a file of its own and serves from that (store/rules/replica.h). The database has the same
/// rules, a log of all changes, and one row with their version, whose lock has one gateway change them at a time: the version
/// has no gaps, and who has applied the log up to a version has the rules of that version.
#pragma once

#include "store/fleet/missed.h"
#include "store/rules/replica.h"
#include "store/store_error.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::store {

/// What the database says of the fleet.
struct FleetState {
    std::string fleet;         ///< which one it is
    std::int64_t version = 0;  ///< of the rules
    std::int64_t next_id = 1;  ///< no rule has had this number or a greater one
    /// Of the change that made this version: after a backup was restored another one may have its number.
    std::string token{};
    std::int64_t now = 0;     ///< Unix time by the database's clock
    std::int64_t drains = 0;  ///< counts the changes of FleetStore::drains()
    /// The log of changes may have none of the versions before this one any more.
    std::int64_t log_from = 0;
};

/// The oldest change that the fleet's log has.
struct OldestChange {
    std::int64_t version = 0;
    std::int64_t at = 0;  ///< Unix time
};

/// A server that is drained at all gateways.
struct FleetDrain {
    std::string upstream, server;
    std::int64_t since = 0;  ///< Unix time
    std::string by{};        ///< actorAt()
};

/// A gateway, as it announces itself.
struct Member {
    std::string name;
    std::string release{};      ///< mailgate's version
    std::int64_t started = 0;   ///< Unix time
    std::int64_t position = 0;  ///< version of the rules that it has
    // By the database's clock, and of what was read only.
    std::int64_t seen = 0;         ///< Unix time
    std::int64_t silent_secs = 0;  ///< since then
    /// Since the first change was made that it has not applied, by the clock of who made it; 0: it has all.
    std::int64_t behind_secs = 0;
    /// No gateway writes such a row: what is too long was cut, and a time or a number that is none is 0.
    bool damaged = false;
    MissedRecords missed{};  ///< of its journal
    bool ships = true;       ///< its journal goes to the database
    /// For how many days it wants changes in the fleet's log; none: it does not say.
    std::optional<std::int64_t> keeps_days{};
    /// Since the database had all of that, or the gateway was started; none: nothing of it goes there, or it is not known.
    std::optional<std::int64_t> journal_secs{};
};

/// A key for session tickets as it is where gateways meet: sealed, with what all of them have and the database has not.
struct SealedTicketKey {
    std::int64_t period = 0;  ///< of time, from 1970 on, in which it seals
    std::string sealed;
};

/// One connection to the database, made when it is needed, and anew after a failure. All functions throw StoreError, and
/// none takes longer than its deadlines allow, whatever the server does. One thread at a time, but for interrupt().
class FleetStore {
  public:
    /// How long the server may take.
    struct Patience {
        std::chrono::milliseconds connect{5'000};  ///< until it answers the first query
        std::chrono::milliseconds answer{5'000};   ///< for each further answer
    };

    FleetStore() = default;
    FleetStore(const FleetStore&) = delete;
    FleetStore& operator=(const FleetStore&) = delete;
    virtual ~FleetStore() = default;

    virtual FleetState state() = 0;
    /// The token of an earlier version; none: the log of changes does not know it.
    virtual std::optional<std::string> tokenOf(std::int64_t version) = 0;
    /// What has been changed after that version, and how the rules concerned are now. StoreError(Locked): the log has not all of
    /// it any more.
    virtual SharedChanges changesSince(std::int64_t version) = 0;
    /// All rules and defaults of sets; no entries.
    virtual SharedChanges everything() = 0;

    /// The defaults of sets.
    virtual std::vector<SharedSet> sets() = 0;

    /// None: the log is empty.
    virtual std::optional<OldestChange> oldestChange() = 0;
    /// Removes from the log what is older than any gateway wants it, and what all that were heard of lately have: some of it.
    virtual void forgetChanges() = 0;

    /// Returns when another process was started that has announced itself by the same name since, if one was heard of in the last
    /// 20 seconds: Unix time.
    virtual std::optional<std::int64_t> announce(const Member& self) = 0;
    virtual void forget(const std::string& member) = 0;
    /// By name, and no more than one more than kMostMembers: anybody who may write there may write any number.
    static constexpr std::size_t kMostMembers = 500;
    /// Whichever gateway of that name comes next writes its journal there.
    virtual void release(const std::string& member) = 0;
    virtual std::vector<Member> members() = 0;

    /// Returns when the rules may have been changed, or after so long. The database notifies where it can; how that is,
    /// listens() says once state() was asked.
    virtual void wait(std::chrono::milliseconds at_most) = 0;
    virtual bool listens() const noexcept = 0;
    /// What goes on, and all that comes, is StoreError at once. Any thread.
    virtual void interrupt() noexcept = 0;

    /// By name.
    virtual std::vector<FleetDrain> drains() = 0;
    /// `is_drained`: else it is not any more. False: it was not. StoreError(Unknown): as commit().
    virtual bool setDrain(const FleetDrain& drain, bool is_drained) = 0;

    /// Of these periods, sealed with the secret that is called so.
    virtual std::vector<SealedTicketKey> ticketKeys(const std::string& secret, std::int64_t from,
                                                    std::int64_t to) = 0;
    /// Adds those whose period has none yet, whoever else does, and removes all of the periods before `oldest`.
    virtual void addTicketKeys(const std::string& secret, const std::vector<SealedTicketKey>& keys,
                               std::int64_t oldest) = 0;

    // A change: lock(), then commit() or rollback().

    /// From now on nobody else changes the rules.
    virtual FleetState lock() = 0;
    /// Writes what `gateway` has changed as version `changes.version`, which is the next one, with a token of its own. A rule that the gateway has no
    /// more, and that says where one of `changes` belongs, makes room for it: removalOf(), which is returned.
    /// StoreError(Unknown): the connection broke, or the answer took too long, when all was written.
    virtual std::vector<SharedEntry> commit(const SharedChanges& changes, const std::string& gateway) = 0;
    virtual void rollback() noexcept = 0;

    struct Migration {
        int from = 0;  ///< 0: there was nothing
        int to = 0;
    };
    /// Makes the tables, or those of an older version current ones. One at a time, whoever else tries. `grant`: a role that
    /// is given what gateways need; empty: none.
    virtual Migration migrate(const std::string& grant) = 0;
};

/// What was copied from one database to another.
struct FleetCopy {
    std::int64_t version = 0;  ///< of the rules
    std::size_t rules = 0;
    std::size_t changes = 0;  ///< lines of the log that the other one did not have yet
    bool keeps_drains =
        false;  ///< which servers are drained was changed there since the copy before: that stays
};

/// How the trail tells that a rule made room for one of `changes`.
SharedEntry removalOf(const SharedRule& rule, const SharedChanges& changes);

}  // namespace mailgate::store
