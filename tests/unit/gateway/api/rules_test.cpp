// SPDX-License-Identifier: Apache-2.0
// Who waits for whom, and for what: the API's requests about rules, with others at the same file.
#include "store/backends/rules.h"
#include "gateway/api/api.h"
#include "store/backends/fleet.h"
#include "store/rules/service.h"
#include "tests/support/fake_control.h"
#include "tests/support/networks.h"
#include "tests/support/reference.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace mailgate::api {
namespace {

using store::RuleStore;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class NotedEvents final : public EventSink {
  public:
    bool enabled(LogLevel) const noexcept override { return true; }
    void write(LogLine& line) noexcept override { text += line.finish(); }

    std::string text;

  private:
    LogFormat format() const noexcept override { return LogFormat::Json; }
};

class RulesApiTest : public testing::Test {
  protected:
    RulesApiTest() {
        config_->store_url = "sqlite:" + folder_.file("rules.db");
        config_->journal.enabled = false;
        put("192.0.2.0/24");
    }

    std::unique_ptr<RuleStore> open() {
        return store::openRules(config_->store_url, {.lock_timeout = std::chrono::milliseconds(0)});
    }
    void put(const char* denied) {
        store::AccessRule rule;
        rule.verdict = store::Verdict::Deny;
        rule.network = network(denied);
        store_->put(std::span(&rule, 1), "bob");
    }
    std::int64_t version() { return store_->version(); }

    static Request of(const char* method, std::vector<std::string> path, std::string body = "") {
        Request request;
        request.who = {"alice", store::Role::Operator};
        request.method = method;
        request.path = std::move(path);
        request.body = std::move(body);
        return request;
    }
    static Request denying(const char* networks, const char* more = "") {
        return of("POST", {"rules"},
                  fmt::format(R"({{"networks":[{}],"verdict":"deny"{}}})", networks, more));
    }
    /// `seen`: what happens at each look at whether who asks is still there.
    Response handle(Request request, std::function<bool()> seen = {}) {
        request.has_left = std::move(seen);
        return api_.handle(request);
    }
    /// While somebody else writes.
    Response handleMeanwhile(const Request& request) {
        Response response;
        store_->together([&] { response = handle(request); });
        return response;
    }
    static std::string etagIn(const Response& response) {
        const auto found = std::find_if(response.headers.begin(), response.headers.end(),
                                        [](const auto& header) { return header.first == "ETag"; });
        return found == response.headers.end() ? std::string() : found->second;
    }
    bool isLocked() {
        try {
            open()->together([] {});
            return false;
        } catch (const store::StoreError& error) {
            return error.kind() == store::StoreError::Kind::Locked;
        }
    }

    TemporaryFolder folder_;
    std::shared_ptr<Config> config_ = std::make_shared<Config>();
    admin::FakeControl control_;
    NotedEvents log_;
    Api api_{{.control = control_,
              .config = [this] { return config_; },
              .site =
                  [](const Config&) {
                      return rules::Site{{{"mx", false, {}}}, {}};
                  },
              .log = &log_,
              .patience = std::chrono::milliseconds(1),
              .most_compared = 2}};
    std::unique_ptr<RuleStore> store_{store::openRules("sqlite:" + folder_.file("rules.db"))};
};

TEST_F(RulesApiTest, TheHistoryOfANameIsAskedForAsThatOfANetwork) {
    store::AccessRule named;
    named.name = "spf:_spf.example.org";
    store_->put(std::span(&named, 1), "alice");
    put("192.0.2.0/24");
    const auto told = [&](const char* subject) {
        Request request = of("GET", {"rules", "history"});
        request.query = {{"network", subject}};
        return handle(std::move(request));
    };
    EXPECT_THAT(told("spf:_spf.Example.org").body,
                AllOf(HasSubstr("_spf.example.org"), Not(HasSubstr("192.0.2.0"))));
    EXPECT_THAT(told("192.0.2.1").body, AllOf(HasSubstr("192.0.2.0"), Not(HasSubstr("_spf"))));
    EXPECT_THAT(told("host:a..b").body, HasSubstr("is not a name such as"));
}

TEST_F(RulesApiTest, WhatIsRefusedHasKeptNobodyFromWriting) {
    put("0.0.0.0/2");
    const std::string half = R"("64.0.0.0/2")";
    EXPECT_THAT(handleMeanwhile(denying(half.c_str())).body, HasSubstr("hazardous"));
    EXPECT_THAT(handleMeanwhile(denying(half.c_str(), R"(,"dry_run":true)")).body, HasSubstr("hazardous"));
    EXPECT_THAT(handleMeanwhile(of("POST", {"rules", "import"}, R"({"text":"deny 64.0.0.0/2\n"})")).body,
                HasSubstr("hazardous"));
    EXPECT_THAT(handleMeanwhile(of("POST", {"rules", "import"}, R"({"text":"nonsense\n"})")).body,
                HasSubstr("unreadable_list"));
    EXPECT_THAT(handleMeanwhile(of("PATCH", {"rules", "1"}, R"({"note":"x"})")).body,
                HasSubstr("precondition_required"));
    store_->remove(std::vector<std::int64_t>{2}, "alice");
    put("64.0.0.0/2");
    EXPECT_THAT(handleMeanwhile(of("POST", {"rules", "undo"}, "{}")).body, HasSubstr("hazardous"));
}

TEST_F(RulesApiTest, NothingIsWrittenToADamagedFileThatTheGatewayCannotRead) {
    const std::string etag = etagIn(handle(of("GET", {"rules", "1"})));
    store_.reset();
    const std::string path = folder_.file("rules.db");
    // What neither reading nor adding comes by.
    constexpr std::size_t kPage = 8'192;
    std::string damaged = readAll(path);
    damaged.replace(damaged.size() - kPage, kPage, kPage, '\xFF');
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_EQ(handle(denying(R"("192.0.2.1")", R"(,"dry_run":true)")).status, 200)
        << "nobody has found it yet";
    control_.now.rules_failed = true;
    Request edit = of("PATCH", {"rules", "1"}, R"({"note":"x"})"), removal = of("DELETE", {"rules", "1"});
    edit.if_match = removal.if_match = etag;
    for (const Request& change : {denying(R"("192.0.2.1")"), denying(R"("192.0.2.1")", R"(,"dry_run":true)"),
                                  edit, removal, of("POST", {"rules", "undo"}, "{}"),
                                  of("POST", {"rules", "import"}, R"({"text":"deny 64.0.0.0/2\n"})")}) {
        const Response response = handle(change);
        EXPECT_EQ(response.status, 500);
        EXPECT_THAT(response.body, AllOf(HasSubstr("rules_damaged"),
                                         HasSubstr("nothing was changed, and the rules that were read "
                                                   "before stay in force: their database is damaged"),
                                         Not(HasSubstr(path))));
    }
    Request by_admin = denying(R"("192.0.2.1")");
    by_admin.who.role = store::Role::Admin;
    EXPECT_THAT(handle(by_admin).body, HasSubstr(path + ": the database is damaged ("));
    EXPECT_TRUE(readAll(path) == damaged);
}

TEST_F(RulesApiTest, ADatabaseThatIsGoneIsNotMadeAnew) {
    store_.reset();
    const std::string path = folder_.file("rules.db");
    std::filesystem::remove(path);
    for (const Request& request : {of("GET", {"rules"}), denying(R"("192.0.2.1")")})
        EXPECT_EQ(handle(request).status, 500);
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RulesApiTest, NothingIsWrittenToAnEmptyFileInThePlaceOfTheRulesInForce) {
    store_->remove(std::vector<std::int64_t>{1}, "alice");
    control_.now.rules_failed = true;
    EXPECT_EQ(handle(denying(R"("192.0.2.1")", R"(,"dry_run":true)")).status, 200) << "none are in force";
    control_.now.rules = 1;
    const Response refused = handle(denying(R"("192.0.2.1")"));
    EXPECT_EQ(refused.status, 500);
    EXPECT_THAT(refused.body, AllOf(HasSubstr("rules_replaced"), HasSubstr("nothing was changed")));
    put("192.0.2.0/24");
    EXPECT_EQ(handle(denying(R"("192.0.2.1")")).status, 201);
}

TEST_F(RulesApiTest, WhatHasChangedSinceItWasJudgedIsJudgedAnew) {
    int looks = 0;
    // The second look is behind the first judgement, and nobody keeps others from writing then.
    const auto response = handle(denying(R"("64.0.0.0/2")"), [&] {
        if (++looks == 3) put("0.0.0.0/2");
        return false;
    });
    EXPECT_THAT(response.body, HasSubstr("hazardous"));
    EXPECT_EQ(store_->find({.limit = 9}).found, 2U);
}

TEST_F(RulesApiTest, SoIsWhatAFleetHasBroughtBackWithoutALineInTheTrail) {
    int looks = 0;
    const auto response = handle(denying(R"("64.0.0.0/2")"), [&] {
        store::SharedRule rule;
        rule.id = 7;
        rule.network = "0.0.0.0/2";
        rule.verdict = "deny";
        rule.set = store::kManualSet;
        if (++looks == 3) store::openReplica(config_->store_url, {})->restore({rule});
        return false;
    });
    EXPECT_THAT(response.body, HasSubstr("hazardous"));
}

TEST_F(RulesApiTest, WhatOthersChangeAllTheTimeIsJudgedWhileTheyWait) {
    int others = 0;
    const auto busy = [&] {
        if (!isLocked()) put(fmt::format("198.51.100.{}", ++others).c_str());
        return false;
    };
    EXPECT_EQ(handle(denying(R"("64.0.0.0/2")"), busy).status, 201);
    EXPECT_GE(others, 3);
    EXPECT_THAT(handle(denying(R"("203.0.113.1")", R"(,"dry_run":true)"), busy).body,
                HasSubstr(R"("added":1)"));
    put("0.0.0.0/3");
    EXPECT_THAT(handle(denying(R"("32.0.0.0/3")"), busy).body, HasSubstr("hazardous"));
}

TEST_F(RulesApiTest, WhatNobodyWaitsForIsNotDone) {
    const std::int64_t before = version();
    const std::string body = R"("203.0.113.99")";
    const Request orders[]{denying(body.c_str()),
                           of("POST", {"rules", "import"}, R"({"text":"deny 203.0.113.99\n"})"),
                           of("POST", {"rules", "undo"}, R"({"change":1})")};
    for (const Request& order : orders) {
        log_.text.clear();
        bool waited = false;
        const auto response = handle(order, [&] { return waited = isLocked(); });
        EXPECT_TRUE(waited) << "it is looked at last when it is its turn";
        EXPECT_THAT(response.body, HasSubstr("given_up"));
        EXPECT_THAT(log_.text, AllOf(HasSubstr("admin.order"), HasSubstr(R"("ok":false)")));
    }
    EXPECT_EQ(version(), before);
}

TEST_F(RulesApiTest, ADryRunThatNobodyWaitsForIsNoOrder) {
    Request removal = of("DELETE", {"rules", "1"});
    removal.query = {{"dry_run", "true"}};
    for (const Request& asked : {denying(R"("203.0.113.99")", R"(,"dry_run":true)"), removal}) {
        EXPECT_THAT(handle(asked, [] { return true; }).body, HasSubstr("given_up"));
        EXPECT_THAT(log_.text, IsEmpty());
    }
}

TEST_F(RulesApiTest, WhatWasUndoneAlreadyIsSaidToBe) {
    const std::string undo = R"({"change":1})";
    const auto shown = handle(of("POST", {"rules", "undo"}, R"({"change":1,"dry_run":true})"));
    Request twice = of("POST", {"rules", "undo"}, undo);
    twice.if_match = shown.headers.at(0).second;
    EXPECT_EQ(handle(twice).status, 200);
    for (const Request& again : {twice, of("POST", {"rules", "undo"}, undo)}) {
        const auto response = handle(again);
        EXPECT_EQ(response.status, 409);
        EXPECT_THAT(response.body,
                    AllOf(HasSubstr("undone_already"),
                          HasSubstr("change 1 has been undone already, by \\\"alice\\\", at 20"),
                          HasSubstr("(change 2)")));
    }
}

TEST_F(RulesApiTest, WhatASetGivesIsPartOfWhatWasShown) {
    const Request orders[]{
        denying(R"("203.0.113.0/25")", R"(,"set":"s1")"),
        of("POST", {"rules", "import"}, R"({"text":"deny 203.0.113.128/25\n","set":"s1"})"),
    };
    for (Request order : orders) {
        store_->defineSet("s1", {"seven", 7 * 86'400}, "bob");
        Request rehearsal = order;
        rehearsal.body.insert(1, R"("dry_run":true,)");
        const auto shown = handle(rehearsal);
        order.if_match = etagIn(shown);
        for (const store::SetDefaults& other :
             {store::SetDefaults{"seven", std::nullopt}, {"x", 7 * 86'400}}) {
            store_->defineSet("s1", other, "bob");
            EXPECT_EQ(handle(order).status, 412) << shown.body;
        }
        store_->defineSet("s1", {"seven", 7 * 86'400}, "bob");
        store_->defineSet("s2", {"of another set", std::nullopt}, "bob");
        EXPECT_LT(handle(order).status, 300) << "as it was shown";
    }
}

TEST_F(RulesApiTest, AProgramsRuleIsTakenOverByWhoChangesIt) {
    store::AccessRule rule;
    rule.verdict = store::Verdict::Deny;
    rule.network = network("198.51.100.77");
    const auto banned = store_->put(std::span(&rule, 1), store::programName("fail2ban"));
    const std::string id = fmt::to_string(banned.front().id);
    Request request = of("PATCH", {"rules", id}, R"({"note":"seen by alice"})");
    request.if_match = etagIn(handle(of("GET", {"rules", id})));
    const auto changed = handle(request);
    EXPECT_EQ(changed.status, 200) << changed.body;
    const auto rules = store_->find({.limit = 9}).rules;
    ASSERT_EQ(rules.back().note, "seen by alice");
    EXPECT_NE(rules.back().id, banned.front().id);
    EXPECT_EQ(etagIn(changed), etagIn(handle(of("GET", {"rules", fmt::to_string(rules.back().id)}))));
}

TEST_F(RulesApiTest, WhatTakesLongHasTurns) {
    const auto ask = [&](const char* who, store::Role role, std::vector<std::string> path = {"rules"},
                         const char* parameter = "overlapping", std::function<bool()> seen = {}) {
        Request request = of("GET", std::move(path));
        request.who = {who, role};
        static const std::map<std::string, std::string> values{
            {"match", "::"}, {"set", "manual"}, {"unused", "30d"}};
        const auto value = values.find(parameter);
        if (*parameter != 0) request.query = {{parameter, value == values.end() ? "true" : value->second}};
        return handle(std::move(request), std::move(seen));
    };
    const auto expectBusy = [](const Response& response) {
        EXPECT_EQ(response.status, 503);
        EXPECT_THAT(response.body, HasSubstr(R"("code":"busy")"));
        EXPECT_THAT(response.headers, testing::Contains(testing::Pair("Retry-After", "2")));
    };
    using enum store::Role;
    int alices = 0, bobs = 0, carols = 0;
    const auto meanwhile = [&] {
        if (++carols != 2) return false;  // it is the turn of all three
        expectBusy(ask("dora", Viewer));
        for (const char* parameter : {"match", "set", "note", "unused", "listener"})
            expectBusy(ask("dora", Viewer, {"rules"}, parameter));
        expectBusy(ask("dora", Viewer, {"rules", "sets"}, ""));
        EXPECT_EQ(ask("dora", Viewer, {"rules"}, "").status, 200) << "reads few";
        EXPECT_EQ(ask("dora", Viewer, {"rules", "history"}, "").status, 200);
        for (const char* parameter : {"overlapping", "match"})
            EXPECT_EQ(ask("dave", Operator, {"rules"}, parameter).status, 200) << "one turn is kept for him";
        return false;
    };
    const auto third = [&] {
        if (++bobs != 2) return false;
        expectBusy(ask("carol", Viewer));
        expectBusy(ask("carol", Viewer, {"sessions"}, "helo"));
        EXPECT_EQ(ask("carol", Viewer, {"sessions"}, "").status, 404)
            << "a list needs no turn: there is no journal";
        EXPECT_EQ(ask("carol", Viewer, {"rules"}, "note", meanwhile).status, 200)
            << "what takes less has turns of its own";
        return false;
    };
    const auto second = [&] {
        if (++alices != 2) return false;
        expectBusy(ask("alice", Viewer));
        EXPECT_EQ(ask("bob", Viewer, {"rules"}, "shadowed", third).status, 200);
        return false;
    };
    EXPECT_EQ(ask("alice", Viewer, {"rules"}, "overlapping", second).status, 200);
    EXPECT_EQ(ask("alice", Viewer).status, 200);
    EXPECT_GE(carols, 2);
}

TEST_F(RulesApiTest, ChangesHaveTurnsAndSoHasWhatJudgesThem) {
    constexpr const char *kChange = "", *kDryRun = R"(,"dry_run":true)";
    const auto ask = [&](const char* who, const char* how, std::function<bool()> seen = {}) {
        static const std::map<std::string, const char*> addresses{
            {"alice", R"("203.0.113.1")"}, {"bob", R"("203.0.113.2")"}, {"carol", R"("203.0.113.3")"}};
        Request request = denying(addresses.at(who), how);
        request.who.name = who;
        return handle(std::move(request), std::move(seen));
    };
    const auto isBusy = [&](const char* who, const char* how) {
        const auto response = ask(who, how);
        return response.status == 503 && response.body.find(R"("code":"busy")") != std::string::npos;
    };
    constexpr int kJudges = 2, kChanges = 4;  // the looks as it has its turn
    int alices = 0, bobs = 0, bobs_changes = 0;
    const auto two_judge = [&] {
        if (++bobs != kJudges) return false;
        EXPECT_TRUE(isBusy("carol", kDryRun));
        EXPECT_TRUE(isBusy("carol", kChange));
        return false;
    };
    const auto two_change = [&] {
        if (++bobs_changes != kChanges) return false;
        EXPECT_TRUE(isBusy("carol", kChange));
        return false;
    };
    const auto own = [&] {
        ++alices;
        if (alices == kJudges) {
            EXPECT_TRUE(isBusy("alice", kDryRun));
            EXPECT_EQ(ask("bob", kDryRun, two_judge).status, 200) << "two are judged at a time";
        }
        if (alices == kChanges) {
            EXPECT_TRUE(isBusy("alice", kChange));
            EXPECT_EQ(ask("alice", kDryRun).status, 200) << "who changes rules keeps nobody from looking";
            EXPECT_EQ(ask("bob", kChange, two_change).status, 201);
        }
        return false;
    };
    EXPECT_EQ(ask("alice", kChange, own).status, 201);
    EXPECT_GE(bobs, kJudges);
    EXPECT_GE(bobs_changes, kChanges);
}

TEST_F(RulesApiTest, OfVeryManyRulesNoneAreCompared) {
    Request request = of("GET", {"rules"});
    request.query = {{"shadowed", "true"}};
    put("198.51.100.1");
    EXPECT_EQ(handle(request).status, 200);
    put("198.51.100.2");
    const auto response = handle(request);
    EXPECT_EQ(response.status, 409);
    EXPECT_THAT(response.body, AllOf(HasSubstr("too_many"),
                                     HasSubstr("3 rules are in force, and no more than 2 are compared")));
}

}  // namespace
}  // namespace mailgate::api
