// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/event_bindings.h"

#include "tests/support/temporary_folder.h"

#include <Poco/Exception.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace mailgate::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class EventBindings : public testing::Test {
  protected:
    EventBindings() {
        LogConfig config;
        config.target = "file:" + file();
        log_ = std::make_unique<EventLog>(config);
        upstream_.name = "mx";
        upstream_.servers.resize(1);
        upstream_.servers[0].name = "mx1";
    }
    std::string file() const { return folder_.file("events.log"); }
    /// Ends the log.
    std::string lines() {
        log_.reset();
        std::ifstream stream(file());
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    TemporaryFolder folder_;
    std::unique_ptr<EventLog> log_;
    UpstreamConfig upstream_;
};

TEST_F(EventBindings, TellOfServersThatGoAndComeBack) {
    ServerEndpoint endpoint;
    endpoint.server = std::make_shared<UpstreamServer>();
    endpoint.server->name = "mx1";
    endpoint.endpoint = {*IpAddress::parse("192.0.2.1"), 25};
    const UpstreamPool::Events events = poolEvents(*log_);
    events.down(upstream_, endpoint, "connection refused");
    events.up(upstream_, endpoint);
    EXPECT_THAT(lines(),
                AllOf(HasSubstr(R"("event":"server.down","level":"error","upstream":"mx","server":"mx1")"),
                      HasSubstr(R"("event":"backend.down","level":"error","upstream":"mx","server":"mx1")"),
                      HasSubstr(R"("reason":"connection refused")"),
                      HasSubstr(R"("event":"server.up","level":"warning")"),
                      HasSubstr(R"("event":"backend.up","level":"warning")")));
}

TEST_F(EventBindings, TellOfNames) {
    const NameWatcher::Events events = nameEvents(*log_);
    events.changed(upstream_, upstream_.servers[0], {{*IpAddress::parse("192.0.2.1"), 25}});
    events.failed(upstream_, upstream_.servers[0], "no such name");
    EXPECT_THAT(lines(),
                AllOf(HasSubstr(R"("addresses":["192.0.2.1:25"])"), HasSubstr(R"("event":"server.resolved")"),
                      HasSubstr(R"("event":"backend.resolved")"), HasSubstr(R"("event":"server.unresolved")"),
                      HasSubstr(R"("event":"backend.unresolved")"), HasSubstr("no such name")));
}

TEST_F(EventBindings, TellOfTheJournal) {
    const store::Journal::Events events = journalEvents(*log_);
    events.failed("disk full");
    events.recovered(7);
    EXPECT_THAT(lines(), AllOf(HasSubstr(R"("event":"journal.failed")"), HasSubstr("disk full"),
                               HasSubstr(R"("event":"journal.recovered")"), HasSubstr(R"("lost":7)")));
}

TEST_F(EventBindings, KeepWhatIsKnownOfTheRules) {
    RulesState state;
    const store::AccessWatcher::Events events = accessEvents(*log_, state, {"mx"});
    events.changed(store::AccessTable(), 0.002);
    EXPECT_GT(state.loaded_ms, 0);
    events.failed("locked");
    EXPECT_TRUE(state.failed);
    events.recovered();
    EXPECT_FALSE(state.failed);
    events.failed("locked");
    accessEvents(*log_, state, {"mx"}).changed(store::AccessTable(), 0.002);
    EXPECT_FALSE(state.failed) << "another watcher has read them";
    EXPECT_THAT(lines(),
                AllOf(HasSubstr(R"("build_ms":2)"), HasSubstr(R"("event":"access.failed")"),
                      HasSubstr(R"("event":"access.recovered")"), Not(HasSubstr("access.unknown_listener"))));
}

TEST_F(EventBindings, WarnOfRulesThatExpire) {
    RulesState state;
    const store::Upkeep::Events events = accessEvents(*log_, state, {"mx"}).upkeep;
    std::vector<store::AccessRule> fresh(12);
    for (std::size_t at = 0; at < fresh.size(); ++at)
        fresh[at].id = static_cast<std::int64_t>(at) + 1;
    fresh[0].listener = "mx";
    fresh[0].owner = "ops";
    fresh[0].expires_at = 1'900'000'000;
    fresh[1].name = "host:home.example.org";
    events.expiring(fresh, 14);
    EXPECT_EQ(state.expiring, 14u);
    events.expiring({}, 0);
    EXPECT_EQ(state.expiring, 0u);
    events.pruned({.rules = 3, .entries = 7});
    EXPECT_THAT(lines(),
                AllOf(HasSubstr(R"("event":"access.expiring","level":"warning","rule":1,"verdict":"deny",)"),
                      HasSubstr(R"("listener":"mx","set":"manual","owner":"ops","ticket":"",)"
                                R"("expires_at":"2030-03-17T17:46:40Z"})"),
                      HasSubstr(R"("network":"host:home.example.org","listener":"")"),
                      HasSubstr(R"("rule":10,)"), HasSubstr(R"("more":2})"), Not(HasSubstr(R"("rule":11,)")),
                      HasSubstr(R"("event":"access.pruned","rules":3,"entries":7})")));
}

TEST_F(EventBindings, SayThatNobodyMayEnterAnAllowlist) {
    RulesState state;
    accessEvents(*log_, state, {"mx"}).closed({"smtp", "mx"});
    EXPECT_THAT(lines(),
                AllOf(HasSubstr(R"("event":"access.closed","level":"error","listener":"mx","detail":")"
                                R"(nobody may enter listener \"mx\": )"),
                      Not(HasSubstr(R"("listener":"smtp")"))));
}

TEST_F(EventBindings, MakeADefectOfWhatPocoWouldSwallow) {
    {
        const DefectLog defects(*log_);
        Poco::ErrorHandler::handle(std::runtime_error("one"));
        Poco::ErrorHandler::handle(Poco::LogicException("two"));
        Poco::ErrorHandler::handle();
    }
    EXPECT_THAT(lines(), AllOf(HasSubstr(R"("event":"gateway.defect")"), HasSubstr("one"), HasSubstr("two"),
                               HasSubstr("unknown exception")));
}

}  // namespace
}  // namespace mailgate::test
