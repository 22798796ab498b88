// SPDX-License-Identifier: Apache-2.0
#include "store/journal/journal.h"

#include "store/journal/sqlite/reader.h"
#include "store/journal/sqlite/terms.h"
#include "store/sqlite/database.h"
#include "store/store_error.h"
#include "tests/support/journal_sample.h"
#include "tests/unit/store/journal/sqlite/support.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

namespace mailgate::store {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr auto kPatience = 30s;

std::int64_t nowMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// What the journal told, and when it can be told again.
class Told {
  public:
    Journal::Events events() {
        return {[this](const std::string& what) { add(failures_, what); },
                [this](std::uint64_t lost) { add(recoveries_, lost); }};
    }
    std::vector<std::string> failures() const { return copy(failures_); }
    std::vector<std::uint64_t> recoveries() const { return copy(recoveries_); }
    bool waitForFailure() {
        return wait([&] { return !failures_.empty(); });
    }
    bool waitForRecovery() {
        return wait([&] { return !recoveries_.empty(); });
    }

  private:
    template <typename Item>
    void add(std::vector<Item>& to, const Item& item) {
        const std::lock_guard lock(mutex_);
        to.push_back(item);
        changed_.notify_all();
    }
    template <typename Items>
    Items copy(const Items& items) const {
        const std::lock_guard lock(mutex_);
        return items;
    }
    template <typename Condition>
    bool wait(Condition condition) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, condition);
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> failures_;
    std::vector<std::uint64_t> recoveries_;
};

class JournalTest : public testing::Test {
  protected:
    JournalTest() { options_.url = "sqlite:" + file(); }

    std::string file() const { return folder_.file("journal.db"); }
    std::vector<JournalSession> all(const JournalFilter& filter = {}) {
        return journal::Reader(options_.url).newest(filter, 1'000'000);
    }
    std::int64_t count(const std::string& sql) {
        sqlite::Database database(file(), {.create = false});
        return database.number(sql);
    }
    bool waitUntil(const std::string& sql, std::int64_t expected) {
        const auto deadline = std::chrono::steady_clock::now() + kPatience;
        while (std::chrono::steady_clock::now() < deadline) {
            if (count(sql) == expected) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }
    /// Records `number` sessions that end at `ended_ms`, and sees them written.
    void write(Journal& journal, std::uint64_t number, std::int64_t ended_ms, bool refused = false) {
        for (std::uint64_t at = 0; at < number; ++at)
            ASSERT_TRUE(journal.record(refused ? test::sampleRefusal(at, ended_ms)
                                               : test::sampleSession(at, ended_ms)));
        ASSERT_TRUE(journal.flush(kPatience));
    }

    TemporaryFolder folder_;
    JournalOptions options_;
    Told told_;
};

TEST_F(JournalTest, KeepsEveryFactOfASession) {
    JournalSession session = test::sampleSession(7, nowMillis());
    session.user = "alice@example.org";
    session.authenticated = true;
    session.tls = "starttls";
    session.failed_logins = 3;
    session.failed_users = {"bob", "carol"};
    session.violation = "bare_lf";
    session.balancer_told = {{"aws_vpce_id", "vpce-1"}, {"balancer_id", std::string("a%\n=\0", 5)}};
    session.header_ms = 2;
    session.mail.front().recipients = {"bob@example.net", "carol@example.com"};
    session.mail.front().recipient_count = 3;
    session.mail.front().refused = {{"dave@example.net", "550 5.1.1 no such user"}, {"eve@example.net", ""}};
    session.mail.front().refused_count = 3;
    session.mail.front().truncated = true;
    session.mail.front().replies = {"250 2.0.0 <bob@example.net> Saved", ""};
    session.mail.emplace_back();
    session.mail_count = 2;
    const JournalSession expected = session;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    ASSERT_TRUE(journal.record(std::move(session)));
    ASSERT_TRUE(journal.flush(kPatience));

    const auto found = all();
    ASSERT_THAT(found, SizeIs(1));
    const JournalSession& kept = found.front();
    EXPECT_EQ(kept.id, expected.id);
    EXPECT_EQ(kept.started_ms, expected.started_ms);
    EXPECT_EQ(kept.listener, "smtp");
    EXPECT_EQ(kept.protocol, "smtp");
    EXPECT_EQ(kept.client, expected.client);
    EXPECT_FALSE(kept.client_masked);
    EXPECT_EQ(kept.client_port, expected.client_port);
    EXPECT_EQ(kept.balancer, expected.balancer);
    EXPECT_EQ(kept.destination, expected.destination);
    EXPECT_EQ(kept.destination_port, 25);
    EXPECT_TRUE(kept.allowed);
    EXPECT_EQ(kept.rule, "11.0.0.0/8");
    EXPECT_EQ(kept.upstream, "postfix");
    EXPECT_EQ(kept.server, expected.server);
    EXPECT_EQ(kept.helo, expected.helo);
    EXPECT_EQ(kept.user, "alice@example.org");
    EXPECT_EQ(kept.tls, "starttls");
    EXPECT_EQ(kept.authenticated, true);
    EXPECT_EQ(kept.failed_logins, 3u);
    EXPECT_EQ(kept.failed_users, expected.failed_users);
    EXPECT_EQ(kept.violation, "bare_lf");
    EXPECT_EQ(kept.balancer_told, expected.balancer_told);
    EXPECT_EQ(kept.mail_count, 2u);
    EXPECT_EQ(kept.bytes_in, expected.bytes_in);
    EXPECT_EQ(kept.bytes_out, expected.bytes_out);
    EXPECT_EQ(kept.header_ms, 2);
    EXPECT_EQ(kept.connect_ms, 1);
    EXPECT_EQ(kept.greeting_ms, 3);
    EXPECT_EQ(kept.duration_ms, expected.duration_ms);
    EXPECT_FALSE(kept.refused());
    EXPECT_EQ(kept.end, "client_quit");
    ASSERT_THAT(kept.mail, SizeIs(2));
    EXPECT_EQ(kept.mail[0].from, expected.mail[0].from);
    EXPECT_EQ(kept.mail[0].recipients, expected.mail[0].recipients);
    EXPECT_EQ(kept.mail[0].recipient_count, 3u);
    EXPECT_EQ(kept.mail[0].refused_count, 3u);
    ASSERT_THAT(kept.mail[0].refused, SizeIs(2));
    EXPECT_EQ(kept.mail[0].refused[0].to, "dave@example.net");
    EXPECT_EQ(kept.mail[0].refused[0].reply, "550 5.1.1 no such user");
    EXPECT_EQ(kept.mail[0].refused[1].reply, "");
    EXPECT_EQ(kept.mail[0].queue_id, expected.mail[0].queue_id);
    EXPECT_TRUE(kept.mail[0].truncated);
    EXPECT_EQ(kept.mail[0].replies, expected.mail[0].replies);
    EXPECT_EQ(kept.mail[0].size, expected.mail[0].size);
    EXPECT_EQ(kept.mail[0].reply, expected.mail[0].reply);
    EXPECT_TRUE(kept.mail[0].accepted);
    EXPECT_THAT(kept.mail[1].recipients, IsEmpty());
    EXPECT_THAT(kept.mail[1].replies, IsEmpty());
    EXPECT_FALSE(kept.mail[1].accepted);
}

TEST_F(JournalTest, KeepsRefusalsAndHostileBytesAsTheyAre) {
    JournalSession session = test::sampleRefusal(1, nowMillis());
    session.helo = std::string("a\0b'\"\xFF\n", 7);
    session.balancer.reset();
    session.reply = "554 5.7.1 no";
    session.limit = "client_rate";
    session.limit_value = 7;
    session.repeated = 1'000;
    session.rule_id = 5;
    const std::string helo = session.helo;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    ASSERT_TRUE(journal.record(std::move(session)));
    ASSERT_TRUE(journal.flush(kPatience));
    const auto found = all();
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_TRUE(found.front().refused());
    EXPECT_EQ(found.front().reply, "554 5.7.1 no");
    EXPECT_EQ(found.front().limit, "client_rate");
    EXPECT_EQ(found.front().limit_value, 7u);
    EXPECT_EQ(found.front().repeated, 1'000u);
    EXPECT_EQ(found.front().rule_id, 5);
    EXPECT_FALSE(found.front().balancer);
    EXPECT_EQ(found.front().end, "access");
    EXPECT_EQ(found.front().connect_ms, -1);
    EXPECT_EQ(found.front().helo, helo);
}

TEST_F(JournalTest, SaysWhenNothingFinalIsKnownOfALogin) {
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    for (const std::optional<bool> authenticated : {std::optional<bool>(), {false}, {true}}) {
        JournalSession session = test::sampleSession(1, nowMillis());
        session.user = "alice";
        session.authenticated = authenticated;
        session.failed_logins = authenticated == false ? 1 : 0;
        ASSERT_TRUE(journal.record(std::move(session)));
    }
    ASSERT_TRUE(journal.flush(kPatience));
    const auto found = all();
    ASSERT_THAT(found, SizeIs(3));
    EXPECT_EQ(found[0].authenticated, std::nullopt);
    EXPECT_EQ(found[1].authenticated, false);
    EXPECT_EQ(found[2].authenticated, true);
    JournalFilter failed;
    failed.failed_login = true;
    EXPECT_THAT(all(failed), SizeIs(1));
}

TEST_F(JournalTest, StopWritesWhatIsQueuedAndTheNextStartGoesOn) {
    for (int start = 0; start < 3; ++start) {
        Journal journal(options_, openSqlite, told_.events());
        journal.start();
        for (std::uint64_t at = 0; at < 500; ++at)
            ASSERT_TRUE(journal.record(test::sampleSession(at, nowMillis())));
        journal.stop();
        EXPECT_EQ(journal.written(), 500u);
        EXPECT_FALSE(journal.record(test::sampleSession(1, nowMillis()))) << "after the stop";
    }
    EXPECT_THAT(all(), SizeIs(1'500));
    EXPECT_EQ(count("SELECT count(*) FROM segment"), 1) << "a restart does not begin a segment";
    EXPECT_THAT(told_.failures(), IsEmpty());
}

TEST_F(JournalTest, WhatWasAcknowledgedSurvivesAKill) {
    int acknowledged[2];
    ASSERT_EQ(pipe(acknowledged), 0);
    const pid_t child = fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
        Journal journal(options_, openSqlite, {});
        journal.start();
        // Past one segment's end, so that sealing is among what survives.
        for (std::uint64_t at = 0;; ++at) {
            journal.record(test::sampleSession(at, nowMillis()));
            if (at % 10'000 != 9'999 || !journal.flush(kPatience)) continue;
            const std::uint64_t written = at + 1;
            if (::write(acknowledged[1], &written, sizeof written) < 0) _exit(1);
        }
    }
    close(acknowledged[1]);
    std::uint64_t written = 0;
    while (written < 30'000)
        ASSERT_EQ(read(acknowledged[0], &written, sizeof written), ssize_t(sizeof written));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    std::uint64_t more = 0;
    while (read(acknowledged[0], &more, sizeof more) == ssize_t(sizeof more))
        written = more;
    close(acknowledged[0]);

    EXPECT_GE(count("SELECT count(*) FROM session"), static_cast<std::int64_t>(written));
    EXPECT_EQ(count("SELECT count(*) FROM session"), count("SELECT count(*) FROM mail"));
    EXPECT_EQ(count("SELECT count(*) FROM session"), count("SELECT sum(rows) FROM segment"));
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    write(journal, 1, nowMillis());
    EXPECT_GT(count("SELECT count(*) FROM session"), static_cast<std::int64_t>(written));
}

TEST_F(JournalTest, AFullQueueLosesTheNewOnesAndTellsOnce) {
    options_.max_queued = 100;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    sqlite::Database other(file(), {.create = false});
    other.run("BEGIN IMMEDIATE");
    std::uint64_t taken = 0;
    for (std::uint64_t at = 0; at < 1'000; ++at)
        taken += journal.record(test::sampleSession(at, nowMillis())) ? 1 : 0;
    EXPECT_LE(taken, 200u) << "the queue, and at most one batch that the writer had taken";
    EXPECT_EQ(journal.lost(), 1'000 - taken);
    ASSERT_TRUE(told_.waitForFailure());
    other.run("ROLLBACK");
    ASSERT_TRUE(told_.waitForRecovery());
    ASSERT_TRUE(journal.flush(kPatience));
    EXPECT_THAT(told_.failures(), SizeIs(1));
    EXPECT_THAT(told_.recoveries(), testing::ElementsAre(1'000 - taken));
    EXPECT_EQ(journal.written(), taken);
    EXPECT_THAT(all(), SizeIs(taken));
}

/// A session as large as an attacker can make one.
JournalSession largeSession(std::uint64_t number) {
    JournalSession session = test::sampleSession(number, nowMillis());
    session.mail.resize(20, session.mail.front());
    for (JournalMail& mail : session.mail)
        mail.recipients.resize(20, std::string(300, 'x'));
    session.mail_count = 20;
    return session;
}

TEST_F(JournalTest, WhatWaitsIsBoundedInBytes) {
    options_.max_queued_bytes = 1 << 20;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    sqlite::Database other(file(), {.create = false});
    other.run("BEGIN IMMEDIATE");
    std::uint64_t taken = 0;
    for (std::uint64_t at = 0; at < 100; ++at)
        taken += journal.record(largeSession(at)) ? 1 : 0;
    EXPECT_GE(taken, (std::uint64_t{1} << 20) / kMaxRecordBytes - 1);
    EXPECT_LT(taken, 100u);
    EXPECT_EQ(journal.lost(), 100 - taken);
    other.run("ROLLBACK");
    ASSERT_TRUE(told_.waitForRecovery());
    ASSERT_TRUE(journal.flush(kPatience));
    const auto found = all();
    ASSERT_THAT(found, SizeIs(taken));
    EXPECT_TRUE(found.front().mail.back().truncated) << "a record is bounded too";
    EXPECT_THAT(found.front().mail, SizeIs(20)) << "of what is left out, the rest is there";
    EXPECT_FALSE(found.front().mail.back().from.empty());
}

TEST_F(JournalTest, WaitsForAnotherProcessThatLocksTheFile) {
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    sqlite::Database other(file(), {.create = false});
    other.run("BEGIN IMMEDIATE");
    ASSERT_TRUE(journal.record(test::sampleSession(1, nowMillis())));
    ASSERT_TRUE(told_.waitForFailure());
    EXPECT_THAT(told_.failures().front(), HasSubstr("another process keeps the database locked"));
    EXPECT_EQ(journal.queued(), 1u);
    other.run("ROLLBACK");
    ASSERT_TRUE(told_.waitForRecovery());
    EXPECT_EQ(told_.recoveries().front(), 0u);
    EXPECT_EQ(journal.lost(), 0u);
    EXPECT_THAT(all(), SizeIs(1));
}

TEST_F(JournalTest, StopsInTimeThoughTheFileIsLocked) {
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    sqlite::Database other(file(), {.create = false});
    other.run("BEGIN IMMEDIATE");
    ASSERT_TRUE(journal.record(test::sampleSession(1, nowMillis())));
    journal.stop();
    EXPECT_EQ(journal.lost(), 1u);
    EXPECT_THAT(told_.failures(), SizeIs(1));
}

/// No file of this process grows beyond `bytes` while it lives: what a full disk looks like to SQLite.
class FullDisk {
  public:
    explicit FullDisk(rlim_t bytes) {
        std::signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

  private:
    rlimit before_{};
};

TEST_F(JournalTest, AFullDiskCostsNothingThatTheQueueCanHold) {
    options_.max_queued = 2'000;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    write(journal, 100, nowMillis());
    std::uint64_t taken = 0;
    {
        const FullDisk full(200'000);
        while (told_.failures().empty() || journal.lost() == 0)
            taken += journal.record(test::sampleSession(taken, nowMillis())) ? 1 : 0;
    }
    ASSERT_TRUE(told_.waitForRecovery());
    ASSERT_TRUE(journal.flush(kPatience));
    EXPECT_THAT(told_.failures(), SizeIs(1));
    EXPECT_GE(told_.recoveries().front(), 1u);
    EXPECT_EQ(journal.written(), 100 + taken);
    EXPECT_THAT(all(), SizeIs(100 + taken));
}

// The gateway has to start: mail matters more than its journal.
TEST_F(JournalTest, StartsOnAFullDiskAndOpensTheFileLater) {
    Journal journal(options_, openSqlite, told_.events());
    {
        const FullDisk full(1'024);
        journal.start();
        ASSERT_THAT(told_.failures(), SizeIs(1));
        ASSERT_TRUE(journal.record(test::sampleSession(1, nowMillis())));
    }
    ASSERT_TRUE(told_.waitForRecovery());
    EXPECT_EQ(told_.recoveries().front(), 0u);
    EXPECT_THAT(all(), SizeIs(1));
}

TEST_F(JournalTest, GoesOnInANewFileWhenItsOwnWasMovedAway) {
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    write(journal, 1, nowMillis());
    for (const char* suffix : {"", "-wal", "-shm"})
        std::filesystem::rename(file() + suffix, file() + ".old" + suffix);
    // Until it is noticed, within a second, the old file is still written.
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!std::filesystem::exists(file()) && std::chrono::steady_clock::now() < deadline)
        write(journal, 1, nowMillis());
    write(journal, 1, nowMillis());
    EXPECT_THAT(all(), Not(IsEmpty()));
}

TEST_F(JournalTest, WhatIsDamagedIsToldOfAndKeepsNobodyFromStarting) {
    std::ofstream(file()) << "From alice@example.org Sat Nov 21 00:00:00 2026\n";
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    EXPECT_THAT(journal.trouble().what, HasSubstr("the gateway creates a new one"));
    EXPECT_THAT(journal.trouble().what, Not(HasSubstr("rules")));
    EXPECT_TRUE(journal.record(test::sampleSession(1, nowMillis())));
    std::filesystem::rename(file(), file() + ".old");
    ASSERT_TRUE(told_.waitForRecovery());
    EXPECT_EQ(journal.trouble().what, "");
    EXPECT_THAT(all(), SizeIs(1));
}

TEST_F(JournalTest, SaysSoWhenTheFileIsNoJournal) {
    sqlite::Database(file(), {}).run("CREATE TABLE other(x)");
    Journal other(options_, openSqlite, told_.events());
    try {
        other.start();
        FAIL() << "started with another program's database";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::Open);
        EXPECT_THAT(error.what(), HasSubstr("is not a journal"));
    }
}

TEST_F(JournalTest, RefusesANewerSchema) {
    Journal(options_, openSqlite, {}).start();
    sqlite::Database(file(), {}).run("PRAGMA user_version = 99");
    Journal journal(options_, openSqlite, {});
    try {
        journal.start();
        FAIL() << "started with a newer schema";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::NewerSchema);
    }
}

TEST_F(JournalTest, ForgetsRefusalsSoonerThanSessions) {
    options_.keep_sessions = 24h * 90;
    options_.keep_refused = 24h * 14;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    const auto day = std::chrono::milliseconds(24h).count();
    const auto writeBoth = [&](std::int64_t days_ago) {
        write(journal, 10, nowMillis() - days_ago * day);
        write(journal, 10, nowMillis() - days_ago * day, true);
        // A segment of its own for each of these days.
        if (days_ago > 1) {
            ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE sealed = 0", 0));
        }
    };
    writeBoth(100);
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment", 0));
    EXPECT_EQ(count("SELECT count(*) FROM mail"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM term_page"), 0);
    writeBoth(20);
    writeBoth(0);
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM refused", 10));
    EXPECT_EQ(count("SELECT count(*) FROM session"), 20);
    EXPECT_EQ(count("SELECT count(*) FROM mail"), 20);
}

TEST_F(JournalTest, KeepsToItsSizeByForgettingTheOldest) {
    options_.max_bytes = 10 << 20;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    const std::int64_t begin = nowMillis() - 100'000;
    for (std::uint64_t round = 0; round < 5; ++round) {
        for (std::uint64_t at = 0; at < 20'000; ++at)
            ASSERT_TRUE(journal.record(test::sampleSession(
                round * 20'000 + at, begin + static_cast<std::int64_t>(round * 20'000 + at))));
        ASSERT_TRUE(journal.flush(kPatience));
    }
    EXPECT_EQ(journal.written(), 100'000u);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const std::string used =
        "SELECT (SELECT * FROM pragma_page_count()) - (SELECT * FROM pragma_freelist_count())";
    while (count(used) * 8'192 > 10 << 20 && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_LE(count(used) * 8'192, 10 << 20);
    const auto left = all();
    ASSERT_THAT(left, Not(IsEmpty()));
    EXPECT_LT(left.size(), 50'000u);
    EXPECT_EQ(left.back().endedMs(), begin + 99'999) << "the newest stay";
    EXPECT_GT(journal.bytes(), 0u);
}

TEST_F(JournalTest, RefusedClientsPushOutNobodyWhoWasLetIn) {
    options_.max_bytes = 8 << 20;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    write(journal, 10, nowMillis());
    const std::string used =
        "SELECT (SELECT * FROM pragma_page_count()) - (SELECT * FROM pragma_freelist_count())";
    for (std::uint64_t round = 0; round < 3; ++round) {
        write(journal, 20'000, nowMillis(), true);
        const auto deadline = std::chrono::steady_clock::now() + kPatience;
        while (count(used) * 8'192 > 8 << 20 && std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ASSERT_LE(count(used) * 8'192, 8 << 20);
    }
    EXPECT_LT(count("SELECT count(*) FROM refused"), 60'000);
    EXPECT_EQ(count("SELECT count(*) FROM session"), 10);
    JournalFilter filter;
    filter.from = test::sampleSession(7, 0).mail.front().from;
    EXPECT_THAT(all(filter), SizeIs(1));
}

/// A session with more mails than its own record takes.
class FurtherMailTest : public JournalTest {
  protected:
    FurtherMailTest() { options_.keep_sessions = options_.keep_refused = 24h * 365; }

    /// Its mails from 2 to `count`, the session itself if it is over; sealed when it was long ago.
    JournalSession writeLongSession(std::uint32_t count, bool over, std::chrono::hours ago) {
        Journal journal(options_, openSqlite, told_.events());
        journal.start();
        const std::int64_t ended = nowMillis() - std::chrono::milliseconds(ago).count();
        JournalSession session = test::sampleSession(77, ended);
        for (std::uint32_t number = 2; number <= count; ++number) {
            JournalSession further = test::sampleFurtherMail(session, number);
            further.mail.front().refused = {{fmt::format("refused{}@example.net", number), "550 no"}};
            further.mail.front().accepted = number != count;
            EXPECT_TRUE(journal.record(std::move(further)));
        }
        session.mail_count = count;
        if (over) {
            EXPECT_TRUE(journal.record(JournalSession(session)));
        }
        EXPECT_TRUE(journal.record(test::sampleSession(78, ended))) << "a neighbour";
        EXPECT_TRUE(journal.flush(kPatience));
        if (ago > 24h) {
            EXPECT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE sealed = 0", 0));
        }
        return session;
    }

    void findsEachMail(const JournalSession& session, std::size_t own) {
        for (const char* from : {"further2@partner.example", "further40@partner.example"}) {
            JournalFilter filter;
            filter.from = from;
            const auto found = all(filter);
            ASSERT_THAT(found, SizeIs(1)) << from;
            EXPECT_EQ(found.front().id, session.id);
            ASSERT_THAT(found.front().mail, SizeIs(own + 1))
                << "of the further ones those that were asked for";
            EXPECT_EQ(found.front().mail.back().from, from);
        }
        JournalFilter filter;
        filter.queue_id = session.mail.front().queue_id;
        EXPECT_THAT(all(filter), SizeIs(own));
        filter = {};
        filter.queue_id = "50000000017";  // 39
        filter.to = "refused39@example.net";
        EXPECT_THAT(all(filter), SizeIs(0)) << "another mail's queue id";
        filter.to = "refused23@example.net";
        ASSERT_THAT(all(filter), SizeIs(1));
        filter.client = network("0.0.0.0/0");
        EXPECT_THAT(all(filter), SizeIs(1));
        filter.user = "nobody";
        EXPECT_THAT(all(filter), SizeIs(0));
        const auto shown = journal::Reader(options_.url).withId(session.id, 2);
        ASSERT_THAT(shown, SizeIs(1));
        ASSERT_THAT(shown.front().mail, SizeIs(own + 39));
        EXPECT_EQ(shown.front().mail.back().number, 40u);
        EXPECT_EQ(shown.front().mail_count, 40u);
    }
};

TEST_F(FurtherMailTest, IsFoundAndShownWithItsSession) {
    const JournalSession session = writeLongSession(40, true, 1h);
    findsEachMail(session, 1);
    const auto everything = all();
    ASSERT_THAT(everything, SizeIs(2));
    EXPECT_THAT(everything.front().mail, SizeIs(40)) << "all of them, where none was asked for";
    journal::Reader query(options_.url);
    journal::Position from_the_beginning;
    JournalFilter filter;
    filter.from = "further40@partner.example";
    EXPECT_THAT(query.after(filter, from_the_beginning, 10), SizeIs(1));
}

TEST_F(FurtherMailTest, IsFoundInSealedSegments) {
    findsEachMail(writeLongSession(40, true, 48h), 1);
}

TEST_F(FurtherMailTest, IsFoundThoughItsSessionNeverEnded) {
    const JournalSession session = writeLongSession(40, false, 1h);
    findsEachMail(session, 0);
    EXPECT_EQ(journal::Reader(options_.url).withId(session.id, 2).front().end, "");
    EXPECT_THAT(all(), SizeIs(1)) << "without a filter the sessions that are over";
}

TEST_F(FurtherMailTest, IsAddedUpByItsSender) {
    writeLongSession(40, true, 1h);
    const JournalTop top = journal::Reader(options_.url).top(test::during(0, nowMillis() + 1, 100));
    EXPECT_EQ(top.sessions, 2u);
    EXPECT_THAT(top.of(SumsOf::Senders), SizeIs(41));
    for (const JournalSums& sender : top.of(SumsOf::Senders)) {
        EXPECT_EQ(sender.sessions, 1u) << sender.name;
        EXPECT_EQ(sender.mails, 1u) << sender.name;
    }
    const auto& clients = top.of(SumsOf::Clients);
    const auto hasRefused = [](const JournalSums& client) { return client.mails_refused == 1; };
    EXPECT_EQ(std::ranges::count_if(clients, hasRefused), 1) << "with its own record";
}

TEST_F(FurtherMailTest, GoesWithItsTime) {
    options_.keep_sessions = 24h * 30;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    const JournalSession old =
        test::sampleSession(1, nowMillis() - std::chrono::milliseconds(24h * 60).count());
    ASSERT_TRUE(journal.record(test::sampleFurtherMail(old, 21)));
    ASSERT_TRUE(journal.flush(kPatience));
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment", 0));
    EXPECT_EQ(count("SELECT count(*) FROM further_mail"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM mail"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM client_address"), 0);
}

/// Sessions whose clients' addresses are in every place where one can be.
class JournalAddressTest : public JournalTest {
  protected:
    void writeTelltales(std::int64_t ended_ms) {
        Journal journal(options_, openSqlite, told_.events());
        journal.start();
        JournalSession v4 = test::sampleSession(1, ended_ms);
        v4.client = test::sampleV4(0xC6336407);  // 198.51.100.7
        v4.helo = "[198.51.100.7]";
        v4.rule = "198.51.100.7";
        v4.mail.front().reply = "450 4.7.1 Client host [198.51.100.7] rejected, not [198.51.100.77]";
        v4.mail.front().replies = {"250 2.0.0 from 198.51.100.7"};
        v4.mail.front().message_id = "1@[198.51.100.7]";
        v4.mail.front().refused = {{"bob@example.net", "550 5.7.1 198.51.100.7 is listed"}};
        JournalSession v6 = test::sampleSession(2, ended_ms + 1);
        v6.client = test::sampleV6(5, 9);
        v6.helo = "[IPv6:2001:DB8:5:0:0:0:0:9]";
        JournalSession refused = test::sampleRefusal(3, ended_ms + 2);
        refused.client = v4.client;
        refused.reply = "554 5.7.1 198.51.100.7 is not allowed";
        for (JournalSession* session : {&v4, &v6, &refused})
            ASSERT_TRUE(journal.record(std::move(*session)));
        ASSERT_TRUE(journal.flush(kPatience));
        ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE sealed = 1", 2));
    }
    std::size_t found(const char* client) {
        JournalFilter filter;
        filter.client = network(client);
        return all(filter).size();
    }
    std::size_t foundMessage(const char* id) {
        JournalFilter filter;
        filter.message_id = id;
        return all(filter).size();
    }
    std::vector<std::string> clients() {
        std::vector<std::string> clients;
        for (const JournalSession& session : all())
            clients.push_back(clientNetwork(session).toString());
        return clients;
    }
    /// Of the database and its WAL, free corners included.
    std::string bytes() const {
        std::string bytes;
        for (const char* suffix : {"", "-wal"}) {
            std::ifstream raw(file() + suffix, std::ios::binary);
            bytes.append(std::istreambuf_iterator<char>(raw), {});
        }
        return bytes;
    }
    /// The address of the first session as the search terms have it.
    static std::string termOfFirst() {
        const std::uint64_t term = journal::clientTerms(network("198.51.100.7")).low;
        return {reinterpret_cast<const char*>(&term), sizeof term};
    }
};

TEST_F(JournalAddressTest, OnlyTheShortLivedTablesHoldAFullAddress) {
    writeTelltales(nowMillis() - std::chrono::milliseconds(25h).count());
    EXPECT_EQ(count("SELECT count(*) FROM client_address WHERE client IN ('198.51.100.7', '2001:db8:5::9')"),
              3);
    for (const char* row : {"session", "refused"})
        EXPECT_EQ(
            count(std::string("SELECT count(*) FROM ") + row +
                  " WHERE client || '|' || helo || rule LIKE '%100.7%' OR client || '|' || helo LIKE '%:9%'"),
            0);
    EXPECT_EQ(count("SELECT count(*) FROM mail WHERE refused_replies LIKE '%198.51.100.7 %'"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM mail WHERE message_id LIKE '%198.51.100.7%'"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM refused WHERE reply LIKE '%198.51.100.7 %'"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM mail WHERE reply || replies LIKE '%198.51.100.7%'"
                    " AND reply NOT LIKE '%[198.51.100.0/24] rejected, not [198.51.100.77]'"),
              0);
    const std::string term = "x'" + [](const std::string& bytes) {
        std::string hex;
        for (const char byte : bytes)
            hex += fmt::format("{:02X}", static_cast<unsigned char>(byte));
        return hex;
    }(termOfFirst()) + "'";
    EXPECT_EQ(count("SELECT count(*) FROM term_page WHERE instr(terms, " + term + ")"), 0);
    EXPECT_GT(count("SELECT count(*) FROM address_page WHERE instr(terms, " + term + ")"), 0);

    // And who asks is told all of it.
    EXPECT_THAT(clients(), testing::UnorderedElementsAre("198.51.100.7", "2001:db8:5::9", "198.51.100.7"));
    EXPECT_EQ(found("198.51.100.7"), 2u);
    EXPECT_EQ(found("198.51.100.6/31"), 2u);
    EXPECT_EQ(found("2001:db8:5::9"), 1u);
    EXPECT_EQ(found("2001:db8:5::/64"), 1u);
    EXPECT_EQ(foundMessage("1@[198.51.100.7]"), 1u);
    const JournalSession v4 = all().front();
    EXPECT_EQ(v4.helo, "[198.51.100.7]");
    EXPECT_EQ(v4.rule, "198.51.100.7");
    EXPECT_EQ(v4.mail.front().reply, "450 4.7.1 Client host [198.51.100.7] rejected, not [198.51.100.77]");
    EXPECT_THAT(v4.mail.front().replies, testing::ElementsAre("250 2.0.0 from 198.51.100.7"));
    EXPECT_EQ(v4.mail.front().refused.front().reply, "550 5.7.1 198.51.100.7 is listed");
    EXPECT_EQ(all().back().reply, "554 5.7.1 198.51.100.7 is not allowed");
}

TEST_F(JournalAddressTest, ForgetsAddressesWhenTheirTimeIsUp) {
    writeTelltales(nowMillis() - std::chrono::milliseconds(25h).count());
    ASSERT_NE(bytes().find("198.51.100.7]"), std::string::npos);
    ASSERT_NE(bytes().find(termOfFirst()), std::string::npos);
    options_.mask_after = 24h;
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE addresses = 2", 2));
    EXPECT_EQ(count("SELECT count(*) FROM client_address"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM address_page"), 0);
    write(journal, 1, nowMillis());
    EXPECT_THAT(clients(), testing::UnorderedElementsAre("198.51.100.0/24", "198.51.100.0/24",
                                                         "2001:db8:5::/48", "11.0.0.0"));
    EXPECT_EQ(found("198.51.100.0/24"), 2u);
    EXPECT_EQ(found("198.51.100.7"), 0u);
    EXPECT_EQ(found("2001:db8::/32"), 1u);
    EXPECT_EQ(found("2001:db8:5::/64"), 0u);
    EXPECT_EQ(foundMessage("1@[198.51.100.7]"), 0u);
    EXPECT_EQ(foundMessage("1@[198.51.100.0/24]"), 1u);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const auto isThere = [&] {
        const std::string all_bytes = bytes();
        return all_bytes.find("198.51.100.7]") != std::string::npos ||
               all_bytes.find(termOfFirst()) != std::string::npos ||
               all_bytes.find("2001:DB8:5") != std::string::npos;
    };
    while (isThere() && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(isThere()) << "not even in a free corner of the file, or in its WAL";
}

TEST_F(JournalAddressTest, TakesOverWhatVersion1Wrote) {
    std::stringstream script;
    script << std::ifstream(JOURNAL_V1).rdbuf();
    sqlite::Database(file(), {}).run(script.str());
    ASSERT_EQ(count("SELECT count(*) FROM session WHERE client = '198.51.100.7'"), 1);
    options_.keep_sessions = options_.keep_refused = std::chrono::hours(24 * 365 * 100);
    EXPECT_EQ(found("198.51.100.7"), 2u) << "asked before the gateway has moved them";
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE addresses = 1 AND sealed = 1", 2));
    EXPECT_THAT(clients(), testing::ElementsAre("198.51.100.7", "2001:db8:5::9", "198.51.100.7"));
    EXPECT_EQ(count("SELECT count(*) FROM session WHERE client = '198.51.100.0/24'"), 1);
    EXPECT_EQ(found("198.51.100.7"), 2u);
    EXPECT_EQ(found("198.51.100.0/24"), 2u);
    EXPECT_EQ(found("2001:db8:5::9"), 1u);
    JournalFilter failed;
    failed.failed_login = true;
    EXPECT_THAT(all(failed), SizeIs(1)) << "a term that version 1 did not have";
    const JournalSession v4 = all().front();
    EXPECT_EQ(v4.helo, "[198.51.100.7]");
    EXPECT_EQ(v4.rule, "198.51.100.7");
    EXPECT_EQ(v4.mail.front().reply, "450 4.7.1 Client host [198.51.100.7] rejected");
    EXPECT_EQ(v4.mail.front().refused_count, 0u);
    journal.stop();
    options_.mask_after = 24h;
    Journal masking(options_, openSqlite, told_.events());
    masking.start();
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE addresses = 2", 2));
    masking.stop();
    EXPECT_EQ(bytes().find("198.51.100.7"), std::string::npos);
    EXPECT_EQ(bytes().find(termOfFirst()), std::string::npos);
}

TEST_F(JournalAddressTest, TakesOverWhatVersion1HadMasked) {
    std::stringstream script;
    script << std::ifstream(JOURNAL_V1).rdbuf();
    sqlite::Database(file(), {}).run(script.str());
    sqlite::Database(file(), {}).run("UPDATE session SET client = '198.51.100.0/24', helo = '', rule = ''");
    options_.keep_sessions = options_.keep_refused = std::chrono::hours(24 * 365 * 100);
    Journal journal(options_, openSqlite, told_.events());
    journal.start();
    ASSERT_TRUE(waitUntil("SELECT count(*) FROM segment WHERE addresses = 1 AND sealed = 1", 2));
    EXPECT_THAT(told_.failures(), IsEmpty());
    EXPECT_EQ(found("198.51.100.0/24"), 3u);
}

}  // namespace
}  // namespace mailgate::store
