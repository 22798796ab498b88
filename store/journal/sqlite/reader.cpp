// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/reader.h"

#include "protocols/values/text.h"
#include "store/journal/filter.h"
#include "store/journal/mask.h"
#include "store/journal/sqlite/rows.h"
#include "store/journal/sqlite/schema.h"
#include "store/journal/sqlite/terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace mailgate::store::journal {

namespace {

TermRange addressTerm(TermKind address, TermKind domain, std::string_view wanted) {
    return wanted.starts_with('@') ? textTerm(domain, wanted.substr(1)) : textTerm(address, wanted);
}

/// What a sealed segment is asked for; the most telling first.
std::vector<TermRange> termsOf(const JournalFilter& filter) {
    std::vector<TermRange> terms;
    if (filter.message_id) terms.push_back(messageIdTerm(*filter.message_id));
    if (filter.queue_id) terms.push_back(textTerm(TermKind::MailId, *filter.queue_id));
    if (filter.from) terms.push_back(addressTerm(TermKind::Sender, TermKind::SenderDomain, *filter.from));
    for (const auto& to : {filter.to, filter.refused_to})
        if (to) terms.push_back(addressTerm(TermKind::Recipient, TermKind::RecipientDomain, *to));
    // ::/0 and 0.0.0.0/0 would list every row only to leave none out.
    if (filter.client) terms.push_back(clientTerms(*filter.client));
    if (filter.failed_login) terms.push_back(failedLoginTerm());
    if (filter.user) terms.push_back(textTerm(TermKind::User, *filter.user));
    if (filter.server) {
        const std::string_view server = *filter.server;
        terms.push_back(textTerm(TermKind::Server, server.substr(server.find('/') + 1)));
    }
    if (filter.listener) terms.push_back(textTerm(TermKind::Listener, *filter.listener));
    if (filter.balancer) terms.push_back(balancerTerms(*filter.balancer));
    if (filter.allowed) terms.push_back(verdictTerm(*filter.allowed));
    return terms;
}

/// A session with no more mails than these has them all in its own record.
constexpr int kMailBeforeFurther = 1;

std::string keyRange(Kind kind, std::string_view order, std::string_view and_more = "") {
    return selectSql(kind, fmt::format("s.key BETWEEN ?1 AND ?2{} ORDER BY s.key{}", and_more, order));
}

/// Crockford's base 32, as ids are written; -1: not a digit of it.
int ulidDigit(char character) noexcept {
    constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    const std::size_t at = kAlphabet.find(lower(character));
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// When sessions whose ids begin like this started.
struct Span {
    std::int64_t first_ms = 0, last_ms = 0;
};
std::optional<Span> startOf(std::string_view prefix) noexcept {
    constexpr std::size_t kTimeDigits = 10;
    Span span;
    for (std::size_t at = 0; at < kTimeDigits; ++at) {
        const int digit = at < prefix.size() ? ulidDigit(prefix[at]) : -1;
        if (at < prefix.size() && digit < 0) return std::nullopt;
        span.first_ms = span.first_ms * 32 + std::max(digit, 0);
        span.last_ms = span.last_ms * 32 + (at < prefix.size() ? digit : 31);
    }
    return span;
}

/// What a position says: the last rows seen.
struct LastKeys {
    std::int64_t session = 0, refused = 0;
};

Position positionOf(const LastKeys& keys) {
    return {fmt::format("{}/{}", keys.session, keys.refused)};
}

LastKeys keysOf(const Position& position) noexcept {
    LastKeys keys;
    const char* const end = position.text.data() + position.text.size();
    const char* const slash = std::from_chars(position.text.data(), end, keys.session).ptr;
    if (slash != end) std::from_chars(slash + 1, end, keys.refused);
    return keys;
}

bool hasPrefix(std::string_view id, std::string_view prefix) noexcept {
    return id.size() >= prefix.size() && sameText(id.substr(0, prefix.size()), prefix);
}

}  // namespace

struct Reader::Impl {
    Impl(const std::string& url, std::function<void()> on_look);

    /// Calls `visit(session)` for the rows of a segment that pass, the last first, while it returns true.
    template <typename Visit>
    bool visitSegment(const Segment& segment, const JournalFilter& filter,
                      const std::vector<TermRange>& wanted, Visit visit);
    template <typename Visit>
    bool visitRow(std::int64_t key, Kind kind, const JournalFilter& filter, Visit visit);
    template <typename Visit>
    void visitKind(Kind kind, const JournalFilter& filter, Visit visit);
    bool isCandidate(const Segment& segment, const JournalFilter& filter) const;
    std::vector<std::uint16_t> rowsWith(std::int64_t segment, const std::vector<TermRange>& wanted);
    bool completes(std::int64_t key, JournalSession& session, const JournalFilter& filter);
    void addMail(std::int64_t key, JournalSession& session);
    std::vector<JournalSession> newestOf(Kind kind, const JournalFilter& filter, std::size_t limit);
    std::vector<JournalSession> recordsOf(Kind kind, std::int64_t started_ms, const std::string& id);
    void addFurtherMail(JournalSession& session, const JournalFilter& filter);
    JournalSession sessionOf(JournalSession&& record);
    std::int64_t lastKeyOf(Kind kind);
    std::int64_t firstKeyAfter(std::int64_t last, Kind kind, const JournalFilter& filter);

    void countRow() {
        constexpr unsigned kRowsBetween = 1'000;
        if (++rows_read % kRowsBetween == 0 && look) look();
    }

    const std::function<void()> look;
    unsigned rows_read = 0;
    sqlite::Database database;
    using ByKind = std::array<std::optional<sqlite::RawStatement>, kKinds.size()>;
    ByKind select, select_backwards;
    ByKind select_would_refuse;  ///< of most journals few records are such
    sqlite::RawStatement select_mail;
    TermReader terms;

    static sqlite::Database openFile(const std::string& url);
};

sqlite::Database Reader::Impl::openFile(const std::string& url) {
    const std::string path = sqlite::pathOf(url);
    std::error_code no_size;
    // A package makes the file before the gateway has run.
    if (std::filesystem::file_size(path, no_size) == 0 && !no_size)
        throw StoreError(StoreError::Kind::Open,
                         fmt::format("{}: nothing has been written to the journal yet", path));
    if (sqlite::identityOf(path) == sqlite::FileIdentity{})
        throw StoreError(StoreError::Kind::Open,
                         fmt::format("{}: there is no journal yet: is the gateway running with this "
                                     "configuration, and with [journal] enabled?",
                                     path));
    return {path, {.create = false, .durability = sqlite::Durability::Process, .when_damaged = kWhenDamaged}};
}

Reader::Impl::Impl(const std::string& url, std::function<void()> on_look)
    : look(std::move(on_look)),
      database(openFile(url)),
      select_mail((migrate(database, false), database), selectMailSql()),
      terms(database) {
    for (const Kind kind : kKinds) {
        select[index(kind)].emplace(database, keyRange(kind, ""));
        select_backwards[index(kind)].emplace(database, keyRange(kind, " DESC"));
        select_would_refuse[index(kind)].emplace(database, keyRange(kind, "", " AND s.would_refuse <> ''"));
    }
}

bool Reader::Impl::isCandidate(const Segment& segment, const JournalFilter& filter) const {
    if (filter.refused_only && segment.kind != Kind::Refused) return false;
    if ((asksForEnvelope(filter) || filter.failed_login) && segment.kind == Kind::Refused) return false;
    if (filter.since_ms && segment.last_ms < *filter.since_ms) return false;
    return !filter.until_ms || segment.first_ms <= *filter.until_ms;
}

std::vector<std::uint16_t> Reader::Impl::rowsWith(std::int64_t segment,
                                                  const std::vector<TermRange>& wanted) {
    std::vector<std::uint16_t> rows = terms.rows(segment, wanted.front());
    for (std::size_t at = 1; at < wanted.size() && !rows.empty(); ++at) {
        const std::vector<std::uint16_t> more = terms.rows(segment, wanted[at]);
        std::vector<std::uint16_t> both;
        std::set_intersection(rows.begin(), rows.end(), more.begin(), more.end(), std::back_inserter(both));
        rows = std::move(both);
    }
    return rows;
}

void Reader::Impl::addMail(std::int64_t key, JournalSession& session) {
    select_mail.bind(1, key << kMailBits);
    select_mail.bind(2, ((key + 1) << kMailBits) - 1);
    const std::size_t most = session.kind == Kind::Mail ? 1 : session.mail_count;
    while (session.mail.size() < most && select_mail.step()) {
        session.mail.push_back(readMail(select_mail));
        if (session.kind == Kind::Mail) session.mail.back().number = session.mail_count;
    }
    select_mail.reset();
}

/// Reads the rest of the session, and whether its mail passes.
bool Reader::Impl::completes(std::int64_t key, JournalSession& session, const JournalFilter& filter) {
    if (!session.refused() && session.mail_count > 0) addMail(key, session);
    if (!session.client_masked) unmaskReplies(session);
    return hasWantedMail(session, filter);
}

template <typename Visit>
bool Reader::Impl::visitRow(std::int64_t key, Kind kind, const JournalFilter& filter, Visit visit) {
    countRow();
    sqlite::RawStatement& row = *select[index(kind)];
    row.bind(1, key);
    row.bind(2, key);
    std::optional<JournalSession> session;
    if (row.step()) session = readSession(row, kind);
    row.reset();
    if (!session || !passes(*session, filter) || !completes(key, *session, filter)) return true;
    return visit(std::move(*session));
}

template <typename Visit>
bool Reader::Impl::visitSegment(const Segment& segment, const JournalFilter& filter,
                                const std::vector<TermRange>& wanted, Visit visit) {
    // What version 1 wrote has other terms; the writer is about to replace them.
    if (segment.sealed && segment.addresses != Addresses::InRows && !wanted.empty()) {
        const std::vector<std::uint16_t> rows = rowsWith(segment.number, wanted);
        return std::all_of(rows.rbegin(), rows.rend(), [&](std::uint16_t row) {
            return visitRow(firstKey(segment.number) + row, segment.kind, filter, visit);
        });
    }
    sqlite::RawStatement& row = *select_backwards[index(segment.kind)];
    row.bind(1, firstKey(segment.number));
    row.bind(2, lastKey(segment.number));
    bool more = true;
    while (more && row.step()) {
        countRow();
        JournalSession session = readSession(row, segment.kind);
        if (passes(session, filter) && completes(row.number(0), session, filter))
            more = visit(std::move(session));
    }
    row.reset();
    return more;
}

std::int64_t Reader::Impl::lastKeyOf(Kind kind) {
    return database.number(fmt::format("SELECT coalesce(max(key), 0) FROM {}", tableOf(kind)));
}

/// Segments of another time than the filter's are not read.
std::int64_t Reader::Impl::firstKeyAfter(std::int64_t last, Kind kind, const JournalFilter& filter) {
    for (const Segment& segment : readSegments(database))
        if (segment.kind == kind && lastKey(segment.number) > last && isCandidate(segment, filter))
            return std::max(last + 1, firstKey(segment.number));
    return last + 1;
}

Reader::Reader(const std::string& url, std::function<void()> look)
    : impl_(std::make_unique<Impl>(url, std::move(look))) {}

Reader::~Reader() = default;

/// Calls `visit(record)` for those that pass, the newest first, while it returns true.
template <typename Visit>
void Reader::Impl::visitKind(Kind kind, const JournalFilter& filter, Visit visit) {
    const std::vector<Segment> segments = readSegments(database);
    const std::vector<TermRange> wanted = termsOf(filter);
    for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
        if (segment->kind != kind || !isCandidate(*segment, filter)) continue;
        if (!visitSegment(*segment, filter, wanted, visit)) return;
    }
}

/// Those that pass, the newest first.
std::vector<JournalSession> Reader::Impl::newestOf(Kind kind, const JournalFilter& filter,
                                                   std::size_t limit) {
    std::vector<JournalSession> found;
    if (limit == 0) return found;
    std::set<std::string> seen;  // a session can have any number of further mails
    const auto take = [&](JournalSession&& session) {
        if (kind == Kind::Mail && !seen.insert(session.id).second) return true;
        found.push_back(std::move(session));
        return found.size() < limit;
    };
    visitKind(kind, filter, take);
    return found;
}

/// The records of one session, which say when it started.
std::vector<JournalSession> Reader::Impl::recordsOf(Kind kind, std::int64_t started_ms,
                                                    const std::string& id) {
    std::vector<JournalSession> found;
    const JournalFilter any;
    const auto take = [&](JournalSession&& session) {
        if (session.id == id) found.push_back(std::move(session));
        return true;
    };
    const std::vector<TermRange> started{startedTerms(started_ms, started_ms)};
    for (const Segment& segment : readSegments(database)) {
        if (segment.kind != kind || segment.first_ms > started_ms || segment.last_ms < started_ms) continue;
        if (segment.sealed && segment.addresses != Addresses::InRows) {
            visitSegment(segment, any, started, take);
            continue;
        }
        std::vector<std::int64_t> keys;
        sqlite::RawStatement select_keys(
            database,
            fmt::format("SELECT key FROM {} WHERE key BETWEEN ?1 AND ?2 AND started_ms = ?3 AND id = ?4",
                        tableOf(kind)));
        select_keys.bind(1, firstKey(segment.number));
        select_keys.bind(2, lastKey(segment.number));
        select_keys.bind(3, started_ms);
        select_keys.bind(4, id);
        while (select_keys.step())
            keys.push_back(select_keys.number(0));
        for (const std::int64_t key : keys)
            visitRow(key, kind, any, take);
    }
    return found;
}

/// Beyond those that came with its own record: those that pass. What is known of the session is all theirs
/// when it has no such record.
void Reader::Impl::addFurtherMail(JournalSession& session, const JournalFilter& filter) {
    if (session.refused() || (session.kind == Kind::Session && session.mail_count <= session.mail.size()))
        return;
    if (session.kind == Kind::Mail) session.mail.clear();
    for (JournalSession& record : recordsOf(Kind::Mail, session.started_ms, session.id)) {
        session.mail_count = std::max(session.mail_count, record.mail_count);
        for (JournalMail& mail : record.mail)
            if (passes(mail, filter)) session.mail.push_back(std::move(mail));
    }
    std::stable_sort(session.mail.begin(), session.mail.end(),
                     [](const auto& one, const auto& other) { return one.number < other.number; });
}

/// The session of a further mail, as far as it is known.
JournalSession Reader::Impl::sessionOf(JournalSession&& record) {
    std::vector<JournalSession> own = recordsOf(Kind::Session, record.started_ms, record.id);
    return std::move(own.empty() ? record : own.front());
}

namespace {

/// Both are newest first, each by the writer's order, which is that of the ends but for a worker's batch.
std::vector<JournalSession> mergedByEnd(std::vector<JournalSession> sessions,
                                        std::vector<JournalSession> more) {
    std::move(more.begin(), more.end(), std::back_inserter(sessions));
    std::reverse(sessions.begin(), sessions.end());
    std::stable_sort(sessions.begin(), sessions.end(),
                     [](const auto& one, const auto& other) { return one.endedMs() < other.endedMs(); });
    return sessions;
}

bool hasId(const std::vector<JournalSession>& sessions, std::string_view id) {
    return std::any_of(sessions.begin(), sessions.end(),
                       [&](const JournalSession& session) { return session.id == id; });
}

}  // namespace

std::vector<JournalSession> Reader::newest(const JournalFilter& filter, std::size_t limit) {
    std::vector<JournalSession> found;
    impl_->database.snapshot([&] {
        std::vector<JournalSession> sessions = impl_->newestOf(Kind::Session, filter, limit);
        if (asksForMail(filter)) {
            std::set<std::string> ids;
            for (const JournalSession& session : sessions)
                ids.insert(session.id);
            for (JournalSession& record : impl_->newestOf(Kind::Mail, filter, limit)) {
                if (ids.contains(record.id)) continue;
                JournalSession session = impl_->sessionOf(std::move(record));
                if (passes(session, filter)) sessions.push_back(std::move(session));
            }
        }
        found = mergedByEnd(std::move(sessions), impl_->newestOf(Kind::Refused, filter, limit));
        if (found.size() > limit)
            found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(limit));
        for (JournalSession& session : found)
            impl_->addFurtherMail(session, filter);
    });
    return found;
}

std::size_t Reader::count(const JournalFilter& filter, std::size_t at_most) {
    std::size_t count = 0;
    std::set<std::string> ids;  // of those whose mails may have records of their own
    const auto take = [&](JournalSession&& session) {
        if (asksForMail(filter)) ids.insert(std::move(session.id));
        return ++count < at_most;
    };
    const auto takeMail = [&](JournalSession&& record) {
        if (!ids.insert(record.id).second) return true;
        count += passes(impl_->sessionOf(std::move(record)), filter) ? 1 : 0;
        return count < at_most;
    };
    impl_->database.snapshot([&] {
        impl_->visitKind(Kind::Session, filter, take);
        if (asksForMail(filter) && count < at_most) impl_->visitKind(Kind::Mail, filter, takeMail);
        if (count < at_most) impl_->visitKind(Kind::Refused, filter, take);
    });
    return count;
}

std::vector<JournalSession> Reader::withId(const std::string& prefix, std::size_t limit) {
    std::vector<JournalSession> found;
    const auto span = startOf(prefix);
    if (!span || prefix.empty()) return found;
    const JournalFilter any;
    impl_->database.snapshot([&] {
        const std::vector<TermRange> terms{startedTerms(span->first_ms, span->last_ms)};
        const auto take = [&](JournalSession&& session) {
            if (hasPrefix(session.id, prefix) && !hasId(found, session.id))
                found.push_back(std::move(session));
            return found.size() < limit;
        };
        for (const Kind kind : kKinds)
            for (const Segment& segment : readSegments(impl_->database)) {
                if (segment.kind != kind || segment.last_ms < span->first_ms ||
                    segment.first_ms > span->last_ms)
                    continue;
                if (found.size() >= limit || !impl_->visitSegment(segment, any, terms, take)) break;
            }
        for (JournalSession& session : found)
            impl_->addFurtherMail(session, any);
    });
    std::sort(found.begin(), found.end(),
              [](const auto& one, const auto& other) { return one.id < other.id; });
    return found;
}

namespace {

/// Records are large: each is moved once.
std::vector<JournalSession> byEnd(std::vector<JournalSession>&& found) {
    if (std::ranges::is_sorted(found, {}, &JournalSession::endedMs)) return std::move(found);
    std::vector<JournalSession*> order;
    order.reserve(found.size());
    for (JournalSession& session : found)
        order.push_back(&session);
    std::stable_sort(order.begin(), order.end(),
                     [](const auto* one, const auto* other) { return one->endedMs() < other->endedMs(); });
    std::vector<JournalSession> sorted;
    sorted.reserve(found.size());
    for (JournalSession* const session : order)
        sorted.push_back(std::move(*session));
    return sorted;
}

}  // namespace

Position Reader::end() {
    return positionOf({impl_->lastKeyOf(Kind::Session), impl_->lastKeyOf(Kind::Refused)});
}

std::vector<JournalSession> Reader::after(const JournalFilter& filter, Position& position,
                                          std::size_t limit) {
    std::vector<JournalSession> found;
    constexpr std::size_t kUsual = 128;
    found.reserve(std::min(limit, kUsual));
    LastKeys keys = keysOf(position);
    impl_->database.snapshot([&] {
        for (const Kind kind : {Kind::Session, Kind::Refused}) {
            std::int64_t& last = kind == Kind::Session ? keys.session : keys.refused;
            auto& select = filter.would_refuse ? impl_->select_would_refuse : impl_->select;
            sqlite::RawStatement& row = *select[index(kind)];
            row.bind(1, impl_->firstKeyAfter(last, kind, filter));
            row.bind(2, std::numeric_limits<std::int64_t>::max());
            std::size_t seen = 0;
            for (; seen < limit && row.step(); ++seen) {
                last = row.number(0);
                JournalSession session = readSession(row, kind);
                const bool wanted = kind == Kind::Refused ? !asksForEnvelope(filter) : !filter.refused_only;
                if (!wanted || !passes(session, filter)) continue;
                const bool complete = impl_->completes(last, session, filter);
                const std::size_t own = session.mail.size();
                impl_->addFurtherMail(session, filter);
                if (complete || session.mail.size() > own) found.push_back(std::move(session));
            }
            row.reset();
            // What was left out is not looked at again.
            if (filter.would_refuse && seen < limit) last = std::max(last, impl_->lastKeyOf(kind));
        }
    });
    position = positionOf(keys);
    return byEnd(std::move(found));
}

namespace {

/// The sums of one kind, by name. Open addressing: with most names seen once or twice, a node-based map took
/// more time than reading the journal.
class Sums {
  public:
    struct Entry : JournalSums {
        std::int64_t seen_in = -1;    ///< the key of the session that was counted last
        std::uint64_t abandoned = 0;  ///< transactions among `mails` that are none
    };
    Entry& operator[](std::string_view name);
    std::vector<JournalSums> heaviest(SumsBy by, std::size_t limit);

  private:
    struct Slot {
        std::uint32_t hash = 0;
        std::uint32_t entry = 0;  ///< its number, from 1 on; 0: free
    };
    std::size_t firstSlot(std::uint32_t hash) const noexcept { return hash & (slots_.size() - 1); }
    std::size_t nextSlot(std::size_t slot) const noexcept { return (slot + 1) & (slots_.size() - 1); }
    void grow();

    std::vector<Slot> slots_ = std::vector<Slot>(1'024);  ///< a power of two, at most half full
    std::deque<Entry> entries_;
};

Sums::Entry& Sums::operator[](std::string_view name) {
    const auto hash = static_cast<std::uint32_t>(std::hash<std::string_view>{}(name));
    std::size_t at = firstSlot(hash);
    for (; slots_[at].entry != 0; at = nextSlot(at)) {
        if (slots_[at].hash != hash) continue;
        Entry& entry = entries_[slots_[at].entry - 1];
        if (entry.name == name) return entry;
    }
    Entry& entry = entries_.emplace_back();
    entry.name = name;
    slots_[at] = {hash, static_cast<std::uint32_t>(entries_.size())};
    if (entries_.size() * 2 > slots_.size()) grow();
    return entry;
}

void Sums::grow() {
    const std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(slots_.size() * 4));
    for (const Slot& slot : before) {
        if (slot.entry == 0) continue;
        std::size_t at = firstSlot(slot.hash);
        while (slots_[at].entry != 0)
            at = nextSlot(at);
        slots_[at] = slot;
    }
}

std::uint64_t weight(const JournalSums& sums, SumsBy by) noexcept {
    switch (by) {
        case SumsBy::Sessions:
            return sums.sessions;
        case SumsBy::Bytes:
            return sums.bytes_in + sums.bytes_out;
        case SumsBy::Refused:
            return sums.refused + sums.mails_refused;
        case SumsBy::FailedLogins:
            return sums.failed_logins;
    }
    return 0;
}

std::vector<JournalSums> Sums::heaviest(SumsBy by, std::size_t limit) {
    std::vector<JournalSums*> sorted;
    for (Entry& entry : entries_) {
        // A session that is not over has such, and no sum of its mails yet.
        entry.mails -= std::min(entry.mails, entry.abandoned);
        if (weight(entry, by) > 0) sorted.push_back(&entry);
    }
    const auto kept = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(limit, sorted.size()));
    std::partial_sort(sorted.begin(), kept, sorted.end(),
                      [&](const JournalSums* one, const JournalSums* other) {
                          const auto a = weight(*one, by), b = weight(*other, by);
                          return a != b ? a > b : one->name < other->name;
                      });
    std::vector<JournalSums> heaviest;
    for (auto entry = sorted.begin(); entry != kept; ++entry)
        heaviest.push_back(std::move(**entry));
    return heaviest;
}

/// What became of a mail, of those that the server did not accept.
enum class Outcome : std::uint8_t { Accepted, Refused, Abandoned };
constexpr std::string_view kOutcome = "CASE WHEN accepted THEN 0 WHEN reply = '' THEN 2 ELSE 1 END";

/// Adds up segment by segment, in three passes over what each table holds of it: a row is looked at for the
/// few columns that count.
class Adder {
  public:
    Adder(sqlite::Database& database, const JournalTopQuery& query) : database_(database), query_(query) {
        for (const SumsOf what : query.of)
            sums_[static_cast<std::size_t>(what)].emplace();
        for (const Kind kind : kKinds)
            select_[index(kind)].emplace(
                database,
                fmt::format("SELECT key, client, started_ms, duration_ms, user, {}, mail_count, bytes_in,"
                            " bytes_out, CASE WHEN mail_count > {} THEN id ELSE '' END, repeated,"
                            " {}, {}, {} FROM {} WHERE key BETWEEN ?1 AND ?2 ORDER BY key",
                            kFailedLogin, kMailBeforeFurther, query.listener ? "listener" : "''",
                            of(SumsOf::Helos) != nullptr ? "helo" : "''",
                            of(SumsOf::Ends) != nullptr ? "end" : "''", tableOf(kind)));
        const bool recipients = of(SumsOf::Recipients) != nullptr;
        select_mail_.emplace(
            database,
            fmt::format("SELECT key, sender, size, {}, {} FROM mail WHERE key BETWEEN ?1 AND ?2 ORDER BY key",
                        kOutcome, recipients ? "recipients, refused" : "'', ''"));
    }

    void add(const Segment& segment) {
        addSessions(segment);
        if (!query_.of.empty() && segment.kind != Kind::Refused) addMail(segment);
    }
    JournalTop top() {
        for (std::size_t at = 0; at < kSumsOf; ++at)
            if (sums_[at]) total_.sums[at] = sums_[at]->heaviest(query_.by, query_.limit);
        return std::move(total_);
    }

  private:
    /// Null where it was not asked for.
    Sums* of(SumsOf what) noexcept {
        auto& sums = sums_[static_cast<std::size_t>(what)];
        return sums ? &*sums : nullptr;
    }
    bool isWanted(const sqlite::RawStatement& row, std::string_view client) const;
    void addSessions(const Segment& segment);
    void addSession(const sqlite::RawStatement& row, Kind kind, std::string_view client,
                    std::string_view helo);
    void addMail(const Segment& segment);
    void addMailTo(Sums::Entry& sums, std::int64_t session, Outcome outcome);

    sqlite::Database& database_;
    const JournalTopQuery& query_;
    std::array<std::optional<sqlite::RawStatement>, kKinds.size()> select_;  ///< by Kind
    std::optional<sqlite::RawStatement> select_mail_;
    sqlite::RawStatement select_address_{
        database_, "SELECT key, client, helo FROM client_address WHERE key BETWEEN ?1 AND ?2 ORDER BY key"};
    std::vector<bool> counted_;  ///< by row: the session is one that is asked for
    /// Likewise, of those what they are summed up in; null: they have no such name.
    std::vector<std::array<Sums::Entry*, kSumsOf>> sums_of_row_;
    std::unordered_map<std::int64_t, std::string>
        divided_;  ///< by key: the id, where mails have records of their own
    std::set<std::pair<std::string, const JournalSums*>>
        seen_;                                       ///< of those sessions: senders and recipients
    std::array<std::optional<Sums>, kSumsOf> sums_;  ///< by SumsOf
    JournalTop total_;
};

bool Adder::isWanted(const sqlite::RawStatement& row, std::string_view client) const {
    const std::int64_t started = row.number(2);
    if (started > query_.until_ms || started + row.number(3) < query_.since_ms) return false;
    if (query_.listener && !sameText(row.text(11), *query_.listener)) return false;
    return !query_.client || query_.client->contains(networkOf(client));
}

void Adder::addSessions(const Segment& segment) {
    counted_.assign(kRowsPerSegment, false);
    sums_of_row_.assign(kRowsPerSegment, {});
    divided_.clear();
    sqlite::RawStatement& row = *select_[index(segment.kind)];
    for (sqlite::RawStatement* each : {&row, &select_address_}) {
        each->bind(1, firstKey(segment.number));
        each->bind(2, lastKey(segment.number));
    }
    bool more_addresses = select_address_.step();
    while (row.step()) {
        const std::int64_t key = row.number(0);
        while (more_addresses && select_address_.number(0) < key)
            more_addresses = select_address_.step();
        const bool has_address = more_addresses && select_address_.number(0) == key;
        const std::string_view client = has_address ? select_address_.text(1) : row.text(1);
        if (!isWanted(row, client)) continue;
        counted_[rowOf(key)] = true;
        if (const std::string_view id = row.text(9); !id.empty()) divided_.emplace(key, id);
        const bool has_helo = has_address && !select_address_.isNull(2);
        addSession(row, segment.kind, client, has_helo ? select_address_.text(2) : row.text(12));
    }
    row.reset();
    select_address_.reset();
}

/// With a mail's own record come the mails alone.
void Adder::addSession(const sqlite::RawStatement& row, Kind kind, std::string_view client,
                       std::string_view helo) {
    const bool refused = kind == Kind::Refused;
    const std::string_view user = row.text(4);
    const bool failed_login = row.number(5) != 0;
    const std::uint64_t number = std::max<std::uint64_t>(static_cast<std::uint64_t>(row.number(10)), 1);
    const auto addTo = [&](SumsOf what, std::string_view name) {
        Sums* const all = of(what);
        if (all == nullptr) return;
        Sums::Entry& sums = (*all)[name];
        sums_of_row_[rowOf(row.number(0))][static_cast<std::size_t>(what)] = &sums;
        if (kind == Kind::Mail) return;
        sums.sessions += number;
        sums.refused += refused ? number : 0;
        sums.failed_logins += failed_login ? 1 : 0;
        sums.mails += static_cast<std::uint64_t>(row.number(6));
        sums.bytes_in += static_cast<std::uint64_t>(row.number(7));
        sums.bytes_out += static_cast<std::uint64_t>(row.number(8));
    };
    addTo(SumsOf::Clients, client);
    if (of(SumsOf::Networks) != nullptr) addTo(SumsOf::Networks, masked(networkOf(client)).toString());
    if (!user.empty()) addTo(SumsOf::Users, user);
    if (!helo.empty()) addTo(SumsOf::Helos, helo);
    if (kind == Kind::Mail) return;
    if (of(SumsOf::Ends) != nullptr)
        addTo(SumsOf::Ends, refused ? fmt::format("refused: {}", row.text(13)) : std::string(row.text(13)));
    total_.sessions += number;
    total_.refused += refused ? number : 0;
    total_.failed_logins += failed_login ? 1 : 0;
}

/// A session counts once for each.
void Adder::addMailTo(Sums::Entry& sums, std::int64_t session, Outcome outcome) {
    const bool first = std::exchange(sums.seen_in, session) != session;
    const auto divided = divided_.find(session);
    if (divided == divided_.end() ? first : seen_.emplace(divided->second, &sums).second) ++sums.sessions;
    sums.mails += outcome == Outcome::Abandoned ? 0 : 1;
    sums.mails_refused += outcome == Outcome::Refused ? 1 : 0;
    sums.bytes_in += static_cast<std::uint64_t>(select_mail_->number(2));
}

void Adder::addMail(const Segment& segment) {
    sqlite::RawStatement& mail = *select_mail_;
    mail.bind(1, firstKey(segment.number) << kMailBits);
    mail.bind(2, ((lastKey(segment.number) + 1) << kMailBits) - 1);
    while (mail.step()) {
        const std::int64_t session = mail.number(0) >> kMailBits;
        if (!counted_[rowOf(session)]) continue;
        const auto outcome = static_cast<Outcome>(mail.number(3));
        for (Sums::Entry* const sums : sums_of_row_[rowOf(session)]) {
            if (sums == nullptr) continue;
            sums->mails_refused += outcome == Outcome::Refused ? 1 : 0;
            sums->abandoned += outcome == Outcome::Abandoned ? 1 : 0;
        }
        if (Sums* const senders = of(SumsOf::Senders)) addMailTo((*senders)[mail.text(1)], session, outcome);
        Sums* const recipients = of(SumsOf::Recipients);
        if (recipients == nullptr) continue;
        const auto addRecipient = [&](Outcome for_it) {
            return [=, this](std::string_view to) { addMailTo((*recipients)[to], session, for_it); };
        };
        eachLine(mail.text(4), addRecipient(outcome));
        eachLine(mail.text(5), addRecipient(Outcome::Refused));
    }
    mail.reset();
}

}  // namespace

JournalTop Reader::top(const JournalTopQuery& query) {
    JournalFilter filter;
    filter.since_ms = query.since_ms;
    filter.until_ms = query.until_ms;
    Adder adder(impl_->database, query);
    impl_->database.snapshot([&] {
        for (const Segment& segment : readSegments(impl_->database))
            if (impl_->isCandidate(segment, filter)) adder.add(segment);
    });
    return adder.top();
}

}  // namespace mailgate::store::journal
