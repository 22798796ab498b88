// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/acting_user.h"
#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using test::Ran;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

class AccessCommandTest : public test::CommandTest {
  protected:
    Ran access(std::vector<std::string> words) const {
        words.insert(words.begin(), "access");
        return run(std::move(words));
    }
    /// What it printed, having succeeded.
    std::string done(std::vector<std::string> words) const {
        const Ran ran = access(std::move(words));
        EXPECT_EQ(ran.exit_code, kDone) << ran.errors;
        return ran.output;
    }
    /// What it said, having changed nothing.
    std::string refusal(int exit_code, std::vector<std::string> words) const {
        const std::string before = done({"export"});
        const Ran ran = access(std::move(words));
        EXPECT_EQ(ran.exit_code, exit_code) << ran.errors;
        EXPECT_EQ(done({"export"}), before);
        return ran.errors;
    }
    std::string list(const std::string& text) const {
        const std::string name = folder_.file("rules.txt");
        std::ofstream(name) << text;
        return name;
    }
};

TEST_F(AccessCommandTest, AListenerThatOnlyMonitorsIsNamed) {
    const std::string listener = "protocol = \"smtp\"\n";
    std::string site = kSite;
    configure(site.insert(site.find(listener), "mode = \"monitor\"\n"));
    const std::string note =
        "note: listener smtp only monitors (mode = \"monitor\"): nobody is refused there, and whom the rules "
        "would refuse is recorded\n";
    EXPECT_EQ(access({"deny", "192.0.2.1"}).errors, note);
    const Ran tested = access({"test", "192.0.2.1"});
    EXPECT_EQ(tested.exit_code, kRefusedOrNotFound) << "which is what the rules say";
    EXPECT_EQ(tested.errors, note);
    EXPECT_THAT(access({"report"}).output,
                HasSubstr("others,allow,smtp,,\"access = allowlist, mode = monitor: nobody is refused\""));
    EXPECT_THAT(access({"report", "--json"}).output, HasSubstr("\"monitors\":true"));
}

TEST_F(AccessCommandTest, ANoteThatNoListenerShowsIsTold) {
    const std::vector<std::string> deny{"deny", "192.0.2.1", "--note", "call us", "--reply", "note"};
    EXPECT_EQ(access(deny).errors,
              "note: clients do not see the note: no listener has a refusal_footer with $rule_note\n");
    const std::string listener = "protocol = \"smtp\"\n";
    std::string site = kSite;
    configure(site.insert(site.find(listener), "refusal_footer = \"$rule_note\"\n"));
    EXPECT_EQ(access(deny).errors, "");
}

TEST_F(AccessCommandTest, WhatWasDoneHereIsTakenBackWithoutTheFleetsDatabase) {
    done({"deny", "192.0.2.1", "--note", "before there was a fleet"});
    EXPECT_THAT(refusal(kUsage, {"undo", "--here"}), HasSubstr("--here is for gateways of a fleet"));
    configure("fleet.url = \"postgresql://mailgate@127.0.0.1:1/mailgate\"\n" + std::string(kSite));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"undo", "--here"}),
                HasSubstr(" has not changed any rules of this gateway alone\n"));
    done({"deny", "192.0.2.2", "--here", "--expires", "1h"});
    const std::string changed = done({"export"});
    done({"deny", "192.0.2.2", "--here", "--expires", "2h", "--note", "longer"});
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"undo"}),
                HasSubstr("nothing was changed: the fleet's database"));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"undo", "1", "--here"}),
                HasSubstr("change 1 is not one of rules of this gateway alone: without --here"));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"undo", "99", "--here"}), HasSubstr("there is no change 99\n"));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"undo", "2", "--here"}),
                HasSubstr("undo the later changes first"));
    EXPECT_THAT(done({"undo", "--here", "--dry-run"}), HasSubstr("192.0.2.2"));
    EXPECT_THAT(done({"undo", "--here"}), StartsWith("undid change 3:\n"));
    EXPECT_EQ(done({"export"}), changed);
    EXPECT_THAT(done({"undo", "2", "--here"}), HasSubstr("- deny 192.0.2.2"));
    EXPECT_THAT(done({"export"}), AllOf(HasSubstr("192.0.2.1"), Not(HasSubstr("192.0.2.2"))));
}

TEST_F(AccessCommandTest, ADatabaseThatRootMakesIsTheGateways) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root makes files of others";
    std::string site = kSite;
    configure(site.insert(site.find("name = "), "user = \"nobody\"\n"));
    done({"allow", "192.0.2.1"});
    struct stat status {};
    ASSERT_EQ(::stat(folder_.file("mailgate.db").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, ::getpwnam("nobody")->pw_uid);
    EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST_F(AccessCommandTest, AJobOfEveryNightIsQuietWhereNothingHappens) {
    done({"deny", "192.0.2.1", "--set", "f2b"});
    const std::string file = list("allow 192.0.2.1 vip\n");
    const std::vector<std::string> job{"import", "--replace", "--set", "vip", file, "--quiet"};
    EXPECT_THAT(done(job),
                AllOf(StartsWith("imported 1 rule"), HasSubstr("no effect"), Not(HasSubstr("f2b, 1"))));
    EXPECT_EQ(done(job), "");
    EXPECT_EQ(done({"remove", "--expired-for", "30d", "--yes", "--quiet"}), "");
    EXPECT_NE(done({"remove", "--expired-for", "30d", "--yes"}), "");
    const Ran alone = access({"remove", "192.0.2.1", "--quiet"});
    EXPECT_EQ(alone.exit_code, kUsage);
    EXPECT_THAT(alone.errors, HasSubstr("--quiet requires --expired-for"));
}

TEST_F(AccessCommandTest, WhenARuleExpiresIsSaidInLocalTime) {
    ::setenv("TZ", "Asia/Kathmandu", 1);
    EXPECT_THAT(done({"deny", "192.0.2.1", "--expires", "2999-01-01T00:00:00Z"}),
                EndsWith("expires 2999-01-01T05:45:00+05:45\n"));
    ::unsetenv("TZ");
    EXPECT_THAT(done({"export"}), HasSubstr("expires=2999-01-01T00:00:00Z"));
}

TEST_F(AccessCommandTest, RulesOfAListThatHaveNoEffectAreNamed) {
    done({"deny", "192.0.2.1", "--set", "f2b"});
    const std::string file = list("allow 192.0.2.1 vip\n");
    EXPECT_THAT(
        done({"import", file, "--set", "vip"}),
        EndsWith("note: allow 192.0.2.1 has no effect, where this applies: rule 1: deny 192.0.2.1 on all "
                 "listeners, set f2b\n"));
    EXPECT_THAT(done({"import", file, "--set", "mx", "--listener", "smtp"}), Not(HasSubstr("no effect")));
}

TEST_F(AccessCommandTest, RulesAreAddedChangedListedAndRemoved) {
    EXPECT_EQ(access({"list"}).errors, "mailgate: there are no rules\n");
    EXPECT_EQ(done({"allow", "198.51.100.0/24", "--note", "partner"}),
              "added rule 1: allow 198.51.100.0/24 on all listeners, \"partner\"\n");
    EXPECT_EQ(
        done({"allow", "198.51.100.0/24", "--listener", "smtp", "--client-sessions", "0"}),
        "added rule 2: allow 198.51.100.0/24 on listener smtp, unlimited concurrent sessions per client\n"
        "note: rule 2 comes before rule 1: allow 198.51.100.0/24 on all listeners, \"partner\"\n");
    EXPECT_EQ(done({"allow", "198.51.100.0/24", "--note", ""}),
              "changed rule 1: allow 198.51.100.0/24 on all listeners\n"
              "note: rule 1 comes after rule 2: allow 198.51.100.0/24 on listener smtp, unlimited concurrent "
              "sessions per client\n");
    EXPECT_EQ(done({"deny", "198.51.100.7", "--expires", "2999-01-01T00:00:00Z"}),
              "added rule 3: deny 198.51.100.7 on all listeners, expires 2999-01-01T00:00:00Z\n"
              "note: rule 3 is more specific and overrides rule 1: allow 198.51.100.0/24 on all listeners\n"
              "note: rule 3 is more specific and overrides rule 2: allow 198.51.100.0/24 on listener smtp, "
              "unlimited concurrent sessions per client\n");
    EXPECT_THAT(done({"allow", "198.51.100.0/24"}), StartsWith("unchanged rule 1: "));
    EXPECT_THAT(done({"allow", "198.51.100.0/24", "--listener", "smtp", "--client-sessions", "none"}),
                StartsWith("changed rule 2: allow 198.51.100.0/24 on listener smtp\n"));
    EXPECT_THAT(done({"list"}),
                AllOf(StartsWith("RULE  SET     VERDICT  NETWORK"), HasSubstr("\n2     manual  allow")));
    EXPECT_THAT(done({"list", "--match", "198.51.100.7", "--json"}), HasSubstr("\"id\":1,"));
    const Ran none = access({"list", "--match", "192.0.2.1", "--json"});
    EXPECT_EQ(none.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(none.output, "{\"rules\":[]}\n");
    EXPECT_EQ(none.errors, "mailgate: no rule matches\n");
    EXPECT_EQ(access({"list", "--note", "nowhere"}).errors, "mailgate: no rule matches\n");
    EXPECT_EQ(done({"remove", "198.51.100.0/24", "--listener", "smtp"}),
              "removed rule 2: allow 198.51.100.0/24 on listener smtp\n");
    EXPECT_THAT(done({"history", "198.51.100.0/24"}), HasSubstr("remove"));
    const Ran unchanged = access({"history", "192.0.2.0/24", "--json"});
    EXPECT_EQ(unchanged.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(unchanged.output, "{\"changes\":[]}\n");
    EXPECT_EQ(unchanged.errors, "mailgate: no change that is recorded matches\n");
}

TEST_F(AccessCommandTest, TheHistoryIsNarrowedAndCut) {
    done({"allow", "192.0.2.1", "--note", "one"});
    done({"allow", "192.0.2.1", "--note", "two"});
    done({"deny", "192.0.2.2", "--set", "x", "--program", "fail2ban"});
    EXPECT_THAT(done({"history"}), HasSubstr("note \"one\" -> \"two\" (allow 192.0.2.1)\n"));
    const Ran cut = access({"history", "--limit", "2", "--columns", "what"});
    EXPECT_EQ(cut.output, "WHAT\nnote \"one\" -> \"two\" (allow 192.0.2.1)\ndeny 192.0.2.2 set=x\n");
    EXPECT_EQ(cut.errors, "mailgate: the newest 2 of 3 entries; --limit N prints more\n");
    EXPECT_EQ(access({"history", "--limit", "3"}).errors, "");
    EXPECT_THAT(done({"history", "--limit", "1", "--json"}),
                AllOf(StartsWith("{\"cut\":{\"printed\":1,\"found\":3},\"changes\":[\n  {\"id\":3,"),
                      Not(HasSubstr("\"id\":2"))));
    EXPECT_EQ(done({"history", "--by", "fail2ban", "--columns", "what"}), "WHAT\ndeny 192.0.2.2 set=x\n");
    EXPECT_EQ(done({"history", "--set", "x", "--columns", "what"}), "WHAT\ndeny 192.0.2.2 set=x\n");
    EXPECT_THAT(done({"history", "192.0.2.1", "--since", "1h", "--columns", "change"}), "CHANGE\n1\n2\n");
    for (const char* option : {"--by", "--set", "--until"}) {
        const Ran none = access({"history", option, "2001-01-01", "--json"});
        EXPECT_EQ(none.exit_code, kRefusedOrNotFound) << option;
        EXPECT_EQ(none.output, "{\"changes\":[]}\n");
        EXPECT_EQ(none.errors, "mailgate: no change that is recorded matches\n");
    }
    done({"allow", "spf:_spf.example.org"});
    done({"remove", "spf:_spf.example.org"});
    for (const char* name : {"spf:_spf.example.org", "SPF:_Spf.Example.org.", "_spf.example.org"})
        EXPECT_EQ(done({"history", name, "--columns", "action"}), "ACTION\nadd\nremove\n") << name;
    EXPECT_EQ(access({"history", "host:_spf.example.org"}).exit_code, kRefusedOrNotFound);
    for (const char* none : {"nonsense", "192.0.2.1O", "192.0.2.", "."})
        EXPECT_EQ(access({"history", none}).exit_code, kUsage) << none;
    EXPECT_EQ(access({"history", "mail.example.org."}).exit_code, kRefusedOrNotFound);
    EXPECT_EQ(access({"history", "--limit", "0"}).exit_code, kUsage);
    EXPECT_EQ(access({"history", "--since", "2999-01-01"}).exit_code, kUsage);
}

TEST_F(AccessCommandTest, RulesInsideOfANetworkAreListed) {
    done({"deny", "8.8.8.0/24"});
    done({"deny", "8.8.0.0/16"});
    done({"deny", "8.9.0.0/24"});
    done({"deny", "8.8.9.1"});
    EXPECT_EQ(done({"list", "--inside", "8.8.8.0/21", "--columns", "network"}),
              "NETWORK\n8.8.8.0/24\n8.8.9.1\n");
    EXPECT_EQ(done({"list", "--inside", "8.8.9.1", "--columns", "network"}), "NETWORK\n8.8.9.1\n");
    EXPECT_EQ(access({"list", "--inside", "10.0.0.0/8"}).errors, "mailgate: no rule matches\n");
    EXPECT_EQ(access({"list", "--inside", "ten"}).exit_code, kUsage);
}

TEST_F(AccessCommandTest, ANewSetThatIsNearAnOldOneIsTold) {
    EXPECT_THAT(done({"allow", "192.0.2.1", "--set", "partners"}), Not(HasSubstr("is new")));
    EXPECT_THAT(done({"allow", "192.0.2.2", "--set", "partnrs"}),
                EndsWith("note: set partnrs is new (there is partners)\n"));
    EXPECT_THAT(done({"allow", "192.0.2.3", "--set", "PARTNERS", "--dry-run"}),
                HasSubstr("note: set PARTNERS is new (there is partners)\n"));
    EXPECT_THAT(done({"allow", "192.0.2.4", "--set", "Manual"}), HasSubstr("(there is manual)"));
    EXPECT_THAT(done({"allow", "192.0.2.5", "--set", "partnrs"}), Not(HasSubstr("is new")));
    EXPECT_THAT(done({"allow", "192.0.2.6", "--set", "quite-another"}), Not(HasSubstr("is new")));
}

TEST_F(AccessCommandTest, WhoActedIsKept) {
    if (::getuid() != 0) GTEST_SKIP() << "takes root, for whom sudo speaks";
    ::setenv("SUDO_USER", "alice", 1);
    done({"allow", "192.0.2.1"});
    ::setenv("SUDO_USER", "", 1);
    done({"allow", "192.0.2.2"});
    ::setenv("SUDO_USER", "carol", 1);
    const auto as_another = [] {
        const bool is_nobody = ::setuid(::getpwnam("nobody")->pw_uid) == 0;
        ::_exit(is_nobody && admin::actingUser() == "carol (sudo -u nobody)" ? 0 : 1);
    };
    EXPECT_EXIT(as_another(), testing::ExitedWithCode(0), "");
    ::unsetenv("SUDO_USER");
    done({"deny", "192.0.2.3", "--program", "fail2ban"});
    EXPECT_THAT(done({"history"}), testing::ContainsRegex("  alice \\(sudo\\) .* root .* fail2ban"));
}

TEST_F(AccessCommandTest, TheVerdictIsAnExitCodeToo) {
    done({"allow", "192.0.2.0/24"});
    done({"deny", "192.0.2.7", "--note", "spam"});
    const Ran refused = access({"test", "192.0.2.7"});
    EXPECT_EQ(refused.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(refused.output,
              "refuse 192.0.2.7 on smtp: by rule 2: deny 192.0.2.7 on all listeners, \"spam\"\n"
              "  overrides rule 1: allow 192.0.2.0/24 on all listeners\n");
    EXPECT_EQ(done({"test", "192.0.2.8", "--listener", "smtp"}),
              "allow 192.0.2.8 on smtp: by rule 1: allow 192.0.2.0/24 on all listeners\n");
    EXPECT_EQ(access({"test", "2001:db8::1"}).output,
              "refuse 2001:db8::1 on smtp: no rule matches, and the "
              "listener's default is access = \"allowlist\"\n");
}

TEST_F(AccessCommandTest, WhatCannotBeMeantIsAUsageErrorAndChangesNothing) {
    done({"allow", "192.0.2.1"});
    struct Case {
        std::vector<std::string> words;
        const char* error;
    };
    const Case cases[] = {
        {{"allow"}, "NET is required"},
        {{"allow", "192.0.2.5/24"}, "192.0.2.5/24 has host bits set"},
        {{"allow", "192.0.2.1,192.0.2.2"}, "each network is a word of its own"},
        {{"deny", "198.51.100.0", "255.255.255.0"},
         "255.255.255.0 is a mask: did you mean 198.51.100.0/255.255.255.0, with a slash?"},
        {{"allow", "acme.example"},
         "(for a name: host:acme.example, or spf:acme.example for its mail servers)"},
        {{"allow", "192.0.2.10-20"}, "(did you mean 192.0.2.10-192.0.2.20?)"},
        {{"allow", "host:192.0.2.10-20"},
         "cannot be a name: its last part has no letter (did you mean 192.0.2.10-192.0.2.20?)"},
        {{"allow", "192.0.2.0/24", "example.net"}, "example.net"},
        {{"allow", "\x1B[2J"}, "x1B[2J"},
        {{"allow", "192.0.2.2", "--listener", "smpt"}, "no listener is named \"smpt\": "},
        {{"allow", "192.0.2.2", "--expires", "someday"},
         "--expires: \"someday\" is not a time: expected never"},
        {{"list", "--unused", "yesterday"}, "--unused: \"yesterday\" is not a duration: expected 30m"},
        {{"list", "--expiring", "7"}, "--expiring: \"7\" has a number without a unit"},
        {{"remove", "--expired-for", "\x1B[2J"}, "--expired-for: \"\\x1B[2J\" is not a duration"},
        {{"set", "define", "git", "--expires", "tomorrow"}, "--expires: \"tomorrow\" is not a duration"},
        {{"set", "define", "git", "--expires", "0d"}, "--expires: the duration is 0"},
        {{"allow", "192.0.2.2", "--expires", "2001-01-01T00:00:00Z"},
         "--expires: 2001-01-01T00:00:00Z is in the past"},
        {{"allow", "192.0.2.2", "--expires", "0s"}, "--expires: 0s is in the past"},
        {{"allow", "192.0.2.2", "--client-sessions", "-1"}, "--client-sessions: \"-1\" is neither"},
        {{"allow", "192.0.2.2", "--client-rate", "5x"}, "--client-rate: \"5x\" is neither"},
        {{"allow", "192.0.2.2", "--client-rate", "99999999999"},
         "is neither \"none\" nor a number from 0 to"},
        {{"allow", "192.0.2.2", "--note", "a\nb"}, "--note: "},
        {{"allow", "192.0.2.2", "--program", ""}, "--program: the name is empty"},
        {{"allow", "192.0.2.2", "--program", "a\nb"}, "--program: the name is too long or contains control"},
        {{"deny", "192.0.2.2", "--client-rate", "5"}, "--client-rate"},
        {{"remove", "--note-contains", "", "--yes"}, "--note-contains is empty: it would select every rule"},
        {{"remove", "192.0.2.1", "--listener", "nobody"}, "no listener is named \"nobody\""},
        {{"test", "192.0.2.0/24"}, "192.0.2.0/24 is a network: test addresses"},
        {{"test", "192.0.2.1", "--listener", "nobody"}, "no listener is named \"nobody\""},
        {{"rename-listener", "old", "nobody"}, "no listener is named \"nobody\""},
        {{"rename-listener", "smtp", "smtp"},
         "only the rules of a listener that no longer exists can be moved"},
        {{"import", list("192.0.2.9\n"), "--format", "bind"}, "--format: \"bind\" is not one of auto"},
        {{"import", list("192.0.2.9\n"), "--verdict", "maybe"},
         "--verdict: \"maybe\" is neither allow nor deny"},
    };
    for (const Case& wrong : cases)
        EXPECT_THAT(refusal(kUsage, wrong.words),
                    AllOf(StartsWith("mailgate: "), HasSubstr(wrong.error), Not(HasSubstr("\x1B"))));
}

TEST_F(AccessCommandTest, WhatWouldShutTheSiteOutTakesForce) {
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"deny", "10.1.0.0/16"}),
                AllOf(StartsWith("mailgate: denying 10.1.0.0/16 would shut out the balancers 10.0.0.0/8"),
                      HasSubstr("use --force")));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"deny", "127.0.0.1"}), HasSubstr("the server postfix/mx1"));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"allow", "0.0.0.0/0"}), HasSubstr("all of IPv4"));
    EXPECT_THAT(done({"deny", "127.0.0.1", "--force"}), StartsWith("added rule 1"));
}

TEST_F(AccessCommandTest, ThatNobodyMayEnterIsSaidOfListenersThatRefuse) {
    done({"allow", "192.0.2.0/24"});
    EXPECT_THAT(access({"remove", "192.0.2.0/24"}).errors, HasSubstr("it refuses every client"));
    std::string monitored = kSite;
    monitored.insert(monitored.find("[[upstream]]"), "mode = \"monitor\"\n");
    configure(monitored);
    done({"allow", "192.0.2.0/24"});
    EXPECT_EQ(access({"remove", "192.0.2.0/24"}).errors, "");
}

TEST_F(AccessCommandTest, ARuleThatIsNotThereIsNamedWithThoseNear) {
    done({"allow", "192.0.2.0/24"});
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"remove", "192.0.2.1"}),
              "mailgate: there is no rule for 192.0.2.1: nothing was removed\n"
              "note: a larger network: rule 1: allow 192.0.2.0/24 on all listeners\n");
    const Ran program = access({"remove", "192.0.2.0/24", "--program", "fail2ban"});
    EXPECT_EQ(program.exit_code, kDone) << "the rule is somebody else's, which is no failure";
    EXPECT_EQ(program.output, "fail2ban has no rule for 192.0.2.0/24: nothing was removed\n");
    EXPECT_EQ(done({"allow", "192.0.2.0/24", "--program", "fail2ban"}),
              "left unchanged, not a rule of fail2ban: rule 1: allow 192.0.2.0/24 on all listeners\n");
    EXPECT_THAT(
        access({"remove", "192.0.2.0/24"}).errors,
        HasSubstr("warning: listener \"smtp\" has access = \"allowlist\" and no allow rule lets anybody in"));
}

TEST_F(AccessCommandTest, AListIsImportedAsAWholeOrNotAtAll) {
    const std::string name = list("allow 192.0.2.1 a note\ndeny 192.0.2.0/24\n");
    EXPECT_EQ(done({"import", name}),
              "imported 2 rules (mailgate): 1 allow, 1 deny; 2 added, 0 changed, 0 unchanged, 0 removed\n");
    const std::string exported = done({"export"});
    EXPECT_THAT(exported, HasSubstr("allow 192.0.2.1 a note\n"));
    EXPECT_EQ(done({"import", list(exported), "--replace"}),
              "imported 2 rules (mailgate): 1 allow, 1 deny; 0 added, 0 changed, 2 unchanged, 0 removed\n");
    EXPECT_THAT(
        refusal(kRefusedOrNotFound, {"import", list("allow 192.0.2.9\nallow 192.0.2.5/24\ndeny x\n")}),
        MatchesRegex(name + ":2:7: [^\n]*\n" + name + ":3:6: [^\n]*\nmailgate: nothing was imported\n"));
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"import", list("deny 10.0.0.0/8\n")}),
                StartsWith(name + ":1: denying 10.0.0.0/8 would shut out"));
    EXPECT_EQ(
        refusal(kRefusedOrNotFound, {"import", list("# nothing\n"), "--replace"}),
        name + ": contains no rules, so --replace would remove them all; use --force to do it anyway\n");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"import", folder_.file("none.txt")}),
              folder_.file("none.txt") + ": cannot be read: No such file or directory\n");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"import", folder_.path().string()}),
              folder_.path().string() + ": cannot be read: Is a directory\n");
}

TEST_F(AccessCommandTest, AnUndoneDenialSaysWhoMayEnterAgain) {
    done({"allow", "192.0.2.0/24"});
    done({"deny", "192.0.2.1"});
    EXPECT_THAT(done({"undo"}),
                HasSubstr("\nnote: 192.0.2.1 may enter listener smtp again: rule 1: allow 192.0.2.0/24"));
    done({"deny", "198.51.100.1"});
    EXPECT_THAT(done({"undo"}), Not(HasSubstr("again"))) << "whom no rule allows";
}

TEST_F(AccessCommandTest, AnEmptyFileIsNotImported) {
    const std::string name = list("");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"import", name}),
              name +
                  ": contains no rules: what should have written them may have failed; use --force if none "
                  "is right\n");
    EXPECT_THAT(done({"import", name, "--force"}), StartsWith("imported 0 rules"));
}

TEST_F(AccessCommandTest, RulesFollowAListenerToItsNewName) {
    done({"allow", "192.0.2.1", "--listener", "smtp"});
    configure(std::string(kSite).replace(std::string(kSite).find("name = \"smtp\""), 13, "name = \"mx\""));
    EXPECT_THAT(access({"list"}).errors, HasSubstr("warning: "));
    EXPECT_THAT(done({"list", "--listener", "smtp"}), HasSubstr("192.0.2.1")) << "and can be seen";
    done({"allow", "192.0.2.1", "--listener", "mx", "--note", "new"});
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"rename-listener", "smtp", "mx"}),
              "mailgate: conflict: rule 2: allow 192.0.2.1 on listener mx, \"new\"\n"
              "mailgate: nothing was changed: first remove either these rules or those of the old name\n");
    done({"remove", "192.0.2.1", "--listener", "mx"});
    EXPECT_EQ(done({"rename-listener", "smtp", "mx"}),
              "1 rule of listener smtp now belongs to listener mx\n");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"rename-listener", "smtp", "mx"}),
              "mailgate: no rule names the listener \"smtp\"\n");
}

TEST_F(AccessCommandTest, CutAsksTheGatewayToEndWhatTheNewRulesDeny) {
    startGateway();
    control_.now.rules_version = 1'000;
    EXPECT_EQ(done({"deny", "192.0.2.1", "198.51.100.0/24", "--listener", "smtp", "--cut"}),
              "added rule 1: deny 192.0.2.1 on listener smtp\n"
              "added rule 2: deny 198.51.100.0/24 on listener smtp\n6 sessions ended\n");
    EXPECT_THAT(control_.orders, ElementsAre(StartsWith("cut 192.0.2.1 smtp denied by version "),
                                             StartsWith("cut 198.51.100.0/24 smtp denied by version ")));
    EXPECT_THAT(done({"deny", "192.0.2.3", "--cut", "--json"}), HasSubstr("\"sessions_ended\":3,"));
    control_.now.rules_version = 0;
    const Ran late = access({"deny", "192.0.2.2", "--cut"});
    EXPECT_EQ(late.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(late.errors, HasSubstr("are not in force: no session was ended"));
}

TEST_F(AccessCommandTest, CutWithoutAGatewaySaysSoAndTheRuleStays) {
    const Ran ran = access({"deny", "192.0.2.1", "--cut"});
    EXPECT_EQ(ran.exit_code, kRefusedOrNotFound);
    EXPECT_EQ(ran.errors, notListening());
    EXPECT_THAT(done({"list"}), HasSubstr("192.0.2.1"));
}

TEST_F(AccessCommandTest, EveryChangeIsAnObjectForPrograms) {
    EXPECT_EQ(done({"allow", "192.0.2.0/24", "--json"}),
              "{\"dry_run\":false,\"added\":1,\"changed\":0,\"removed\":0,\"changes\":[\n"
              R"(  {"change":1,"action":"add","rule":1,"before":null,"after":"allow 192.0.2.0/24"})"
              "\n]}\n");
    EXPECT_THAT(done({"allow", "192.0.2.0/24", "--json"}), HasSubstr("\"changes\":[]")) << "as it was";
    const std::string file = list("allow 192.0.2.0/24\nallow 192.0.2.9\n");
    EXPECT_THAT(done({"import", file, "--json"}), HasSubstr(R"("after":"allow 192.0.2.9"})"));
    EXPECT_EQ(done({"diff", file, "--json"}),
              "{\"dry_run\":true,\"added\":0,\"changed\":0,\"removed\":0,\"changes\":[]}\n");
    const Ran differs = access({"diff", list("allow 192.0.2.0/24\n"), "--json"});
    EXPECT_EQ(differs.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(differs.output,
                HasSubstr(R"("action":"remove","rule":2,"before":"allow 192.0.2.9","after":null})"));
    EXPECT_THAT(done({"remove", "192.0.2.9", "--json"}), HasSubstr(R"("removed":1,)"));
    EXPECT_THAT(done({"undo", "--json"}), HasSubstr(R"("added":1,)"));
    EXPECT_THAT(done({"remove", "192.0.2.9", "--dry-run", "--json"}),
                AllOf(StartsWith("{\"dry_run\":true,"), HasSubstr(R"("removed":1,"sessions":null,)"),
                      EndsWith("]}\n")))
        << "no journal is there";
    EXPECT_THAT(done({"set", "define", "temp", "--note", "x", "--json"}),
                HasSubstr("\"after\":\"set temp x\""));
    for (const std::vector<std::string>& words : {std::vector<std::string>{"deny", "0.0.0.0/0", "--json"},
                                                  {"undo", "99", "--json"},
                                                  {"remove", "9", "--json"}})
        EXPECT_EQ(access(words).output, "") << words[0];
}

TEST_F(AccessCommandTest, TestsSeveralAddresses) {
    done({"allow", "192.0.2.0/24"});
    EXPECT_EQ(access({"test", "192.0.2.1", "192.0.2.2", "--listener", "smtp"}).exit_code, kDone);
    const Ran one_refused = access({"test", "192.0.2.1", "203.0.113.1", "--listener", "smtp", "--json"});
    EXPECT_EQ(one_refused.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(
        one_refused.output,
        AllOf(HasSubstr(R"({"address":"192.0.2.1","listener":"smtp","allowed":true,"rule":{"id":1,)"),
              HasSubstr(R"({"address":"203.0.113.1","listener":"smtp","allowed":false,"rule":null,)")));
}

TEST_F(AccessCommandTest, ATestSaysThatTheGatewayHasOtherRules) {
    done({"allow", "192.0.2.0/24"});
    startGateway();
    EXPECT_EQ(access({"test", "192.0.2.1"}).errors, "");
    control_.now.rules_failed = true;
    control_.now.rules_version = 7;
    EXPECT_THAT(
        access({"test", "192.0.2.1"}).errors,
        HasSubstr("warning: the running gateway cannot read the rules, and keeps those of version 7: "));
}

TEST_F(AccessCommandTest, NamesOfRulesAreLookedFor) {
    done({"import", list("allow host:home.example.org\nallow 192.0.2.0/24\n")});
    for (const char* name : {"host:home.example.org", "HOME.example.org"})
        EXPECT_THAT(done({"list", "--match", name}),
                    AllOf(HasSubstr("home.example.org"), Not(HasSubstr("192.0.2.0"))));
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"list", "--match", "spf:home.example.org"}),
              "mailgate: no rule matches\n");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"test", "home.example.org"}),
              "mailgate: host:home.example.org stands for nothing yet (mailgate access list)\n");
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"test", "spf:example.org"}),
              "mailgate: no rule is for spf:example.org\n");
    for (const char* command : {"test", "list"}) {
        const std::vector<std::string> words =
            std::string(command) == "test" ? std::vector<std::string>{command, "example.org"}
                                           : std::vector<std::string>{command, "--match", "example.org"};
        EXPECT_EQ(refusal(kRefusedOrNotFound, words), "mailgate: no rule is for example.org\n");
    }
    EXPECT_THAT(refusal(kUsage, {"test", "192.0.2.1/33"}), HasSubstr("192.0.2.1/33"));
}

TEST_F(AccessCommandTest, AListMayBeTheBeginningOfOne) {
    std::string rules;
    for (int each = 1; each <= 12; ++each)
        rules += "deny 192.0.2." + std::to_string(each) + "\n";
    done({"import", list(rules)});
    const std::string name = list("deny 192.0.2.1\n");
    const std::string why =
        "11 of 12 rules would be removed, and the list has no end mark (\"# end, N rules\", as the export "
        "writes it): the list may be incomplete";
    EXPECT_EQ(refusal(kRefusedOrNotFound, {"import", "--replace", "--all-sets", name}),
              name + ": " + why + ": nothing was changed; use --force to do it anyway\n");
    EXPECT_THAT(access({"diff", "--all-sets", name}).errors,
                HasSubstr(why + ": access import would do this only with --force"));
    EXPECT_THAT(done({"import", "--replace", "--all-sets", "--force", name}), HasSubstr("11 removed"));
}

TEST_F(AccessCommandTest, SpreadsheetsHaveColumnsOfTheirOwn) {
    const std::string name =
        list("Customer,IP Address,Action,Expires,Note\nACME,192.0.2.1,allow,2099-12-31,M\xFCller\n");
    EXPECT_THAT(refusal(kRefusedOrNotFound, {"import", name}),
                HasSubstr(":1:1: unknown column \"Customer\": expected network (cidr,"));
    const Ran ran = access({"import", name, "--ignore-columns", "customer"});
    EXPECT_EQ(ran.exit_code, kDone);
    EXPECT_THAT(ran.output, HasSubstr("1 added"));
    EXPECT_THAT(ran.errors, HasSubstr("warning: " + name + ":2: the note \"M\\xFCller\" is not UTF-8: "));
    EXPECT_THAT(done({"list", "--json"}),
                AnyOf(HasSubstr("\"expires_at\":\"2099-12-30T"), HasSubstr("\"expires_at\":\"2099-12-31T")));
}

TEST_F(AccessCommandTest, AnExportWithANameOfAnEarlierVersionIsImportedWithAWarning) {
    const std::string name = list("allow host:192.0.2.10-20\n# end, 1 rules\n");
    const Ran ran = access({"import", name});
    EXPECT_EQ(ran.exit_code, kDone);
    EXPECT_THAT(ran.errors, HasSubstr("warning: " + name + ":1: \"host:192.0.2.10-20\" cannot be a name: "));
    EXPECT_THAT(ran.errors, HasSubstr("; that rule is imported all the same, as an export has it\n"));
}

TEST_F(AccessCommandTest, OfVeryManyRulesThatGoTheFirstAreNamed) {
    std::string rules;
    for (int each = 1; each <= 102; ++each)
        rules += "deny 192.0.2." + std::to_string(each) + " set=x\n";
    done({"import", list(rules)});
    EXPECT_THAT(
        done({"set", "remove", "x", "--yes"}),
        AllOf(StartsWith("removed rule 1: "), HasSubstr("\nremoved rule 100: "), Not(HasSubstr("rule 101")),
              EndsWith("\nand 2 more: see mailgate access history\nremoved set x\n")));
}

TEST_F(AccessCommandTest, ADryRunKnowsNoNumbers) {
    done({"allow", "192.0.2.0/24"});
    EXPECT_THAT(
        done({"deny", "192.0.2.0/24", "--dry-run"}),
        HasSubstr(
            "note: the new rule for 192.0.2.0/24 overrides rule 1: allow 192.0.2.0/24 on all listeners\n"));
    EXPECT_THAT(done({"deny", "192.0.2.0/24"}), HasSubstr("note: rule 2 overrides rule 1: "));
}

TEST_F(AccessCommandTest, ADenyRuleSaysWhatItsClientsHear) {
    EXPECT_EQ(done({"deny", "203.0.113.9", "--reply", "temporary", "--note", "later"}),
              "added rule 1: deny 203.0.113.9 on all listeners, \"later\", reply temporary\n");
    EXPECT_THAT(done({"deny", "203.0.113.9", "--note", "still"}), HasSubstr("reply temporary"));
    EXPECT_THAT(done({"export"}), StartsWith("deny 203.0.113.9 reply=temporary still\n"));
    EXPECT_THAT(done({"deny", "203.0.113.9", "--reply", "default"}), Not(HasSubstr("reply")));
    done({"undo"});
    EXPECT_THAT(done({"list"}), HasSubstr("temporary"));
    EXPECT_THAT(refusal(kUsage, {"deny", "203.0.113.9", "--reply", "450"}), HasSubstr("temporary,note"));
    EXPECT_THAT(refusal(kUsage, {"allow", "203.0.113.9", "--reply", "note"}), HasSubstr("--reply"));
}

}  // namespace
}  // namespace mailgate::cli
