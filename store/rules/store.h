// SPDX-License-Identifier: Apache-2.0
/// \file  The access rules where they are kept: reading, changing, the audit trail, and news of changes by others.
///
/// Which database that is only openRules() knows. Every change is one transaction together with its rows in
/// the audit trail. All functions throw StoreError. One thread at a time, but for stopWaiting(); processes
/// may share the database.
#pragma once

#include "store/rules/progress.h"
#include "store/rules/replica.h"
#include "store/rules/rule.h"
#include "store/rules/rule_list.h"
#include "store/rules/table.h"
#include "store/store_error.h"
#include "store/upgrade.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

/// The author of rules that a program makes; no Unix user has such a name.
std::string programName(std::string_view program);
/// `who` is one.
bool isProgram(std::string_view who) noexcept;

class RuleStore {
  public:
    /// What the connection is for.
    enum class Use : std::uint8_t {
        Administer,  ///< a missing database is created; a change is on the disk when it is acknowledged
        Amend,       ///< likewise, but the rules must be there: beside somebody who has read them
        Serve,  ///< likewise, and all of it is checked before load() returns; what it writes (hits) may be lost in a power cut
        Resume,  ///< as Serve, but the rules must be there
        Assist,  ///< likewise, beside somebody who serves and has checked it
        Inspect,  ///< nothing is created, migrated or to be changed; load() checks as Serve; an older schema is StoreError
        Read,  ///< likewise, but for rehearsals; an older schema, or no database, is read as a copy in memory
        Rescue,  ///< as Read, but rules whose audit trail was tampered with are read all the same
    };
    struct Options {
        Use use = Use::Administer;
        /// How long to wait for another writer; none: five seconds, or a quarter of one for the serving gateway,
        /// because there the thread that waits is the one that notices changes.
        std::optional<std::chrono::milliseconds> lock_timeout{};
        /// From how many rules on a list of them is put in one go, which gives the new ones their numbers in the order
        /// of their networks.
        std::size_t bulk_from = 1'000;
        /// How often to look for changes where the database does not notify of them.
        std::chrono::milliseconds poll{100};
        /// Where the rules are a fleet's: every change of theirs goes through it. Null: they are this database's alone.
        std::shared_ptr<Sharing> sharing{};
        /// As it is opened first; of a database that is not to be written only `begins`, as a copy in memory is upgraded.
        Upgrade upgrade{};
    };

    RuleStore() = default;
    RuleStore(const RuleStore&) = delete;
    RuleStore& operator=(const RuleStore&) = delete;
    virtual ~RuleStore() = default;

    // Reading. A row that cannot be read is StoreError(BadRow) naming table, id and value.

    /// One that somebody has written who knows no better, with the sqlite3 shell.
    struct BadRow {
        std::int64_t id;
        std::string what;  ///< a sentence
    };
    /// In the order of their ids, from one state of the database. With `bad`, rows that cannot be read go there.
    virtual void forEachRule(const std::function<void(const AccessRule&)>& visit,
                             const std::function<void(const BadRow&)>& bad = {}) = 0;
    virtual std::optional<AccessRule> rule(std::int64_t id) = 0;
    /// Rules by what their rows say of them: those in force at `now`, or with `expired` the others.
    struct Wanted {
        UnixSeconds now = 0;
        bool expired = false;
        std::vector<std::string> listeners{};  ///< covering one of them; empty: any
        std::optional<std::string> set{};
        std::optional<std::string> note_contains{};  ///< whatever the case (ASCII)
        std::optional<UnixSeconds> unused_since{}, expires_until{};
        std::int64_t after = 0;  ///< of these those with larger ids
        std::size_t limit = 0;   ///< so many
    };
    struct SomeRules {
        std::vector<AccessRule> rules{};  ///< in the order of their ids
        std::size_t found = 0;            ///< with all ids, and without a limit
    };
    /// Those beyond the limit are counted and not read.
    virtual SomeRules find(const Wanted& wanted) = 0;
    /// The rules as a look-up table; those for other listeners decide nothing. Where it can be told what has changed since the
    /// call before, the work is in proportion to that.
    virtual std::shared_ptr<const AccessTable> load(std::span<const std::string> listeners) = 0;
    /// The next load() reads all rules, whatever it could be told.
    virtual void distrust() noexcept {}
    /// How many rules that are in force then name each listener, by name; 0: expired ones too.
    virtual std::map<std::string, std::size_t> ruleListeners(UnixSeconds then) = 0;
    /// Which networks rules in force at that time are for, those of names too. A row that cannot be read is left out.
    struct Held {
        Verdict verdict;
        std::string_view listener, set;
        const Network& network;
    };
    virtual void forEachHeld(UnixSeconds now, const std::function<void(const Held&)>& visit) = 0;
    /// As forEachRule(), the rules for what is both allowed and denied, by the text of the rows: few of very many, mostly.
    virtual void forEachDisputed(const std::function<void(const AccessRule&)>& visit,
                                 const std::function<void(const BadRow&)>& bad = {}) = 0;
    /// The listeners that rules in force at that time allow somebody on; "": all. A name that stands for nothing allows
    /// nobody.
    virtual std::set<std::string> allowing(UnixSeconds now) = 0;
    /// Throws StoreError(Damaged) when what writes the audit trail and guards it was tampered with: what has
    /// been changed since is not known. Cheap.
    virtual void checkTrail() = 0;
    /// Rises with every change of a rule by anyone.
    virtual std::int64_t version() = 0;

    // Following what others change.

    enum class News : std::uint8_t {
        None,
        Changed,   ///< the rules differ from those that load() gave last, or may do so
        Replaced,  ///< likewise, and their ids have nothing to do with those of before
    };
    /// Waits for a change made through another connection, at most so long. News is repeated until load() has
    /// succeeded; a row that cannot be read is reported once, until somebody writes. A store that cannot be
    /// read is StoreError, after a pause if it has been so before, and as long as nobody has looked again; the first
    /// call that can read it again returns at once.
    virtual News waitForChange(std::chrono::milliseconds at_most) = 0;
    /// From now on nobody waits: the call under way and all later ones return without news. Any thread.
    virtual void stopWaiting() noexcept = 0;

    // Changing. `who` goes into the audit trail.

    enum class Rehearsal : std::uint8_t {
        Brief,  ///< others wait meanwhile to write
        /// Of what takes long, as a list of rules does: nobody waits. The rules are copied first, but not the trail: there is none
        /// but what `work` adds to it.
        Apart,
    };
    /// What `work` changes with the functions below, it and no one else sees, and it is undone at the end.
    virtual void rehearse(const std::function<void()>& work, Rehearsal how = Rehearsal::Brief) = 0;

    /// What `work` changes with the functions below is changed at once, or, if it throws, not at all; it begins when nobody else
    /// writes, so that what it has read stays true.
    virtual void together(const std::function<void()>& work) = 0;

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
    /// Adds each rule, or gives the rule with the same set, network, listener and verdict this note, expiry, owner,
    /// ticket, limits and reply. Of a rule these are read only. Results are in the rules' order.
    virtual std::vector<PutResult> put(std::span<const AccessRule> rules, std::string_view who) = 0;

    /// How far a long editList() or replaceAll() has come is told there.
    void report(Progress progress) { progress_ = std::move(progress); }

    /// What is called on the way of a change, also of the one that together() makes: before it is made, from when on it cannot be
    /// called off any more, and when it has been made. A rehearsed one never comes to that.
    struct Commit {
        std::function<void()> begins, done;
    };
    void watch(Commit commit) { commit_ = std::move(commit); }

    struct EditResult {
        PutKind kind;
        AccessRule rule;                                 ///< as it is now
        std::shared_ptr<const AccessRule> taken_over{};  ///< the program's rule that this one has become of
        std::shared_ptr<const AccessRule> expired{};     ///< the one that had, in whose place a new one is
    };
    /// `rule`: what there is, or what `wanted` names and nothing more; `is_new` tells.
    using Change = std::function<void(AccessRule& rule, const AccessRule& wanted, bool is_new)>;
    /// For each of the `rules`, calls `change` with the rule to edit: the one with the same set, network, listener and
    /// verdict, if it exists and is in force, else a new one. One that has expired counts as gone, unless `wanted` has
    /// expired as well. A program (see programName) leaves everybody else's rules as they are. A person who changes a
    /// program's takes it over: as a rule of their own, with a new number, which the program leaves alone from then on.
    /// It keeps what it has, but for the expiry of a denial, which was the program's: a ban is for a time, what a
    /// person denies is denied until they say otherwise.
    virtual std::vector<EditResult> edit(std::span<const AccessRule> rules, const Change& change,
                                         std::string_view who) = 0;

    struct ListResult {
        std::size_t added = 0, changed = 0, unchanged = 0;
        std::size_t taken_over = 0;  ///< of programs, which are the person's now, as with edit()
    };
    /// `tag`: that of `wanted` in the list.
    using ListChange =
        std::function<void(AccessRule& rule, const AccessRule& wanted, std::uint64_t tag, bool is_new)>;
    /// edit(), but that a program's rule that is not different afterwards stays the program's: a list that an export has begun
    /// as names them all.
    virtual ListResult editList(const RuleList& rules, const ListChange& change, std::string_view who) = 0;

    struct ReplaceResult : ListResult {
        std::size_t removals = 0;
        std::vector<std::string> removed;  ///< the first kMostRemoved of them, as lines of the export
    };
    static constexpr std::size_t kMostRemoved = 1'000;
    /// Which rules are there to be replaced: those of these sets; none: all.
    using Sets = std::optional<std::vector<std::string>>;
    /// put(), and removes every other rule of the sets. `complete`: called with a rule before it is put, and with the
    /// one in force that it becomes, or null.
    using Complete = std::function<void(AccessRule& rule, std::uint64_t tag, const AccessRule* present)>;
    virtual ReplaceResult replaceAll(const RuleList& rules, const Sets& sets, const Complete& complete,
                                     std::string_view who) = 0;

    struct RemoveResult {
        std::vector<AccessRule> removed;
        std::vector<std::int64_t> missing;       ///< when there is one, nothing was removed
        std::vector<std::int64_t> unreadable{};  ///< that were removed as well
    };
    /// A program removes none but its own rules: others are missing. With `set`, its defaults go too.
    virtual RemoveResult remove(std::span<const std::int64_t> ids, std::string_view who,
                                const std::optional<std::string>& set = {}) = 0;

    // Sets. What they hold is said by the rules; a set has a name, and perhaps defaults.

    using Defaults = std::map<std::string, SetDefaults, std::less<>>;
    virtual Defaults setDefaults() = 0;
    virtual void defineSet(const std::string& name, const SetDefaults& defaults, std::string_view who) = 0;
    /// How many rules each set has, by name.
    virtual std::map<std::string, std::size_t> ruleSets() = 0;

    struct RenameResult {
        std::size_t renamed = 0;
        std::vector<AccessRule> in_the_way;  ///< of the new name; when there is one, nothing was renamed
    };
    /// The rules that name the listener `from` name `to`. Expired rules of the new name make room.
    virtual RenameResult renameListener(const std::string& from, const std::string& to,
                                        std::string_view who) = 0;

    struct HitCount {
        std::int64_t rule_id;
        std::int64_t hits;
        UnixSeconds last;
    };
    /// Adds to the counters: no new version, no audit row. False: nothing was added, because the rules that
    /// are there now are others than those that were loaded, or cannot be read; waitForChange() reports it.
    virtual bool addHits(std::span<const HitCount> counts) = 0;

    // Upkeep.

    struct Pruned {
        std::size_t rules = 0;    ///< that had expired
        std::size_t entries = 0;  ///< of the audit trail
        bool more = false;        ///< there are more: call again
    };
    /// Removes rules that expired at `expired_before` or earlier, as a change by `who`; and from its beginning on what the audit
    /// trail has from before `trail_before`, but for a change of which a part is younger. That this was done is an entry
    /// too; it is put off until there is a day's worth. What a name has stood for goes a week after its rule. So much at
    /// once as hinders nobody.
    virtual Pruned prune(UnixSeconds expired_before, UnixSeconds trail_before, std::string_view who) = 0;
    /// The rules that expire after `from`, and at `until` at the latest.
    virtual void forEachExpiring(UnixSeconds from, UnixSeconds until,
                                 const std::function<void(const AccessRule&)>& visit) = 0;

    // Rules for names. Each keeps what its name stands for, which makes it match.

    /// Rows that cannot be read are left out.
    virtual std::vector<NamedRule> namedRules() = 0;
    /// Keeps what is known of the rule's name. Other networks than before are a change by programName("names"), of which
    /// the trail tells. False: there is no such rule, or it is for another name than was asked for.
    virtual bool keepName(std::int64_t rule_id, const NameState& state) = 0;

    // The audit trail.

    struct AuditEntry {
        std::int64_t id;
        UnixSeconds at;
        std::string who;
        std::string
            action;  ///< add, change, remove; resolve: what a rule's name stands for; trim: older entries were removed
        std::int64_t rule_id;  ///< 0: the defaults of a set were changed, or the trail was trimmed
        std::string before;    ///< the rule as a line of the export; empty for add
        std::string after;     ///< empty for remove
        std::int64_t change;   ///< what was done at once has one number
        // Of a rule that was removed: who has made it, and when, and its counters. Nothing where an earlier version has
        // written the entry.
        std::string made_by{};
        UnixSeconds made_at = 0;
        std::int64_t hits = 0;
        std::optional<UnixSeconds> last_hit_at{};
    };
    /// Oldest first; with `network` the changes of rules that overlap it, and of those for a name that has stood for a part
    /// of it.
    virtual std::vector<AuditEntry> history(const std::optional<Network>& network) = 0;
    /// The changes of rules for one of these names, in lower case, and of what that stands for.
    virtual std::vector<AuditEntry> historyOf(std::span<const std::string> names) = 0;
    struct WantedEntries {
        std::optional<Network> network{};      ///< as in history()
        std::vector<std::string> names{};      ///< as in historyOf(); empty: any
        std::optional<std::int64_t> change{};  ///< of what was done at once under this number
        std::optional<std::int64_t> before{};  ///< whose ids are smaller
        std::size_t limit = 0;
    };
    /// So many, the newest first; older ones are not read.
    virtual std::vector<AuditEntry> newestEntries(const WantedEntries& wanted) = 0;
    /// The id of the last entry; 0: there is none.
    virtual std::int64_t endOfTrail() = 0;
    /// The entries after that id.
    virtual void forEachEntry(std::int64_t after, const std::function<void(const AuditEntry&)>& visit) = 0;

    struct UndoResult {
        enum class Kind : std::uint8_t {
            Done,
            NotFound,
            Unreadable,    ///< an earlier version of mailgate has written it, or it concerns no rules
            Undone,        ///< already: all is as it was before it
            LaterChanges,  ///< stand on it; those that were taken back since do not
            Renumbered,  ///< another rule has, or had, the number of one of its rules, which has another one now, or is gone
            InTheWay,  ///< rules are, of the same set, network, listener and verdict
        };
        Kind kind = Kind::NotFound;
        std::int64_t change = 0;
        std::vector<AuditEntry> entries;  ///< what undoing it did, or has done, or the later ones
        std::vector<AccessRule> in_the_way;
    };
    /// The number of what was changed last through this connection, rehearsed or not; the trail has no entry of it if nothing
    /// came of it. 0: nothing was.
    virtual std::int64_t lastChange() const noexcept = 0;
    /// The last change that `who` has made; 0: there is none.
    virtual std::int64_t lastChangeBy(std::string_view who) = 0;
    /// Takes back what was changed at once, where all of it is as that change left it: a rule that was removed gets its
    /// number, author, time and counters again. This is a change like any other. Expired rules are not in its way.
    virtual UndoResult undo(std::int64_t change, std::string_view who) = 0;

  protected:
    Progress progress_;
    Commit commit_;
};

}  // namespace mailgate::store
