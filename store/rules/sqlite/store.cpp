// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/store.h"

#include "protocols/values/text.h"
#include "store/rules/import_export.h"
#include "store/rules/sqlite/apart.h"
#include "store/rules/sqlite/bulk.h"
#include "store/rules/sqlite/last_look.h"
#include "store/rules/sqlite/replica.h"
#include "store/rules/sqlite/rows.h"
#include "store/rules/sqlite/schema.h"
#include "store/rules/sqlite/table_reader.h"
#include "store/sqlite/copy.h"
#include "store/sqlite/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <mutex>
#include <set>
#include <utility>

namespace mailgate::store::sqlite {

namespace {

using rows::Bulk;
using rows::Finder;
using rows::kAllRules;
using rows::optionalNumber;
using rows::Putter;
using rows::readNamed;
using rows::readNetworks;
using rows::readRule;
using rows::subjectIn;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool reads(RuleStore::Use use) noexcept {
    return use == RuleStore::Use::Read || use == RuleStore::Use::Rescue;
}

bool mayCreate(RuleStore::Use use) noexcept {
    return use == RuleStore::Use::Administer || use == RuleStore::Use::Serve;
}

bool serves(RuleStore::Use use) noexcept {
    return use == RuleStore::Use::Serve || use == RuleStore::Use::Resume;
}

OpenOptions optionsFor(RuleStore::Use use, std::optional<milliseconds> lock_timeout) {
    constexpr unsigned kServingCache = 4'096;
    OpenOptions options{.create = mayCreate(use),
                        .durability = use == RuleStore::Use::Administer || use == RuleStore::Use::Amend
                                          ? Durability::PowerLoss
                                          : Durability::Process,
                        .busy_timeout = lock_timeout.value_or(milliseconds(serves(use) ? 250 : 5'000))};
    if (serves(use)) options.cache_kib = kServingCache;
    return options;
}

/// Its network; none when the row held something else.
std::optional<Network> networkOf(std::string_view line) {
    if (line.empty()) return std::nullopt;
    const auto parsed = parseNetwork(subjectIn(line));
    if (const auto* network = std::get_if<Network>(&parsed)) return *network;
    return std::nullopt;
}

bool overlap(const Network& one, const Network& other) {
    return one.contains(other) || other.contains(one);
}

/// The line of a rule, or that of what a name stands for.
bool touches(std::string_view line, const Network& asked) {
    const auto meets = [&](const Network& network) { return overlap(network, asked); };
    if (const std::size_t is = line.find(schema::kNameIs); isRuleName(line) && is != std::string_view::npos) {
        const auto networks = readNetworks(line.substr(is + schema::kNameIs.size()));
        return networks && std::any_of(networks->begin(), networks->end(), meets);
    }
    const auto network = networkOf(line);
    return network && meets(*network);
}

/// The name for which the rule of the line is, or of which it says what it stands for; empty: the rule is for a network.
std::string nameIn(std::string_view line) {
    if (line.empty()) return {};
    const std::string_view subject = isRuleName(line) ? line.substr(0, line.find(' ')) : subjectIn(line);
    return isRuleName(subject) ? lowerCase(subject) : std::string();
}

/// What entries of the trail are wanted: those of this network, and of rules for these names; neither: all.
struct AskedAbout {
    std::optional<Network> network{};
    std::set<std::string> names{};
};

std::string writeNetworks(const std::vector<Network>& networks) {
    std::string text;
    for (const Network& network : networks)
        text += (text.empty() ? "" : " ") + network.toString();
    return text;
}

/// Rules in force for names, with what each stands for. A row of access_name for another name is of no use: somebody has
/// given the rule a new one.
constexpr std::string_view kAnswered =
    "access_name CROSS JOIN access_rule ON access_rule.id = rule_id AND name = lower(network)"
    " WHERE (expires_at IS NULL OR expires_at > ?)";

/// How long what a name stood for is kept for the undoing of its rule's removal, in seconds.
constexpr UnixSeconds kKeepAnswers = UnixSeconds{7} * 86'400;

/// Keeps a file's number from being given to one that takes its place. Of no file's locks: nothing is opened but its name.
class HeldFile {
  public:
    HeldFile() = default;
    ~HeldFile() { letGo(); }
    HeldFile(const HeldFile&) = delete;
    HeldFile& operator=(const HeldFile&) = delete;

    void hold(const std::string& path) noexcept {
        letGo();
        file_ = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    }

  private:
    void letGo() noexcept {
        if (file_ >= 0) ::close(file_);
    }
    int file_ = -1;
};

class SqliteRuleStore final : public RuleStore, public Replica {
  public:
    SqliteRuleStore(std::string path, const Options& options) : path_(std::move(path)), options_(options) {
        open(options.use, options.upgrade);
    }

    void forEachRule(const std::function<void(const AccessRule&)>& visit,
                     const std::function<void(const BadRow&)>& bad) override {
        forEachRow({}, visit, bad);
    }
    void forEachDisputed(const std::function<void(const AccessRule&)>& visit,
                         const std::function<void(const BadRow&)>& bad) override;
    std::optional<AccessRule> rule(std::int64_t id) override;
    std::shared_ptr<const AccessTable> load(std::span<const std::string> listeners) override;
    void distrust() noexcept override { reader_.forget(); }
    std::map<std::string, std::size_t> ruleListeners(UnixSeconds then) override {
        return countBy("listener", then);
    }
    void checkTrail() override { schema::checkTriggers(database()); }
    std::int64_t version() override { return database().number("SELECT rules_version FROM access_meta"); }

    News waitForChange(milliseconds at_most) override;
    void stopWaiting() noexcept override;

    std::vector<PutResult> put(std::span<const AccessRule> rules, std::string_view who) override;
    std::vector<EditResult> edit(std::span<const AccessRule> rules, const Change& edited,
                                 std::string_view who) override;
    ListResult editList(const RuleList& rules, const ListChange& edited, std::string_view who) override;
    ReplaceResult replaceAll(const RuleList& rules, const Sets& sets, const Complete& complete,
                             std::string_view who) override;
    void forEachHeld(UnixSeconds now, const std::function<void(const Held&)>& visit) override;
    void forEachShownNote(const std::function<void(std::int64_t rule_id, std::string_view note)>& visit);
    std::set<std::string> allowing(UnixSeconds now) override;
    RemoveResult remove(std::span<const std::int64_t> ids, std::string_view who,
                        const std::optional<std::string>& set) override;
    Defaults setDefaults() override;
    void defineSet(const std::string& name, const SetDefaults& defaults, std::string_view who) override;
    std::map<std::string, std::size_t> ruleSets() override { return countBy("rule_set", 0); }
    RenameResult renameListener(const std::string& from, const std::string& to,
                                std::string_view who) override;
    bool addHits(std::span<const HitCount> counts) override;
    Pruned prune(UnixSeconds expired_before, UnixSeconds trail_before, std::string_view who) override;
    void forEachExpiring(UnixSeconds from, UnixSeconds until,
                         const std::function<void(const AccessRule&)>& visit) override;
    std::vector<NamedRule> namedRules() override;
    bool keepName(std::int64_t rule_id, const NameState& state) override;
    void rehearse(const std::function<void()>& work, Rehearsal how) override;
    void together(const std::function<void()>& work) override;
    std::vector<AuditEntry> history(const std::optional<Network>& network) override;
    std::vector<AuditEntry> historyOf(std::span<const std::string> names) override;
    SomeRules find(const Wanted& wanted) override;
    std::vector<AuditEntry> newestEntries(const WantedEntries& wanted) override;
    std::int64_t endOfTrail() override {
        return database().number("SELECT coalesce(max(id), 0) FROM access_audit");
    }
    void forEachEntry(std::int64_t after, const std::function<void(const AuditEntry&)>& visit) override;
    std::int64_t lastChange() const noexcept override { return last_change_; }
    std::int64_t lastChangeBy(std::string_view who) override;
    UndoResult undo(std::int64_t change, std::string_view who) override;

    std::optional<Membership> membership() override { return replica::membership(database()); }
    Differences differences() override;
    SharedChanges everythingHere() override { return replica::everything(database()); }
    Applied apply(const SharedChanges& changes) override {
        Applied applied;
        inTransaction([&] { applied = replica::apply(database(), changes); });
        return applied;
    }
    void beginShared(std::int64_t next_id) override {
        inTransaction([&] { replica::beginShared(database(), next_id); });
    }
    SharedChanges collectShared() override { return replica::collectShared(database()); }
    void reach(std::int64_t version, const std::string& token) override {
        replica::reach(database(), version, token);
    }
    void tellRemoved(const std::vector<SharedEntry>& removals) override {
        replica::tellRemoved(database(), removals);
    }
    void inTransaction(const std::function<void()>& work) override;
    void renumber(const std::map<std::int64_t, std::int64_t>& numbers) override {
        replica::renumber(database(), numbers);
    }
    void enrol(const Membership& membership, const std::vector<std::int64_t>& own) override {
        replica::enrol(database(), membership, own);
    }
    void leave() override {
        inTransaction([&] { replica::leave(database()); });
    }
    void drop(const std::vector<std::int64_t>& ids, const std::string& who) override {
        inTransaction([&] {
            act(who);
            removeIds(ids);
            act("");
        });
    }
    void restore(const std::vector<SharedRule>& rules) override {
        inTransaction([&] { replica::restore(database(), rules); });
    }
    OwnRules ownRules() override {
        OwnRules own;
        inTransaction([&] { own = replica::ownRules(database()); });
        return own;
    }
    void forget(const std::vector<std::int64_t>& ids) override { replica::forget(database(), ids); }
    void sealTrail() override { replica::sealTrail(database()); }

  private:
    std::vector<AuditEntry> entriesAbout(const AskedAbout& asked);
    /// Those that have stood for a part of it.
    std::set<std::string> namesOf(const Network& network);
    void open(Use use, const Upgrade& upgrade);
    void close() noexcept;
    Database& database();
    /// What needs a transaction takes part in this one meanwhile.
    void within(const std::function<void()>& transaction);
    void finishCheck();
    std::shared_ptr<const AccessTable> readTable(std::span<const std::string> listeners);
    std::shared_ptr<const AccessTable> readSoundTable(std::span<const std::string> listeners);
    std::map<std::string, std::size_t> countBy(std::string_view column, UnixSeconds then);
    void checkpoint() noexcept;

    std::int64_t dataVersion() { return database().number("PRAGMA data_version"); }
    bool fileReplaced() const { return identityOf(path_) != identity_; }
    bool fileWritten() const { return lastWritten(path_) != written_; }
    FileState fileState() const { return {identityOf(path_), lastWritten(path_), lastWritten(log_path_)}; }
    bool sleepUntil(steady_clock::time_point time);
    void noteDamage(const StoreError& error);
    std::optional<News> lookCarefully();
    std::optional<News> look();
    template <typename Work>
    auto paced(const Work& work);

    void change(std::string_view who, const std::function<void()>& work);
    void transact(const std::function<void()>& work);
    void transactAlone(const std::function<void()>& work);
    bool beginsIfChanged(const std::function<void()>& work);
    std::string actorOf(std::string_view who) const;
    void act(std::string_view who);
    std::vector<PutResult> putAll(std::span<const AccessRule> rules, std::string_view who);
    class Places;
    class EachPlace;
    class BulkPlaces;
    struct Editing;
    static EditResult editOne(Places& places, const AccessRule& wanted,
                              const std::function<void(AccessRule& rule, bool is_new)>& edited,
                              const Editing& editing);
    void onPlaces(std::size_t rules, std::string_view who, const std::function<void(Places&)>& work);
    std::vector<std::int64_t> othersOf(const Sets& sets, std::vector<std::int64_t> kept);
    void snapshot(const std::function<void()>& work);
    void forEachRow(std::string_view condition, const std::function<void(const AccessRule&)>& visit,
                    const std::function<void(const BadRow&)>& bad);
    void writeDefaults(const std::string& name, const std::optional<SetDefaults>& defaults);
    std::vector<AuditEntry> entriesOf(std::int64_t change);
    std::vector<AuditEntry> laterThan(const std::vector<AuditEntry>& entries);
    void takeBack(std::vector<AuditEntry> entries, std::string_view who, UndoResult& result);
    void removeIds(const std::vector<std::int64_t>& ids);
    std::vector<std::int64_t> expiredBefore(UnixSeconds time);
    std::int64_t endOfOldEntries(UnixSeconds before);
    std::int64_t trimmedTo() { return database().number("SELECT trimmed_to FROM access_meta"); }

    const std::string path_;
    std::string log_path_;
    const Options options_;
    std::unique_ptr<Database> database_;  ///< none while the file is missing or bad
    std::future<void>
        check_;  ///< of the file that was opened to serve, until load() or look() has its result
    rows::TableReader reader_;
    HeldFile held_;             ///< the file that was opened
    FileIdentity identity_;     ///< of that
    std::int64_t written_ = 0;  ///< sqlite::lastWritten() when we opened or wrote last

    std::optional<std::int64_t> seen_;    ///< data version that was read, well or badly
    std::int64_t looked_at_ = 0;          ///< data version of the last look
    std::int64_t read_at_ = 0;            ///< data version that load() read last: a later one, perhaps
    std::optional<std::int64_t> loaded_;  ///< version of the rules that load() gave last
    bool within_ = false;  ///< a transaction that goes on over several calls: rehearse(), together()
    std::int64_t last_change_ = 0;
    LastLook last_look_;          ///< or load()
    std::exception_ptr failure_;  ///< of waitForChange(); null: it has not failed
    steady_clock::time_point next_look_;

    std::mutex waiting_mutex_;
    std::condition_variable waiting_;
    bool stopped_ = false;  ///< guarded by waiting_mutex_
};

void SqliteRuleStore::open(Use use, const Upgrade& upgrade) {
    const auto options = optionsFor(use, options_.lock_timeout);
    auto database =
        reads(use) ? sqlite::openToRead(path_, options) : std::make_unique<Database>(path_, options);
    // Beside what a link leads to.
    log_path_ = ::sqlite3_filename_wal(::sqlite3_db_filename(database->handle(), "main"));
    held_.hold(path_);
    identity_ = identityOf(path_);
    written_ = lastWritten(path_);
    if (use == Use::Inspect) {
        schema::requireCurrent(*database);
    } else if (!reads(use)) {
        schema::migrate(*database, mayCreate(use), upgrade);
    } else if (!schema::isCurrent(*database)) {
        database = sqlite::copyInMemory(*database);
        schema::migrate(*database, true, {.begins = upgrade.begins});
    }
    if (use != Use::Rescue) schema::checkTriggers(*database);
    // All of the file is looked at while its rules are read: through another connection and on another thread, if there can be one.
    if (serves(use))
        check_ = std::async([path = path_, options] {
            Database file(path, options);
            schema::quickCheck(file);
        });
    database_ = std::move(database);
    looked_at_ = dataVersion();
}

/// What is opened next may be another file, and counts its versions anew.
void SqliteRuleStore::close() noexcept {
    check_ = {};
    database_.reset();
    seen_.reset();
    last_look_.forgetUnchanged();
    reader_.forget();
}

/// A file that was there once has to be there.
Database& SqliteRuleStore::database() {
    if (!database_) open(reads(options_.use) ? options_.use : Use::Resume, {});
    return *database_;
}

/// `condition`: after "WHERE"; empty: all.
void SqliteRuleStore::forEachRow(std::string_view condition,
                                 const std::function<void(const AccessRule&)>& visit,
                                 const std::function<void(const BadRow&)>& bad) {
    snapshot([&] {
        RawStatement rows(database(), fmt::format("{}{}{} ORDER BY id", kAllRules,
                                                  condition.empty() ? "" : " WHERE ", condition));
        while (rows.step()) {
            std::optional<AccessRule> rule;
            try {
                rule = readRule(database(), rows);
            } catch (const StoreError& error) {
                if (!bad || error.kind() != StoreError::Kind::BadRow) throw;
                bad({rows.number(0), error.what()});
                continue;
            }
            visit(*rule);
        }
    });
}

void SqliteRuleStore::forEachDisputed(const std::function<void(const AccessRule&)>& visit,
                                      const std::function<void(const BadRow&)>& bad) {
    // One pass over the index, which is in this order.
    forEachRow(
        "network IN (SELECT network FROM access_rule GROUP BY network HAVING min(verdict) <> max(verdict))",
        visit, bad);
}

std::optional<AccessRule> SqliteRuleStore::rule(std::int64_t id) {
    std::optional<AccessRule> found;
    snapshot([&] {
        RawStatement row(database(), fmt::format("{} WHERE id = ?", kAllRules));
        row.bind(1, id);
        if (row.step()) found = readRule(database(), row);
    });
    return found;
}

namespace {

/// The condition, whose parameters bindTo() binds: those before the listeners.
std::string conditionOf(const RuleStore::Wanted& wanted) {
    std::string condition = wanted.expired ? "expires_at <= ?1" : "(expires_at IS NULL OR expires_at > ?1)";
    if (wanted.set) condition += " AND rule_set = ?2";
    if (wanted.note_contains) condition += " AND instr(lower(note), ?3) > 0";
    if (wanted.unused_since) condition += " AND max(created_at, coalesce(last_hit_at, 0)) <= ?4";
    if (wanted.expires_until) condition += " AND expires_at <= ?5";
    if (wanted.listeners.empty()) return condition;
    condition += " AND listener IN (''";
    for (std::size_t at = 0; at < wanted.listeners.size(); ++at)
        condition += fmt::format(", ?{}", at + 8);
    return condition + ")";
}

void bindTo(RawStatement& statement, const RuleStore::Wanted& wanted, const std::string& note) {
    statement.bind(1, wanted.now);
    if (wanted.set) statement.bind(2, std::string_view(*wanted.set));
    if (wanted.note_contains) statement.bind(3, std::string_view(note));
    if (wanted.unused_since) statement.bind(4, *wanted.unused_since);
    if (wanted.expires_until) statement.bind(5, *wanted.expires_until);
    for (std::size_t at = 0; at < wanted.listeners.size(); ++at)
        statement.bind(static_cast<int>(at) + 8, std::string_view(wanted.listeners[at]));
}

}  // namespace

RuleStore::SomeRules SqliteRuleStore::find(const Wanted& wanted) {
    SomeRules some;
    const std::string condition = conditionOf(wanted), note = lowerCase(wanted.note_contains.value_or(""));
    snapshot([&] {
        RawStatement count(database(), fmt::format("SELECT count(*) FROM access_rule WHERE {}", condition));
        bindTo(count, wanted, note);
        if (count.step()) some.found = static_cast<std::size_t>(count.number(0));
        RawStatement rows(database(),
                          fmt::format("{} WHERE {} AND id > ?6 ORDER BY id LIMIT ?7", kAllRules, condition));
        bindTo(rows, wanted, note);
        rows.bind(6, wanted.after);
        rows.bind(7, static_cast<std::int64_t>(wanted.limit));
        while (rows.step())
            some.rules.push_back(readRule(database(), rows));
    });
    return some;
}

/// What fails is tried again after as long as it has taken.
template <typename Work>
auto SqliteRuleStore::paced(const Work& work) {
    const auto begin = steady_clock::now();
    try {
        auto result = work();
        next_look_ = steady_clock::now() + options_.poll;
        return result;
    } catch (...) {
        const auto now = steady_clock::now();
        next_look_ = now + std::max<steady_clock::duration>(options_.poll, now - begin);
        throw;
    }
}

std::shared_ptr<const AccessTable> SqliteRuleStore::load(std::span<const std::string> listeners) {
    try {
        auto table = paced([&] { return readSoundTable(listeners); });
        loaded_ = table->version();
        last_look_.read();
        seen_ = looked_at_;
        if (!reads(options_.use)) checkpoint();
        return table;
    } catch (const StoreError& error) {
        // A bad row stays bad until somebody writes; anything else may pass by itself.
        if (error.kind() == StoreError::Kind::BadRow) seen_ = looked_at_;
        noteDamage(error);
        throw;
    }
}

std::shared_ptr<const AccessTable> SqliteRuleStore::readTable(std::span<const std::string> listeners) {
    std::shared_ptr<const AccessTable> table;
    snapshot([&] {
        read_at_ = dataVersion();
        table = reader_.read(database(), listeners);
    });
    return table;
}

/// Throws what is wrong with the file that was opened to serve; the next attempt opens, and checks, what is there then.
void SqliteRuleStore::finishCheck() {
    if (!check_.valid()) return;
    try {
        check_.get();
    } catch (...) {
        close();
        throw;
    }
}

std::shared_ptr<const AccessTable> SqliteRuleStore::readSoundTable(std::span<const std::string> listeners) {
    std::shared_ptr<const AccessTable> table;
    // Who asks whether a start would go by it.
    if (options_.use == Use::Inspect) schema::quickCheck(database());
    try {
        table = readTable(listeners);
    } catch (const StoreError&) {
        finishCheck();  // a damaged file is why, and not a row of it
        throw;
    }
    finishCheck();
    return table;
}

/// How many rules that are in force then have each value of the column but ''. Counted here: few values, very many rows.
std::map<std::string, std::size_t> SqliteRuleStore::countBy(std::string_view column, UnixSeconds then) {
    std::map<std::string, std::size_t, std::less<>> counts;
    RawStatement rows(
        database(),
        fmt::format("SELECT {0} FROM access_rule WHERE {0} <> '' AND (expires_at IS NULL OR expires_at > ?)",
                    column));
    rows.bind(1, then);
    while (rows.step()) {
        auto count = counts.find(rows.text(0));
        if (count == counts.end()) count = counts.emplace(rows.text(0), 0).first;
        ++count->second;
    }
    return {counts.begin(), counts.end()};
}

/// False: nobody is to wait any more.
bool SqliteRuleStore::sleepUntil(steady_clock::time_point time) {
    std::unique_lock lock(waiting_mutex_);
    return !waiting_.wait_until(lock, time, [this] { return stopped_; });
}

void SqliteRuleStore::stopWaiting() noexcept {
    {
        const std::lock_guard lock(waiting_mutex_);
        stopped_ = true;
    }
    waiting_.notify_all();
}

RuleStore::News SqliteRuleStore::waitForChange(milliseconds at_most) {
    const auto until = steady_clock::now() + at_most;
    while (sleepUntil(std::min(next_look_, until))) {
        if (steady_clock::now() < next_look_) {
            // Nobody has looked again: it is not readable because the time is over.
            if (failure_) std::rethrow_exception(failure_);
            return News::None;
        }
        const bool failed = failure_ != nullptr;
        std::optional<News> news;
        try {
            news = paced([this] { return lookCarefully(); });
        } catch (const StoreError& error) {
            failure_ = std::current_exception();
            noteDamage(error);
            throw;
        } catch (...) {
            failure_ = std::current_exception();
            throw;
        }
        failure_ = nullptr;
        if (news) return *news;
        if (failed || steady_clock::now() >= until) return News::None;
    }
    return News::None;
}

/// Called where it is caught. All of a large file would be read without end, beside the mail.
void SqliteRuleStore::noteDamage(const StoreError& error) {
    if (error.kind() == StoreError::Kind::Damaged)
        last_look_.foundDamage(std::current_exception(), steady_clock::now());
}

/// Where something is wrong with the file, all of it is read again before that is over: what has happened to it need not
/// have raised the version.
std::optional<RuleStore::News> SqliteRuleStore::lookCarefully() {
    if (last_look_.stands(fileState(), steady_clock::now())) return std::nullopt;
    try {
        const auto news = look();
        if (!news) last_look_.foundNothingNew(steady_clock::now());
        return news;
    } catch (const schema::TriggersAltered&) {
        last_look_.foundStale();  // and hits are counted as before
        reader_.forget();
        throw;
    } catch (const StoreError& error) {
        if (error.kind() == StoreError::Kind::Locked) throw;
        last_look_.foundStale();
        reader_.forget();
        if (error.kind() != StoreError::Kind::Damaged) throw;
        finishCheck();  // in its words from the beginning, so that it is told once
        // SQLite would go by what it has in memory, whatever is put right in the file.
        close();
        throw;
    }
}

std::optional<RuleStore::News> SqliteRuleStore::look() {
    if (fileReplaced()) {
        close();
        last_look_.foundReplaced();
    }
    std::int64_t now = dataVersion();
    if (seen_ == now) {
        if (!fileWritten()) return std::nullopt;
        // SQLite reads what it has in memory for as long as nobody commits; opening anew reads, and checks,
        // what is there.
        close();
        now = dataVersion();
    }
    looked_at_ = now;
    checkTrail();
    if (last_look_.isStale() || version() != loaded_) {
        last_look_.foundStale();
        return last_look_.tellReplaced() ? News::Replaced : News::Changed;
    }
    // Where no reading follows, nobody else asks what was found in the file that has just been opened.
    finishCheck();
    // What was written since the last reading is nothing of rules; or it is, and no trigger fired.
    if (now != read_at_) reader_.forget();
    seen_ = now;
    checkpoint();
    return std::nullopt;
}

/// Moves SQLite's log into the file, as far as no reader prevents it: then the file alone is complete, and a file
/// that is copied or moved away, or put in its place, is not combined with the log of another.
void SqliteRuleStore::checkpoint() noexcept {
    sqlite3_wal_checkpoint_v2(database_->handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    written_ = lastWritten(path_);
}

/// A transaction whose audit rows say `who`.
void SqliteRuleStore::change(std::string_view who, const std::function<void()>& work) {
    const auto acting = [&] {
        act(actorOf(who));
        last_change_ = database().number("SELECT change FROM access_meta");
        work();
        act("");
    };
    if (within_)
        acting();
    else
        transact(acting);
}

std::string SqliteRuleStore::actorOf(std::string_view who) const {
    return options_.sharing ? options_.sharing->actor(who) : std::string(who);
}

void SqliteRuleStore::transactAlone(const std::function<void()>& work) {
    bool changes = false;
    database().transaction([&] { changes = beginsIfChanged(work); });
    if (changes && commit_.done) commit_.done();
}

/// Whether `work` has changed something; else there is nothing that could be called off, or that somebody has done.
bool SqliteRuleStore::beginsIfChanged(const std::function<void()>& work) {
    const std::int64_t end = endOfTrail();
    work();
    const bool changes = endOfTrail() != end;
    if (changes && commit_.begins) commit_.begins();
    return changes;
}

/// A transaction here, and where the rules are a fleet's, there.
void SqliteRuleStore::transact(const std::function<void()>& work) {
    if (!options_.sharing) return transactAlone(work);
    bool shared = false, changes = false;
    try {
        options_.sharing->begin();
        within([&] {
            database().transaction([&] {
                options_.sharing->enter(*this);
                changes = beginsIfChanged(work);
                options_.sharing->leave(*this);
                shared = true;
            });
        });
        if (changes && commit_.done) commit_.done();
    } catch (const StoreError& error) {
        options_.sharing->abandon();
        if (!shared) throw;
        throw StoreError(error.kind(),
                         fmt::format("the fleet has the change, and this gateway not yet: {}", error.what()));
    } catch (...) {
        options_.sharing->abandon();
        throw;
    }
}

void SqliteRuleStore::inTransaction(const std::function<void()>& work) {
    if (within_)
        work();
    else
        within([&] { database().transaction(work); });
}

Differences SqliteRuleStore::differences() {
    Differences found;
    inTransaction([&] { found = replica::differences(database()); });
    return found;
}

void SqliteRuleStore::rehearse(const std::function<void()>& work, Rehearsal how) {
    auto apart = how == Rehearsal::Apart ? rows::copyApart(database()) : nullptr;
    if (!apart) return within([&] { database().rehearse(work); });
    reader_.forget();
    database_.swap(apart);
    try {
        within([&] { database().transaction(work); });
    } catch (...) {
        database_.swap(apart);
        throw;
    }
    database_.swap(apart);
}

void SqliteRuleStore::together(const std::function<void()>& work) {
    if (within_)
        work();
    else if (options_.sharing)
        transact(work);
    else
        within([&] { transactAlone(work); });
}

void SqliteRuleStore::within(const std::function<void()>& transaction) {
    within_ = true;
    try {
        transaction();
        within_ = false;
    } catch (...) {
        within_ = false;
        reader_.forget();
        throw;
    }
    reader_.forget();  // what was read inside may never have been
}

/// One state of the database; the rehearsal's, if there is one.
void SqliteRuleStore::snapshot(const std::function<void()>& work) {
    if (within_)
        work();
    else
        database().snapshot(work);
}

void SqliteRuleStore::act(std::string_view who) {
    RawStatement name(database(),
                      "UPDATE access_meta SET acting = ?,"
                      " change = (SELECT coalesce(max(id), 0) + 1 FROM access_audit)");
    name.bind(1, who);
    name.step();
}

std::vector<RuleStore::PutResult> SqliteRuleStore::putAll(std::span<const AccessRule> rules,
                                                          std::string_view who) {
    std::vector<PutResult> results;
    results.reserve(rules.size());
    Putter putter(database(), who);
    for (const AccessRule& rule : rules)
        results.push_back(putter.put(rule));
    return results;
}

void SqliteRuleStore::removeIds(const std::vector<std::int64_t>& ids) {
    RawStatement remove(database(), "DELETE FROM access_rule WHERE id = ?");
    for (const std::int64_t id : ids) {
        remove.reset();
        remove.bind(1, id);
        remove.step();
    }
}

std::vector<RuleStore::PutResult> SqliteRuleStore::put(std::span<const AccessRule> rules,
                                                       std::string_view who) {
    std::vector<PutResult> results;
    change(who, [&] { results = putAll(rules, who); });
    return results;
}

namespace {

/// Whether the rule would say nothing that the one there does not; who has made it, and how often it was used, apart.
bool saysTheSame(AccessRule rule, const AccessRule& there) {
    rule.id = there.id;
    rule.created_at = there.created_at;
    rule.created_by = there.created_by;
    rule.hits = there.hits;
    rule.last_hit_at = there.last_hit_at;
    return rule == there;
}

/// A person who changes a program's rule makes it their own.
bool takesOver(const AccessRule& rule, const AccessRule& there, std::string_view who) {
    return isProgram(there.created_by) && !isProgram(who) && !saysTheSame(rule, there);
}

}  // namespace

/// What putting many rules needs of the table.
class SqliteRuleStore::Places {
  public:
    Places() = default;
    Places(const Places&) = delete;
    Places& operator=(const Places&) = delete;
    virtual ~Places() = default;

    virtual std::optional<AccessRule> find(const AccessRule& wanted) = 0;
    /// Of the one that find() was asked for last, and what it has found.
    virtual PutKind put(AccessRule& rule, const std::optional<AccessRule>& found) = 0;
    virtual void remove(const AccessRule& gone) = 0;
    /// The first lines of the trail that say so.
    virtual std::vector<std::string> remove(const std::vector<std::int64_t>& ids) = 0;
};

/// One rule after the other.
class SqliteRuleStore::EachPlace final : public Places {
  public:
    EachPlace(SqliteRuleStore& store, std::string_view who)
        : store_(store), finder_(store.database()), putter_(store.database(), who) {}

    std::optional<AccessRule> find(const AccessRule& wanted) override { return finder_.find(wanted); }
    PutKind put(AccessRule& rule, const std::optional<AccessRule>&) override {
        const PutResult put = putter_.put(rule);
        rule.id = put.id;
        return put.kind;
    }
    void remove(const AccessRule& gone) override { store_.removeIds({gone.id}); }
    std::vector<std::string> remove(const std::vector<std::int64_t>& ids) override {
        std::vector<std::string> lines;
        RawStatement rows(store_.database(), "SELECT before FROM access_audit WHERE id > ?");
        rows.bind(1, store_.endOfTrail());
        store_.removeIds(ids);
        while (lines.size() < kMostRemoved && rows.step())
            lines.emplace_back(rows.text(0));
        return lines;
    }

  private:
    SqliteRuleStore& store_;
    Finder finder_;
    Putter putter_;
};

/// All in one go.
class SqliteRuleStore::BulkPlaces final : public Places {
  public:
    BulkPlaces(SqliteRuleStore& store, std::string_view who, std::size_t rules)
        : store_(store), bulk_(store.database(), who, rules, store.progress_) {}

    std::optional<AccessRule> find(const AccessRule& wanted) override { return bulk_.find(wanted); }
    PutKind put(AccessRule& rule, const std::optional<AccessRule>& found) override {
        return bulk_.put(rule, found);
    }
    void remove(const AccessRule& gone) override {
        bulk_.forget(gone);
        store_.removeIds({gone.id});
    }
    std::vector<std::string> remove(const std::vector<std::int64_t>& ids) override {
        return bulk_.remove(ids);
    }
    void finish() { bulk_.finish(); }

  private:
    SqliteRuleStore& store_;
    Bulk bulk_;
};

void SqliteRuleStore::onPlaces(std::size_t rules, std::string_view who,
                               const std::function<void(Places&)>& work) {
    if (rules < options_.bulk_from) {
        EachPlace places(*this, who);
        return work(places);
    }
    BulkPlaces places(*this, who, rules);
    work(places);
    places.finish();
    progress_.tell(Progress::Step::Finish, 0, 0);
}

struct SqliteRuleStore::Editing {
    std::string_view who;
    UnixSeconds now;
    bool names_all = false;  ///< a program's rule that is not changed stays the program's
};

RuleStore::EditResult SqliteRuleStore::editOne(
    Places& places, const AccessRule& wanted,
    const std::function<void(AccessRule& rule, bool is_new)>& edited, const Editing& editing) {
    auto found = places.find(wanted);
    std::shared_ptr<const AccessRule> expired;
    if (found && !isLive(*found, editing.now) && isLive(wanted, editing.now)) {
        places.remove(*found);
        expired = std::make_shared<AccessRule>(std::move(*found));
        found.reset();
    }
    const bool others = found && found->created_by != editing.who;
    if (others && isProgram(editing.who)) return {PutKind::Kept, std::move(*found)};
    EditResult result{PutKind::Added, found ? *found : wanted};
    result.expired = std::move(expired);
    const bool programs = others && isProgram(found->created_by);
    if (programs && result.rule.verdict == Verdict::Deny) result.rule.expires_at.reset();
    edited(result.rule, !found);
    if (programs && editing.names_all && saysTheSame(result.rule, *found)) {
        result.kind = PutKind::Unchanged;
        return result;
    }
    if (programs) {
        places.remove(*found);
        result.taken_over = std::make_shared<AccessRule>(std::move(*found));
        found.reset();
        result.rule.id = result.rule.hits = 0;
        result.rule.last_hit_at.reset();
        result.rule.created_by = editing.who;
        result.rule.created_at = editing.now;
    }
    const PutKind kind = places.put(result.rule, found);
    result.kind = result.taken_over ? PutKind::Changed : kind;
    return result;
}

std::vector<RuleStore::EditResult> SqliteRuleStore::edit(std::span<const AccessRule> rules,
                                                         const Change& edited, std::string_view who) {
    std::vector<EditResult> results;
    results.reserve(rules.size());
    change(who, [&] {
        EachPlace places(*this, who);
        const Editing editing{who, database().number("SELECT unixepoch()")};
        for (const AccessRule& wanted : rules)
            results.push_back(editOne(
                places, wanted, [&](AccessRule& rule, bool is_new) { edited(rule, wanted, is_new); },
                editing));
    });
    return results;
}

namespace {

void countIn(RuleStore::ListResult& result, RuleStore::PutKind kind, bool taken_over) {
    ++(kind == RuleStore::PutKind::Added     ? result.added
       : kind == RuleStore::PutKind::Changed ? result.changed
                                             : result.unchanged);
    if (taken_over) ++result.taken_over;
}

}  // namespace

RuleStore::ListResult SqliteRuleStore::editList(const RuleList& rules, const ListChange& edited,
                                                std::string_view who) {
    ListResult result;
    const auto put = [&](Places& places) {
        const Editing editing{who, database().number("SELECT unixepoch()"), true};
        AccessRule wanted;
        for (std::size_t at = 0; at < rules.size(); ++at) {
            progress_.tell(Progress::Step::Compare, at, rules.size());
            rules.read(at, wanted);
            const EditResult one = editOne(
                places, wanted,
                [&](AccessRule& rule, bool is_new) { edited(rule, wanted, rules.tag(at), is_new); }, editing);
            countIn(result, one.kind, one.taken_over != nullptr);
        }
    };
    change(who, [&] { onPlaces(rules.size(), who, put); });
    return result;
}

/// The rules of the sets but these.
std::vector<std::int64_t> SqliteRuleStore::othersOf(const Sets& sets, std::vector<std::int64_t> kept) {
    std::sort(kept.begin(), kept.end());
    std::vector<std::int64_t> others;
    // Not through readRule(): a row that cannot be read must not stand in the way of its removal.
    RawStatement ids(database(), "SELECT id, rule_set FROM access_rule ORDER BY id");
    while (ids.step()) {
        const bool meant = !sets || std::find(sets->begin(), sets->end(), ids.text(1)) != sets->end();
        if (meant && !std::binary_search(kept.begin(), kept.end(), ids.number(0)))
            others.push_back(ids.number(0));
    }
    return others;
}

RuleStore::ReplaceResult SqliteRuleStore::replaceAll(const RuleList& rules, const Sets& sets,
                                                     const Complete& complete, std::string_view who) {
    ReplaceResult result;
    const auto replace = [&](Places& places) {
        std::vector<std::int64_t> kept;
        const UnixSeconds now = database().number("SELECT unixepoch()");
        AccessRule rule;
        for (std::size_t at = 0; at < rules.size(); ++at) {
            progress_.tell(Progress::Step::Compare, at, rules.size());
            rules.read(at, rule);
            auto found = places.find(rule);
            if (complete) complete(rule, rules.tag(at), found && isLive(*found, now) ? &*found : nullptr);
            const bool taken = found && takesOver(rule, *found, who);
            if (taken) {
                places.remove(*found);
                found.reset();
            }
            const PutKind kind = places.put(rule, found);
            if (rule.id != 0 || found) kept.push_back(rule.id);
            countIn(result, taken ? PutKind::Changed : kind, taken);
        }
        const auto others = othersOf(sets, std::move(kept));
        result.removals = others.size();
        result.removed = places.remove(others);
    };
    change(who, [&] { onPlaces(rules.size(), who, replace); });
    return result;
}

void SqliteRuleStore::forEachHeld(UnixSeconds now, const std::function<void(const Held&)>& visit) {
    const auto forEachRow = [&](std::string_view query, const auto& tell) {
        RawStatement rows(database(), query);
        rows.bind(1, now);
        while (rows.step())
            tell(rows.text(0), [&](const Network& network) {
                visit({rows.text(1) == "allow" ? Verdict::Allow : Verdict::Deny, rows.text(2), rows.text(3),
                       network});
            });
    };
    forEachRow(
        "SELECT network, verdict, listener, rule_set FROM access_rule"
        " WHERE expires_at IS NULL OR expires_at > ?",
        [](std::string_view text, const auto& tell) {
            if (const auto parsed = parseNetwork(text); std::holds_alternative<Network>(parsed))
                tell(std::get<Network>(parsed));
        });
    forEachRow(fmt::format("SELECT networks, verdict, listener, rule_set FROM {}", kAnswered),
               [](std::string_view text, const auto& tell) {
                   if (const auto networks = readNetworks(text))
                       std::for_each(networks->begin(), networks->end(), tell);
               });
}

void SqliteRuleStore::forEachShownNote(
    const std::function<void(std::int64_t rule_id, std::string_view note)>& visit) {
    // The condition is that of the index, too.
    RawStatement rows(
        database(),
        "SELECT id, note FROM access_rule WHERE reply <> '' AND reply IN ('note', 'temporary,note')"
        " AND note <> ''");
    while (rows.step())
        visit(rows.number(0), rows.text(1));
}

std::set<std::string> SqliteRuleStore::allowing(UnixSeconds now) {
    std::set<std::string, std::less<>> listeners;
    for (const std::string& from :
         {std::string("access_rule WHERE verdict = 'allow' AND (expires_at IS NULL OR expires_at > ?)"
                      " AND network NOT LIKE 'host:%' AND network NOT LIKE 'spf:%'"),
          fmt::format("{} AND networks <> '' AND verdict = 'allow'", kAnswered)}) {
        RawStatement rows(database(), fmt::format("SELECT listener FROM {}", from));
        rows.bind(1, now);
        while (rows.step()) {
            // Who is let in on all listeners is so on each: more need not be read, of very many rules perhaps.
            if (rows.text(0).empty()) return {""};
            if (!listeners.contains(rows.text(0))) listeners.emplace(rows.text(0));
        }
    }
    return {listeners.begin(), listeners.end()};
}

RuleStore::RemoveResult SqliteRuleStore::remove(std::span<const std::int64_t> ids, std::string_view who,
                                                const std::optional<std::string>& set) {
    RemoveResult result;
    change(who, [&] {
        RawStatement one(database(), fmt::format("{} WHERE id = ?", kAllRules));
        for (const std::int64_t id : ids) {
            one.reset();
            one.bind(1, id);
            std::optional<AccessRule> rule;
            try {
                if (one.step()) rule = readRule(database(), one);
            } catch (const StoreError& error) {
                if (error.kind() != StoreError::Kind::BadRow || isProgram(who)) throw;
                result.unreadable.push_back(id);
                continue;
            }
            if (rule && (!isProgram(who) || rule->created_by == who))
                result.removed.push_back(std::move(*rule));
            else
                result.missing.push_back(id);
        }
        one.reset();
        if (!result.missing.empty()) {
            result.removed.clear();
            result.unreadable.clear();
            return;
        }
        removeIds({ids.begin(), ids.end()});
        if (set) writeDefaults(*set, std::nullopt);
    });
    return result;
}

RuleStore::Defaults SqliteRuleStore::setDefaults() {
    Defaults defaults;
    RawStatement rows(database(), "SELECT name, note, expires_after FROM access_set");
    while (rows.step())
        defaults.emplace(rows.text(0), SetDefaults{std::string(rows.text(1)), optionalNumber(rows, 2)});
    return defaults;
}

void SqliteRuleStore::defineSet(const std::string& name, const SetDefaults& defaults, std::string_view who) {
    change(who, [&] { writeDefaults(name, defaults); });
}

/// None: the set has none any more.
void SqliteRuleStore::writeDefaults(const std::string& name, const std::optional<SetDefaults>& defaults) {
    RawStatement write(database(), defaults ? "INSERT INTO access_set(name, note, expires_after)"
                                              " VALUES (?1, ?2, ?3) ON CONFLICT (name)"
                                              " DO UPDATE SET note = ?2, expires_after = ?3"
                                            : "DELETE FROM access_set WHERE name = ?1");
    write.bind(1, std::string_view(name));
    if (defaults) {
        write.bind(2, std::string_view(defaults->note));
        if (defaults->expires_after)
            write.bind(3, *defaults->expires_after);
        else
            write.bindNull(3);
    }
    write.step();
}

RuleStore::RenameResult SqliteRuleStore::renameListener(const std::string& from, const std::string& to,
                                                        std::string_view who) {
    RenameResult result;
    change(who, [&] {
        Finder finder(database());
        const UnixSeconds now = database().number("SELECT unixepoch()");
        std::vector<std::int64_t> expired;
        RawStatement rows(database(), fmt::format("{} WHERE listener = ? ORDER BY id", kAllRules));
        rows.bind(1, std::string_view(from));
        while (rows.step()) {
            ++result.renamed;
            AccessRule renamed = readRule(database(), rows);
            renamed.listener = to;
            auto found = finder.find(renamed);
            if (found && isLive(*found, now))
                result.in_the_way.push_back(std::move(*found));
            else if (found)
                expired.push_back(found->id);
        }
        if (!result.in_the_way.empty()) {
            result.renamed = 0;
            return;
        }
        removeIds(expired);
        RawStatement rename(database(), "UPDATE access_rule SET listener = ?2 WHERE listener = ?1");
        rename.bind(1, std::string_view(from));
        rename.bind(2, std::string_view(to));
        rename.step();
    });
    return result;
}

std::vector<NamedRule> SqliteRuleStore::namedRules() {
    if (database_ && !within_ && fileReplaced()) close();
    std::vector<NamedRule> named;
    snapshot([&] { named = readNamed(database(), true); });
    return named;
}

bool SqliteRuleStore::keepName(std::int64_t rule_id, const NameState& state) {
    bool there = false;
    // Every gateway of a fleet asks for itself what names stand for.
    inTransaction([&] {
        act(programName("names"));
        RawStatement rule(database(), "SELECT lower(network) FROM access_rule WHERE id = ?");
        rule.bind(1, rule_id);
        there = rule.step() && (state.name.empty() || rule.text(0) == state.name);
        if (!there) return act("");
        RawStatement keep(
            database(),
            "INSERT INTO access_name(rule_id, networks, asked_at, answered_at, due, error, name)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (rule_id) DO UPDATE"
            " SET networks = ?2, asked_at = ?3, answered_at = ?4, due = ?5, error = ?6, name = ?7");
        const std::string name(rule.text(0));
        const std::string networks = writeNetworks(state.networks);
        keep.bind(1, rule_id);
        keep.bind(2, std::string_view(networks));
        keep.bind(3, state.asked_at);
        if (state.answered_at)
            keep.bind(4, *state.answered_at);
        else
            keep.bindNull(4);
        keep.bind(5, state.due);
        keep.bind(6, std::string_view(state.error));
        keep.bind(7, std::string_view(name));
        keep.step();
        act("");
    });
    return there;
}

bool SqliteRuleStore::addHits(std::span<const HitCount> counts) {
    if (!database_ || fileReplaced()) return false;
    database().transaction([&] {
        RawStatement add(
            database(),
            "UPDATE access_rule SET hits = hits + ?2, last_hit_at = max(coalesce(last_hit_at, 0), ?3)"
            " WHERE id = ?1");
        for (const HitCount& count : counts) {
            add.reset();
            add.bind(1, count.rule_id);
            add.bind(2, count.hits);
            add.bind(3, count.last);
            add.step();
        }
    });
    checkpoint();
    return true;
}

namespace {

// Of rules and of entries, in one transaction.
constexpr std::size_t kMostPruned = 5'000;
// Trimming leaves an entry: not more often than this, in seconds.
constexpr UnixSeconds kTrimEvery = 86'400;

}  // namespace

std::vector<std::int64_t> SqliteRuleStore::expiredBefore(UnixSeconds time) {
    std::vector<std::int64_t> ids;
    // The fleet's go for all gateways at once.
    const bool own = !options_.sharing && membership();
    RawStatement rows(database(), fmt::format("SELECT id FROM access_rule WHERE expires_at <= ?1{} LIMIT ?2",
                                              own ? replica::kAndOwn : ""));
    rows.bind(1, time);
    rows.bind(2, static_cast<std::int64_t>(kMostPruned));
    while (rows.step())
        ids.push_back(rows.number(0));
    return ids;
}

/// The last entry that may go, no change being cut in two; 0: none yet. Times are not asked of entries behind the first young
/// one: a clock that was wrong must not have the trail removed.
std::int64_t SqliteRuleStore::endOfOldEntries(UnixSeconds before) {
    RawStatement first(database(), "SELECT id, at FROM access_audit WHERE id > ? ORDER BY id LIMIT 1");
    first.bind(1, trimmedTo());
    if (!first.step() || first.number(1) >= before - kTrimEvery) return 0;
    RawStatement young(database(),
                       "SELECT coalesce(change, id) FROM access_audit WHERE id > ?1 AND at >= ?2 ORDER BY id"
                       " LIMIT 1");
    young.bind(1, first.number(0));
    young.bind(2, before);
    return young.step() ? young.number(0) - 1 : endOfTrail();
}

RuleStore::Pruned SqliteRuleStore::prune(UnixSeconds expired_before, UnixSeconds trail_before,
                                         std::string_view who) {
    Pruned pruned;
    if (!database_ || fileReplaced()) return pruned;  // waitForChange() reports it
    // Looking takes no lock, and nearly always there is nothing to do.
    if (!expiredBefore(expired_before).empty())
        change(who, [&] {
            const auto ids = expiredBefore(expired_before);
            removeIds(ids);
            pruned.rules = ids.size();
        });
    constexpr std::string_view kForgotten =
        "FROM access_name WHERE asked_at < unixepoch() - {} AND rule_id NOT IN (SELECT id FROM access_rule)";
    const std::string forgotten = fmt::format(kForgotten, kKeepAnswers);
    if (database().number("SELECT count(*) " + forgotten) > 0)
        database().transaction([&] { database().run("DELETE " + forgotten); });
    if (const std::int64_t end = endOfOldEntries(trail_before); end > trimmedTo())
        change(who, [&] {
            RawStatement trim(database(), "UPDATE access_meta SET trimmed_to = ?");
            trim.bind(1, end);
            trim.step();
        });
    if (database().number("SELECT coalesce(min(id), 0) FROM access_audit") <= trimmedTo())
        database().transaction([&] {
            RawStatement remove(database(),
                                "DELETE FROM access_audit WHERE id IN (SELECT id FROM access_audit"
                                " WHERE id <= (SELECT trimmed_to FROM access_meta) ORDER BY id LIMIT ?)");
            remove.bind(1, static_cast<std::int64_t>(kMostPruned));
            remove.step();
            pruned.entries = static_cast<std::size_t>(sqlite3_changes(database().handle()));
        });
    pruned.more = pruned.rules == kMostPruned || pruned.entries == kMostPruned;
    checkpoint();
    return pruned;
}

void SqliteRuleStore::forEachExpiring(UnixSeconds from, UnixSeconds until,
                                      const std::function<void(const AccessRule&)>& visit) {
    RawStatement rows(database(),
                      fmt::format("{} WHERE expires_at > ?1 AND expires_at <= ?2 ORDER BY id", kAllRules));
    rows.bind(1, from);
    rows.bind(2, until);
    while (rows.step())
        visit(readRule(database(), rows));
}

namespace {

constexpr std::string_view kAllEntries =
    "SELECT id, at, who, action, rule_id, before, after, coalesce(change, id), made_by, made_at,"
    " coalesce(hits, 0), last_hit_at FROM access_audit";

RuleStore::AuditEntry readEntry(const RawStatement& row) {
    return {row.number(0),
            row.number(1),
            std::string(row.text(2)),
            std::string(row.text(3)),
            row.number(4),
            std::string(row.text(5)),
            std::string(row.text(6)),
            row.number(7),
            std::string(row.text(8)),
            row.number(9),
            row.number(10),
            optionalNumber(row, 11)};
}

bool isAbout(const RuleStore::AuditEntry& entry, const AskedAbout& asked) {
    if (!asked.network && asked.names.empty()) return true;
    for (const std::string_view line : {std::string_view(entry.before), std::string_view(entry.after)}) {
        if (asked.network && touches(line, *asked.network)) return true;
        // Of a name that stood for an address, what else it stood for does not matter.
        if ((!asked.network || !isRuleName(line)) && asked.names.contains(nameIn(line))) return true;
    }
    return false;
}

}  // namespace

void SqliteRuleStore::forEachEntry(std::int64_t after, const std::function<void(const AuditEntry&)>& visit) {
    RawStatement rows(database(), fmt::format("{} WHERE id > ? ORDER BY id", kAllEntries));
    rows.bind(1, after);
    while (rows.step())
        visit(readEntry(rows));
}

std::vector<RuleStore::AuditEntry> SqliteRuleStore::newestEntries(const WantedEntries& wanted) {
    std::vector<AuditEntry> entries;
    AskedAbout subject{wanted.network, {wanted.names.begin(), wanted.names.end()}};
    if (wanted.network) subject.names.merge(namesOf(*wanted.network));
    // No entry has a smaller id than its change's number.
    RawStatement rows(database(),
                      fmt::format("{} WHERE id < ?1{} ORDER BY id DESC", kAllEntries,
                                  wanted.change ? " AND id >= ?2 AND coalesce(change, id) = ?2" : ""));
    rows.bind(1, wanted.before.value_or(std::numeric_limits<std::int64_t>::max()));
    if (wanted.change) rows.bind(2, *wanted.change);
    while (entries.size() < wanted.limit && rows.step()) {
        AuditEntry entry = readEntry(rows);
        if (isAbout(entry, subject)) entries.push_back(std::move(entry));
    }
    return entries;
}

std::vector<RuleStore::AuditEntry> SqliteRuleStore::history(const std::optional<Network>& network) {
    return entriesAbout({network, network ? namesOf(*network) : std::set<std::string>()});
}

std::vector<RuleStore::AuditEntry> SqliteRuleStore::historyOf(std::span<const std::string> names) {
    return entriesAbout({{}, {names.begin(), names.end()}});
}

std::vector<RuleStore::AuditEntry> SqliteRuleStore::entriesAbout(const AskedAbout& asked) {
    std::vector<AuditEntry> entries;
    forEachEntry(0, [&](const AuditEntry& entry) {
        if (isAbout(entry, asked)) entries.push_back(entry);
    });
    return entries;
}

/// The trail may no longer reach back to the answer that is in force.
std::set<std::string> SqliteRuleStore::namesOf(const Network& network) {
    std::set<std::string> names;
    for (const NamedRule& named : namedRules())
        if (std::any_of(named.state.networks.begin(), named.state.networks.end(),
                        [&](const Network& one) { return overlap(one, network); }))
            names.insert(lowerCase(named.rule.name));
    RawStatement rows(database(), "SELECT before, after FROM access_audit WHERE action = ?1");
    rows.bind(1, schema::kResolve);
    while (rows.step())
        for (const int column : {0, 1})
            if (touches(rows.text(column), network)) names.insert(nameIn(rows.text(column)));
    names.erase("");
    return names;
}

std::int64_t SqliteRuleStore::lastChangeBy(std::string_view who) {
    RawStatement last(
        database(),
        "SELECT coalesce(change, id) FROM access_audit WHERE who IN (?1, ?2) ORDER BY id DESC LIMIT 1");
    const std::string actor = actorOf(who);
    last.bind(1, std::string_view(actor));
    last.bind(2, who);  // of the gateway's own rules
    return last.step() ? last.number(0) : 0;
}

/// They follow each other: one transaction has written them.
std::vector<RuleStore::AuditEntry> SqliteRuleStore::entriesOf(std::int64_t change) {
    std::vector<AuditEntry> entries;
    RawStatement last(database(),
                      "SELECT max(id) FROM access_audit WHERE id >= ?1 AND coalesce(change, id) = ?1");
    last.bind(1, change);
    if (!last.step() || last.isNull(0)) return entries;
    const std::int64_t end = last.number(0);
    forEachEntry(change - 1, [&](const AuditEntry& entry) {
        if (entry.id <= end) entries.push_back(entry);
    });
    return entries;
}

namespace {

/// A rule, or a set's defaults.
using Subject = std::pair<std::int64_t, std::string>;

Subject subjectOf(const RuleStore::AuditEntry& entry) {
    if (entry.rule_id != 0) return {entry.rule_id, ""};
    const auto set = parseTrailSet(entry.after.empty() ? entry.before : entry.after);
    return {0, set ? set->first : std::string()};
}

/// `later`, which is laterThan() the change, has left all as it was before it.
bool isUndone(const std::vector<RuleStore::AuditEntry>& change,
              const std::vector<RuleStore::AuditEntry>& later) {
    std::map<Subject, std::string_view> now;
    for (const RuleStore::AuditEntry& entry : later)
        now[subjectOf(entry)] = entry.after;
    std::set<Subject> seen;
    return std::ranges::all_of(change, [&](const RuleStore::AuditEntry& entry) {
        const Subject subject = subjectOf(entry);
        if (!seen.insert(subject).second) return true;  // the first entry says how it was
        const auto found = now.find(subject);
        return found != now.end() && found->second == entry.before;
    });
}

}  // namespace

/// What has been done to the same rules and sets since and still is so: a change that was taken back is none, and neither
/// is what took it back.
std::vector<RuleStore::AuditEntry> SqliteRuleStore::laterThan(const std::vector<AuditEntry>& entries) {
    // Of each what it was after the change, and then what it became: up to now, without detours.
    struct Way {
        std::string first;
        std::vector<AuditEntry> then;
    };
    std::map<Subject, Way> ways;
    for (const AuditEntry& entry : entries)
        ways[subjectOf(entry)].first = entry.after;
    forEachEntry(entries.back().id, [&](const AuditEntry& entry) {
        if (entry.action == schema::kResolve) return;
        const auto found = ways.find(subjectOf(entry));
        if (found == ways.end()) return;
        Way& way = found->second;
        const auto same = std::find_if(way.then.begin(), way.then.end(),
                                       [&](const AuditEntry& before) { return before.after == entry.after; });
        if (way.first == entry.after)
            way.then.clear();
        else if (same != way.then.end())
            way.then.erase(same + 1, way.then.end());
        else
            way.then.push_back(entry);
    });
    std::vector<AuditEntry> later;
    for (auto& [subject, way] : ways)
        std::move(way.then.begin(), way.then.end(), std::back_inserter(later));
    std::sort(later.begin(), later.end(),
              [](const AuditEntry& a, const AuditEntry& b) { return a.id < b.id; });
    return later;
}

namespace {

/// `later`, which is laterThan() the change, is of another rule with the number of one of its rules: it has made it, or it has removed it.
bool areOfOthers(const std::vector<RuleStore::AuditEntry>& change,
                 const std::vector<RuleStore::AuditEntry>& later) {
    using Identity = std::tuple<std::string, std::string, Verdict, std::string>;
    std::map<std::int64_t, std::set<Identity>> known;  // by number
    /// Whether that is news.
    const auto learns = [&](std::int64_t id, const std::string& line) {
        const auto rule = parseTrailRule(line);
        return rule && known[id].emplace(subjectIn(line), rule->listener, rule->verdict, rule->set).second;
    };
    for (const RuleStore::AuditEntry& entry : change)
        for (const std::string* line : {&entry.before, &entry.after})
            learns(entry.rule_id, *line);
    return std::ranges::any_of(later, [&](const RuleStore::AuditEntry& entry) {
        if (entry.after.empty()) return learns(entry.rule_id, entry.before);
        return learns(entry.rule_id, entry.after) && entry.before.empty();
    });
}

/// Ends a transaction that is to leave nothing.
struct TakenBackInPart {};

std::set<std::int64_t> removedIn(const std::vector<RuleStore::AuditEntry>& entries) {
    std::set<std::int64_t> removed;
    for (const RuleStore::AuditEntry& entry : entries)
        if (entry.rule_id != 0 && entry.after.empty() && entry.made_by.empty()) removed.insert(entry.rule_id);
    return removed;
}

}  // namespace

/// From the last to the first.
void SqliteRuleStore::takeBack(std::vector<AuditEntry> entries, std::string_view who, UndoResult& result) {
    struct Origin {
        std::string who;
        UnixSeconds at;
    };
    // Who has made the rules that were removed, and when, where the entry does not say.
    const auto removed = removedIn(entries);
    std::map<std::int64_t, Origin> origins;
    if (!removed.empty())
        forEachEntry(0, [&](const AuditEntry& entry) {
            if (entry.before.empty() && removed.contains(entry.rule_id))
                origins.try_emplace(entry.rule_id, Origin{entry.who, entry.at});
        });
    Finder finder(database());
    Putter putter(database(), who);
    const UnixSeconds now = database().number("SELECT unixepoch()");
    // They go anyway: a change's own order of adding and removing is not the same on all gateways of a fleet.
    std::set<std::int64_t> added;
    for (const AuditEntry& entry : entries)
        if (entry.rule_id != 0 && entry.before.empty()) added.insert(entry.rule_id);
    std::for_each(entries.rbegin(), entries.rend(), [&](const AuditEntry& entry) {
        if (entry.rule_id == 0) {
            const auto set = parseTrailSet(entry.before.empty() ? entry.after : entry.before);
            writeDefaults(set.value().first,
                          entry.before.empty() ? std::nullopt : std::optional(set->second));
            return;
        }
        if (entry.before.empty()) {
            removeIds({entry.rule_id});
            return;
        }
        AccessRule rule = parseTrailRule(entry.before).value();
        rule.id = entry.rule_id;
        const std::string_view network = subjectIn(entry.before);
        auto other = finder.find(rule, network);
        if (other && other->id == rule.id) other.reset();
        if (other && isLive(*other, now) && !added.contains(other->id)) {
            result.in_the_way.push_back(std::move(*other));
            return;
        }
        if (other) removeIds({other->id});
        if (!entry.after.empty()) {
            putter.overwrite(rule, network);
            return;
        }
        const auto origin = origins.find(rule.id);
        rule.created_by = !entry.made_by.empty()    ? entry.made_by
                          : origin != origins.end() ? origin->second.who
                                                    : std::string(who);
        rule.created_at = !entry.made_by.empty()    ? entry.made_at
                          : origin != origins.end() ? origin->second.at
                                                    : entry.at;
        rule.hits = entry.hits;
        rule.last_hit_at = entry.last_hit_at;
        putter.restore(rule, network);
    });
}

RuleStore::UndoResult SqliteRuleStore::undo(std::int64_t change_id, std::string_view who) {
    using Kind = UndoResult::Kind;
    UndoResult result;
    result.change = change_id;
    const auto readable = [](const AuditEntry& entry) {
        const std::string& line = entry.before.empty() ? entry.after : entry.before;
        return entry.rule_id == 0 ? parseTrailSet(line).has_value() : parseTrailRule(line).has_value();
    };
    try {
        change(who, [&] {
            if (change_id <= trimmedTo()) return;  // what is left of it is about to go
            auto entries = entriesOf(change_id);
            if (entries.empty()) return;
            result.kind = Kind::Unreadable;
            if (change_id <= database().number("SELECT undo_after FROM access_meta") ||
                !std::all_of(entries.begin(), entries.end(), readable))
                return;
            result.kind = Kind::LaterChanges;
            result.entries = laterThan(entries);
            if (areOfOthers(entries, result.entries))  // first: that another rule is gone undoes nothing
                result.kind = Kind::Renumbered;
            else if (isUndone(entries, result.entries))
                result.kind = Kind::Undone;
            if (!result.entries.empty()) return;
            const std::int64_t before = endOfTrail();
            takeBack(std::move(entries), who, result);
            result.kind = Kind::InTheWay;
            if (!result.in_the_way.empty()) throw TakenBackInPart();
            result.kind = Kind::Done;
            forEachEntry(before, [&](const AuditEntry& entry) { result.entries.push_back(entry); });
        });
    } catch (const TakenBackInPart&) {
        // Nothing was changed; the result says why.
    }
    return result;
}

}  // namespace

std::unique_ptr<RuleStore> openRules(const std::string& path, const RuleStore::Options& options) {
    return std::make_unique<SqliteRuleStore>(path, options);
}

std::unique_ptr<Replica> openReplica(const std::string& path, const RuleStore::Options& options) {
    return std::make_unique<SqliteRuleStore>(path, options);
}

void forEachShownNote(const std::string& path, const RuleStore::Options& options,
                      const std::function<void(std::int64_t rule_id, std::string_view note)>& visit) {
    SqliteRuleStore(path, options).forEachShownNote(visit);
}

}  // namespace mailgate::store::sqlite
