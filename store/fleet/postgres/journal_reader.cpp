// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_reader.h"

#include "protocols/values/text.h"
#include "store/fleet/postgres/connection.h"
#include "store/fleet/postgres/conninfo.h"
#include "store/fleet/postgres/journal_columns.h"
#include "store/fleet/postgres/journal_conditions.h"
#include "store/fleet/postgres/journal_rows.h"
#include "store/fleet/postgres/journal_sums.h"
#include "store/fleet/postgres/schema.h"
#include "store/journal/filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace mailgate::store::postgres {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMostAtOnce = 2'000;  ///< records
constexpr milliseconds kClocksDiffer = std::chrono::minutes(5);

/// Where a row is, and its place in the order.
struct Place {
    std::int64_t at_ms = 0;
    int journal = 0;
    std::int64_t key = 0;

    friend bool operator==(const Place&, const Place&) = default;
};

/// One of the database's `journal`, of which a gateway may have had several.
struct KnownJournal {
    int id = 0;
    std::string gateway;
    std::optional<std::int64_t> age_secs;
};

/// A session, wherever it was: two gateways have none in common, but ids are no secret that anybody keeps.
using SessionName = std::pair<std::string, std::string>;
SessionName nameOf(const JournalSession& session) {
    return {session.gateway, session.id};
}

bool isCandidate(JournalKind kind, const JournalFilter& filter) {
    if (kind != JournalKind::Refused) return !filter.refused_only;
    return !journal::asksForEnvelope(filter) && !filter.failed_login;
}

/// What a position says: since when it is followed, and of each journal the last keys seen, "1=session/refused".
struct LastKeys {
    std::int64_t since_ms = 0;  ///< 0: from the beginning
    struct Keys {
        std::array<std::int64_t, 2> last{};  ///< by JournalKind
        bool is_new = true;                  ///< it was not there when that began: "1+session/refused"
    };
    std::map<int, Keys> journals{};
};

journal::Position positionOf(const LastKeys& keys) {
    std::string text = fmt::to_string(keys.since_ms);
    for (const auto& [id, of] : keys.journals)
        text += fmt::format(" {}{}{}/{}", id, of.is_new ? '+' : '=', of.last[0], of.last[1]);
    return {text};
}

template <typename Number>
void takeNumber(std::string_view& text, Number& number) {
    const char* const end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);  // what is between them
}

/// Throws StoreError for one of another journal's, or of another version's.
LastKeys keysOf(const journal::Position& position) {
    LastKeys keys;
    std::string_view text = position.text;
    if (const std::string_view since = text.substr(0, text.find(' '));
        since.find_first_not_of("0123456789") != std::string_view::npos)
        throw StoreError(StoreError::Kind::BadInput,
                         fmt::format("\"{}\" is no position in this journal: begin without one",
                                     printable(position.text)));
    takeNumber(text, keys.since_ms);
    while (!text.empty()) {
        const bool is_new = text.find('+') < text.find('=');
        int id = 0;
        takeNumber(text, id);
        LastKeys::Keys& of = keys.journals[id];
        of.is_new = is_new;
        for (std::int64_t& last : of.last)
            takeNumber(text, last);
    }
    return keys;
}

std::vector<JournalSession> byEnd(std::vector<JournalSession> sessions) {
    std::stable_sort(sessions.begin(), sessions.end(),
                     [](const auto& one, const auto& other) { return one.endedMs() < other.endedMs(); });
    return sessions;
}

/// Behind all that begin like this.
std::string behind(const std::string& prefix) {
    return prefix + '\x7F';
}

class JournalReader final : public FleetJournal {
  public:
    JournalReader(const std::string& url, const Options& options) : info_(parseUrl(url)), options_(options) {}

    std::vector<ShippedJournal> gateways() override;
    std::vector<JournalSession> newest(const JournalFilter& asked, std::size_t limit) override;
    std::size_t count(const JournalFilter& asked, std::size_t at_most) override;
    std::vector<JournalSession> withId(const std::string& asked, std::size_t limit) override;
    journal::Position end() override;
    std::vector<JournalSession> after(const JournalFilter& asked, journal::Position& position,
                                      std::size_t limit) override;
    JournalTop top(const JournalTopQuery& query) override;

  private:
    template <typename Work>
    auto snapshot(const Work& work);
    Connection& connected();
    Rows ask(const std::string& sql, const std::vector<std::string>& parameters);
    void takeJournals(const Rows& rows);
    void addJournals(Conditions& conditions, std::string_view alias) const;

    enum class Order : std::uint8_t { NewestFirst, None };
    /// Of what began up to a time: what lasted for long after it, or ended soon.
    enum class Ended : std::uint8_t { Whenever, Late, Soon };
    std::vector<Place> places(JournalKind kind, const JournalFilter& filter, Order order, Ended ended,
                              const std::optional<Place>& before, std::size_t limit);
    std::optional<std::vector<Place>> fewPlaces(JournalKind kind, const JournalFilter& filter);
    JournalFilter sinceYesterday(JournalFilter filter) const;
    std::vector<Place> placesAfter(JournalKind kind, const JournalFilter& filter, LastKeys& keys,
                                   std::size_t limit);
    std::vector<JournalSession> recordsAt(JournalKind kind, const std::vector<Place>& places);
    std::vector<JournalSession> recordsOf(JournalKind kind, const std::vector<JournalSession*>& sessions);
    std::vector<JournalSession> ownSessions(std::vector<JournalSession> records, const JournalFilter& filter);
    void addFurtherMail(std::vector<JournalSession>& sessions, const JournalFilter& filter);
    std::vector<JournalSession> newestOf(JournalKind kind, const JournalFilter& filter, std::size_t limit);
    std::size_t countRows(JournalKind kind, const JournalFilter& filter, std::size_t at_most);
    std::optional<std::size_t> countByMail(const JournalFilter& filter);
    template <typename Visit>
    void visitKind(JournalKind kind, const JournalFilter& filter, std::size_t first_page, Visit visit);

    const Conninfo info_;
    const Options options_;
    Interrupt interrupt_;
    std::unique_ptr<Connection> connection_;
    bool is_postgres_ = false;            ///< which knows its own settings
    std::vector<KnownJournal> journals_;  ///< that are asked
    std::int64_t now_ms_ = 0;             ///< by the database's clock
    /// Of the question that is asked: what was found by its mail alone.
    std::optional<std::vector<Place>> few_of_mail_;
};

Connection& JournalReader::connected() {
    if (connection_ && !connection_->broken()) return *connection_;
    connection_.reset();
    const auto deadline = std::min(steady_clock::now() + options_.connect, options_.until);
    auto fresh = std::make_unique<Connection>(info_, deadline, interrupt_);
    is_postgres_ = requireKnown(*fresh, info_.shown, deadline);
    connection_ = std::move(fresh);
    return *connection_;
}

/// What is searched for has indexes; whatever has none is looked for from the newest on, by that of the time.
constexpr std::string_view kBySearching =
    "; SET LOCAL enable_partitionwise_join = on; SET LOCAL enable_seqscan = off";
constexpr const char* kByReading = "SET LOCAL enable_seqscan = on";

constexpr std::string_view kSelectJournals =
    "SELECT id, gateway, floor(extract(epoch FROM now() - current))::bigint, m.schema, m.needs,"
    " floor(extract(epoch FROM now()) * 1000)::bigint"
    " FROM mailgate.journal, (SELECT schema, needs FROM mailgate.meta WHERE meta.id = 1) m"
    " ORDER BY gateway, number";

/// The server gives up before we do, and says so; but that all together take too long only we know.
template <typename Work>
auto JournalReader::snapshot(const Work& work) {
    try {
        Connection& connection = connected();
        const auto now = steady_clock::now();
        const auto left = std::chrono::duration_cast<milliseconds>(options_.until - now);
        takeJournals(
            connection.run(fmt::format("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                                       "SET LOCAL statement_timeout = {}{};{}",
                                       std::max(std::min(options_.answer, left), milliseconds(1)).count(),
                                       is_postgres_ ? kBySearching : "", kSelectJournals),
                           std::min(now + options_.connect, options_.until)));
        few_of_mail_.reset();
        auto result = work();
        connection.runUnheard("COMMIT", std::min(steady_clock::now() + options_.answer, options_.until));
        return result;
    } catch (const StoreError& error) {
        connection_.reset();
        if (options_.instead.empty()) throw;
        throw StoreError(error.kind(), fmt::format("{} ({})", error.what(), options_.instead));
    }
}

Rows JournalReader::ask(const std::string& sql, const std::vector<std::string>& parameters) {
    constexpr milliseconds kGrace{2'000};
    return connection_->query(sql, parameters,
                              std::min(steady_clock::now() + options_.answer + kGrace, options_.until));
}

void JournalReader::takeJournals(const Rows& rows) {
    if (rows.size() > 0) {
        requireUsable(rows.number(0, 3), rows.number(0, 4), info_.shown);
        now_ms_ = rows.number(0, 5);
    }
    journals_.clear();
    for (std::size_t row = 0; row < rows.size(); ++row) {
        if (!options_.gateway.empty() && rows.view(row, 1) != options_.gateway) continue;
        auto age = rows.optionalNumber(row, 2);
        if (age) age = std::max<std::int64_t>(*age, 0);
        journals_.push_back({static_cast<int>(rows.number(row, 0)), rows.text(row, 1), age});
    }
}

void JournalReader::addJournals(Conditions& conditions, std::string_view alias) const {
    if (options_.gateway.empty()) return;
    std::vector<int> ids;
    for (const KnownJournal& journal : journals_)
        ids.push_back(journal.id);
    conditions.add(fmt::format("{}.journal = ANY({}::int[])", alias, conditions.bindList(ids)));
}

std::vector<ShippedJournal> JournalReader::gateways() {
    return snapshot([&] {
        std::vector<ShippedJournal> gateways;
        for (const KnownJournal& journal : journals_) {  // the last of a gateway is the one that it writes
            if (!gateways.empty() && gateways.back().gateway == journal.gateway) gateways.pop_back();
            gateways.push_back({journal.gateway, journal.age_secs});
        }
        const Rows rows =
            ask("SELECT j.gateway, m.records, m.exact, m.from_ms, m.to_ms FROM mailgate.missed m"
                " JOIN mailgate.journal j ON j.id = m.journal ORDER BY m.to_ms",
                {});
        for (std::size_t row = 0; row < rows.size(); ++row) {
            const auto gateway = std::ranges::find(gateways, rows.view(row, 0), &ShippedJournal::gateway);
            if (gateway != gateways.end()) gateway->missed.push_back(missedOf(rows, row, 1));
        }
        return gateways;
    });
}

std::vector<Place> placesOf(const Rows& rows) {
    std::vector<Place> places;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        const Place place{rows.number(row, 0), static_cast<int>(rows.number(row, 1)), rows.number(row, 2)};
        places.push_back(place);
    }
    return places;
}

/// It asks for mail, and of the session at the most since when.
bool isOfMailAlone(JournalFilter filter) {
    filter.since_ms.reset();
    Conditions conditions;
    addSessionConditions(conditions, filter, false);
    return conditions.all() == Conditions().all();
}

/// Of candidates, the newest first. A session of which several mails match has several; and what is not of that kind has
/// some, where to find them without their sessions is so much faster.
std::vector<Place> JournalReader::places(JournalKind kind, const JournalFilter& filter, Order order,
                                         Ended ended, const std::optional<Place>& before, std::size_t limit) {
    const bool by_mail = kind != JournalKind::Refused && journal::asksForMail(filter);
    const bool joined = by_mail && (kind == JournalKind::Mail || !isOfMailAlone(filter));
    const std::string_view ordered = by_mail ? "m" : "s";
    Conditions conditions;
    if (joined || !by_mail) addSessionConditions(conditions, filter, kind == JournalKind::Refused);
    if (by_mail) addMailConditions(conditions, filter);
    addJournals(conditions, ordered);
    if (ended != Ended::Whenever) {
        const std::string soon = conditions.bind(*filter.until_ms + kLongMs);
        conditions.add(ended == Ended::Soon
                           ? fmt::format("{}.at_ms <= {}", ordered, soon)
                           : fmt::format("{}.at_ms > {} AND s.duration_ms > {}", ordered, soon, kLongMs));
    }
    if (before) {
        const std::string at = conditions.bind(before->at_ms);
        conditions.add(fmt::format(
            "{0}.at_ms <= {1} AND ({0}.at_ms, {0}.journal, {0}.key) < ({1}, {2}::int, {3}::bigint)", ordered,
            at, conditions.bind(before->journal), conditions.bind(before->key)));
    }
    std::string source = by_mail ? "mailgate.mail m" : fmt::format("mailgate.{} s", tableOf(kind));
    if (joined)
        source += fmt::format(
            " JOIN mailgate.{} s ON s.journal = m.journal AND s.key = m.key AND s.at_ms = m.at_ms",
            tableOf(kind));
    const std::string most = conditions.bind(static_cast<std::int64_t>(limit));
    std::string sql = fmt::format("SELECT {0}.at_ms, {0}.journal, {0}.key FROM {1} WHERE {2}", ordered,
                                  source, conditions.all());
    if (order == Order::NewestFirst)
        sql += fmt::format(" ORDER BY {0}.at_ms DESC, {0}.journal DESC, {0}.key DESC", ordered);
    return placesOf(ask(sql + " LIMIT " + most, conditions.parameters()));
}

/// What it asks for has an index.
bool isIndexed(JournalKind kind, const JournalFilter& filter) {
    if (kind != JournalKind::Refused && journal::asksForEnvelope(filter)) return true;
    return kind != JournalKind::Mail && (filter.client || filter.user || filter.balancer);
}

/// All candidates, the newest first, where they are not many. The planner knows little of what is in lists; asked for the newest
/// it might rather look at everything from the newest on until it has found enough, and of a rare one there never is.
std::optional<std::vector<Place>> JournalReader::fewPlaces(JournalKind kind, const JournalFilter& filter) {
    if (!isIndexed(kind, filter)) return std::nullopt;
    // The session's mails and further ones are in one table: it is asked once, and not again for each day's further mail.
    const bool of_mail =
        kind != JournalKind::Refused && journal::asksForMail(filter) && isOfMailAlone(filter);
    if (of_mail && few_of_mail_) return few_of_mail_;
    std::vector<Place> found = places(kind, filter, Order::None, Ended::Whenever, std::nullopt, kMostAtOnce);
    if (found.size() == kMostAtOnce) return std::nullopt;
    std::ranges::sort(found, std::greater{},
                      [](const Place& place) { return std::tuple(place.at_ms, place.journal, place.key); });
    found.erase(std::unique(found.begin(), found.end()), found.end());
    if (of_mail) few_of_mail_ = found;
    return found;
}

/// FROM the rows of a table at these places, in their order, which is p.at, from 1 on.
std::string fromPlaces(Conditions& conditions, std::string_view table, const std::vector<Place>& places) {
    std::vector<std::int64_t> ends, keys;
    std::vector<int> journals;
    for (const Place& place : places) {
        ends.push_back(place.at_ms);
        keys.push_back(place.key);
        journals.push_back(place.journal);
    }
    // Of the days between these no other is looked at.
    conditions.add(fmt::format("t.at_ms BETWEEN {} AND {}", conditions.bind(*std::ranges::min_element(ends)),
                               conditions.bind(*std::ranges::max_element(ends))));
    return fmt::format(
        "unnest({}::bigint[], {}::int[], {}::bigint[]) WITH ORDINALITY AS p(at_ms, journal, key, at)"
        " JOIN mailgate.{} t ON t.journal = p.journal AND t.key = p.key AND t.at_ms = p.at_ms",
        conditions.bindList(ends), conditions.bindList(journals), conditions.bindList(keys), table);
}

/// With the mail that is theirs.
std::vector<JournalSession> JournalReader::recordsAt(JournalKind kind, const std::vector<Place>& places) {
    std::vector<JournalSession> records;
    if (places.empty()) return records;
    Conditions conditions;
    const std::string source = fromPlaces(conditions, tableOf(kind), places);
    const Rows rows = ask(fmt::format("SELECT p.at, t.journal, {} FROM {} WHERE {} ORDER BY p.at",
                                      sessionSelection("t"), source, conditions.all()),
                          conditions.parameters());
    std::vector<Place> with_mail;
    std::vector<std::size_t> owners;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        const auto at = static_cast<std::size_t>(rows.number(row, 0)) - 1;
        JournalSession& record = records.emplace_back(postgres::sessionOf(rows, row, 2, kind));
        const auto journal = std::ranges::find(journals_, rows.number(row, 1), &KnownJournal::id);
        if (journal != journals_.end()) record.gateway = journal->gateway;
        if (kind == JournalKind::Refused || record.mail_count == 0) continue;
        with_mail.push_back(places.at(at));
        owners.push_back(row);
    }
    if (with_mail.empty()) return records;
    Conditions of_mail;
    const std::string from = fromPlaces(of_mail, "mail", with_mail);
    const Rows mails = ask(fmt::format("SELECT p.at, {} FROM {} WHERE {} ORDER BY p.at, t.number",
                                       mailSelection("t"), from, of_mail.all()),
                           of_mail.parameters());
    for (std::size_t row = 0; row < mails.size(); ++row) {
        JournalSession& owner = records[owners.at(static_cast<std::size_t>(mails.number(row, 0)) - 1)];
        owner.mail.push_back(mailOf(mails, row, 1));
        if (kind == JournalKind::Mail) owner.mail.back().number = owner.mail_count;
    }
    return records;
}

JournalFilter JournalReader::sinceYesterday(JournalFilter filter) const {
    filter.since_ms = std::max(filter.since_ms.value_or(0), now_ms_ - kDayMs);
    return filter;
}

/// Calls `visit(record)` for those that pass, the newest first, while it returns true.
template <typename Visit>
void JournalReader::visitKind(JournalKind kind, const JournalFilter& filter, std::size_t first_page,
                              Visit visit) {
    constexpr std::size_t kLeast = 20;
    if (!isCandidate(kind, filter) || (kind == JournalKind::Mail && !journal::asksForMail(filter))) return;
    const auto visitAt = [&](const std::vector<Place>& found) {
        for (JournalSession& record : recordsAt(kind, found)) {
            if (!journal::passes(record, filter) || !journal::hasWantedMail(record, filter)) continue;
            if (!visit(std::move(record))) return false;
        }
        return true;
    };
    std::size_t page = std::clamp(first_page, kLeast, kMostAtOnce);
    const auto nextPage = [&] { return std::exchange(page, std::min(page * 4, kMostAtOnce)); };
    if (const auto few = fewPlaces(kind, filter)) {
        // Hardly any of them are further mail: in pieces it would take all of these to find none.
        if (kind == JournalKind::Mail) page = kMostAtOnce;
        for (auto from = few->begin(); from != few->end();) {
            const auto to =
                from + std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(nextPage()), few->end() - from);
            if (!visitAt({from, to})) return;
            from = to;
        }
        return;
    }
    // What ended long after the end of the period is not looked through for the few that had begun before it.
    const bool has_end = filter.until_ms && (kind == JournalKind::Refused || !isOfMailAlone(filter));
    for (const Ended ended : has_end ? std::vector{Ended::Late, Ended::Soon} : std::vector{Ended::Whenever}) {
        std::optional<Place> before;
        // Often the last day has enough, and each further one whose tables have to be looked at takes its time.
        bool lately = !filter.until_ms && sinceYesterday(filter).since_ms != filter.since_ms;
        for (bool is_last = false; !is_last;) {
            const std::size_t wanted = nextPage();
            std::vector<Place> found = places(kind, lately ? sinceYesterday(filter) : filter,
                                              Order::NewestFirst, ended, before, wanted);
            is_last = found.size() < wanted;
            if (!found.empty()) before = found.back();
            if (is_last && std::exchange(lately, false)) is_last = false;
            found.erase(std::unique(found.begin(), found.end()), found.end());
            if (!visitAt(found)) return;
        }
    }
}

std::vector<JournalSession> JournalReader::newestOf(JournalKind kind, const JournalFilter& filter,
                                                    std::size_t limit) {
    std::vector<JournalSession> found;
    if (limit == 0) return found;
    std::set<SessionName> seen;  // a session can have any number of further mails
    visitKind(kind, filter, limit, [&](JournalSession&& record) {
        if (kind == JournalKind::Mail && !seen.insert(nameOf(record)).second) return true;
        found.push_back(std::move(record));
        return found.size() < limit;
    });
    return found;
}

/// '{"…","…"}'
std::string arrayOfIds(const std::vector<JournalSession*>& sessions) {
    std::string array;
    for (const JournalSession* session : sessions) {
        array += array.empty() ? "{\"" : ",\"";
        for (const char character : session->id) {
            if (character == '"' || character == '\\') array += '\\';
            array += character;
        }
        array += '"';
    }
    return array + '}';
}

/// All records of that kind that these sessions have.
std::vector<JournalSession> JournalReader::recordsOf(JournalKind kind,
                                                     const std::vector<JournalSession*>& sessions) {
    if (sessions.empty()) return {};
    const JournalSession* const first = *std::ranges::min_element(sessions, {}, &JournalSession::started_ms);
    Conditions conditions;
    conditions.add(fmt::format("s.id = ANY({}::text[])", conditions.bind(arrayOfIds(sessions))));
    // Where they ended, but for clocks that were far off.
    conditions.add("s.at_ms >= " + conditions.bind(first->started_ms - kDayMs));
    addJournals(conditions, "s");
    return recordsAt(kind,
                     placesOf(ask(fmt::format("SELECT s.at_ms, s.journal, s.key FROM mailgate.{} s WHERE {}"
                                              " ORDER BY s.journal, s.key",
                                              tableOf(kind), conditions.all()),
                                  conditions.parameters())));
}

/// The sessions of further mails, as far as they are known.
std::vector<JournalSession> JournalReader::ownSessions(std::vector<JournalSession> records,
                                                       const JournalFilter& filter) {
    std::vector<JournalSession*> wanted;
    wanted.reserve(records.size());
    for (JournalSession& record : records)
        wanted.push_back(&record);
    std::map<SessionName, JournalSession> own;
    for (JournalSession& session : recordsOf(JournalKind::Session, wanted)) {
        SessionName name = nameOf(session);
        own.emplace(std::move(name), std::move(session));
    }
    for (JournalSession& record : records)
        if (const auto found = own.find(nameOf(record)); found != own.end()) record = found->second;
    std::erase_if(records, [&](const JournalSession& session) { return !journal::passes(session, filter); });
    return records;
}

/// Beyond those that came with its own record: those that pass. What is known of a session is all theirs when it has no
/// such record.
void JournalReader::addFurtherMail(std::vector<JournalSession>& sessions, const JournalFilter& filter) {
    std::vector<JournalSession*> divided;
    for (JournalSession& session : sessions) {
        if (session.refused() ||
            (session.kind == JournalKind::Session && session.mail_count <= session.mail.size()))
            continue;
        if (session.kind == JournalKind::Mail) session.mail.clear();
        divided.push_back(&session);
    }
    std::map<SessionName, std::vector<JournalSession>> further;
    for (JournalSession& record : recordsOf(JournalKind::Mail, divided))
        further[nameOf(record)].push_back(std::move(record));
    for (JournalSession* const session : divided) {
        for (JournalSession& record : further[nameOf(*session)]) {
            session->mail_count = std::max(session->mail_count, record.mail_count);
            for (JournalMail& mail : record.mail)
                if (journal::passes(mail, filter)) session->mail.push_back(std::move(mail));
        }
        std::ranges::stable_sort(session->mail, {}, &JournalMail::number);
    }
}

std::vector<JournalSession> JournalReader::newest(const JournalFilter& asked, std::size_t limit) {
    const JournalFilter filter = storable(asked);
    return snapshot([&] {
        std::vector<JournalSession> found = newestOf(JournalKind::Session, filter, limit);
        if (journal::asksForMail(filter)) {
            std::set<SessionName> names;
            for (const JournalSession& session : found)
                names.insert(nameOf(session));
            auto records = newestOf(JournalKind::Mail, filter, limit);
            std::erase_if(records, [&](const auto& record) { return names.contains(nameOf(record)); });
            std::ranges::move(ownSessions(std::move(records), filter), std::back_inserter(found));
        }
        std::ranges::move(newestOf(JournalKind::Refused, filter, limit), std::back_inserter(found));
        std::ranges::reverse(found);
        found = byEnd(std::move(found));
        if (found.size() > limit)
            found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(limit));
        addFurtherMail(found, filter);
        return found;
    });
}

/// The rows' conditions let through what passes, and nothing else: nobody needs to see the records.
bool areRowsExact(const JournalFilter& filter) {
    return !journal::asksForMail(filter) && !filter.listener && !filter.protocol && !filter.helo &&
           !filter.end && !filter.tls && !filter.server;
}

/// The same of the mail's, where nothing else is asked for.
bool areMailsExact(const JournalFilter& filter) {
    return isOfMailAlone(filter) && !filter.since_ms && !filter.reply && !filter.message_id &&
           !filter.refused_to && filter.to != "@";
}

std::size_t JournalReader::countRows(JournalKind kind, const JournalFilter& filter, std::size_t at_most) {
    Conditions conditions;
    addSessionConditions(conditions, filter, kind == JournalKind::Refused);
    // Where a clock was far off, at_ms is another time.
    if (filter.since_ms)
        conditions.add("s.started_ms + s.duration_ms >= " + conditions.bind(*filter.since_ms));
    addJournals(conditions, "s");
    const std::string most = conditions.bind(static_cast<std::int64_t>(at_most));
    const Rows rows =
        ask(fmt::format("SELECT count(*) FROM (SELECT 1 FROM mailgate.{} s WHERE {} LIMIT {}) t",
                        tableOf(kind), conditions.all(), most),
            conditions.parameters());
    return static_cast<std::size_t>(rows.number(0, 0));
}

/// None: there are many, or of some sessions several.
std::optional<std::size_t> JournalReader::countByMail(const JournalFilter& filter) {
    if (!areMailsExact(filter)) return std::nullopt;
    const auto few = fewPlaces(JournalKind::Session, filter);
    if (!few) return std::nullopt;
    if (few->empty()) return 0;
    Conditions conditions;
    const std::string source = fromPlaces(conditions, tableOf(JournalKind::Mail), *few);
    const Rows further = ask(fmt::format("SELECT 1 FROM {} WHERE {} LIMIT 1", source, conditions.all()),
                             conditions.parameters());
    if (further.size() > 0) return std::nullopt;
    return few->size();
}

std::size_t JournalReader::count(const JournalFilter& asked, std::size_t at_most) {
    const JournalFilter filter = storable(asked);
    return snapshot([&] {
        std::size_t count = 0;
        if (areRowsExact(filter)) {
            for (const JournalKind kind : {JournalKind::Session, JournalKind::Refused})
                if (count < at_most && isCandidate(kind, filter))
                    count += countRows(kind, filter, at_most - count);
            return count;
        }
        if (journal::asksForEnvelope(filter) && !filter.refused_only)
            if (const auto found = countByMail(filter)) return std::min(*found, at_most);
        std::set<SessionName> names;  // of those whose mails may have records of their own
        const auto take = [&](JournalSession&& session) {
            if (journal::asksForMail(filter)) names.insert(nameOf(session));
            return ++count < at_most;
        };
        visitKind(JournalKind::Session, filter, at_most, take);
        if (count < at_most)
            visitKind(JournalKind::Mail, filter, at_most, [&](JournalSession&& record) {
                if (!names.insert(nameOf(record)).second) return true;
                std::vector<JournalSession> one;
                one.push_back(std::move(record));
                count += ownSessions(std::move(one), filter).size();
                return count < at_most;
            });
        if (count < at_most) visitKind(JournalKind::Refused, filter, at_most, take);
        return count;
    });
}

std::vector<JournalSession> JournalReader::withId(const std::string& asked, std::size_t limit) {
    std::string prefix = asked;  // as they are written
    for (char& character : prefix)
        character = character >= 'a' && character <= 'z' ? static_cast<char>(character - 0x20) : character;
    if (prefix.empty() || !std::ranges::all_of(prefix, [](char one) { return one > ' ' && one < 0x7F; }))
        return {};
    return snapshot([&] {
        std::vector<JournalSession> found;
        for (const JournalKind kind : {JournalKind::Session, JournalKind::Refused, JournalKind::Mail}) {
            if (found.size() >= limit) break;
            Conditions conditions;
            conditions.add(fmt::format("s.id >= {} AND s.id < {}", conditions.bind(prefix),
                                       conditions.bind(behind(prefix))));
            addJournals(conditions, "s");
            const std::string most = conditions.bind(static_cast<std::int64_t>(limit));
            auto records = recordsAt(
                kind,
                placesOf(ask(fmt::format("SELECT {} s.at_ms, s.journal, s.key FROM mailgate.{} s WHERE {}"
                                         " ORDER BY s.id, s.journal, s.key LIMIT {}",
                                         kind == JournalKind::Mail ? "DISTINCT ON (s.id)" : "", tableOf(kind),
                                         conditions.all(), most),
                             conditions.parameters())));
            for (JournalSession& record : records)
                if (found.size() < limit &&
                    std::ranges::find(found, record.id, &JournalSession::id) == found.end())
                    found.push_back(std::move(record));
        }
        addFurtherMail(found, {});
        std::ranges::sort(found, {}, &JournalSession::id);
        return found;
    });
}

journal::Position JournalReader::end() {
    return snapshot([&] {
        std::vector<int> ids;
        for (const KnownJournal& journal : journals_)
            ids.push_back(journal.id);
        Conditions conditions;
        const std::string list = conditions.bindList(ids);
        const auto last = [](JournalKind kind) {
            return fmt::format("coalesce((SELECT max(key) FROM mailgate.{} WHERE journal = j.id), 0)",
                               tableOf(kind));
        };
        const Rows rows = ask(fmt::format("SELECT j.id, {}, {} FROM unnest({}::int[]) AS j(id)",
                                          last(JournalKind::Session), last(JournalKind::Refused), list),
                              conditions.parameters());
        LastKeys keys{now_ms_ - kClocksDiffer.count()};
        for (std::size_t row = 0; row < rows.size(); ++row)
            keys.journals[static_cast<int>(rows.number(row, 0))] = {
                {rows.number(row, 1), rows.number(row, 2)}, false};
        return positionOf(keys);
    });
}

/// Of candidates among the next rows of each journal; `keys` moves behind all of these.
std::vector<Place> JournalReader::placesAfter(JournalKind kind, const JournalFilter& filter, LastKeys& keys,
                                              std::size_t limit) {
    if (journals_.empty()) return {};
    const auto of_kind = static_cast<std::size_t>(kind);
    std::vector<int> ids, fresh;
    std::vector<std::int64_t> last;
    for (const KnownJournal& journal : journals_) {
        const LastKeys::Keys& known = keys.journals[journal.id];
        ids.push_back(journal.id);
        last.push_back(known.last[of_kind]);
        if (known.is_new && keys.since_ms > 0) fresh.push_back(journal.id);
    }
    Conditions next;
    if (filter.since_ms) next.add("s.at_ms >= " + next.bind(*filter.since_ms));
    const std::string from = next.bindList(ids), behind_keys = next.bindList(last);
    // Of a gateway that joins, or brings another journal: what is in that from before is no news, however much it is.
    const std::string past =
        fresh.empty() ? "0"
                      : fmt::format(
                            "CASE WHEN u.journal = ANY({}::int[]) THEN coalesce((SELECT max(key) FROM "
                            "mailgate.{} WHERE journal = u.journal AND at_ms < {}), 0) ELSE 0 END",
                            next.bindList(fresh), tableOf(kind), next.bind(keys.since_ms));
    const std::string most =
        next.bind(static_cast<std::int64_t>(std::max<std::size_t>(limit / journals_.size(), 1)));
    const Rows windows =
        ask(fmt::format(
                "SELECT p.journal, p.last, w.upto FROM (SELECT u.journal, greatest(u.last, {}) AS last FROM"
                " unnest({}::int[], {}::bigint[]) AS u(journal, last)) p CROSS JOIN LATERAL (SELECT "
                "max(n.key) AS upto FROM (SELECT s.key FROM mailgate.{} s WHERE"
                " s.journal = p.journal AND s.key > p.last AND {} ORDER BY s.key LIMIT {}) n) w"
                " WHERE w.upto IS NOT NULL",
                past, from, behind_keys, tableOf(kind), next.all(), most),
            next.parameters());
    if (windows.size() == 0) return {};
    ids.clear();
    last.clear();
    std::vector<std::int64_t> upto;
    for (std::size_t row = 0; row < windows.size(); ++row) {
        ids.push_back(static_cast<int>(windows.number(row, 0)));
        last.push_back(windows.number(row, 1));
        upto.push_back(windows.number(row, 2));
        keys.journals[ids.back()].last[of_kind] = upto.back();
    }
    Conditions conditions;
    JournalFilter of_session = filter;
    of_session.reply.reset();  // a further mail may have it
    addSessionConditions(conditions, of_session, false);
    const std::string list =
        fmt::format("unnest({}::int[], {}::bigint[], {}::bigint[])", conditions.bindList(ids),
                    conditions.bindList(last), conditions.bindList(upto));
    return placesOf(ask(fmt::format("SELECT s.at_ms, s.journal, s.key FROM {} AS p(journal, last, upto)"
                                    " JOIN mailgate.{} s ON s.journal = p.journal AND s.key > p.last"
                                    " AND s.key <= p.upto WHERE {} ORDER BY s.journal, s.key",
                                    list, tableOf(kind), conditions.all()),
                        conditions.parameters()));
}

std::vector<JournalSession> JournalReader::after(const JournalFilter& asked, journal::Position& position,
                                                 std::size_t limit) {
    const JournalFilter filter = storable(asked);
    LastKeys keys = keysOf(position);
    auto found = snapshot([&] {
        std::vector<JournalSession> records;
        for (const JournalKind kind : {JournalKind::Session, JournalKind::Refused}) {
            if (!isCandidate(kind, filter)) continue;
            auto next = recordsAt(kind, placesAfter(kind, filter, keys, limit));
            std::vector<bool> complete;
            std::vector<std::size_t> own;
            for (const JournalSession& record : next) {
                complete.push_back(journal::hasWantedMail(record, filter));
                own.push_back(record.mail.size());
            }
            addFurtherMail(next, filter);
            for (std::size_t at = 0; at < next.size(); ++at)
                if (journal::passes(next[at], filter) && (complete[at] || next[at].mail.size() > own[at]))
                    records.push_back(std::move(next[at]));
        }
        return records;
    });
    position = positionOf(keys);
    return byEnd(std::move(found));
}

JournalTop JournalReader::top(const JournalTopQuery& query) {
    return snapshot([&] {
        if (is_postgres_) connection_->run(kByReading, steady_clock::now() + options_.answer);
        std::optional<std::vector<int>> ids;
        if (!options_.gateway.empty()) {
            ids.emplace();
            for (const KnownJournal& journal : journals_)
                ids->push_back(journal.id);
        }
        return sumUp(query, ids, [&](const std::string& sql, const std::vector<std::string>& parameters) {
            return ask(sql, parameters);
        });
    });
}

}  // namespace

std::unique_ptr<FleetJournal> openJournal(const std::string& url, const FleetJournal::Options& options) {
    return std::make_unique<JournalReader>(url, options);
}

}  // namespace mailgate::store::postgres
