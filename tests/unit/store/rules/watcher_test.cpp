// SPDX-License-Identifier: Apache-2.0
#include "store/rules/watcher.h"

#include "store/backends/rules.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <algorithm>

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <fstream>
#include <mutex>
#include <thread>

namespace mailgate::store {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr auto kDeadline = 20s;
const std::vector<std::string> kWatched{"smtp", "imap"};

class AccessWatcherTest : public testing::Test {
  protected:
    void SetUp() override {
        shell_ = std::make_unique<Shell>(file_);
        openRules("sqlite:" + file_);
        watcher_ = std::make_unique<AccessWatcher>(
            openRules("sqlite:" + file_, {.use = RuleStore::Use::Serve, .poll = 10ms}), kWatched, events(),
            100ms);
    }

    AccessWatcher::Events events() {
        return {[this](const AccessTable& table, double seconds) {
                    note("changed to " + std::to_string(table.size()));
                    EXPECT_GE(seconds, 0);
                },
                [this](const std::string& what) { note("failed: " + what); }, [this] { note("recovered"); },
                [this](const std::vector<std::string>& listeners) {
                    for (const std::string& listener : listeners)
                        note("closed: " + listener);
                }};
    }
    void note(const std::string& event) {
        const std::lock_guard lock(mutex_);
        told_.push_back(event);
        signal_.notify_all();
    }
    std::vector<std::string> told() {
        const std::lock_guard lock(mutex_);
        return told_;
    }
    /// Waits for an event with `words` later than the one waited for before.
    void await(const std::string& words) {
        std::unique_lock lock(mutex_);
        const bool came = signal_.wait_for(lock, kDeadline, [&] {
            while (awaited_ < told_.size())
                if (told_[awaited_++].find(words) != std::string::npos) return true;
            return false;
        });
        ASSERT_TRUE(came) << words << " did not come; last: " << (told_.empty() ? "" : told_.back());
    }
    void awaitGeneration(std::uint64_t after) {
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (watcher_->version() == after) {
            ASSERT_LT(std::chrono::steady_clock::now(), until);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    std::string verdict(std::string_view text, ListenerIndex listener = 0) {
        const auto match = watcher_->current()->lookup(address(text), listener, std::time(nullptr));
        return match ? std::string(toString(match->verdict)) : "none";
    }
    void hit(std::string_view text, int times = 1) {
        const auto table = watcher_->current();
        for (; times > 0; --times)
            table->hit(table->lookup(address(text), 0, 0)->rule, 1'800'000'000);
    }
    void add(const std::string& network_text, const std::string& verdict_text) {
        shell_->run("INSERT INTO access_rule(network, verdict) VALUES ('" + network_text + "', '" +
                    verdict_text + "')");
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<Shell> shell_;
    std::mutex mutex_;
    std::condition_variable signal_;
    std::vector<std::string> told_;
    std::size_t awaited_ = 0;
    std::unique_ptr<AccessWatcher> watcher_;
};

TEST_F(AccessWatcherTest, StartsWithWhatIsThere) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
    EXPECT_THAT(told(), ElementsAre("changed to 1"));
}

TEST_F(AccessWatcherTest, SeesChangesByAnyone) {
    watcher_->start();
    auto generation = watcher_->version();
    add("192.0.2.0/24", "deny");
    awaitGeneration(generation);
    EXPECT_EQ(verdict("192.0.2.1"), "deny");

    generation = watcher_->version();
    AccessRule rule;
    rule.network = network("192.0.2.1");
    rule.verdict = Verdict::Allow;
    rule.listener = "imap";
    openRules("sqlite:" + file_)->put(std::span(&rule, 1), "alice");
    awaitGeneration(generation);
    EXPECT_EQ(verdict("192.0.2.1", 0), "deny");
    EXPECT_EQ(verdict("192.0.2.1", 1), "allow");

    generation = watcher_->version();
    shell_->run("DELETE FROM access_rule");
    awaitGeneration(generation);
    EXPECT_EQ(verdict("192.0.2.1"), "none");
}

TEST_F(AccessWatcherTest, OtherWritesChangeNoTable) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    const auto generation = watcher_->version();
    shell_->run("UPDATE access_rule SET hits = 7; CREATE TABLE notes(text TEXT)");
    add("198.51.100.0/24", "deny");
    await("changed to 2");
    EXPECT_EQ(watcher_->version(), generation + 1);
}

TEST_F(AccessWatcherTest, AnExpiredRuleNeedsNoWrite) {
    add("192.0.2.0/24", "allow");
    shell_->run(
        "INSERT INTO access_rule(network, verdict, expires_at) VALUES ('192.0.2.1', 'deny', unixepoch() + "
        "1)");
    watcher_->start();
    const auto table = watcher_->current();
    const UnixSeconds expiry = std::stoll(shell_->value("SELECT expires_at FROM access_rule WHERE id = 2"));
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 0, expiry - 1)->verdict, Verdict::Deny);
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 0, expiry)->verdict, Verdict::Allow);
}

TEST_F(AccessWatcherTest, TellsWhenTheLastAllowRuleOfAListenerIsOver) {
    // In force when the watcher begins, however long that takes.
    shell_->run(
        "INSERT INTO access_rule(network, verdict, listener, expires_at)"
        " VALUES ('192.0.2.0/24', 'allow', 'smtp', unixepoch() + 3), ('192.0.2.0/24', 'allow', 'imap', "
        "NULL)");
    watcher_->start();
    await("closed: smtp");  // without a write
    shell_->run("DELETE FROM access_rule WHERE listener = 'imap'");
    await("closed: imap");
    add("192.0.2.0/24", "allow");
    await("changed to 2");
    shell_->run("DELETE FROM access_rule");
    await("closed: smtp");
    await("closed: imap");
}

TEST_F(AccessWatcherTest, OneThatWasClosedFromTheBeginningHasNotBeenClosed) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    add("198.51.100.0/24", "deny");
    await("changed to 2");
    add("203.0.113.0/24", "deny");
    await("changed to 3");
    EXPECT_THAT(told(), Not(testing::Contains(HasSubstr("closed"))));
}

TEST_F(AccessWatcherTest, ABadRowAtTheStartIsAnError) {
    add("192.0.2.5/99", "deny");
    try {
        watcher_->start();
        FAIL() << "started";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::BadRow);
    }
}

TEST_F(AccessWatcherTest, ABadRowLaterLeavesTheLastGoodTable) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    shell_->run("INSERT INTO access_rule(id, network, verdict) VALUES (77, 'mail.example.org', 'allow')");
    await("failed: ");
    EXPECT_THAT(told().back(), AllOf(HasSubstr("id 77"), HasSubstr("mail.example.org"),
                                     HasSubstr("1 rules read before stay")));
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
    shell_->run("UPDATE access_rule SET hits = 1");  // still bad: nothing new to tell
    shell_->run("DELETE FROM access_rule WHERE id = 77");
    await("recovered");
    add("198.51.100.0/24", "deny");
    await("changed to 2");
    const auto events = told();
    EXPECT_EQ(std::count_if(events.begin(), events.end(),
                            [](const auto& event) { return event.starts_with("failed"); }),
              1);
}

TEST_F(AccessWatcherTest, RulesThatWereChangedWithoutATraceAreNotTaken) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    const std::string trigger =
        shell_->value("SELECT sql FROM sqlite_schema WHERE name = 'access_rule_added'");
    shell_->run(
        "DROP TRIGGER access_rule_added; INSERT INTO access_rule(network, verdict)"
        " VALUES ('192.0.2.1', 'allow')");
    await("failed: ");
    EXPECT_THAT(told().back(), AllOf(HasSubstr("trigger access_rule_added is missing"),
                                     HasSubstr("1 rules read before stay")));
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
    shell_->run(trigger);
    await("changed to 2");
    await("recovered");
    EXPECT_EQ(verdict("192.0.2.1"), "allow");
}

TEST_F(AccessWatcherTest, AFileInTheFilesPlaceIsRead) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    const std::string other = folder_.file("other.db");
    openRules("sqlite:" + other);
    Shell(other).run(
        "INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'allow'), ('::/0', 'deny')");
    shell_.reset();
    std::filesystem::rename(other, file_);
    await("changed to 2");
    EXPECT_EQ(verdict("192.0.2.1"), "allow");
}

TEST_F(AccessWatcherTest, ADeletedFileIsToldAndItsReturnToo) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    shell_.reset();
    std::filesystem::rename(file_, folder_.file("away.db"));
    await("failed: ");
    EXPECT_THAT(told().back(), AllOf(HasSubstr(file_), HasSubstr("gone"), HasSubstr("stay in force")));
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
    EXPECT_FALSE(std::filesystem::exists(file_));
    std::filesystem::rename(folder_.file("away.db"), file_);
    await("recovered");
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
}

TEST_F(AccessWatcherTest, AFileThatWasMadeAnewIsNotGoneBy) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    shell_.reset();
    const std::string away = folder_.file("away.db");
    std::filesystem::rename(file_, away);
    await("gone");
    const std::string fresh = folder_.file("fresh.db");
    openRules("sqlite:" + fresh);
    std::filesystem::rename(fresh, file_);
    await("began without rules");
    EXPECT_THAT(told().back(),
                AllOf(HasSubstr("restart the gateway"), HasSubstr("1 rules read before stay")));
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
    EXPECT_THAT(told(), Not(Contains("changed to 0")));
    std::filesystem::rename(away, file_);
    await("recovered");
    shell_ = std::make_unique<Shell>(file_);
    add("203.0.113.0/24", "deny");
    await("changed to 2");
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
}

TEST_F(AccessWatcherTest, OneWithoutRulesMayBeReplacedByAnother) {
    watcher_->start();
    shell_.reset();
    const std::string other = folder_.file("other.db");
    openRules("sqlite:" + other);
    std::filesystem::rename(other, file_);
    await("changed to 0");
    await("changed to 0");
    EXPECT_THAT(told(), Not(Contains(HasSubstr("failed"))));
}

TEST_F(AccessWatcherTest, RubbishInTheFilesPlaceChangesNothing) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    std::ofstream(folder_.file("rubbish")) << "this is no database, whatever its name says";
    std::filesystem::rename(folder_.file("rubbish"), file_);
    await("not an SQLite database");
    std::ofstream(folder_.file("empty")).close();
    std::filesystem::rename(folder_.file("empty"), file_);
    await("the file is empty");
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
}

TEST_F(AccessWatcherTest, HitsAreWrittenWhenStopping) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    hit("192.0.2.1", 5);
    watcher_->stop();
    EXPECT_EQ(shell_->value("SELECT hits || ' ' || last_hit_at FROM access_rule"), "5 1800000000");
    EXPECT_EQ(shell_->value("SELECT count(*) FROM access_audit"), "1");
}

TEST_F(AccessWatcherTest, HitsOfATableThatWasReplacedCount) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    const auto old = watcher_->current();
    add("198.51.100.0/24", "deny");
    await("changed to 2");
    old->hit(0, 1'800'000'000);
    hit("192.0.2.1");
    watcher_->stop();
    EXPECT_EQ(shell_->value("SELECT hits FROM access_rule WHERE id = 1"), "2");
}

TEST_F(AccessWatcherTest, HitsAreWrittenWhileRunningOnceNobodyHoldsALock) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    shell_->run("BEGIN IMMEDIATE");
    hit("192.0.2.1", 3);
    shell_->run("COMMIT");
    const auto until = std::chrono::steady_clock::now() + kDeadline;
    while (shell_->value("SELECT hits FROM access_rule") != "3") {
        ASSERT_LT(std::chrono::steady_clock::now(), until);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

TEST_F(AccessWatcherTest, HitsThatAreLostAreTold) {
    add("192.0.2.0/24", "deny");
    watcher_->start();
    hit("192.0.2.1");
    shell_->run("BEGIN IMMEDIATE");
    watcher_->stop();
    EXPECT_THAT(told().back(), AllOf(HasSubstr("failed: "), HasSubstr("hits of 1 rules")));
    shell_->run("ROLLBACK");
}

TEST_F(AccessWatcherTest, RulesThatExpiredLongAgoAreRemovedWhileItRuns) {
    add("192.0.2.0/24", "deny");
    shell_->run("INSERT INTO access_rule(network, verdict, expires_at) VALUES ('192.0.2.1', 'deny', 1)");
    watcher_->start();
    await("changed to 2");
    await("changed to 1");
    EXPECT_EQ(shell_->value("SELECT group_concat(network) FROM access_rule"), "192.0.2.0/24");
    EXPECT_EQ(verdict("192.0.2.1"), "deny");
}

TEST_F(AccessWatcherTest, NothingIsRemovedThatTheTrailWouldNotRecord) {
    add("192.0.2.0/24", "deny");
    shell_->run(
        "INSERT INTO access_rule(network, verdict, expires_at) VALUES ('203.0.113.1', 'deny', 1);"
        "DROP TRIGGER access_rule_removed");
    watcher_->start();
    await("trigger access_rule_removed is missing");
    // Hits are written in the same turn, and before.
    for (const char* hits : {"1", "2"}) {
        hit("192.0.2.1");
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (shell_->value("SELECT hits FROM access_rule WHERE id = 1") != hits) {
            ASSERT_LT(std::chrono::steady_clock::now(), until);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    EXPECT_EQ(shell_->value("SELECT count(*) FROM access_rule"), "2");
}

TEST_F(AccessWatcherTest, StoppingTwiceOrUnstartedIsNothing) {
    watcher_->stop();
    watcher_->start();
    watcher_->stop();
    watcher_->stop();
    EXPECT_NE(watcher_->current(), nullptr);
}

}  // namespace
}  // namespace mailgate::store
