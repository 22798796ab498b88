// SPDX-License-Identifier: Apache-2.0
/// \file  What a change of access rules means: whether it may be made, whom it would shut out, what it does
/// not reach. Decides and returns values; who asked puts them into words.
#pragma once

#include "store/rules/import_export.h"
#include "store/rules/store.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate::rules {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

/// What of the configuration a change is judged by.
struct Site {
    struct Listener {
        std::string name;
        bool allowlist = true;           ///< refuses whom no rule allows
        std::vector<Network> balancers;  ///< whose headers are believed
        bool monitors = false;           ///< refuses nobody, whatever the rules say
    };
    struct Server {
        std::string name;     ///< UPSTREAM/SERVER
        std::string address;  ///< as configured
        std::vector<AddressBytes> endpoints;
    };
    std::vector<Listener> listeners;
    std::vector<Server> servers;
};

/// In the order in which a table for the site knows them.
std::vector<std::string> listenerNames(const Site& site);

// What a rule does that is hardly ever meant.

struct WholeInternet {
    bool v4;
    bool half;
    friend bool operator==(const WholeInternet&, const WholeInternet&) = default;
};
struct OwnBalancers {
    Network network;
    std::string listener;
};
struct OwnServer {
    std::string name, address;
};
using Hazard = std::variant<WholeInternet, OwnBalancers, OwnServer>;

/// None for a network that is no whole internet.
std::optional<WholeInternet> wholeInternet(const Network& network) noexcept;
/// Whom of the site a denial shuts out; that an allow rule lets in everybody.
std::vector<Hazard> hazardsOf(const AccessRule& rule, const Site& site);

/// Where one rule stands to another that shares addresses and listeners with it.
enum class Standing : std::uint8_t {
    Wins,              ///< at the same network
    WithoutEffect,     ///< at the same network, where the other covers it
    OverriddenInside,  ///< inside the other's network
    MoreSpecific,      ///< wins, its network being inside the other's
    // With the same verdict, at the same network, but with another expiry, other limits or another reply:
    ComesFirst,
    ComesAfter,
};
/// None when they do not meet, or say the same.
std::optional<Standing> standingOf(const AccessRule& rule, const AccessRule& other) noexcept;

struct Overlap {
    std::int64_t rule_id;
    Standing standing;
    AccessRule other;
    bool outlives = false;  ///< with the same verdict: the rule is in force still when the other has expired
};

/// A rule that decides nothing, and the one that decides in its place.
struct Idle {
    AccessRule rule, other;
};

/// A rule for another network than the one that was asked for, which it touches.
struct NearMiss {
    enum class Relation : std::uint8_t {
        Same,      ///< not of the listeners that were asked for
        Around,    ///< the network asked for lies inside it
        Contains,  ///< it lies inside the network asked for
    };
    Relation relation;
    AccessRule rule;
};

inline constexpr std::size_t kMaxNotes = 10;
/// The first kMaxNotes of something; the rest is counted.
template <typename Note>
struct Notes {
    std::vector<Note> first;
    std::size_t more = 0;

    void add(Note note) {
        if (first.size() < kMaxNotes)
            first.push_back(std::move(note));
        else
            ++more;
    }
};

// Why a change was not made: then nothing was changed.

struct UnknownListener {
    std::string name;
};
struct InvalidSet {
    std::string name;
};
struct UnknownSet {
    std::string name;
};
/// An owner or a ticket.
struct InvalidTag {
    std::string_view option;
    std::string why;
};
struct InvalidNote {
    std::string why;
};
struct ExpiryPast {
    UnixSeconds expires_at;
};
struct LimitsOnDeny {};
struct ReplyOnAllow {};
/// Is made only for who insists.
struct Hazardous {
    AccessRule rule;
    std::size_t line;  ///< of the list that holds it, from 1; 0: none
    std::vector<Hazard> hazards;
};
/// Likewise: networks that are harmless one by one, but together most of a family.
struct TooMuchTogether {
    Verdict verdict;
    std::string listener;
    bool v4;
    double share;      ///< of all addresses of the family
    bool with_others;  ///< only together with rules that are there already
};
/// A list without rules: every rule would be removed, and none put; or the list's source has failed. Likewise.
struct NothingLeft {};
/// A list that is to be all there is, and may be the beginning of one: most rules would be removed, or some, and it has
/// none of the end marks that an export has; likewise.
struct MostRemoved {
    std::size_t removed, present;
    bool without_end_mark;
};
struct UnreadableList {
    std::vector<store::ImportError> errors;
};
/// A listener that the configuration has keeps its rules.
struct StillConfigured {
    std::string listener;
};
struct InTheWay {
    std::vector<AccessRule> rules;
};
using Refusal = std::variant<UnknownListener, InvalidSet, InvalidTag, InvalidNote, ExpiryPast, LimitsOnDeny,
                             ReplyOnAllow, Hazardous, TooMuchTogether, NothingLeft, MostRemoved,
                             UnreadableList, StillConfigured, InTheWay>;

/// What is said of a rule; the rest of it stays. Nothing inside: what the rule has is taken away.
struct Edit {
    std::optional<std::string> note{};
    std::optional<std::optional<UnixSeconds>> expires_at{};
    std::optional<std::optional<std::uint32_t>> sessions{};
    std::optional<std::optional<std::uint32_t>> per_minute{};
    std::optional<std::string> owner{};
    std::optional<std::string> ticket{};
    std::optional<store::RuleReply> reply{};

    void apply(AccessRule& rule) const;
};

struct PutRequest {
    Verdict verdict{};
    std::vector<Network> networks{};
    std::vector<std::string> names{};      ///< as parseRuleName() gives them
    std::vector<std::string> listeners{};  ///< empty: one rule for all
    std::string set{store::kManualSet};
    Edit edit{};
    bool insist = false;
};

/// Sessions that a denial would have refused, and that go on nevertheless.
struct Cut {
    Network network{};
    std::string listener{};  ///< empty: all
};
struct PutOutcome {
    std::vector<RuleStore::EditResult> rules;
    std::vector<Cut> cuts;  ///< what to end for the rules to hold at once
};

struct ImportRequest {
    std::string_view text{};
    store::ImportOptions options{};        ///< the service knows the listeners
    std::vector<std::string> listeners{};  ///< what lines are for that name no listener; empty: all listeners
    /// The rules of the set are those of the list; without options.set, of each set that the list names.
    bool replace = false;
    bool all_sets = false;  ///< and other sets have none
    bool insist = false;
    store::Progress progress{};  ///< is told how far it has come
};
struct ImportOutcome {
    store::ImportFormat format{};
    std::size_t allowing = 0, denying = 0;
    std::size_t added = 0, changed = 0, unchanged = 0;
    std::size_t expired = 0;     ///< of the list's rules
    std::size_t taken_over = 0;  ///< from programs
    std::size_t removals = 0;
    std::vector<std::string> removed{};                ///< the first of them, as lines of the export
    std::vector<store::ImportError> contradictions{};  ///< in the list
    store::ImportLines not_utf8{};                     ///< likewise
    store::ImportLines undecided{};                    ///< likewise
    store::ImportLines doubted_names{};                ///< likewise
    std::map<std::string, std::size_t> left_alone{};   ///< rules that were none of those to replace, by set
    store::RuleList rules{};                           ///< of the list
    std::optional<Refusal> insisted{};                 ///< what it would have been had nobody insisted
};

/// Which rules are meant: those for one of the networks or names or with one of the ids, or any if there are none, for which all
/// the rest holds.
struct RuleSelection {
    std::vector<Network> networks{};
    std::vector<std::string> names{};
    std::vector<std::int64_t> ids{};
    std::vector<std::string> listeners{};  ///< naming one of them; empty: any
    std::optional<std::string> set{};
    std::optional<std::string> note_contains{};  ///< whatever the case (ASCII)
    std::optional<std::int64_t> expired_for{};   ///< seconds
};
struct Selected {
    std::vector<AccessRule> rules{};
    // What nothing was found for.
    std::vector<Network> missing{};
    std::vector<std::string> missing_names{};
    std::vector<std::int64_t> missing_ids{};
    std::vector<std::int64_t> unreadable{};  ///< of the numbers given, those of rows that cannot be read
};

struct SetSummary {
    std::string name{};
    std::size_t allowing = 0, denying = 0, expired = 0;  ///< expired ones are not among the others
    std::int64_t hits = 0;
    std::optional<UnixSeconds> last_hit_at{};
    store::SetDefaults defaults{};
};

struct ListFilter {
    std::optional<Network> covering{};
    std::vector<std::string> names{};      ///< for one of these; empty: any
    std::vector<std::string> listeners{};  ///< covering one of them; empty: any
    std::optional<std::string> set{};
    std::optional<std::string> note_contains{};  ///< whatever the case (ASCII)
    bool expired = false;                        ///< those instead
    // Of those in force; seconds.
    std::optional<std::int64_t> unused_for{};       ///< not used for so long, and as old at least
    std::optional<std::int64_t> expiring_within{};  ///< from now on
    bool overlapping = false;                       ///< rules::overlapping()
    bool shadowed = false;                          ///< rules::shadowed()
};

/// What is known of the names of rules, by the rule's id.
using NameStates = std::map<std::int64_t, store::NameState>;

/// What the rules say of one address on one listener. A rule for a name has the network of it that matches.
struct Decision {
    AddressBytes client{};
    std::string listener{};
    bool allowed;
    std::optional<AccessRule> by{};    ///< none: the listener's default
    std::vector<AccessRule> others{};  ///< that match too, the most specific first; expired ones as well
};

/// For one request: `who` acts, at the time `now`. All functions throw StoreError.
class Service {
  public:
    /// Opens the store when it is needed: what is refused before touches no database.
    using Opener = std::function<RuleStore&()>;

    /// Rows that cannot be read do not hide the others; without it they are StoreError.
    using OnBadRow = std::function<void(const RuleStore::BadRow&)>;

    /// `site` must outlive it.
    Service(Opener store, const Site& site, std::string who, UnixSeconds now, OnBadRow bad = {})
        : store_(std::move(store)), site_(site), who_(std::move(who)), now_(now), bad_(std::move(bad)) {}

    // Changes in two steps, for who keeps others from writing only as long as it takes. The first one reads all rules, perhaps, and
    // changes none; what it says holds for as long as nobody changes any. None: it may be done.

    std::optional<Refusal> judge(const PutRequest& request);
    PutOutcome putJudged(const PutRequest& request);
    struct JudgedImport {
        store::ImportResult list;
        std::optional<Refusal> insisted{};
    };
    std::variant<JudgedImport, Refusal> judge(const ImportRequest& request);
    ImportOutcome importJudged(const ImportRequest& request, JudgedImport judged);
    /// That who acts has made; 0: there is none.
    std::int64_t lastChange();
    /// Takes a change back: what rules they were is judged as new ones are.
    std::optional<Refusal> judgeUndo(std::int64_t number, bool insist);
    RuleStore::UndoResult undoJudged(std::int64_t number);

    /// What may be removed: a program's own rules only, if one acts.
    Selected select(const RuleSelection& selection);
    /// When one is not there any more nothing is removed. With `set`, its defaults go too.
    RuleStore::RemoveResult remove(const Selected& selected, const std::optional<std::string>& set = {});
    std::variant<ImportOutcome, Refusal> import(const ImportRequest& request);
    /// Gives a set a default note and a default lifetime (seconds; none inside: no default); what is not given
    /// stays.
    std::variant<store::SetDefaults, Refusal> defineSet(
        const std::string& name, const std::optional<std::string>& note,
        const std::optional<std::optional<std::int64_t>>& expires_after);
    /// By name; kManualSet is always there.
    std::vector<SetSummary> sets();
    /// A set without rules and defaults is none.
    std::optional<UnknownSet> unknownSet(const std::optional<std::string>& name);
    /// How many rules were renamed. What they are for the other listener is judged as new ones are.
    std::variant<std::size_t, Refusal> renameListener(const std::string& from, const std::string& to,
                                                      bool insist);

    // What is worth a word about a change that was made, or about one that was not. Asked for apart, because
    // reading the other rules may fail when the change has not.

    /// Rules of the list in whose place another one decides about the same network.
    Notes<Idle> withoutEffect(const ImportOutcome& outcome);
    /// With rules in force.
    Notes<Overlap> overlaps(const PutOutcome& outcome);
    /// The allowlists that let in nobody now, where the change may have been what closed them.
    std::vector<std::string> closedBy(const RuleStore::RemoveResult& result);
    /// Where it denies what an allow rule lets in, or is to let in a name: that may stand for nothing.
    std::vector<std::string> closedBy(const PutOutcome& outcome);
    std::vector<std::string> closedBy(const ImportOutcome& outcome);
    std::vector<std::string> closedBy(const RuleStore::UndoResult& result);
    /// Meets all rules for the sake of those that cannot be read, with which a gateway takes no change.
    void meetAll();
    /// What there is around a network without a rule.
    Notes<NearMiss> nearMisses(const Network& network);

    NameStates names();
    std::vector<AccessRule> list(const ListFilter& filter);
    struct ListPage {
        std::int64_t after = 0;                                               ///< the rule before it
        std::size_t limit = 0;                                                ///< so many rules
        std::size_t most_compared = std::numeric_limits<std::size_t>::max();  ///< with each other, in memory
    };
    struct Listed {
        std::vector<AccessRule> rules{};  ///< in the order of their ids
        std::size_t found = 0;            ///< on all pages
        std::size_t too_many = 0;         ///< so many would have to be compared, and none was
    };
    Listed list(const ListFilter& filter, const ListPage& page);
    /// Of each client on each of the listeners, or on all there are.
    std::vector<Decision> test(std::span<const AddressBytes> clients, std::span<const std::string> listeners);

    /// The first of the names that no listener has.
    std::optional<UnknownListener> unknown(std::span<const std::string> names) const;
    /// ... and no rule either: the rules of a listener that is gone can be listed and removed.
    std::optional<UnknownListener> unknownToRules(std::span<const std::string> names);

  private:
    bool configured(std::string_view name) const noexcept;
    std::optional<Refusal> refusalOf(const PutRequest& request) const;
    std::optional<Hazardous> hazardous(const AccessRule& rule, std::size_t line) const;
    /// Calls with one rule after the other.
    using EachRule = std::function<void(const std::function<void(const AccessRule&)>& visit)>;
    std::optional<TooMuchTogether> tooMuch(const EachRule& added, const RuleStore::Sets& replaced);
    std::optional<Refusal> hazardOf(std::span<const AccessRule> added);
    std::optional<Refusal> hazardOf(const store::ImportResult& imported, const ImportRequest& request);
    std::optional<MostRemoved> mostRemoved(const store::ImportResult& imported);
    std::vector<std::string> closedListeners();
    std::vector<std::string> overriddenListeners(std::span<const AccessRule> denying);

    const Opener store_;
    const Site& site_;
    const std::string who_;
    const UnixSeconds now_;
    const OnBadRow bad_;
};

}  // namespace mailgate::rules
