// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_rehearsal.h"

#include "store/backends/rules.h"
#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>

namespace mailgate::cli {
namespace {

using store::JournalSession;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
namespace journal = store::journal;

constexpr UnixSeconds kNow = 1'800'000'000;
const rules::Site kOneListener{{{"mx", true, {}}}, {}};

/// Answers from a list.
class RecordedSessions final : public journal::Source {
  public:
    std::vector<JournalSession> sessions;

    std::vector<JournalSession> newest(const store::JournalFilter& filter, std::size_t) override {
        std::vector<JournalSession> found;
        for (const JournalSession& one : sessions)
            if (filter.client->contains(one.client) && one.started_ms >= *filter.since_ms)
                found.push_back(one);
        return found;
    }
    std::size_t count(const store::JournalFilter& filter, std::size_t at_most) override {
        return newest(filter, at_most).size();
    }
    std::vector<JournalSession> withId(const std::string&, std::size_t) override { return {}; }
    journal::Position end() override { return {}; }
    /// One at a time.
    std::vector<JournalSession> after(const store::JournalFilter& filter, journal::Position& position,
                                      std::size_t) override {
        const std::size_t at = position.text.size();
        if (at == sessions.size()) return {};
        position.text += 'x';
        if (sessions[at].started_ms < *filter.since_ms) return {};
        return {sessions[at]};
    }
    store::JournalTop top(const store::JournalTopQuery&) override { return {}; }
};

class RehearsalTest : public testing::Test {
  protected:
    RehearsedChange denying(const std::vector<std::string>& texts, std::size_t most = 100) {
        return rehearse(*store_, kOneListener, kNow, most, [&] {
            std::vector<store::AccessRule> denied;
            for (const std::string& text : texts)
                denied.emplace_back().network = network(text);
            store_->put(denied, "alice");
        });
    }
    void record(std::string id, std::string_view client, std::int64_t started_ms = 2'000) {
        JournalSession& one = journal_.sessions.emplace_back();
        one.id = std::move(id);
        one.client = address(client);
        one.listener = "mx";
        one.started_ms = started_ms;
    }

    TemporaryFolder folder_;
    std::unique_ptr<store::RuleStore> store_ = store::openRules("sqlite:" + folder_.file("rules.db"));
    RecordedSessions journal_;
};

TEST_F(RehearsalTest, SaysWhatWouldBeChanged) {
    store::AccessRule allowed;
    allowed.verdict = store::Verdict::Allow;
    allowed.network = network("192.0.2.0/24");
    store_->put(std::span(&allowed, 1), "alice");
    const auto change = rehearse(*store_, kOneListener, kNow, 2, [&] {
        store::AccessRule noted = allowed;
        noted.note = "\x1B[2J";
        store_->put(std::span(&noted, 1), "alice");
        store_->remove(std::vector<std::int64_t>{1}, "alice");
        noted.network = network("192.0.2.0/25");
        store_->put(std::span(&noted, 1), "alice");
    });
    EXPECT_EQ(textOf(change),
              "~ allow 192.0.2.0/24  ->  allow 192.0.2.0/24 \\u001b[2J\n- allow 192.0.2.0/24 \\u001b[2J\n"
              "and 1 more\ndry run: 1 to be added, 1 changed, 1 removed; nothing was changed\n");
    EXPECT_THAT(change.networks, SizeIs(2));
    EXPECT_EQ(store_->history({}).size(), 1u);
}

TEST_F(RehearsalTest, OfANameTheSessionsFromWhatItStandsFor) {
    store::AccessRule named;
    named.name = "host:home.example.org";
    named.verdict = store::Verdict::Allow;
    const std::int64_t id = store_->put(std::span(&named, 1), "alice").front().id;
    store_->keepName(id, {.networks = {network("192.0.2.7"), network("2001:db8::/48")}, .error = {}});
    record("1", "192.0.2.7");
    record("2", "2001:db8::1");
    record("3", "203.0.113.1");
    const auto removal = rehearse(*store_, kOneListener, kNow, 100,
                                  [&] { store_->remove(std::vector<std::int64_t>{id}, "alice"); });
    EXPECT_EQ(removal.networks, (std::vector{network("192.0.2.7"), network("2001:db8::/48")}));
    EXPECT_EQ(concernedBy(removal, journal_, 1'000, 100).sessions, 2u);
    store_->remove(std::vector<std::int64_t>{id}, "alice");
    const auto restored = rehearse(*store_, kOneListener, kNow, 100,
                                   [&] { store_->undo(store_->lastChangeBy("alice"), "alice"); });
    EXPECT_EQ(concernedBy(restored, journal_, 1'000, 100).sessions, 2u);
}

TEST_F(RehearsalTest, SumsUpTheSessionsThatWouldBeDecidedOtherwise) {
    store::AccessRule allowed;
    allowed.verdict = store::Verdict::Allow;
    allowed.network = network("192.0.2.0/24");
    store_->put(std::span(&allowed, 1), "alice");
    record("1", "192.0.2.7");
    record("2", "192.0.2.200");
    record("3", "192.0.2.7");
    record("4", "192.0.2.7", 999);
    record("5", "192.0.2.7");
    journal_.sessions.back().kind = store::JournalKind::Mail;
    record("6", "192.0.2.0");
    journal_.sessions.back().client_masked = true;
    record("7", "203.0.113.1");

    const std::string expected =
        "2 sessions of the last 7 days would be decided otherwise:\n"
        "  192.0.2.7 on mx: 2 sessions refused instead of admitted\n"
        "not known of 1 session, whose clients' addresses are masked\n";
    // The second network lies in the first: a session counts once.
    EXPECT_EQ(textOf(concernedBy(denying({"192.0.2.0/28", "192.0.2.7"}), journal_, 1'000, 100)), expected);
    // Of many networks the whole journal is read.
    std::vector<std::string> many;
    for (int last = 0; last < 100; ++last)
        many.push_back("192.0.2." + std::to_string(last));
    EXPECT_EQ(textOf(concernedBy(denying(many), journal_, 1'000, 100)), expected);
    EXPECT_EQ(textOf(concernedBy(denying({"203.0.113.0/24"}), journal_, 1'000, 100)),
              "0 sessions of the last 7 days would be decided otherwise\n")
        << "who is refused anyway is not refused otherwise";
}

TEST_F(RehearsalTest, IsAnObjectForPrograms) {
    record("1", "192.0.2.7");
    record("2", "192.0.2.8");
    record("3", "192.0.2.8");
    store::AccessRule allowed;
    allowed.verdict = store::Verdict::Allow;
    allowed.network = network("192.0.2.0/24");
    store_->put(std::span(&allowed, 1), "alice");
    const auto change = denying({"192.0.2.0/28"});
    const auto concerned = concernedBy(change, journal_, 1'000, 1);
    EXPECT_EQ(rehearsalAsJson(change, &concerned),
              "{\"dry_run\":true,\"added\":1,\"changed\":0,\"removed\":0,"
              R"("sessions":{"decided_otherwise":3,"admitted":0,"refused":3,"not_known":0,"complete":true,)"
              R"("clients_found":2,"clients":[)"
              R"({"client":"192.0.2.8","listener":"mx","sessions":2,"allowed":false}]},"changes":[)"
              "\n"
              R"(  {"change":null,"action":"add","rule":null,"before":null,"after":"deny 192.0.2.0/28"})"
              "\n]}\n");
    EXPECT_NE(rehearsalAsJson(change, nullptr).find(R"("sessions":null,)"), std::string::npos);
}

}  // namespace
}  // namespace mailgate::cli
