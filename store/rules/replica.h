// SPDX-License-Identifier: Apache-2.0
/// \file  Rules in a file that has a part in a fleet (store/fleet): what the file must be able to do for that, and what is
/// handed to and fro.
///
/// The file knows up to which version of the fleet's rules it has them. What is changed in it otherwise stays its own: with
/// the sqlite3 shell, or in the set kHereSet.
#pragma once

#include "protocols/values/time.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

/// The set of rules that a gateway of a fleet has for itself.
inline constexpr std::string_view kHereSet = "here";

/// Of a rule's number: the fleet's do not come to it, but the sqlite3 shell may give a rule any, such as a hash.
constexpr bool isFarBeyond(std::int64_t number, std::int64_t next_id) noexcept {
    constexpr std::int64_t kFar = std::int64_t{1} << 32;
    return number > kFar && number - kFar > next_id;
}

/// A rule as its row has it: nothing that somebody has written into it is lost.
struct SharedRule {
    std::int64_t id = 0;
    std::string network, verdict, listener, set, note, owner, ticket, reply;
    UnixSeconds created_at = 0;
    std::string created_by;
    std::optional<std::int64_t> expires_at{}, client_sessions{}, client_rate{};

    friend bool operator==(const SharedRule&, const SharedRule&) = default;
};

struct SharedSet {
    std::string name, note;
    std::optional<std::int64_t> expires_after{};  ///< seconds

    friend bool operator==(const SharedSet&, const SharedSet&) = default;
};

/// A line of the audit trail.
struct SharedEntry {
    std::int64_t version = 0;
    UnixSeconds at = 0;
    std::string who, action;
    std::int64_t rule_id = 0;  ///< 0: the defaults of a set
    std::string before{}, after{};
    std::string made_by{};
    UnixSeconds made_at = 0;
};

struct SharedChanges {
    std::int64_t version = 0;  ///< with them the rules are those of this version
    std::int64_t next_id = 1;  ///< FleetState::next_id
    std::string token{};       ///< FleetState::token
    std::vector<SharedEntry> entries{};
    std::vector<SharedRule> rules{};  ///< as they are now; one of `entries` that is not here is gone
    std::optional<std::vector<SharedSet>> sets{};  ///< all of them; none: they are as they were
    /// They stand for changes that nobody knows one by one any more: none of them, nor what was before, can be taken back.
    bool sums_up = false;
};

/// The part that a file has in a fleet.
struct Membership {
    std::string fleet;
    std::int64_t version = 0;  ///< of the fleet's rules that it has
    std::string token{};       ///< FleetState::token of that version
};

/// How many rules of the file are not the fleet's.
struct Differences {
    std::size_t added = 0;    ///< that it alone has, and that have not expired
    std::size_t changed = 0;  ///< that are others here, or are not here, or cannot be read
};

/// What the file has for itself alone.
struct OwnRules {
    std::vector<SharedRule> added;  ///< those of kHereSet too
    std::vector<std::pair<std::int64_t, std::optional<SharedRule>>>
        changed;  ///< by the fleet's number; none: it is gone here
};

/// What became of changes that a file was given.
struct Applied {
    /// What was made of a rule here alone, with the sqlite3 shell, and is gone, as the fleet has changed the same. The rules are lines
    /// of the trail; empty: it was not here, is not there.
    struct Lost {
        std::int64_t rule_id = 0;
        std::string by{};  ///< who has made the fleet's change
        std::string here{}, fleet{};
    };
    std::vector<std::string> unreadable{};  ///< rules that the file cannot have, since they cannot be read
    std::vector<Lost> lost{};
};

/// All functions throw StoreError. Those that write are a transaction of their own, or part of the one that goes on.
class Replica {
  public:
    virtual ~Replica() = default;

    virtual std::optional<Membership> membership() = 0;
    virtual Differences differences() = 0;
    virtual OwnRules ownRules() = 0;
    /// All rules and defaults of sets, those of kHereSet too.
    virtual SharedChanges everythingHere() = 0;

    /// Brings the file to a later version, trail and all. What cannot be read is left out, and counts as changed in differences();
    /// what is lost by that is in the trail, too.
    virtual Applied apply(const SharedChanges& changes) = 0;
    /// From here on rules get numbers from `next_id` on, and what is changed is for the fleet.
    virtual void beginShared(std::int64_t next_id) = 0;
    /// What has been changed since beginShared(), for the fleet's next version.
    virtual SharedChanges collectShared() = 0;
    /// It has the rules of that version, which has that token.
    virtual void reach(std::int64_t version, const std::string& token) = 0;

    /// The fleet has removed these rules for the change that was just made: they are a part of it in the trail, too. What the
    /// file has under their numbers is its own, and gets other ones.
    virtual void tellRemoved(const std::vector<SharedEntry>& removals) = 0;

    virtual void inTransaction(const std::function<void()>& work) = 0;
    /// Gives rules other numbers. What was changed before cannot be undone any more.
    virtual void renumber(const std::map<std::int64_t, std::int64_t>& numbers) = 0;
    /// It has the rules of that fleet; those with these numbers are its own.
    virtual void enrol(const Membership& membership, const std::vector<std::int64_t>& own) = 0;
    virtual void leave() = 0;
    /// Removes rules of its own.
    virtual void drop(const std::vector<std::int64_t>& ids, const std::string& who) = 0;
    /// It is as the fleet has it that these rules are not here.
    virtual void forget(const std::vector<std::int64_t>& ids) = 0;
    /// The fleet's rules are here again as the fleet has them; what cannot be read counts as changed, as with apply().
    virtual void restore(const std::vector<SharedRule>& rules) = 0;
    /// What is in the trail cannot be undone any more.
    virtual void sealTrail() = 0;
};

/// What a change of rules goes through that a fleet shares. In this order: begin(), enter() and leave() in the file's
/// transaction, before and after what is changed; abandon() where anything of that has failed. They throw StoreError, and
/// then nothing is changed.
class Sharing {
  public:
    virtual ~Sharing() = default;
    /// Who acts, for the trail: "alice@mx-gw-1".
    virtual std::string actor(std::string_view who) const = 0;
    virtual void begin() = 0;
    virtual void enter(Replica& replica) = 0;
    virtual void leave(Replica& replica) = 0;
    virtual void abandon() noexcept = 0;
};

}  // namespace mailgate::store
