// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/running_gateway.h"

#include "tests/support/command_line.h"

#include <Poco/Net/DatagramSocket.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using test::Ran;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// A gateway that runs while its file has been edited.
class RunningGatewayTest : public test::CommandTest {
  protected:
    RunningGatewayTest() {
        startGateway();
        control_.now.listeners.resize(1);
        control_.now.listeners[0] = {};
        control_.now.listeners[0].name = "smtp";
        control_.now.store = "sqlite:" + folder_.file("mailgate.db");
    }
};

TEST_F(RunningGatewayTest, AChangeInAnotherStoreIsNotInForce) {
    const Ran same = run({"access", "allow", "192.0.2.1"});
    EXPECT_EQ(same.exit_code, kDone) << same.errors;
    EXPECT_EQ(same.errors, "");
    control_.now.store = "sqlite:/var/lib/elsewhere.db";
    const Ran other = run({"access", "deny", "192.0.2.2"});
    EXPECT_EQ(other.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(other.errors,
                AllOf(HasSubstr("the running gateway reads the rules in /var/lib/elsewhere.db, not "),
                      HasSubstr("the change is not in force")));
    const Ran tested = run({"access", "test", "192.0.2.1"});
    EXPECT_EQ(tested.exit_code, kDone);
    EXPECT_THAT(tested.errors,
                HasSubstr("warning: the running gateway reads the rules in /var/lib/elsewhere.db"));
}

TEST_F(RunningGatewayTest, AChangeOfRulesThatItCannotReadIsNotInForce) {
    control_.now.rules_failed = true;
    const Ran done = run({"access", "allow", "192.0.2.1"});
    EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(done.output, HasSubstr("added rule 1"));
    EXPECT_THAT(done.errors, AllOf(HasSubstr("the running gateway cannot read the rules"),
                                   HasSubstr("the change is not in force")));
}

TEST_F(RunningGatewayTest, NothingIsWrittenToADamagedFileThatItCannotRead) {
    ASSERT_EQ(run({"access", "allow", "192.0.2.1"}).exit_code, kDone);
    const std::string path = folder_.file("mailgate.db");
    const auto bytes = [&path] {
        std::ifstream file(path, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    // What neither reading nor adding comes by.
    constexpr std::size_t kPage = 8'192;
    std::string damaged = bytes();
    damaged.replace(damaged.size() - kPage, kPage, kPage, '\xFF');
    std::ofstream(path, std::ios::binary) << damaged;
    control_.now.rules_failed = true;
    for (const std::vector<std::string>& change :
         {std::vector<std::string>{"access", "deny", "192.0.2.2"},
          {"access", "deny", "192.0.2.3", "--set", "fail2ban", "--program", "fail2ban mailgate"},
          {"access", "remove", "192.0.2.1", "--yes"}}) {
        const Ran refused = run(change);
        EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
        EXPECT_EQ(refused.output, "");
        EXPECT_THAT(refused.errors, HasSubstr("the database is damaged"));
    }
    EXPECT_TRUE(bytes() == damaged);
}

TEST_F(RunningGatewayTest, ADatabaseThatItHasReadIsNotMadeAnew) {
    control_.now.rules = 20'085;
    const std::string path = folder_.file("mailgate.db");
    for (const char* state : {"there is no such file", "the file is empty"}) {
        for (const std::string option : {"", "--dry-run"}) {
            std::vector<std::string> words{"access", "deny", "192.0.2.2"};
            if (!option.empty()) words.push_back(option);
            const Ran refused = run(words);
            EXPECT_NE(refused.exit_code, kDone);
            EXPECT_EQ(refused.output, "");
            EXPECT_THAT(
                refused.errors,
                HasSubstr(path + ": " + state +
                          ", but the running gateway has 20,085 rules in force that it has read there"));
        }
        EXPECT_NE(run({"access", "list"}).exit_code, kDone) << "it would list none";
        EXPECT_THAT(run({"console", "user", "list"}).errors, HasSubstr(path + ": " + state));
        EXPECT_TRUE(!std::filesystem::exists(path) || std::filesystem::file_size(path) == 0);
        std::ofstream(path).close();
    }
    control_.now.store = "sqlite:/var/lib/elsewhere.db";
    EXPECT_THAT(run({"access", "deny", "192.0.2.2"}).output, HasSubstr("added rule 1"));
    control_.now.store = "sqlite:" + path;
    EXPECT_EQ(run({"access", "deny", "192.0.2.3"}).exit_code, kDone) << "it is there";
}

TEST_F(RunningGatewayTest, OfALostDatabaseStatusAndCheckSayWhatIsSo) {
    control_.now.rules = 2;
    const std::string lost =
        folder_.file("mailgate.db") + ": there is no such file, but the running gateway has 2 rules in force";
    for (const char* command : {"status", "check"}) {
        const Ran told = run({command});
        EXPECT_THAT(told.output, AllOf(HasSubstr(lost), Not(HasSubstr("nobody may enter")))) << command;
    }
}

class UnaskedGateway : public test::CommandTest {};

/// One that hangs, and one that this user may not ask, may have rules from there. Here, what is at the socket takes nobody.
TEST_F(UnaskedGateway, NoDatabaseIsMadeInPlaceOfOneThatMayBeLost) {
    Poco::Net::DatagramSocket other;
    const std::string socket = folder_.file("mailgate.sock");
    other.bind(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, socket));
    const Ran refused = run({"access", "deny", "192.0.2.2"});
    EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(refused.errors, HasSubstr("there is no such file, and whether a running gateway has rules "
                                          "from there cannot be asked: "));
    EXPECT_FALSE(std::filesystem::exists(folder_.file("mailgate.db")));
    std::filesystem::remove(socket);
    EXPECT_EQ(run({"access", "deny", "192.0.2.2"}).exit_code, kDone) << "the first of all";
}

TEST_F(RunningGatewayTest, AListenerThatItDoesNotHaveYetIsTold) {
    control_.now.listeners[0].name = "mx";
    const Ran put = run({"access", "allow", "192.0.2.1", "--listener", "smtp"});
    EXPECT_EQ(put.exit_code, kDone);
    EXPECT_EQ(put.errors, "warning: the running gateway has no listener smtp yet (mailgate reload)\n");
    EXPECT_EQ(run({"access", "allow", "192.0.2.2"}).errors, "") << "which is for all there are";
}

TEST_F(RunningGatewayTest, AListenerThatItHasStillIsTaken) {
    control_.now.listeners[0].name = "submission";
    const Ran put = run({"access", "deny", "192.0.2.1", "--listener", "submission"});
    EXPECT_EQ(put.exit_code, kDone) << put.errors;
    EXPECT_EQ(put.output, "added rule 1: deny 192.0.2.1 on listener submission\n");
    EXPECT_EQ(
        put.errors,
        "warning: only the running gateway has the listener submission: " + file_ +
            " has none of that name, and with the next reload its rules decide nothing (mailgate access "
            "rename-listener)\n");
    EXPECT_EQ(run({"access", "deny", "192.0.2.2", "--listener", "mx"}).exit_code, kUsage);
    control_.now.store = "sqlite:/elsewhere.db";
    EXPECT_EQ(run({"access", "deny", "192.0.2.2", "--listener", "submission"}).exit_code, kUsage);
}

TEST_F(RunningGatewayTest, ATestSaysWhenItsAccessIsAnotherStill) {
    run({"access", "allow", "192.0.2.1"});
    EXPECT_EQ(run({"access", "test", "192.0.2.1"}).errors, "");
    control_.now.listeners[0].access = "open";
    EXPECT_EQ(
        run({"access", "test", "192.0.2.1"}).errors,
        "warning: listener smtp of the running gateway has access = \"open\" still (mailgate reload)\n");
    control_.now.listeners[0].mode = "monitor";
    EXPECT_THAT(run({"access", "test", "192.0.2.1"}).errors,
                HasSubstr("has access = \"open\" and mode = \"monitor\" still"));
}

/// With "acces" in place of a key that there is.
class BrokenConfigTest : public RunningGatewayTest {
  protected:
    BrokenConfigTest() {
        control_.now.listeners[0].trusted = {"10.0.0.0/8"};
        std::string site = kSite;
        configure(site.replace(site.find("trusted = "), 10, "trustd = "));
    }
    std::string goingOn(const std::string& with) const {
        return file_ + ":9:1: listener.trustd: unknown key (did you mean \"trusted\"?)\n" + file_ +
               ":4:1: listener.trusted: missing: without it every header would be refused\n"
               "mailgate: the configuration has errors: going on with the rules in " +
               folder_.file("mailgate.db") + with + "\n";
    }
    const std::string kItsSite = ", and the listeners and servers of the running gateway";
};

TEST_F(BrokenConfigTest, AnAttackerIsDeniedAllTheSame) {
    const Ran denied = run({"access", "deny", "192.0.2.1", "--listener", "smtp"});
    EXPECT_EQ(denied.exit_code, kDone) << denied.errors;
    EXPECT_EQ(denied.output, "added rule 1: deny 192.0.2.1 on listener smtp\n");
    EXPECT_THAT(denied.errors,
                testing::EndsWith(goingOn(kItsSite).substr(goingOn(kItsSite).find("mailgate: "))));
    EXPECT_THAT(denied.errors, testing::StartsWith(file_ + ":"));
    const Ran tested = run({"access", "test", "192.0.2.1"});
    EXPECT_EQ(tested.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(tested.output, HasSubstr("refuse 192.0.2.1 on smtp: by rule 1"));
    EXPECT_EQ(run({"access", "undo"}).exit_code, kDone);
    EXPECT_EQ(run({"status"}).exit_code, kDone);
    EXPECT_THAT(run({"status", "--check"}).output, testing::StartsWith("MAILGATE "));
}

TEST_F(BrokenConfigTest, TheGuardsAreThoseOfTheRunningGateway) {
    const Ran balancers = run({"access", "deny", "10.0.0.0/8"});
    EXPECT_EQ(balancers.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(balancers.errors, HasSubstr("would shut out the balancers 10.0.0.0/8 of listener smtp"));
    const Ran server = run({"access", "deny", "127.0.0.1"});
    EXPECT_THAT(server.errors, HasSubstr("the servers postfix/mx1 (127.0.0.1:10025)"));
    const Ran unknown = run({"access", "deny", "192.0.2.1", "--listener", "mx"});
    EXPECT_EQ(unknown.exit_code, kUsage);
    EXPECT_THAT(unknown.errors, HasSubstr("no listener is named \"mx\": the running gateway has smtp"));
}

TEST_F(BrokenConfigTest, WithoutThatGatewayNothingIsChanged) {
    run({"access", "deny", "192.0.2.1"});
    control_.now.listeners[0].trusted.clear();
    for (const char* store : {"sqlite:/elsewhere.db", "sqlite:mailgate.db"}) {
        control_.now.store = store;
        const Ran put = run({"access", "deny", "192.0.2.2"});
        EXPECT_EQ(put.exit_code, kBadConfiguration) << store;
        EXPECT_EQ(put.output, "");
        EXPECT_THAT(put.errors, HasSubstr("mailgate: this needs to know the listeners and servers, "));
        for (const char* command : {"test", "diff"})
            EXPECT_EQ(run({"access", command, "192.0.2.1"}).exit_code, kBadConfiguration);
    }
    EXPECT_THAT(run({"access", "list"}).output, HasSubstr("192.0.2.1"));
    EXPECT_THAT(run({"access", "history"}).output, HasSubstr("deny 192.0.2.1"));
    EXPECT_THAT(run({"access", "export"}).output, testing::StartsWith("deny 192.0.2.1\n"));
    EXPECT_EQ(run({"sessions"}).exit_code, kRefusedOrNotFound) << "there is no journal";
}

TEST_F(BrokenConfigTest, WhereTheRulesAreIsNotGuessed) {
    configure("[store]\nulr = \"sqlite:x.db\"\n" + std::string(kSite));
    const Ran list = run({"access", "list"});
    EXPECT_EQ(list.exit_code, kBadConfiguration);
    EXPECT_EQ(list.output, "");
    EXPECT_EQ(list.errors, file_ + ":2:1: store.ulr: unknown key\n");
    const Ran status = run({"status"});
    EXPECT_EQ(status.exit_code, kDone) << "the gateway that runs needs none of that";
    EXPECT_EQ(status.errors, list.errors);
    EXPECT_EQ(run({"check"}).exit_code, kBadConfiguration);
}

TEST(SilentGateway, ARuleIsStoredAllTheSame) {
    const TemporaryFolder folder;
    const std::string file = folder.file("mailgate.toml"), socket = folder.file("mailgate.sock");
    std::ofstream(file)
        << "[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = \"0.0.0.0:2525\"\nupstream "
           "= \"x\"\nproxy = \"off\"\n[[upstream]]\nname = \"x\"\n[[upstream.server]]\nname = "
           "\"mx1\"\naddress = \"127.0.0.1:10025\"\n";
    test::ran({"--config", file, "access", "deny", "192.0.2.2"});
    Poco::Net::ServerSocket silent;
    silent.bind(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, socket));
    silent.listen();
    const Ran put = test::ran({"--config", file, "access", "deny", "192.0.2.1"});
    EXPECT_EQ(put.exit_code, kDone);
    EXPECT_EQ(put.output, "added rule 2: deny 192.0.2.1 on all listeners\n");
    EXPECT_EQ(put.errors, "warning: the rules are stored, but the gateway on " + socket +
                              " has not answered within 2 seconds: whether they are in force is not known "
                              "(mailgate status)\n");
}

}  // namespace
}  // namespace mailgate::cli
