// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/bulk.h"

#include "store/rules/sqlite/schema.h"
#include "store/rules/sqlite/trail_line.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <endian.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

namespace mailgate::store::rows {

using sqlite::Database;
using sqlite::RawStatement;
using PutKind = RuleStore::PutKind;

namespace {

bool isSamePlace(const AccessRule& a, const AccessRule& b) {
    return a.network == b.network && a.name == b.name && a.listener == b.listener && a.verdict == b.verdict &&
           a.set == b.set;
}

template <typename Number>
sqlite::Cell cellOf(const std::optional<Number>& number) noexcept {
    if (!number) return {};
    return static_cast<std::int64_t>(*number);
}

std::optional<std::int64_t> optionalAt(const sqlite::Arguments& row, int at) noexcept {
    return row.isNull(at) ? std::nullopt : std::optional(row.number(at));
}

/// As schema::trailLineOf() has it.
void appendLineOf(const sqlite::Arguments& row, std::string& line) {
    appendTrailLine(line, {.verdict = row.text(0),
                           .network = row.text(1),
                           .set = row.text(2),
                           .listener = row.text(3),
                           .expires_at = optionalAt(row, 4),
                           .client_sessions = optionalAt(row, 5),
                           .client_rate = optionalAt(row, 6),
                           .reply = row.text(7),
                           .owner = row.text(8),
                           .ticket = row.text(9),
                           .note = row.text(10)});
}

/// What is deleted meanwhile is not overwritten, where SQLite does that by itself (Debian's): for a table that is emptied as a
/// whole it would mean to write all of it. The rules are in the trail in any case.
class WithoutOverwriting {
  public:
    explicit WithoutOverwriting(Database& database)
        : database_(database), before_(database.number("PRAGMA secure_delete")) {
        database_.number("PRAGMA secure_delete = OFF");
    }
    ~WithoutOverwriting() {
        sqlite3_exec(database_.handle(),
                     before_ == 0   ? "PRAGMA secure_delete = OFF"
                     : before_ == 1 ? "PRAGMA secure_delete = ON"
                                    : "PRAGMA secure_delete = FAST",
                     nullptr, nullptr, nullptr);
    }
    WithoutOverwriting(const WithoutOverwriting&) = delete;
    WithoutOverwriting& operator=(const WithoutOverwriting&) = delete;

  private:
    Database& database_;
    const std::int64_t before_;
};

/// CHECK is not looked at meanwhile: whoever writes has done so.
class WithoutConstraints {
  public:
    explicit WithoutConstraints(Database& database) : database_(database) {
        run("PRAGMA ignore_check_constraints = ON");
    }
    ~WithoutConstraints() { run("PRAGMA ignore_check_constraints = OFF"); }
    WithoutConstraints(const WithoutConstraints&) = delete;
    WithoutConstraints& operator=(const WithoutConstraints&) = delete;

  private:
    void run(const char* pragma) noexcept {
        sqlite3_exec(database_.handle(), pragma, nullptr, nullptr, nullptr);
    }

    Database& database_;
};

/// Numbers, one a row.
class Ids final : public sqlite::Feed {
  public:
    explicit Ids(const std::vector<std::int64_t>& ids) : ids_(ids) {}
    void begin() override { at_ = 0; }
    bool next() override { return at_++ < ids_.size(); }
    sqlite::Cell cell(int) const override { return ids_[at_ - 1]; }

  private:
    const std::vector<std::int64_t>& ids_;
    std::size_t at_ = 0;  ///< of the next one
};

}  // namespace

WithoutTriggers::WithoutTriggers(Database& database) : database_(database) {
    set(0);
}

WithoutTriggers::~WithoutTriggers() {
    set(1);
}

void WithoutTriggers::set(int enabled) noexcept {
    sqlite3_db_config(database_.handle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, enabled, nullptr);
}

Places::Places(std::size_t rules) : slots_(std::bit_ceil(2 * rules + 2)) {}

Places::State Places::stateOf(const Slot& slot) noexcept {
    return static_cast<State>(slot.key & 3);
}

std::size_t Places::slotOf(std::uint64_t hash) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = (hash >> 2 ^ hash >> 33) & mask;
    while (stateOf(slots_[at]) != State::Free &&
           (stateOf(slots_[at]) == State::Gone || (slots_[at].key ^ hash) >> 2 != 0))
        at = (at + 1) & mask;
    return at;
}

std::optional<Places::Place> Places::find(std::uint64_t hash) const noexcept {
    const Slot& slot = slots_[slotOf(hash)];
    if (stateOf(slot) == State::Free) return std::nullopt;
    return Place{stateOf(slot) == State::New, slot.at};
}

bool Places::add(std::uint64_t hash, const Place& place) {
    if (2 * (used_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[slotOf(hash)];
    if (stateOf(slot) != State::Free) return false;
    const State state = place.is_new ? State::New : State::There;
    slot = {hash >> 2 << 2 | static_cast<std::uint64_t>(state), place.at};
    ++used_;
    return true;
}

void Places::erase(std::uint64_t hash) noexcept {
    Slot& slot = slots_[slotOf(hash)];
    if (stateOf(slot) != State::Free) slot.key = static_cast<std::uint64_t>(State::Gone);
}

void Places::grow() {
    std::vector<Slot> slots(2 * slots_.size());
    slots.swap(slots_);
    used_ = 0;
    for (const Slot& slot : slots)
        if (stateOf(slot) == State::There || stateOf(slot) == State::New)
            add(slot.key, {stateOf(slot) == State::New, slot.at});
}

Bulk::Bulk(Database& database, std::string_view who, std::size_t rules, const Progress& progress)
    : database_(database),
      who_(who),
      progress_(progress),
      finder_(database),
      putter_(database, who_),
      by_id_(database, fmt::format("{} WHERE id = ?", kAllRules)),
      places_(rules) {
    pending_.reserve(rules);
    readPlaces();
}

std::uint64_t Bulk::hashOf(std::string_view network, std::string_view listener, std::string_view verdict,
                           std::string_view set) noexcept {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
    const std::hash<std::string_view> hash;
    std::uint64_t value = hash(network);
    for (const std::string_view text : {listener, verdict, set})
        value = (value ^ value >> 29) * kOdd + hash(text);
    return value;
}

std::uint64_t Bulk::hashOf(const AccessRule& rule) {
    return hashOf(subjectOf(rule), rule.listener, toString(rule.verdict), rule.set);
}

/// By text, as the index has it: the sqlite3 shell may have written a network in another way.
void Bulk::readPlaces() {
    RawStatement rows(database_, "SELECT id, network, listener, verdict, rule_set FROM access_rule");
    while (rows.step())
        places_.add(hashOf(rows.text(1), rows.text(2), rows.text(3), rows.text(4)), {false, rows.number(0)});
}

/// Where the rule is among the new ones; null: it is none of them.
Bulk::Pending* Bulk::pendingOf(const AccessRule& like, std::uint64_t hash) {
    const auto place = places_.find(hash);
    if (!place) return nullptr;
    const auto is_it = [&](const Pending& pending) {
        return pending.rule != kForgotten && isSamePlace(rules_[pending.rule], like);
    };
    if (place->is_new && is_it(pending_[static_cast<std::size_t>(place->at)]))
        return &pending_[static_cast<std::size_t>(place->at)];
    // Two rules have the same hash: not within anybody's lifetime, but it is looked for all the same.
    if (!collided_) return nullptr;
    const auto found = std::find_if(pending_.begin(), pending_.end(), is_it);
    return found == pending_.end() ? nullptr : &*found;
}

std::optional<AccessRule> Bulk::find(const AccessRule& like) {
    asked_network_ = subjectOf(like);
    asked_ = hashOf(asked_network_, like.listener, toString(like.verdict), like.set);
    const auto place = places_.find(asked_);
    if (!place) return std::nullopt;
    if (const Pending* const pending = pendingOf(like, asked_)) return rules_[pending->rule];
    if (!place->is_new) {
        by_id_.reset();
        by_id_.bind(1, place->at);
        std::optional<AccessRule> found;
        if (by_id_.step()) found = readRule(database_, by_id_);
        by_id_.reset();
        if (found && isSamePlace(*found, like)) return found;
    }
    return finder_.find(like);
}

PutKind Bulk::put(AccessRule& rule, const std::optional<AccessRule>& found) {
    if (!found) {
        rule.id = 0;
        if (!places_.add(asked_, {true, static_cast<std::int64_t>(pending_.size())})) collided_ = true;
        addPending(rule);
        return PutKind::Added;
    }
    // Who has made it, when, and how often it was used is not said anew.
    rule.id = found->id;
    rule.created_at = found->created_at;
    rule.created_by = found->created_by;
    rule.hits = found->hits;
    rule.last_hit_at = found->last_hit_at;
    if (rule == *found) return PutKind::Unchanged;
    Pending* const pending = pendingOf(rule, asked_);
    if (pending == nullptr) return putter_.put(rule).kind;
    pending->rule = static_cast<std::uint32_t>(rules_.size());
    rules_.add(rule);
    return PutKind::Changed;
}

Bulk::Beginning Bulk::beginningOf(std::string_view text) noexcept {
    std::array<std::uint64_t, 2> beginning{};
    std::memcpy(beginning.data(), text.data(), std::min(text.size(), sizeof beginning));
    return {be64toh(beginning[0]), be64toh(beginning[1])};
}

/// The one that find() was asked for last.
void Bulk::addPending(const AccessRule& rule) {
    const std::uint16_t length = static_cast<std::uint16_t>(asked_network_.size());
    if (rules_.size() >= kForgotten || texts_.size() + sizeof length + length >= kForgotten)
        throw StoreError(StoreError::Kind::Other, "the list has too many rules");
    const Pending& pending =
        pending_.emplace_back(Pending{beginningOf(asked_network_), static_cast<std::uint32_t>(rules_.size()),
                                      static_cast<std::uint32_t>(texts_.size())});
    rules_.add(rule);
    if (!isWhole(pending.beginning))
        texts_.append(reinterpret_cast<const char*>(&length), sizeof length).append(asked_network_);
}

/// `whole`: where the text is put that is all in the beginning.
std::string_view Bulk::networkOf(const Pending& pending, std::array<char, 16>& whole) const noexcept {
    if (isWhole(pending.beginning)) {
        const std::array<std::uint64_t, 2> bytes{htobe64(pending.beginning.first),
                                                 htobe64(pending.beginning.second)};
        std::memcpy(whole.data(), bytes.data(), whole.size());
        return whole.data();  // which a zero ends
    }
    std::uint16_t length = 0;
    std::memcpy(&length, texts_.data() + pending.network, sizeof length);
    return {texts_.data() + pending.network + sizeof length, length};
}

void Bulk::forget(const AccessRule& gone) {
    const std::uint64_t hash = hashOf(gone);
    if (Pending* const pending = pendingOf(gone, hash)) pending->rule = kForgotten;
    places_.erase(hash);
}

std::vector<std::string> Bulk::remove(const std::vector<std::int64_t>& ids) {
    std::vector<std::string> lines;
    if (ids.empty()) return lines;
    const WithoutTriggers without(database_);
    Ids feed(ids);
    sqlite::FeedTable gone(database_, "mailgate_gone", "id", feed);
    std::string text;
    const sqlite::TextFunction line(database_, std::string(schema::kTrailLine), schema::kTrailLineValues,
                                    [&](const sqlite::Arguments& row) {
                                        text.clear();
                                        appendLineOf(row, text);
                                        if (lines.size() < RuleStore::kMostRemoved) lines.push_back(text);
                                        return std::string_view(text);
                                    });
    // In the order of the feed, which is the outer one of the two loops.
    gone.run(schema::trailOf("access_rule_removed",
                             "mailgate_gone CROSS JOIN access_rule AS OLD ON OLD.id = mailgate_gone.id",
                             schema::trailLineOf("OLD")));
    const WithoutOverwriting without_overwriting(database_);
    const auto left =
        database_.number("SELECT count(*) FROM access_rule") - static_cast<std::int64_t>(ids.size());
    // A table that is emptied as a whole is emptied at once.
    if (left == 0)
        database_.run("DELETE FROM access_rule");
    else if (left < static_cast<std::int64_t>(ids.size()))
        gone.run(
            "CREATE TEMP TABLE kept AS SELECT * FROM access_rule"
            " WHERE id NOT IN (SELECT id FROM mailgate_gone);"
            "DELETE FROM access_rule;"
            "INSERT INTO access_rule SELECT * FROM temp.kept ORDER BY id;"
            "DROP TABLE temp.kept");
    else
        gone.run("DELETE FROM access_rule WHERE id IN (SELECT id FROM mailgate_gone)");
    database_.run(fmt::format("UPDATE access_meta SET rules_version = rules_version + {}", ids.size()));
    return lines;
}

/// The new rules one by one, in the order in which they stand there.
class Bulk::NewRows : public sqlite::Feed {
  public:
    explicit NewRows(const Bulk& bulk) : bulk_(bulk) {}
    void begin() final { at_ = 0; }
    bool next() final {
        if (at_ == bulk_.pending_.size()) return false;
        // Rules that come next are anywhere in memory, as the list was in another order.
        constexpr std::size_t kAhead = 8;
        if (at_ + 2 * kAhead < bulk_.pending_.size()) {
            bulk_.rules_.prefetchPlace(bulk_.pending_[at_ + 2 * kAhead].rule);
            const Pending& ahead = bulk_.pending_[at_ + kAhead];
            bulk_.rules_.prefetch(ahead.rule);
            if (!isWhole(ahead.beginning)) __builtin_prefetch(bulk_.texts_.data() + ahead.network);
        }
        const Pending& pending = bulk_.pending_[at_];
        bulk_.rules_.read(pending.rule, rule_);
        network_ = bulk_.networkOf(pending, whole_);
        take(at_++);
        return true;
    }

  protected:
    /// The next one is in rule_ and network_.
    virtual void take(std::size_t at) = 0;

    const Bulk& bulk_;
    AccessRule rule_;
    std::string_view network_;

  private:
    std::array<char, 16> whole_{};
    std::size_t at_ = 0;  ///< of the next one
};

/// What the trail needs of new rules: their ids, which follow each other, and their lines.
class Bulk::NewLines final : public Bulk::NewRows {
  public:
    NewLines(const Bulk& bulk, std::int64_t first_id) : NewRows(bulk), first_id_(first_id) {}
    sqlite::Cell cell(int column) const override {
        if (column == 0) return id_;
        return std::string_view(line_);
    }

  private:
    void take(std::size_t at) override {
        const auto wide = [](const std::optional<std::uint32_t>& number) {
            return number ? std::optional<std::int64_t>(*number) : std::nullopt;
        };
        id_ = first_id_ + static_cast<std::int64_t>(at);
        line_.clear();
        appendTrailLine(line_, {.verdict = toString(rule_.verdict),
                                .network = network_,
                                .set = rule_.set,
                                .listener = rule_.listener,
                                .expires_at = rule_.expires_at,
                                .client_sessions = wide(rule_.limits.sessions),
                                .client_rate = wide(rule_.limits.per_minute),
                                .reply = toString(rule_.reply),
                                .owner = rule_.owner,
                                .ticket = rule_.ticket,
                                .note = rule_.note});
    }

    const std::int64_t first_id_;
    std::int64_t id_ = 0;
    std::string line_;
};

/// As rows for access_rule. Columns in which all of them have what SQLite puts there by itself are left out: that is most of
/// them, of most lists.
class Bulk::NewRules final : public Bulk::NewRows {
  public:
    NewRules(const Bulk& bulk, const Progress& progress) : NewRows(bulk), progress_(progress) {
        chooseColumns();
    }

    /// "network, verdict, created_by"
    std::string columns() const {
        std::string names;
        for (const Column column : columns_)
            names += (names.empty() ? "" : ", ") + std::string(kNames[column]);
        return names;
    }

    sqlite::Cell cell(int column) const override {
        return valueOf(columns_[static_cast<std::size_t>(column)]);
    }

  private:
    enum Column : std::uint8_t {
        kNetwork,
        kVerdict,
        kAuthor,
        kListener,
        kSet,
        kNote,
        kOwner,
        kTicket,
        kReply,
        kExpiry,
        kSessions,
        kRate,
        kColumns  ///< how many there are
    };
    static constexpr std::array<std::string_view, kColumns> kNames{
        "network", "verdict", "created_by", "listener",   "rule_set",        "note",
        "owner",   "ticket",  "reply",      "expires_at", "client_sessions", "client_rate"};

    void take(std::size_t at) override {
        progress_.tell(Progress::Step::Write, at, bulk_.pending_.size());
        requireAllowed();
    }

    sqlite::Cell valueOf(Column column) const {
        const AccessRule& rule = rule_;
        switch (column) {
            case kNetwork:
                return network_;
            case kVerdict:
                return toString(rule.verdict);
            case kAuthor:
                return std::string_view(bulk_.who_);
            case kListener:
                return std::string_view(rule.listener);
            case kSet:
                return std::string_view(rule.set);
            case kNote:
                return std::string_view(rule.note);
            case kOwner:
                return std::string_view(rule.owner);
            case kTicket:
                return std::string_view(rule.ticket);
            case kReply:
                return toString(rule.reply);
            case kExpiry:
                return cellOf(rule.expires_at);
            case kSessions:
                return cellOf(rule.limits.sessions);
            case kRate:
                return cellOf(rule.limits.per_minute);
            case kColumns:
                break;
        }
        return {};
    }

    /// As the table has it; of network, verdict and author there is none.
    static std::optional<sqlite::Cell> defaultOf(Column column) {
        if (column < kListener) return std::nullopt;
        if (column == kSet) return kManualSet;
        return column < kExpiry ? sqlite::Cell(std::string_view()) : sqlite::Cell();
    }

    void chooseColumns() {
        std::vector<Column> same;  // in all rules so far
        for (std::uint8_t at = 0; at < kColumns; ++at) {
            const auto column = static_cast<Column>(at);
            (defaultOf(column) ? same : columns_).push_back(column);
        }
        // Not in the order in which they are written, which is all over the memory.
        for (std::size_t at = 0; at < bulk_.rules_.size() && !same.empty(); ++at) {
            bulk_.rules_.read(at, rule_);
            std::erase_if(same, [&](Column column) {
                const bool differs = valueOf(column) != *defaultOf(column);
                if (differs) columns_.push_back(column);
                return differs;
            });
        }
    }

    /// What the table's constraints ask for, which in SQLite's words are a fifth of the work.
    void requireAllowed() const {
        const AccessRule& rule = rule_;
        const auto is_limit = [&](const std::optional<std::uint32_t>& limit) {
            return !limit || (rule.verdict == Verdict::Allow && *limit <= kMaxClientLimit);
        };
        const bool can_name = rule.listener.empty() || isListenerName(rule.listener);
        if (can_name && isSetName(rule.set) && is_limit(rule.limits.sessions) &&
            is_limit(rule.limits.per_minute) && (rule.verdict == Verdict::Deny || !rule.reply.any()))
            return;
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format("the rule for {} has a listener, a set, a limit or a reply that no rule can have",
                        network_));
    }

    /// Of letters, digits, '.', '-' and '_'.
    static bool isListenerName(std::string_view name) noexcept {
        return std::all_of(name.begin(), name.end(), [](char one) {
            return (one >= 'a' && one <= 'z') || (one >= 'A' && one <= 'Z') || (one >= '0' && one <= '9') ||
                   one == '.' || one == '-' || one == '_';
        });
    }

    const Progress& progress_;
    std::vector<Column> columns_;
};

/// Those that have not been forgotten, in the order of the index.
void Bulk::sortPending() {
    std::erase_if(pending_, [](const Pending& one) { return one.rule == kForgotten; });
    const auto whole = [this](const Pending& one) {
        AccessRule rule = rules_[one.rule];
        return std::tuple(std::move(rule.listener), toString(rule.verdict), std::move(rule.set));
    };
    std::sort(pending_.begin(), pending_.end(), [&](const Pending& a, const Pending& b) {
        if (a.beginning != b.beginning) return a.beginning < b.beginning;
        std::array<char, 16> whole_a, whole_b;
        const std::string_view one = networkOf(a, whole_a), other = networkOf(b, whole_b);
        return one != other ? one < other : whole(a) < whole(b);
    });
}

void Bulk::finish() {
    progress_.tell(Progress::Step::Sort, 0, 0);
    sortPending();
    if (pending_.empty()) return;
    const WithoutTriggers without(database_);
    const std::int64_t before = database_.number(
        "SELECT max(coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'access_rule'), 0),"
        " coalesce((SELECT max(id) FROM access_rule), 0))");
    NewRules rules(*this, progress_);
    {
        const WithoutConstraints without_constraints(database_);
        sqlite::FeedTable feed(database_, "mailgate_new", rules.columns(), rules);
        feed.run(fmt::format(
            "INSERT INTO access_rule({0}, created_at) SELECT {0}, (SELECT unixepoch()) FROM mailgate_new",
            rules.columns()));
    }
    if (sqlite3_last_insert_rowid(database_.handle()) != before + static_cast<std::int64_t>(pending_.size()))
        throw StoreError(StoreError::Kind::Other,
                         fmt::format("{}: rules were not numbered one after another", database_.path()));
    progress_.tell(Progress::Step::Finish, 0, 0);
    NewLines lines(*this, before + 1);
    sqlite::FeedTable trail(database_, "mailgate_new_line", "id, line", lines);
    trail.run(schema::trailOf("access_rule_added", "mailgate_new_line AS NEW", "NEW.line"));
    database_.run(fmt::format("UPDATE access_meta SET rules_version = rules_version + {}", pending_.size()));
}

}  // namespace mailgate::store::rows
