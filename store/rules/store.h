// SPDX-License-Identifier: Apache-2.0
/// \file  The access rules in their SQLite file: reading, changing, the audit trail.
///
/// Every change is one transaction together with its rows in the audit trail. All functions throw StoreError.
/// One thread at a time; processes may share the file.
#pragma once

#include "store/rules/rule.h"
#include "store/rules/table.h"
#include "store/store_error.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

/// The author of rules that a program makes; no Unix user is called so.
std::string programName(std::string_view program);

/// Throws StoreError as opening the database at `url` would, as far as can be seen without doing it. True:
/// there is one.
bool examineDatabase(const std::string& url);

class AccessStore {
  public:
    /// What the connection is for.
    enum class Use : std::uint8_t {
        Administer,  ///< a missing file is created; a change is on the disk when it is acknowledged
        Serve,  ///< likewise, and the whole file is checked; what it writes (hits) may be lost in a power cut
        Resume,   ///< as Serve, but the file must be there and hold a store
        Inspect,  ///< nothing is created, migrated or to be changed; a file of an older schema is StoreError
        Rescue,   ///< as Administer, but a file whose triggers were tampered with is read all the same
    };

    /// `url`: "sqlite:PATH". Creates and migrates as needed.
    AccessStore(const std::string& url, Use use,
                std::chrono::milliseconds lock_timeout = std::chrono::seconds(5));
    ~AccessStore();
    AccessStore(const AccessStore&) = delete;
    AccessStore& operator=(const AccessStore&) = delete;

    const std::string& path() const noexcept;

    // Reading. A row that cannot be read is StoreError(BadRow) naming table, id and value.

    /// In the order of their ids, from one state of the database.
    void forEachRule(const std::function<void(const AccessRule&)>& visit);
    /// The rules as a look-up table; those for other listeners are left out.
    std::shared_ptr<const AccessTable> load(std::span<const std::string> listeners);
    /// How many rules name each listener, by name.
    std::map<std::string, std::size_t> ruleListeners();
    /// Throws StoreError(Damaged) when the triggers that write the audit trail and guard it are not those
    /// that the schema has: what has been changed since is not known. Cheap.
    void checkTriggers();
    /// Rises with every change of a rule by anyone.
    std::int64_t rulesVersion();
    /// Differs from its last value when another connection has committed anything. Cheap.
    std::int64_t dataVersion();
    /// The path names another file than the one opened, or none.
    bool fileReplaced() const;
    /// The file was written by somebody else since it was opened or checkpoint() was called last. With a
    /// dataVersion() that has not changed: behind SQLite's back (damage, a file copied over it), or by
    /// another process' checkpoint.
    bool fileWritten() const;

    // Changing. `who` goes into the audit trail.

    enum class PutKind : std::uint8_t {
        Added,
        Changed,
        Unchanged,
        Kept,  ///< somebody else's: left as it is
    };
    struct PutResult {
        PutKind kind;
        std::int64_t id;
    };
    /// Adds each rule, or gives the rule with the same network, listener and verdict this note, expiry and
    /// limits. Of a rule only network, verdict, listener, note, expires_at and limits are read. Results are
    /// in the rules' order.
    std::vector<PutResult> put(std::span<const AccessRule> rules, std::string_view who);

    struct EditResult {
        PutKind kind;
        AccessRule rule;  ///< as it is now
    };
    using Change = std::function<void(AccessRule& rule, const AccessRule& wanted)>;
    /// Lets `change` have the rule that is to become each of the `rules`: the one with the same network, listener and verdict, when it is there
    /// and in force, else a new one. One that has expired counts as gone. A program (see programName) leaves
    /// everybody else's rules as they are; a person who changes a program's makes it a new one of their own.
    std::vector<EditResult> edit(std::span<const AccessRule> rules, const Change& change,
                                 std::string_view who);

    struct ReplaceResult {
        std::vector<PutResult> put;
        std::size_t removed = 0;
    };
    /// put(), and removes every other rule.
    ReplaceResult replaceAll(std::span<const AccessRule> rules, std::string_view who);

    struct RemoveResult {
        std::vector<AccessRule> removed;
        std::vector<Network> missing;  ///< when there is one, nothing was removed
    };
    /// Every rule whose network is one of `networks`, or with `listeners` only those that name one of them. A
    /// program removes none but its own.
    RemoveResult remove(std::span<const Network> networks, std::span<const std::string> listeners,
                        std::string_view who);

    struct RenameResult {
        std::size_t renamed = 0;
        std::vector<AccessRule> in_the_way;  ///< of the new name; when there is one, nothing was renamed
    };
    /// The rules that name the listener `from` name `to`.
    RenameResult renameListener(const std::string& from, const std::string& to, std::string_view who);

    struct HitCount {
        std::int64_t rule_id;
        std::int64_t hits;
        UnixSeconds last;
    };
    /// Adds to the counters: no new rules version, no audit row.
    void addHits(std::span<const HitCount> counts);

    /// Moves SQLite's log into the file, as far as no reader hinders it: then the file alone is complete, and
    /// one that is copied or moved away, or put in its place, meets no log of another's.
    void checkpoint() noexcept;

    // The audit trail.

    struct AuditEntry {
        std::int64_t id;
        UnixSeconds at;
        std::string who;
        std::string action;  ///< add, change, remove
        std::int64_t rule_id;
        std::string before;  ///< the rule as a line of the export; empty for add
        std::string after;   ///< empty for remove
    };
    /// Oldest first; with `network` the changes of rules that overlap it.
    std::vector<AuditEntry> history(const std::optional<Network>& network);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
