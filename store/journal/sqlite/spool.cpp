// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/spool.h"

#include "store/journal/mask.h"
#include "store/journal/sqlite/rows.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store::journal {

namespace {

/// It reads what was written just now; the rest of a long way is not worth keeping.
constexpr unsigned kCacheKib = 4'096;

constexpr std::int64_t segmentOf(std::int64_t key) noexcept {
    return key >> kRowBits;
}

}  // namespace

SpoolReader::SpoolReader(const std::string& url, bool masked)
    : masked_(masked),
      database_(sqlite::pathOf(url), {.create = false,
                                      .durability = sqlite::Durability::Process,
                                      .cache_kib = kCacheKib,
                                      .when_damaged = kWhenDamaged}),
      identity_(sqlite::identityOf(database_.path())) {
    migrate(database_, false);
    constexpr std::string_view kAfter = "s.key > ?1 ORDER BY s.key";
    for (const Kind kind : kKinds) {
        select_[index(kind)].emplace(database_,
                                     masked ? selectMaskedSql(kind, kAfter) : selectSql(kind, kAfter));
        select_id_[index(kind)].emplace(
            database_,
            fmt::format("SELECT key, id FROM {} WHERE key <= ?1 ORDER BY key DESC LIMIT 1", tableOf(kind)));
    }
    select_mail_.emplace(database_, selectMailSql());
}

SpoolPlace SpoolReader::lastUpTo(JournalKind kind, std::int64_t key) {
    sqlite::RawStatement& select = *select_id_[index(kind)];
    select.bind(1, key);
    SpoolPlace place;
    if (select.step()) place = {select.number(0), std::string(select.text(1))};
    select.reset();
    return place;
}

Spool::Standing SpoolReader::find(JournalKind kind, const SpoolPlace& place) {
    if (place.key == 0) return Standing::Same;
    const SpoolPlace there = lastUpTo(kind, place.key);
    if (there.key == place.key) return there.id == place.id ? Standing::Same : Standing::Other;
    const auto segments = readSegments(database_);
    const bool is_there = std::any_of(segments.begin(), segments.end(), [&](const Segment& segment) {
        return segment.number == segmentOf(place.key);
    });
    return is_there || segmentOf(place.key) > lastSegment() ? Standing::Other : Standing::Gone;
}

/// The number of the last one that there ever was.
std::int64_t SpoolReader::lastSegment() {
    return database_.number("SELECT seq FROM sqlite_sequence WHERE name = 'segment'");
}

void SpoolReader::addMails(JournalSession& record, std::int64_t key) {
    select_mail_->bind(1, key << kMailBits);
    select_mail_->bind(2, ((key + 1) << kMailBits) - 1);
    while (select_mail_->step()) {
        record.mail.push_back(readMail(*select_mail_));
        if (masked_) record.mail.back().from = maskedMailAddress(record.mail.back().from);
        if (record.kind == Kind::Mail) record.mail.back().number = record.mail_count;
    }
    select_mail_->reset();
}

void SpoolReader::read(JournalKind kind, SpoolPlace& place, const Visit& visit) {
    inSnapshot([&] {
        sqlite::RawStatement& row = *select_[index(kind)];
        row.bind(1, place.key);
        bool more = true;
        try {
            while (more && row.step()) {
                const std::int64_t key = row.number(0);
                JournalSession record = readSession(row, kind);
                if (!record.refused() && record.mail_count > 0) addMails(record, key);
                if (!masked_ && !record.client_masked) unmaskReplies(record);
                SpoolPlace reached{key, record.id};
                more = visit(key, record);
                place = std::move(reached);
            }
        } catch (...) {
            row.reset();
            throw;
        }
        row.reset();
    });
}

std::uint64_t SpoolReader::behind(const SpoolPosition& position) {
    std::int64_t records = 0;
    for (const Segment& segment : readSegments(database_)) {
        const std::int64_t read = position.of(segment.kind).key - firstKey(segment.number) + 1;
        records += std::max<std::int64_t>(segment.rows - std::max<std::int64_t>(read, 0), 0);
    }
    return static_cast<std::uint64_t>(records);
}

std::vector<SpoolPiece> SpoolReader::pieces() {
    std::vector<SpoolPiece> pieces;
    for (const Segment& segment : readSegments(database_))
        pieces.push_back({segment.number, segment.kind, segment.rows, firstKey(segment.number),
                          segment.first_ms, segment.last_ms});
    return pieces;
}

std::vector<std::int64_t> SpoolReader::settle(SpoolPosition& position) {
    std::vector<std::int64_t> missed;
    inSnapshot([&] {
        const std::vector<Segment> segments = readSegments(database_);
        const auto find = [&](std::int64_t number) {
            const auto found =
                std::lower_bound(segments.begin(), segments.end(), number,
                                 [](const Segment& segment, std::int64_t at) { return segment.number < at; });
            return found != segments.end() && found->number == number ? &*found : nullptr;
        };
        for (SpoolPlace& place : position.places) {
            if (place.key == 0 || place.closed) continue;
            const Segment* const segment = find(segmentOf(place.key));
            if (segment == nullptr) missed.push_back(segmentOf(place.key));
            place.closed = segment == nullptr ||
                           (segment->sealed && place.key == firstKey(segment->number) + segment->rows - 1);
        }
        const auto isUnread = [&](const Segment& segment) {
            const std::int64_t key = position.of(segment.kind).key;
            return segmentOf(key) != segment.number && key < firstKey(segment.number) && segment.rows > 0;
        };
        const auto unread = std::find_if(segments.begin(), segments.end(), isUnread);
        const std::int64_t last = unread != segments.end() ? unread->number - 1 : lastSegment();
        for (std::int64_t number = std::max<std::int64_t>(position.segment, 0) + 1; number <= last; ++number)
            if (find(number) == nullptr) missed.push_back(number);
        position.segment = std::max(position.segment, last);
    });
    return missed;
}

void SpoolReader::inSnapshot(const std::function<void()>& work) {
    if (in_snapshot_) return work();
    in_snapshot_ = true;
    try {
        database_.snapshot(work);
    } catch (...) {
        in_snapshot_ = false;
        throw;
    }
    in_snapshot_ = false;
}

/// As long as none is in its place who writes goes on in the one that was removed.
bool SpoolReader::isReplaced() const {
    const sqlite::FileIdentity there = sqlite::identityOf(database_.path());
    return there != sqlite::FileIdentity{} && there != identity_;
}

}  // namespace mailgate::store::journal
