// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/writer.h"

#include "store/journal/mask.h"
#include "store/journal/sqlite/rows.h"
#include "store/journal/sqlite/terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>

namespace mailgate::store::journal {

namespace {

using namespace std::chrono_literals;

/// Bounds the memory that sealing takes, whatever the clients send.
constexpr std::int64_t kAddressesPerSegment = 1'000'000;
/// A segment goes as a whole: what is kept for a time is kept at most a sixteenth of it longer.
constexpr std::int64_t kSegmentsPerKeep = 16;
constexpr std::chrono::milliseconds kLongestOpen = 24h;
/// When the file is as large as it may be: refused clients keep one row for so many of the others.
constexpr std::int64_t kOthersPerRefused = 4;
/// Mail does not wait for this thread, so it can wait for another process; the stop has five seconds.
constexpr std::chrono::milliseconds kBusyTimeout = 1s;

sqlite::Database openFile(const JournalOptions& options) {
    return {sqlite::pathOf(options.url),
            {.create = true,
             .durability = sqlite::Durability::Process,
             .busy_timeout = kBusyTimeout,
             .when_damaged = kWhenDamaged}};
}

constexpr bool hasMail(Kind kind) noexcept {
    return kind != Kind::Refused;
}

/// What is deleted while it lives leaves nothing in the file's free corners. (The WAL is another matter.)
class Overwriting {
  public:
    explicit Overwriting(sqlite::Database& database) : database_(database) {
        database_.run("PRAGMA secure_delete = ON");
    }
    ~Overwriting() {
        try {
            database_.run("PRAGMA secure_delete = OFF");
        } catch (const StoreError&) {  // then it overwrites more than it must
        }
    }
    Overwriting(const Overwriting&) = delete;
    Overwriting& operator=(const Overwriting&) = delete;

  private:
    sqlite::Database& database_;
};

std::uint64_t sizeOf(const std::string& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
}

}  // namespace

Writer::Writer(const JournalOptions& options) : options_(options), database_(openFile(options)) {
    migrate(database_, true);
    identity_ = sqlite::identityOf(database_.path());
    // 32 MiB between checkpoints: a page that changes with every batch is copied once for many of them.
    database_.run("PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864");
    for (const Kind kind : kKinds)
        insert_session_[index(kind)].emplace(database_, insertSql(kind));
    insert_address_.emplace(database_, addressInsertSql());
    insert_mail_.emplace(database_, mailInsertSql());
    save_progress_.emplace(database_,
                           "UPDATE segment SET rows = ?2, first_ms = ?3, last_ms = ?4 WHERE number = ?1");
    for (Segment& segment : readSegments(database_)) {
        if (!segment.sealed && segment.addresses == Addresses::InRows) moveAddresses(segment);
        if (segment.sealed)
            sealed_.push_back(segment);
        else
            open_[index(segment.kind)] = Open{segment};
    }
    // A process that was killed may have left them there.
    log_has_addresses_ = options_.mask_after.has_value();
}

void Writer::append(std::span<const JournalSession> batch) {
    database_.transaction([&] {
        for (const JournalSession& session : batch)
            appendOne(session);
        for (const auto& open : open_)
            if (open) saveProgress(*open);
    });
}

void Writer::appendOne(const JournalSession& session) {
    const Kind kind = session.kind;
    Open& open = openSegment(session, kind);
    Segment& segment = open.segment;
    const std::int64_t key = firstKey(segment.number) + segment.rows;
    const auto insert = [](sqlite::RawStatement& statement) {
        statement.step();
        statement.reset();
    };
    binder_.bindSession(*insert_session_[index(kind)], key, session);
    insert(*insert_session_[index(kind)]);
    binder_.bindAddress(*insert_address_, key, session);
    insert(*insert_address_);
    const std::size_t mails = hasMail(kind) ? std::min(session.mail.size(), kMaxMailKept) : 0;
    for (std::size_t at = 0; at < mails; ++at) {
        binder_.bindMail(*insert_mail_, (key << kMailBits) + static_cast<std::int64_t>(at), session.mail[at]);
        insert(*insert_mail_);
    }
    for (const JournalMail& mail : session.mail)
        open.addresses += 1 + static_cast<std::int64_t>(mail.recipients.size() + mail.refused.size());
    segment.first_ms = std::min(segment.first_ms, session.started_ms);
    segment.last_ms = std::max(segment.last_ms, session.endedMs());
    ++segment.rows;
    if (segment.rows == kRowsPerSegment || open.addresses >= kAddressesPerSegment) seal(kind);
}

Writer::Open& Writer::openSegment(const JournalSession& session, Kind kind) {
    std::optional<Open>& open = open_[index(kind)];
    if (open) return *open;
    Segment segment{.kind = kind,
                    .first_ms = session.started_ms,
                    .last_ms = session.endedMs(),
                    .opened_ms = session.endedMs()};
    sqlite::RawStatement insert(database_,
                                "INSERT INTO segment(kind, rows, first_ms, last_ms, opened_ms, addresses)"
                                " VALUES (?1, 0, ?2, ?3, ?4, ?5) RETURNING number");
    insert.bind(1, static_cast<std::int64_t>(kind));
    insert.bind(2, segment.first_ms);
    insert.bind(3, segment.last_ms);
    insert.bind(4, segment.opened_ms);
    insert.bind(5, static_cast<std::int64_t>(segment.addresses));
    insert.step();
    segment.number = insert.number(0);
    return open.emplace(Open{segment});
}

void Writer::saveProgress(const Open& open) {
    save_progress_->bind(1, open.segment.number);
    save_progress_->bind(2, open.segment.rows);
    save_progress_->bind(3, open.segment.first_ms);
    save_progress_->bind(4, open.segment.last_ms);
    save_progress_->step();
    save_progress_->reset();
}

void Writer::seal(Kind kind) {
    Open& open = *open_[index(kind)];
    saveProgress(open);
    storeTermsOf(open.segment);
    database_.run(fmt::format("UPDATE segment SET sealed = 1 WHERE number = {}", open.segment.number));
    open.segment.sealed = true;
    sealed_.push_back(open.segment);
    open_[index(kind)].reset();
}

void Writer::storeTermsOf(const Segment& segment) {
    TermCollector terms, addresses;
    collectSessions(segment, terms);
    if (hasMail(segment.kind)) collectMail(segment, terms);
    collectAddresses(segment, addresses);
    storeTerms(database_, "term_page", segment.number, terms.take());
    storeTerms(database_, "address_page", segment.number, addresses.take());
}

void Writer::collectSessions(const Segment& segment, TermCollector& terms) {
    sqlite::RawStatement select(
        database_,
        fmt::format(
            "SELECT key, started_ms, client, balancer, listener, server, user, {}, allowed, failed_users"
            " FROM {} WHERE key BETWEEN ?1 AND ?2",
            kFailedLogin, tableOf(segment.kind)));
    select.bind(1, firstKey(segment.number));
    select.bind(2, lastKey(segment.number));
    while (select.step()) {
        const auto row = rowOf(select.number(0));
        terms.started(row, select.number(1));
        terms.maskedClient(row, networkOf(select.text(2)));
        if (const std::string_view balancer = select.text(3); !balancer.empty())
            terms.balancer(row, networkOf(balancer));
        terms.text(TermKind::Listener, row, select.text(4));
        terms.text(TermKind::Server, row, select.text(5));
        terms.text(TermKind::User, row, select.text(6));
        if (select.number(7) != 0) terms.failedLogin(row);
        terms.verdict(row, select.number(8) != 0);
        eachLine(select.text(9), [&](std::string_view user) { terms.text(TermKind::User, row, user); });
    }
}

void Writer::collectAddresses(const Segment& segment, TermCollector& terms) {
    sqlite::RawStatement select(database_,
                                "SELECT key, client FROM client_address WHERE key BETWEEN ?1 AND ?2");
    select.bind(1, firstKey(segment.number));
    select.bind(2, lastKey(segment.number));
    while (select.step())
        terms.fullClient(rowOf(select.number(0)), networkOf(select.text(1)).address);
    if (hasMail(segment.kind)) collectQuoted(segment, terms);
}

/// Message-IDs with the client's address in them, as they came.
void Writer::collectQuoted(const Segment& segment, TermCollector& terms) {
    sqlite::RawStatement select(database_,
                                "SELECT a.key, a.client, m.message_id FROM mail m"
                                " JOIN client_address a ON a.key = m.key >> ?3"
                                " WHERE m.key BETWEEN ?1 AND ?2 AND instr(m.message_id, '/') > 0");
    select.bind(1, firstKey(segment.number) << kMailBits);
    select.bind(2, ((lastKey(segment.number) + 1) << kMailBits) - 1);
    select.bind(3, std::int64_t{kMailBits});
    while (select.step()) {
        const Network client = networkOf(select.text(1));
        terms.text(TermKind::MailId, rowOf(select.number(0)),
                   withReplaced(select.text(2), masked(client).toString(), client.toString()));
    }
}

void Writer::collectMail(const Segment& segment, TermCollector& terms) {
    sqlite::RawStatement select(database_,
                                "SELECT key, sender, recipients, queue_id, refused, message_id FROM mail "
                                "WHERE key BETWEEN ?1 AND ?2");
    select.bind(1, firstKey(segment.number) << kMailBits);
    select.bind(2, ((lastKey(segment.number) + 1) << kMailBits) - 1);
    while (select.step()) {
        const auto row = rowOf(select.number(0) >> kMailBits);
        terms.sender(row, select.text(1));
        for (const int column : {2, 4})
            eachLine(select.text(column),
                     [&](std::string_view recipient) { terms.recipient(row, recipient); });
        terms.text(TermKind::MailId, row, select.text(3));
        terms.text(TermKind::MailId, row, select.text(5));
    }
}

Maintenance Writer::maintain(std::int64_t now_ms) {
    if (isReplaced()) return Maintenance::Reopen;
    const bool more = sealOld(now_ms) || moveOld() || forgetOld(now_ms) || removeOld(now_ms) ||
                      removeForSpace() || cleanLog();
    return more ? Maintenance::MoreDue : Maintenance::Done;
}

std::int64_t Writer::keepFor(Kind kind) const {
    return (kind == Kind::Refused ? options_.keep_refused : options_.keep_sessions).count();
}

std::int64_t Writer::longestOpen(Kind kind) const {
    std::int64_t longest = std::min(kLongestOpen.count(), keepFor(kind) / kSegmentsPerKeep);
    if (options_.mask_after) longest = std::min(longest, options_.mask_after->count() / kSegmentsPerKeep);
    return longest;
}

bool Writer::sealOld(std::int64_t now_ms) {
    for (const Kind kind : kKinds) {
        const auto& open = open_[index(kind)];
        if (!open || now_ms - open->segment.opened_ms < longestOpen(kind)) continue;
        database_.transaction([&] { seal(kind); });
        return true;
    }
    return false;
}

bool Writer::moveOld() {
    const auto old = std::find_if(sealed_.begin(), sealed_.end(), [](const Segment& segment) {
        return segment.addresses == Addresses::InRows;
    });
    if (old == sealed_.end()) return false;
    moveAddresses(*old);
    return true;
}

/// From where version 1 had them. What version 1 masked already has none to move.
void Writer::moveAddresses(Segment& segment) {
    const Overwriting overwriting(database_);
    database_.transaction([&] {
        sqlite::RawStatement select(
            database_,
            fmt::format("SELECT key, client, helo, rule, mail_count FROM {} WHERE key BETWEEN ?1 AND ?2",
                        tableOf(segment.kind)));
        sqlite::RawStatement update(
            database_, fmt::format("UPDATE {} SET client = ?2, helo = ?3, rule = ?4 WHERE key = ?1",
                                   tableOf(segment.kind)));
        sqlite::RawStatement update_mail(database_,
                                         "UPDATE mail SET reply = replace(reply, ?3, ?4)"
                                         " WHERE key BETWEEN ?1 AND ?2 AND instr(reply, ?3) > 0");
        select.bind(1, firstKey(segment.number));
        select.bind(2, lastKey(segment.number));
        while (select.step()) {
            const std::int64_t key = select.number(0);
            const std::string client(select.text(1)), helo(select.text(2)), rule(select.text(3));
            const Network network = networkOf(client);
            if (isMasked(network)) continue;
            const std::string masked_client = masked(network).toString();
            const std::string masked_helo = maskedHelo(helo, client, masked_client);
            const std::string masked_rule = maskedRule(rule);
            insert_address_->bind(1, key);
            insert_address_->bind(2, client);
            insert_address_->bind(3, rule);
            insert_address_->bind(4, helo);
            insert_address_->step();
            insert_address_->reset();
            update.bind(1, key);
            update.bind(2, masked_client);
            update.bind(3, masked_helo);
            update.bind(4, masked_rule);
            update.step();
            update.reset();
            if (select.number(4) == 0) continue;
            update_mail.bind(1, key << kMailBits);
            update_mail.bind(2, ((key + 1) << kMailBits) - 1);
            update_mail.bind(3, client);
            update_mail.bind(4, masked_client);
            update_mail.step();
            update_mail.reset();
        }
        if (segment.sealed) {
            database_.run(fmt::format("DELETE FROM term_page WHERE key BETWEEN {} AND {}",
                                      firstKey(segment.number), lastKey(segment.number)));
            storeTermsOf(segment);
        }
        database_.run(fmt::format("UPDATE segment SET addresses = {} WHERE number = {}",
                                  static_cast<int>(Addresses::Apart), segment.number));
    });
    segment.addresses = Addresses::Apart;
}

bool Writer::forgetOld(std::int64_t now_ms) {
    if (!options_.mask_after) return false;
    for (Segment& segment : sealed_) {
        // By its oldest session: no address is kept for longer than was promised.
        if (segment.addresses == Addresses::Forgotten ||
            now_ms - segment.opened_ms < options_.mask_after->count())
            continue;
        const Overwriting overwriting(database_);
        database_.transaction([&] {
            forgetAddresses(segment);
            database_.run(fmt::format("UPDATE segment SET addresses = {} WHERE number = {}",
                                      static_cast<int>(Addresses::Forgotten), segment.number));
        });
        segment.addresses = Addresses::Forgotten;
        return true;
    }
    return false;
}

void Writer::forgetAddresses(const Segment& segment) {
    for (const char* table : {"client_address", "address_page"})
        database_.run(fmt::format("DELETE FROM {} WHERE key BETWEEN {} AND {}", table,
                                  firstKey(segment.number), lastKey(segment.number)));
    log_has_addresses_ = true;
}

/// The old pages are in the WAL until it is emptied, for which no question may be under way.
bool Writer::cleanLog() {
    if (!log_has_addresses_ || !options_.mask_after) return false;
    log_has_addresses_ = database_.number("PRAGMA wal_checkpoint(TRUNCATE)") != 0;
    return false;
}

bool Writer::removeOld(std::int64_t now_ms) {
    const auto old = std::find_if(sealed_.begin(), sealed_.end(), [&](const Segment& segment) {
        return now_ms - segment.last_ms >= keepFor(segment.kind);
    });
    if (old == sealed_.end()) return false;
    remove(*old);
    sealed_.erase(old);
    return true;
}

bool Writer::removeForSpace() {
    const std::int64_t used =
        database_.number("PRAGMA page_count") - database_.number("PRAGMA freelist_count");
    const auto bytes = static_cast<std::uint64_t>(used * database_.number("PRAGMA page_size"));
    if (bytes <= options_.max_bytes) return false;
    const bool refused = refusedAreTooMany();
    auto oldest = sealed_.end();
    for (auto segment = sealed_.begin(); segment != sealed_.end(); ++segment) {
        if ((segment->kind == Kind::Refused) != refused) continue;
        if (oldest == sealed_.end() || segment->last_ms < oldest->last_ms) oldest = segment;
    }
    if (oldest == sealed_.end()) {
        if (!refused) return false;
        database_.transaction([&] { seal(Kind::Refused); });
        return true;
    }
    remove(*oldest);
    sealed_.erase(oldest);
    return true;
}

/// Where there is no room, every client that knocks would push out what is known of one that was let in.
bool Writer::refusedAreTooMany() const {
    std::int64_t refused = 0, others = 0;
    const auto add = [&](const Segment& segment) {
        (segment.kind == Kind::Refused ? refused : others) += segment.rows;
    };
    for (const Segment& segment : sealed_)
        add(segment);
    for (const auto& open : open_)
        if (open) add(open->segment);
    return refused > others / kOthersPerRefused;
}

void Writer::remove(const Segment& segment) {
    const std::int64_t first = firstKey(segment.number);
    const std::int64_t last = lastKey(segment.number);
    database_.transaction([&] {
        {
            const Overwriting overwriting(database_);
            forgetAddresses(segment);
        }
        database_.run(
            fmt::format("DELETE FROM {} WHERE key BETWEEN {} AND {};"
                        "DELETE FROM term_page WHERE key BETWEEN {} AND {};"
                        "DELETE FROM segment WHERE number = {}",
                        tableOf(segment.kind), first, last, first, last, segment.number));
        if (hasMail(segment.kind))
            database_.run(fmt::format("DELETE FROM mail WHERE key BETWEEN {} AND {}", first << kMailBits,
                                      ((last + 1) << kMailBits) - 1));
    });
}

/// The file was deleted or another one put in its place.
bool Writer::isReplaced() const {
    return sqlite::identityOf(database_.path()) != identity_;
}

std::int64_t Writer::oldestMs() const {
    std::int64_t oldest = 0;
    const auto add = [&](const Segment& segment) {
        const bool counts = segment.rows > 0 && segment.first_ms > 0;
        if (counts && (oldest == 0 || segment.first_ms < oldest)) oldest = segment.first_ms;
    };
    for (const Segment& segment : sealed_)
        add(segment);
    for (const auto& open : open_)
        if (open) add(open->segment);
    return oldest;
}

std::uint64_t Writer::bytes() const {
    return sizeOf(database_.path()) + sizeOf(database_.path() + "-wal");
}

}  // namespace mailgate::store::journal
