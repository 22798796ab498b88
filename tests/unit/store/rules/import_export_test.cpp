// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_export.h"

#include "tests/unit/store/support.h"

#include <fmt/format.h>

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <map>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<std::string> kListeners{"smtp", "imap"};

ImportOptions options(std::optional<Verdict> verdict = std::nullopt,
                      ImportFormat format = ImportFormat::Auto) {
    ImportOptions options;
    options.format = format;
    options.verdict = verdict;
    options.listeners = kListeners;
    return options;
}

std::vector<std::string> linesOf(const ImportResult& result) {
    std::vector<std::string> lines;
    for (const ImportedRule& one : result.rules)
        lines.push_back(std::to_string(one.line) + ": " + formatRule(one.rule));
    return lines;
}

std::string errorsOf(const ImportResult& result) {
    std::string text;
    for (const ImportError& error : result.errors)
        text += std::to_string(error.line) + ": " + error.message + "\n";
    return text;
}

/// The rules of a file without errors.
std::vector<std::string> imported(std::string_view text, const ImportOptions& how,
                                  ImportFormat as = ImportFormat::Auto) {
    const auto result = parseRules(text, how);
    EXPECT_EQ(errorsOf(result), "");
    if (as != ImportFormat::Auto) {
        EXPECT_EQ(toString(result.format), toString(as));
    }
    return linesOf(result);
}

TEST(Import, ReadsTheUsualLines) {
    EXPECT_THAT(
        imported(
            "# partners\n"
            "\n"
            "allow 198.51.100.0/24 partner one, ticket #4711\r\n"
            "\tdeny\t203.0.113.9  \n"
            "deny 2001:DB8::/32 listener=smtp,imap expires=2026-12-31T23:59:59Z until the contract ends\n"
            "   # indented\n"
            "; as others comment\n"
            "allow 192.0.2.200 # seen in an old list\n"
            "allow 192.0.2.201 expires=2027-01-01T00:00:00+01:00 ; likewise\n"
            "allow 192.0.2.202 client_rate=0 client_sessions=20 partners get more\n",
            options(), ImportFormat::Mailgate),
        ElementsAre(
            "3: allow 198.51.100.0/24 partner one, ticket #4711", "4: deny 203.0.113.9",
            "5: deny 2001:db8::/32 listener=smtp expires=2026-12-31T23:59:59Z until the contract ends",
            "5: deny 2001:db8::/32 listener=imap expires=2026-12-31T23:59:59Z until the contract ends",
            "8: allow 192.0.2.200", "9: allow 192.0.2.201 expires=2026-12-31T23:00:00Z",
            "10: allow 192.0.2.202 client_sessions=20 client_rate=0 partners get more"));
}

TEST(Import, AVerdictIsNeverGuessed) {
    const std::string_view bare = "192.0.2.0/25\n2001:db8::/32\n";
    EXPECT_THAT(errorsOf(parseRules(bare, options())), HasSubstr("use --verdict allow or --verdict deny"));
    EXPECT_THAT(imported(bare, options(Verdict::Deny), ImportFormat::Plain),
                ElementsAre("1: deny 192.0.2.0/25", "2: deny 2001:db8::/32"));
    const std::string_view mixed = "192.0.2.0/25 listener=smtp\ndeny 203.0.113.9\n";
    EXPECT_THAT(errorsOf(parseRules(mixed, options())), HasSubstr("1: there is no verdict for 192.0.2.0/25"));
    EXPECT_THAT(imported(mixed, options(Verdict::Allow), ImportFormat::Mailgate),
                ElementsAre("1: allow 192.0.2.0/25 listener=smtp", "2: deny 203.0.113.9"));
}

TEST(Import, LinesWithoutAVerdictAreOneErrorHoweverManyThereAre) {
    std::string list = "deny 192.0.2.1\ndeny nonsense\n";
    for (int line = 0; line < 250; ++line)
        list += "198.51.100." + std::to_string(line) + "\n";
    EXPECT_THAT(
        errorsOf(parseRules(list, options())),
        AllOf(HasSubstr("2: \"nonsense\" is not"),
              HasSubstr("\n3: there is no verdict for 198.51.100.0, nor for those of 249 more lines: use ")));
    EXPECT_EQ(parseRules(list, options()).errors.size(), 2u);
    for (const auto& [format, text] : {std::pair(ImportFormat::Plain, "192.0.2.1\n192.0.2.2\n"),
                                       std::pair(ImportFormat::Csv, "ip,note\n192.0.2.1,x\n192.0.2.2,y\n"),
                                       std::pair(ImportFormat::Ipset, "add x 192.0.2.1\nadd x 192.0.2.2\n")})
        EXPECT_THAT(errorsOf(parseRules(text, options(std::nullopt, format))),
                    testing::MatchesRegex(
                        "[12]: there is no verdict for 192.0.2.1, nor for that of another line: .*\n"))
            << text;
    EXPECT_THAT(errorsOf(parseRules("192.0.2.1 set=two words\n", options())),
                HasSubstr("is no verdict for 192.0.2.1: use"));
    EXPECT_THAT(errorsOf(parseRules("192.0.2.1 listener=nope\n", options())),
                HasSubstr("no listener is named"))
        << "the rest of such a line is looked at, too";
}

TEST(Import, NotesOfOtherBytesThanUtf8AreToldOf) {
    const struct {
        const char* text;
        std::size_t count, first;
    } cases[] = {
        {"ip,action,note\n192.0.2.1,allow,M\xC3\xBCller\n192.0.2.2,allow,M\xFCller\n192.0.2.3,deny,\xE9\n", 2,
         3},
        {"allow 192.0.2.1 M\xC3\xBCller\nallow 192.0.2.2 M\xFCller\n", 1, 2},
        {"192.0.2.1 REJECT \xFC\n", 1, 1},
        {"192.0.2.1 REJECT \xC3\xBC\n", 0, 0},
    };
    for (const auto& one : cases) {
        const auto result = parseRules(one.text, options());
        EXPECT_EQ(errorsOf(result), "");
        EXPECT_EQ(result.not_utf8.count, one.count) << one.text;
        EXPECT_EQ(result.not_utf8.first, one.first) << one.text;
    }
}

TEST(Import, AnExportKeepsNamesThatWouldGetNoRuleNow) {
    const std::string_view lines =
        "allow host:mx.example.org\nallow host:192.0.2.10-20 an earlier version's\n";
    EXPECT_THAT(errorsOf(parseRules(lines, options())),
                HasSubstr("2: \"host:192.0.2.10-20\" cannot be a name"));
    const auto result = parseRules(std::string(lines) + formatEnd(2) + "\n", options());
    EXPECT_EQ(errorsOf(result), "");
    EXPECT_EQ(result.rules[1].rule.name, "host:192.0.2.10-20");
    EXPECT_EQ(result.doubted_names.count, 1u);
    EXPECT_EQ(result.doubted_names.first, 2u);
    EXPECT_THAT(result.doubted_names.what, HasSubstr("did you mean 192.0.2.10-192.0.2.20?"));
    const std::string table = "network,verdict\nhost:192.0.2.10-20,allow\n";
    EXPECT_THAT(errorsOf(parseRules(table, options())), HasSubstr("cannot be a name"));
}

TEST(Import, SaysWhatIsWrongAndWhere) {
    const struct {
        const char* line;
        const char* message;
    } cases[] = {
        {"allow", "a network must follow allow"},
        {"permit 192.0.2.1", "\"permit\" is not an IP address"},
        {"192.0.2.5/24", "did you mean 192.0.2.0/24 or 192.0.2.5/32?"},
        {"allow 192.0.2.1 listener=pop3", "no listener is named \"pop3\": the configuration has imap, smtp"},
        {"allow 192.0.2.1 listener=", "is not a listener's name"},
        {"allow 192.0.2.1 listener=smtp,", "is not a listener's name"},
        {"allow 192.0.2.1 listener=smtp listener=imap", "is given twice"},
        {"allow 192.0.2.1 expires=tomorrow", "expected RFC 3339"},
        {"allow 192.0.2.1 expires=2026-12-31T23:59:59Z expires=2026-12-31T23:59:59Z", "is given twice"},
        {"allow 192.0.2.1 client_sessions=many", "\"many\" is not a number from 0 to 1000000"},
        {"allow 192.0.2.1 client_rate=1000001", "is not a number from 0 to 1000000"},
        {"allow 192.0.2.1 client_rate=1 client_rate=1", "is given twice"},
        {"deny 192.0.2.1 client_rate=1", "is only for allow rules"},
        {"allow 192.0.2.1 \"open", "not closed"},
        {"allow 192.0.2.1 \"open\" more", "not closed"},
        {"allow 192.0.2.1 \"\\n\"", "unknown escape"},
        {"allow 192.0.2.1 \"\\x4", "unknown escape"},
        {"allow 192.0.2.1 be\x07ll", "control character"},
        {"allow 192.0.2.1 expire=2027-01-01T00:00:00Z", "\"expire=2027-01-01T00:00:00Z\" is not an option"},
        {"allow 192.0.2.1 Listener=smtp temp", "\"Listener=smtp\" is not an option"},
        {"allow 192.0.2.1 a note listener=smtp", "\"listener=smtp\" is not an option"},
        {"allow 192.0.2.1 REJECT spammers", "\"REJECT\" is not an option"},
        {"allow 192.0.2.1 554 5.7.1 no", "\"554\" is not an option"},
        {"deny 192.0.2.1 permit", "\"permit\" is not an option"},
        {"allow 192.0.2.1 listener = smtp", "\"listener\" is not an option"},
        {"allow 192.0.2.1 Listener:smtp", "\"Listener:smtp\" is not an option"},
        {"allow 192.0.2.1 --listener smtp", "\"--listener\" is not an option"},
        {"allow 192.0.2.1 --expires 30d", "\"--expires\" is not an option"},
        {"allow 192.0.2.1 192.0.2.2", "\"192.0.2.2\" is not an option"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.line);
        const auto result = parseRules(std::string("# first\n") + one.line + "\n", options(Verdict::Allow));
        ASSERT_EQ(result.errors.size(), 1u);
        EXPECT_EQ(result.errors[0].line, 2u);
        EXPECT_THAT(result.errors[0].message, HasSubstr(one.message));
    }
}

TEST(Import, AFileThatIsNoListIsOneError) {
    using namespace std::string_literals;
    EXPECT_THAT(errorsOf(parseRules("\xFF\xFEn\0e\0t\0w\0\n\0"s, options(Verdict::Deny))),
                HasSubstr("is UTF-16"));
    EXPECT_THAT(errorsOf(parseRules("\xFE\xFF\0n\0e\n\n\n"s, options(Verdict::Deny))),
                HasSubstr("is UTF-16"));
    const auto workbook = parseRules("PK\x03\x04\x14\n\n192.0.2.1\n"s, options(Verdict::Deny));
    EXPECT_EQ(workbook.errors.size(), 1u);
    EXPECT_EQ(workbook.errors.front().line, 0u) << "of the file";
    EXPECT_THAT(errorsOf(workbook), HasSubstr("is a workbook"));
}

TEST(Import, LimitsAreTakenAsTheCommandLineHasThem) {
    const auto result = parseRules(
        "network,verdict,client_sessions,client_rate\n192.0.2.1,allow,none,unlimited\n"
        "192.0.2.2,deny,none,none\n",
        {});
    EXPECT_EQ(errorsOf(result), "");
    ASSERT_EQ(result.rules.size(), 2u);
    EXPECT_EQ(result.rules[0].rule.limits.sessions, std::nullopt);
    EXPECT_EQ(result.rules[0].rule.limits.per_minute, 0u);
}

TEST(Import, StopsAfterAHundredErrors) {
    for (const ImportFormat format : {ImportFormat::Auto, ImportFormat::Mailgate, ImportFormat::Plain,
                                      ImportFormat::Cidr, ImportFormat::Haproxy, ImportFormat::Drop}) {
        std::string text;
        for (int line = 0; line < 5'000; ++line)
            text += "nonsense\n";
        EXPECT_EQ(parseRules(text, options(Verdict::Deny, format)).errors.size(), kMaxImportErrors);
    }
}

TEST(Import, LongNotesAreRefused) {
    const std::string longest(kMaxNoteLength, 'n');
    EXPECT_THAT(parseRules("deny 192.0.2.1 " + longest + "\n", {}).errors, IsEmpty());
    EXPECT_EQ(parseRules("deny 192.0.2.1 " + longest + "n\n", {}).errors.size(), 1u);
    EXPECT_EQ(parseRules("192.0.2.1 REJECT " + longest + "n\n", {}).errors.size(), 1u);
}

TEST(Import, WhatCannotBeToldIsRefused) {
    for (const char* line : {"203.0.113.7 partner one", "203.0.113.7 2026-11-25", "192.0.2.0/24 be_internal",
                             "192.0.2.0/24 1"}) {
        SCOPED_TRACE(line);
        const auto result = parseRules(std::string("192.0.2.1\n") + line + "\n", options(Verdict::Deny));
        EXPECT_THAT(errorsOf(result), HasSubstr("2: the meaning of "));
        EXPECT_THAT(result.rules, IsEmpty());
    }
}

TEST(Import, ListsOfPostfix) {
    EXPECT_THAT(imported("\xEF\xBB\xBF# postscreen_access.cidr\r\n"
                         "192.0.2.9           permit\r\n"
                         "192.0.2.0/24        reject\r\n"
                         "203.0.113.128/25    REJECT  snowshoe spammers\r\n"
                         "  and their friends\r\n"
                         "203.0.113.60/32     554 5.7.1 go away\r\n"
                         "[2001:db8:bad::]/48 450 4.7.1 later\r\n"
                         "[2001:db8:1::/48]   DUNNO\r\n"
                         "198.51.100.7        OK\r\n"
                         "198.51.100.8        DEFER\r\n"
                         "198.51.100.9        Defer_If_Permit 5.7.1 busy\r\n"
                         "198.51.100.10       421 4.7.0 closing\r\n"
                         "198.51.100.11       450 5.7.1 the code counts\r\n"
                         "198.51.100.12       REJECT 4.7.1 and the action\r\n"
                         "198.51.100.13       RELAY\r\n",
                         options(), ImportFormat::Cidr),
                ElementsAre("2: allow 192.0.2.9", "3: deny 192.0.2.0/24",
                            "4: deny 203.0.113.128/25 snowshoe spammers and their friends",
                            "6: deny 203.0.113.60 \"554 5.7.1 go away\"",
                            "7: deny 2001:db8:bad::/48 reply=temporary \"450 4.7.1 later\"",
                            "8: allow 2001:db8:1::/48", "9: allow 198.51.100.7",
                            "10: deny 198.51.100.8 reply=temporary",
                            "11: deny 198.51.100.9 reply=temporary 5.7.1 busy",
                            "12: deny 198.51.100.10 reply=temporary \"421 4.7.0 closing\"",
                            "13: deny 198.51.100.11 reply=temporary \"450 5.7.1 the code counts\"",
                            "14: deny 198.51.100.12 4.7.1 and the action", "15: allow 198.51.100.13"));
}

TEST(Import, PostfixSaysWhetherAClientMayTryAgain) {
    const auto result = parseRules("192.0.2.1 REJECT\n192.0.2.2 DEFER\n192.0.2.3 OK\n", options());
    ASSERT_EQ(errorsOf(result), "");
    EXPECT_TRUE(result.rules[0].names_reply) << "a rule that was temporary is so no longer";
    EXPECT_TRUE(result.rules[1].names_reply);
    EXPECT_FALSE(result.rules[2].names_reply);
    EXPECT_EQ(result.undecided.count, 0u);
    const auto undecided = parseRules("192.0.2.1 OK\n192.0.2.2 DUNNO\n192.0.2.3 dunno x\n", options());
    EXPECT_EQ(undecided.undecided.count, 2u);
    EXPECT_EQ(undecided.undecided.first, 2u);
    EXPECT_EQ(undecided.undecided.what, "192.0.2.2");
}

TEST(Import, WhatPostfixMeansOtherwiseIsRefused) {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"!192.0.2.0/24 REJECT\n", "access rules have no negation and no if/endif"},
        {"if 192.0.2.0/24\n192.0.2.1 OK\nendif\n",
         "1: \"if\": access rules have no negation and no if/endif"},
        {"192.0.2.0/24 FILTER smtp:[10.0.0.1]\n", "\"FILTER\" neither allows nor denies a client"},
        {"192.0.2.0/24 OK\n192.0.2.1\n", "2: an action (OK, REJECT, ...) must follow 192.0.2.1"},
        {"192.0.2.0/24 OK\n192.0.2.1 20261126\n", "2: \"20261126\" alone is OK to Postfix"},
        {"192.0.2.1 450\n", "1: \"450\" alone is OK to Postfix"},
        {"192.0.2.1 OK\n192.0.2.2 permit_mynetworks, reject\n", "2: \"permit_mynetworks,\" neither"},
        {"192.0.2.1 OK\n192.0.2.2 350 4.7.1 x\n", "2: \"350\" neither"},
        // The first line that matches counts there, the most specific rule here.
        {"192.0.2.0/24 REJECT\n192.0.2.1 OK\n", "2: Postfix never reaches this line, because line 1"},
        {"192.0.2.0/24 OK\n192.0.2.0/24 REJECT\n", "2: Postfix never reaches this line, because line 1"},
        {"192.0.2.0/24 REJECT\n192.0.2.1 DEFER\n", "2: Postfix never reaches this line, because line 1"},
        {"192.0.2.0/24 REJECT\nallow 192.0.2.1\n", "2: \"allow\" is not an IP address"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.text);
        EXPECT_THAT(errorsOf(parseRules(one.text, options(Verdict::Allow))), HasSubstr(one.message));
    }
}

TEST(Import, IndexedMapsOfPostfix) {
    EXPECT_THAT(imported("10.1.2.3            OK\n"
                         "192.168             REJECT guests\n"
                         "10                  554 5.7.1 go away\n"
                         "203.0.113           DUNNO\n"
                         "172.16              450 4.7.1 greylist me\n"
                         "172.17              DEFER\n"
                         "2001:db8            reject\n"
                         "2001:db8::1         permit\n",
                         options(), ImportFormat::Access),
                ElementsAre("1: allow 10.1.2.3", "2: deny 192.168.0.0/16 guests",
                            "3: deny 10.0.0.0/8 \"554 5.7.1 go away\"", "4: allow 203.0.113.0/24",
                            "5: deny 172.16.0.0/16 reply=temporary \"450 4.7.1 greylist me\"",
                            "6: deny 172.17.0.0/16 reply=temporary", "7: deny 2001:db8::/32",
                            "8: allow 2001:db8::1"));
    for (const char* action :
         {"WARN", "INFO x", "HOLD", "DISCARD", "REDIRECT a@example.net", "PREPEND X: y", "BCC a@example.net",
          "FILTER smtp:[10.0.0.1]", "DEFER_IF_REJECT", "HANGUP", "sleep 5", "reject_unlisted_recipient"})
        EXPECT_THAT(errorsOf(parseRules(fmt::format("192.168 REJECT\n10 {}\n", action), options())),
                    HasSubstr("neither allows nor denies a client"))
            << action;
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"192.168 REJECT\n10.0.0.0/8 OK\n", "2: \"10.0.0.0/8\": an indexed map has no networks in CIDR form"},
        {"192.168 REJECT\nexample.com OK\n", "2: \"example.com\" is neither an address nor"},
        {"192.168 REJECT\n256.1 OK\n", "2: \"256.1\" is neither"},
        {"192.168 REJECT\n010 OK\n", "2: \"010\" is neither"},
        {"192.168 REJECT\n2001:db8:: OK\n192.168 OK\n", "3: contradicts line 1"},
        {"192.168 REJECT\n192.168 450 later\n", "2: contradicts line 1"},
    };
    for (const auto& one : cases)
        EXPECT_THAT(errorsOf(parseRules(one.text, options())), HasSubstr(one.message)) << one.text;
}

TEST(Import, ListsOfNginx) {
    EXPECT_THAT(imported("# office\n"
                         "  deny  192.0.2.9;\n"
                         "allow 192.0.2.0/24; # all\n"
                         "allow 2001:db8::/32 ; deny 198.51.100.7;\n",
                         options(), ImportFormat::Nginx),
                ElementsAre("2: deny 192.0.2.9", "3: allow 192.0.2.0/24", "4: allow 2001:db8::/32",
                            "4: deny 198.51.100.7"));
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"allow 192.0.2.1;\ndeny all;\n", "2: what no rule matches is decided by the listener's access"},
        {"allow 192.0.2.0/24;\ndeny 192.0.2.1;\n", "2: nginx never reaches this line, because line 1"},
        {"allow 192.0.2.1;\ndeny 192.0.2.2\n", "2: the directive does not end with a semicolon"},
        {"allow 192.0.2.1;\nallow unix:;\n", "2: \"unix:\" is not an IP address"},
        {"allow 192.0.2.1;\nsatisfy any;\n", "2: expected \"allow NETWORK;\""},
        {"allow 192.0.2.1; x\n", "1: expected \"allow NETWORK;\""},
    };
    for (const auto& one : cases)
        EXPECT_THAT(errorsOf(parseRules(one.text, options())), HasSubstr(one.message)) << one.text;
}

TEST(Import, NetworksMayBeRangesAndHaveMasks) {
    EXPECT_THAT(imported("allow 192.0.2.10-192.0.2.12 listener=smtp x\ndeny 10.0.0.0/255.0.0.0\n", options()),
                ElementsAre("1: allow 192.0.2.10/31 listener=smtp x", "1: allow 192.0.2.12 listener=smtp x",
                            "2: deny 10.0.0.0/8"));
    EXPECT_THAT(imported("192.0.2.0-192.0.2.255\n", options(Verdict::Deny), ImportFormat::Plain),
                ElementsAre("1: deny 192.0.2.0/24"));
    EXPECT_THAT(imported("ip,action\n192.0.2.1-192.0.2.2,deny\n", options(), ImportFormat::Csv),
                ElementsAre("2: deny 192.0.2.1", "2: deny 192.0.2.2"));
    EXPECT_THAT(errorsOf(parseRules("allow 192.0.2.1 - 192.0.2.2\n", options())),
                HasSubstr("a range is one word"));
}

TEST(Import, RulesMayBeForNames) {
    EXPECT_THAT(
        imported("allow host:Home.example.org listener=smtp Anna\ndeny spf:_spf.example.org set=acme\n",
                 options(), ImportFormat::Mailgate),
        ElementsAre("1: allow host:home.example.org listener=smtp Anna",
                    "2: deny spf:_spf.example.org set=acme"));
    EXPECT_THAT(imported("network,verdict\nhost:home.example.org,allow\n", options(), ImportFormat::Csv),
                ElementsAre("2: allow host:home.example.org"));
    EXPECT_THAT(errorsOf(parseRules("allow host:a..b\n", options())), HasSubstr("is not a name such as"));
    EXPECT_THAT(errorsOf(parseRules("allow host:192.0.2.10-20\n", options())),
                HasSubstr("cannot be a name: its last part has no letter"));
    EXPECT_THAT(errorsOf(parseRules("allow 192.0.2.1 host:a.b\n", options())),
                HasSubstr("\"host:a.b\" is not an option"));
    const auto rule = parseTrailRule("allow host:home.example.org listener=smtp Anna");
    ASSERT_TRUE(rule);
    EXPECT_EQ(formatRule(*rule), "allow host:home.example.org listener=smtp Anna");
    EXPECT_FALSE(parseTrailRule("allow host:a..b"));
    const std::string both = "deny spf:_spf.example.org reply=temporary,note ask Anna";
    EXPECT_THAT(imported(both + "\n", options()), ElementsAre("1: " + both));
    EXPECT_EQ(formatRule(parseTrailRule(both).value()), both);
}

TEST(Import, ErrorsNameTheColumn) {
    const struct {
        const char* text;
        std::size_t column;
    } cases[] = {
        {"  allow 192.0.2.5/24\n", 9},
        {"allow 192.0.2.1 listener=pop3\n", 17},
        {"allow 192.0.2.1 listener=smtp expires=tomorrow\n", 31},
        {"allow 192.0.2.1 m\xC3\xBC"
         "de Listener=smtp\n",
         22},
        {"allow 192.0.2.1 \"open\n", 17},
        {"allow\n", 1},
        {"192.0.2.0/24 REJECT\n192.0.2.1 HOLD\n", 11},
        {"192.0.2.0/24 REJECT go\n  away\n192.0.2.1\n", 1},
        {"192.168 REJECT\n 10\nexample.com OK\n", 1},
        {"allow 192.0.2.1; deny 192.0.2.300;\n", 23},
        {"10.0.0.0/8 deny\n10.1.0.0/16 maybe\n", 13},
        {"1.10.16.0/20 ; SBL256894\n1.19.0.0/99 ; SBL434604\n", 1},
        {"ip,action,listener\n192.0.2.1,deny,pop3\n", 16},
        {"ip,action,expires\n\"192.0.2.1\",\"deny\",later\n", 20},
        {"ip,action\n192.0.2.1,maybe\n", 11},
        {"action,ip\ndeny,192.0.2.5/24\n", 6},
        {"192.0.2.1\n192.0.2.2 perhaps\n", 11},
    };
    for (const auto& one : cases) {
        const auto result = parseRules(one.text, options());
        ASSERT_FALSE(result.errors.empty()) << one.text;
        EXPECT_EQ(result.errors.front().column, one.column) << one.text << result.errors.front().message;
    }
}

/// The first example behind each format's name in docs/rules.md: the indented lines, without the commands.
std::vector<std::pair<std::string, std::string>> documentedExamples() {
    std::ifstream page(MAILGATE_SOURCE_DIR "/docs/rules.md");
    std::vector<std::pair<std::string, std::string>> examples;
    bool done = true;
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with("**")) {
            const auto format = importFormatOf(line.substr(2, line.find_first_of(".*,:", 2) - 2));
            done = !format;
            if (format) examples.emplace_back(toString(*format), "");
        } else if (!done && line.starts_with("    $ mailgate")) {
            done = true;
        } else if (!done && line.starts_with("    ") && !line.starts_with("    $")) {
            examples.back().second += line.substr(4) + "\n";
        } else if (!done && line.empty() && !examples.back().second.empty()) {
            done = true;
        }
    }
    return examples;
}

TEST(Import, EveryFormatHasAnExampleInTheDocumentation) {
    const auto examples = documentedExamples();
    for (const ImportFormat format : kImportFormats) {
        if (format == ImportFormat::Auto) continue;
        const auto example = std::find_if(examples.begin(), examples.end(),
                                          [&](const auto& one) { return one.first == toString(format); });
        ASSERT_NE(example, examples.end()) << toString(format);
        SCOPED_TRACE(example->second);
        auto how = options();
        how.listeners = {};
        const bool says_verdict =
            format != ImportFormat::Plain && format != ImportFormat::Ipset && format != ImportFormat::Nft;
        if (!says_verdict) {
            EXPECT_THAT(errorsOf(parseRules(example->second, how)), HasSubstr("there is no verdict"));
            how.verdict = Verdict::Deny;
        }
        const auto result = parseRules(example->second, how);
        EXPECT_EQ(errorsOf(result), "");
        EXPECT_GE(result.rules.size(), 2u);
        EXPECT_EQ(toString(result.format), toString(format));
    }
}

TEST(Import, ListsOfHaproxy) {
    const std::string_view acl = "# partners\n10.0.0.0/8\n192.0.2.0/255.255.255.0\n  2001:db8::1\n";
    EXPECT_THAT(errorsOf(parseRules(acl, options(std::nullopt, ImportFormat::Haproxy))),
                HasSubstr("2: there is no verdict for"));
    EXPECT_THAT(imported(acl, options(Verdict::Allow, ImportFormat::Haproxy)),
                ElementsAre("2: allow 10.0.0.0/8", "3: allow 192.0.2.0/24", "4: allow 2001:db8::1"));
    EXPECT_THAT(imported("10.0.0.0/8 deny\n10.1.0.0/16\tallow\n", options(), ImportFormat::Haproxy),
                ElementsAre("1: deny 10.0.0.0/8", "2: allow 10.1.0.0/16"));
    const std::string_view map = "10.0.0.0/8 be_internal\n";
    EXPECT_THAT(errorsOf(parseRules(map, options(std::nullopt, ImportFormat::Haproxy))),
                HasSubstr("\"be_internal\" is neither allow nor deny"));
    EXPECT_THAT(imported(map, options(Verdict::Allow, ImportFormat::Haproxy)),
                ElementsAre("1: allow 10.0.0.0/8 be_internal"));
    EXPECT_THAT(errorsOf(parseRules("10.0.0.0/8 deny\n10.0.0.0/8 allow\n", options())),
                HasSubstr("2: contradicts line 1"));
    EXPECT_THAT(
        errorsOf(parseRules("10.0.0.0/8 reject spammers\n", options(Verdict::Allow, ImportFormat::Haproxy))),
        HasSubstr("\"reject spammers\" is not a value of a map"));
    const auto with = [](std::string_view value, Verdict verdict) {
        return parseRules(fmt::format("10.0.0.0/8 {}\n", value), options(verdict, ImportFormat::Haproxy));
    };
    for (const char* value : {"Blocked", "denied by tom", "blacklist", "refused", "spam", "no", "False", "0"})
        EXPECT_THAT(errorsOf(with(value, Verdict::Allow)), HasSubstr("does not sound like one to allow"));
    for (const char* value : {"trusted", "Whitelist", "allowed by tom", "no", "0"})
        EXPECT_THAT(errorsOf(with(value, Verdict::Deny)), HasSubstr("does not sound like one to deny"));
    for (const char* value : {"blocked", "refused", "1", "yes"})
        EXPECT_EQ(errorsOf(with(value, Verdict::Deny)), "");
    for (const char* value : {"trusted", "1"})
        EXPECT_EQ(errorsOf(with(value, Verdict::Allow)), "");
    EXPECT_THAT(errorsOf(parseRules("10.0.0.0/255.0.255.0 deny\n", options())), HasSubstr("1: "));
}

TEST(Import, DropIsDenied) {
    EXPECT_THAT(imported("; Spamhaus DROP List 2026/11/26 - (c) 2026 The Spamhaus Project\n"
                         "1.10.16.0/20 ; SBL256894\n"
                         "1.19.0.0/16 ; SBL434604\n",
                         options(), ImportFormat::Drop),
                ElementsAre("2: deny 1.10.16.0/20 SBL256894", "3: deny 1.19.0.0/16 SBL434604"));
    EXPECT_THAT(imported(R"({"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"})"
                         "\n"
                         R"({"cidr":"2001:db8::/32","sblid":"SBL1","rir":"ripencc"})"
                         "\n"
                         R"({"type":"metadata","timestamp":1764115200,"size":100,"records":2})"
                         "\n",
                         options(), ImportFormat::Drop),
                ElementsAre("1: deny 1.10.16.0/20 SBL256894", "2: deny 2001:db8::/32 SBL1"));
    EXPECT_THAT(imported("1.10.16.0/20\n", options(std::nullopt, ImportFormat::Drop)),
                ElementsAre("1: deny 1.10.16.0/20"));
}

TEST(Import, WhatMayBeNoDropListIsRefused) {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"1.10.16.0/20 ; SBL256894\n192.0.2.0/24\n", "2: 192.0.2.0/24 has no SBL number"},
        {"1.10.16.0/20 ; SBL256894\n192.0.2.0/24 ; ours\n", "2: 192.0.2.0/24 has no SBL number"},
        {"192.0.2.0/24 ; ours\n", "1: there is no verdict for 192.0.2.0/24"},
        {"{\"cidr\":\"1.10.16.0/20\"}\n{\"type\":\"metadata\",\"records\":2}\n",
         "2: the list says that it has 2 records, but contains 1"},
        {"{\"cidr\":\"1.10.16.0/20\"}\n{\"type\":\"metadata\",\"records\":\"many\"}\n", "2: is neither"},
        {"{\"cidr\":\"1.10.16.0/20\"}\n{\"type\":\"metadata\",\"records\":-1}\n",
         "2: the list says that it has -1 records"},
        {"{\"cidr\":\"1.10.16.0/20\"}\n{\"type\":\"metadata\",\"records\":1}\n{\"cidr\":\"1.19.0.0/16\"}\n",
         "3: is after the metadata, which is the list's last line"},
        {"{\"asn\":64496}\n", "the object has no \"cidr\""},
        {"{\"cidr\":[[[[[[[[\n", "is neither a JSON object"},
        {"{\"cidr\":\"1.10.16.0/20\"}\n192.0.2.1 OK\n", "2: expected"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.text);
        EXPECT_THAT(errorsOf(parseRules(one.text, options())), HasSubstr(one.message));
    }
    EXPECT_THAT(errorsOf(parseRules("1.10.16.0/20 ; SBL256894\n", options(Verdict::Allow))),
                HasSubstr("--verdict says allow"));
}

TEST(Import, TablesWithAHeading) {
    EXPECT_THAT(
        imported("Network,Verdict,Listener,Expires,Note\r\n"
                 "192.0.2.0/24,allow,\"smtp,imap\",2027-01-01T00:00:00Z,\"ACME, \"\"the\"\" partner\"\r\n"
                 "203.0.113.9,DENY,,,\n",
                 options(), ImportFormat::Csv),
        ElementsAre("2: allow 192.0.2.0/24 listener=smtp expires=2027-01-01T00:00:00Z ACME, \"the\" partner",
                    "2: allow 192.0.2.0/24 listener=imap expires=2027-01-01T00:00:00Z ACME, \"the\" partner",
                    "3: deny 203.0.113.9"));
    EXPECT_THAT(imported("deny 192.0.2.1 a list, network, verdict\n", options(), ImportFormat::Mailgate),
                ElementsAre("1: deny 192.0.2.1 a list, network, verdict"));
    EXPECT_THAT(imported("ip;reason\n192.0.2.1;reject\n", options(Verdict::Deny), ImportFormat::Csv),
                ElementsAre("2: deny 192.0.2.1 \"reject\""));
    EXPECT_THAT(imported("; a comment\nnote;ip;action\nx;192.0.2.1;deny\n# one\n;192.0.2.2;deny\n", options(),
                         ImportFormat::Csv),
                ElementsAre("3: deny 192.0.2.1 x", "5: deny 192.0.2.2"))
        << "its first cell is empty";
    EXPECT_THAT(imported("IP Address,Action,Client Rate\n192.0.2.1,allow,7\n", options(), ImportFormat::Csv),
                ElementsAre("2: allow 192.0.2.1 client_rate=7"));
    EXPECT_THAT(imported("note,ip\n; a comment\nx,192.0.2.1\n", options(Verdict::Deny), ImportFormat::Csv),
                ElementsAre("3: deny 192.0.2.1 x"));
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"network,note\n192.0.2.1,x\n", "2: there is no verdict for 192.0.2.1"},
        {"network,verdict\n192.0.2.1,\n", "2: there is no verdict for"},
        {"network,verdict\n192.0.2.1,maybe\n", "2: \"maybe\" is neither allow nor deny"},
        {"network,verdict\n192.0.2.1\n", "2: has 1 cell where the heading has 2"},
        {"network,verdict\n,deny\n", "2: has no network"},
        {"network;verdict\n;deny\n192.0.2.1;deny\n", "2: has no network"},
        {"network;verdict\n; more\n", "2: has no network"},
        {"network;verdict\n;x;\n192.0.2.1;deny;x\n", "3: has 3 cells where the heading has 2"},
        {"network,verdict\n192.0.2.1 x,deny\n", "2: \"192.0.2.1 x\" is not one word"},
        {"network,verdict\n\"192.0.2.1,deny\n", "2: a quote is not closed"},
        {"network,verdict,valid_until\n192.0.2.1,allow,2027\n", "1: unknown column \"valid_until\""},
        {"network,ip\n192.0.2.1,192.0.2.2\n", "1: the column \"ip\" means the same as one before it"},
        {"network,verdict,listener\n192.0.2.1,deny,nope\n", "2: no listener is named \"nope\""},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.text);
        EXPECT_THAT(errorsOf(parseRules(one.text, options())), HasSubstr(one.message));
    }
}

TEST(Import, WhatASpreadsheetLeavesEmptyMeansNothing) {
    EXPECT_THAT(imported("IP;Action;Comment;;\r\n192.0.2.1;deny;x;;\r\n;;;;\r\n192.0.2.2;deny;;;;;\r\n;\r\n",
                         options(), ImportFormat::Csv),
                ElementsAre("2: deny 192.0.2.1 x", "4: deny 192.0.2.2"));
    EXPECT_THAT(imported(",IP,,Action\n,192.0.2.1,,deny\n\"\",,,\n", options(), ImportFormat::Csv),
                ElementsAre("2: deny 192.0.2.1"));
    const std::string_view unnamed = "ip,action,\n192.0.2.1,deny,until May\n";
    const auto refused = parseRules(unnamed, options());
    EXPECT_THAT(errorsOf(refused), HasSubstr("2: \"until May\" is in a column without a name"));
    EXPECT_EQ(refused.errors.at(0).column, 16u);
    ImportOptions ignoring = options();
    ignoring.ignored_columns = {""};
    EXPECT_THAT(imported(unnamed, ignoring, ImportFormat::Csv), ElementsAre("2: deny 192.0.2.1"));
}

TEST(Import, ACellInQuotesMayHaveSeveralLines) {
    EXPECT_THAT(
        imported("\xEF\xBB\xBF; of March\r\n\"IP\r\nAddress\";Comment;Action\r\n"
                 "192.0.2.1;\"line one\r\n\r\n# two, \"\"three\"\"\r\n\";deny\r\n"
                 "192.0.2.2;\"next to\r\n10.0.0.1\";deny\r\n",
                 options(), ImportFormat::Csv),
        ElementsAre("4: deny 192.0.2.1 line one # two, \"three\"", "8: deny 192.0.2.2 next to 10.0.0.1"));
    EXPECT_THAT(imported("note,ip,action\n\"two\nlines\",192.0.2.1,deny\n5\" pipe,192.0.2.2,deny\n",
                         options(), ImportFormat::Csv),
                ElementsAre("2: deny 192.0.2.1 two lines", "4: deny 192.0.2.2 5\" pipe"));
    const struct {
        const char* text;
        std::size_t line, column;
        const char* message;
    } cases[] = {
        // Whoever forgets a quote loses no rule by that.
        {"ip,action,note\n192.0.2.1,deny,\"open\n192.0.2.2,deny,\"closed\"\n", 2, 1, "a quote is not closed"},
        {"ip,action,note\n192.0.2.1,deny,\"open\n192.0.2.2,deny,x\"\n", 2, 1, "a quote is not closed"},
        {"ip,action,note\n192.0.2.1,allow,\"open\nhost:mx.acme.example,deny,x\nSPF:acme.example,deny,y\"\n",
         2, 1, "a quote is not closed"},
        {"ip,action,note\n192.0.2.1,deny,\"open\nto the end\n", 2, 1, "a quote is not closed"},
        {"note,ip,action\n\"two\nlines\",192.0.2.1,maybe\n", 3, 18, "\"maybe\" is neither allow nor deny"},
        {"note,ip,action\n5\" pipe,192.0.2.2,maybe\n", 2, 19, "\"maybe\" is neither"},
        {"ip,action\n\"192.0.2.1\n192.0.2.2\",deny\n", 2, 1, "\"192.0.2.1 192.0.2.2\" is not one word"},
    };
    for (const auto& one : cases) {
        const auto result = parseRules(one.text, options());
        ASSERT_FALSE(result.errors.empty()) << one.text;
        EXPECT_EQ(result.errors.front().line, one.line) << one.text;
        EXPECT_EQ(result.errors.front().column, one.column) << one.text;
        EXPECT_THAT(result.errors.front().message, HasSubstr(one.message));
    }
}

TEST(Import, ColumnsThatMeanNothingAreNamed) {
    const std::string_view sheet = "Kunde;IP Address;Contract No;Action\nACME;192.0.2.1;K 4711, new;allow\n";
    EXPECT_THAT(errorsOf(parseRules(sheet, options())),
                AllOf(HasSubstr("1: unknown column \"Kunde\": expected network (cidr, ip, address, "
                                "ip_address, prefix, subnet), "
                                "verdict (action), set, "),
                      HasSubstr("note (comment, description, reason); --ignore-columns")));
    ImportOptions ignoring = options();
    ignoring.ignored_columns = {"kunde", "Contract No", "not there"};
    EXPECT_THAT(errorsOf(parseRules(sheet, ignoring)),
                HasSubstr("--ignore-columns: the heading has no column \"not there\""));
    ignoring.ignored_columns.pop_back();
    EXPECT_THAT(imported(sheet, ignoring, ImportFormat::Csv), ElementsAre("2: allow 192.0.2.1"));
    ignoring.ignored_columns = {"kunde"};
    EXPECT_THAT(errorsOf(parseRules(sheet, ignoring)), HasSubstr("unknown column \"Contract No\""));
    EXPECT_THAT(errorsOf(parseRules("allow 192.0.2.1\n", ignoring)),
                HasSubstr("--ignore-columns is for lists"));
}

TEST(Import, ARowWithoutAHeadingIsToldFromANetwork) {
    for (const char* text : {"192.0.2.201,allow\n", "ACME;192.0.2.1;allow\n", "192.0.2.1, a\n"})
        EXPECT_THAT(errorsOf(parseRules(text, options(std::nullopt, ImportFormat::Csv))),
                    HasSubstr("1: this looks like CSV: its first line must name the columns"))
            << text;
    EXPECT_THAT(errorsOf(parseRules("192.0.2.201,allow\n", options())), HasSubstr("1: this looks like CSV"));
    EXPECT_THAT(errorsOf(parseRules("192.0.2.201;allow;x\n", options())),
                HasSubstr("1: this looks like CSV"));
    EXPECT_THAT(imported("192.0.2.1 ; ours, 192.0.2.2\n", options(Verdict::Deny), ImportFormat::Plain),
                testing::SizeIs(1));
}

TEST(Import, ASpreadsheetHasDates) {
    ImportOptions dated = options();
    dated.local_time = [](std::string_view text) -> std::optional<UnixSeconds> {
        if (text == "2026-12-31") return 1'798'671'600;
        if (text == "2026-12-31 18:00") return 1'798'736'400;
        return std::nullopt;
    };
    EXPECT_THAT(imported("ip,action,expires\n192.0.2.1,allow,2026-12-31\n192.0.2.2,allow,2026-12-31 18:00\n"
                         "192.0.2.3,allow,2026-12-31T23:59:59Z\n192.0.2.4,allow,never\n",
                         dated, ImportFormat::Csv),
                ElementsAre("2: allow 192.0.2.1 expires=2026-12-30T23:00:00Z",
                            "3: allow 192.0.2.2 expires=2026-12-31T17:00:00Z",
                            "4: allow 192.0.2.3 expires=2026-12-31T23:59:59Z", "5: allow 192.0.2.4"));
    EXPECT_THAT(errorsOf(parseRules("ip,action,expires\n192.0.2.1,allow,31.12.2026\n", dated)),
                HasSubstr("2: \"31.12.2026\" is not a time: expected a date such as 2026-12-31"));
    EXPECT_THAT(errorsOf(parseRules("ip,action,expires\n192.0.2.1,allow,2026-12-31\n", options())),
                HasSubstr("is not a time"));
}

TEST(Import, AFormatThatIsNamedIsTheOneThatIsRead) {
    EXPECT_EQ(importFormatOf("cidr"), ImportFormat::Cidr);
    EXPECT_EQ(importFormatOf("nftables"), std::nullopt);
    EXPECT_THAT(errorsOf(parseRules("192.0.2.1 REJECT\n", options(Verdict::Deny, ImportFormat::Plain))),
                HasSubstr("only a comment may follow 192.0.2.1, found \"REJECT\""));
    EXPECT_THAT(errorsOf(parseRules("192.0.2.1 REJECT\n", options(Verdict::Deny, ImportFormat::Mailgate))),
                HasSubstr("\"REJECT\" is not an option"));
    EXPECT_THAT(errorsOf(parseRules("nonsense\n", options(Verdict::Deny, ImportFormat::Csv))),
                HasSubstr("unknown column"));
}

TEST(Import, WhatBrokeOffIsRefused) {
    const std::string whole =
        "allow 192.0.2.1\nallow 203.0.113.10 listener=smtp partner\ndeny 203.0.113.9\n" + formatEnd(3) + "\n";
    ImportOptions piped = options();
    piped.may_be_cut = piped.end_mark_required = true;
    EXPECT_EQ(imported(whole, piped).size(), 3u);
    for (std::size_t length = 1; length < whole.size(); ++length)
        EXPECT_NE(errorsOf(parseRules(std::string_view(whole).substr(0, length), piped)), "") << length;
    // From a file it may do without the mark, but not end within a line, nor contradict its mark.
    EXPECT_EQ(errorsOf(parseRules("allow 192.0.2.1\n", options())), "");
    EXPECT_THAT(errorsOf(parseRules("allow 192.0.2.1", options())),
                HasSubstr("the last line has no line end"));
    EXPECT_THAT(errorsOf(parseRules("allow 192.0.2.1\n# end, 2 rules\n", options())),
                HasSubstr("says 2 rules, but there are 1"));
    EXPECT_THAT(errorsOf(parseRules(whole + "allow 192.0.2.2\n", options())),
                HasSubstr("5: is after the end mark"));
    EXPECT_THAT(errorsOf(parseRules(whole + "\n# more\n", options())), HasSubstr("6: is after the end mark"));
    EXPECT_THAT(errorsOf(parseRules(whole + formatEnd(3) + "\n", options())),
                HasSubstr("5: is after the end mark"));
    EXPECT_EQ(errorsOf(parseRules(whole + "\r\n\n", options())), "");
    EXPECT_EQ(errorsOf(parseRules("192.0.2.1", options(Verdict::Deny))), "");
    ImportOptions plain = options(Verdict::Deny);
    plain.may_be_cut = true;
    EXPECT_THAT(errorsOf(parseRules("192.0.2.1", plain)), HasSubstr("the last line has no line end"));
    EXPECT_EQ(errorsOf(parseRules("", piped)).substr(0, 3), "0: ");
}

/// Without an end mark a stream may end behind any line, but what is left of one is no other rule.
TEST(Import, NoListThatBrokeOffSaysAnythingElse) {
    const struct {
        ImportFormat format;
        const char* text;
    } lists[] = {
        {ImportFormat::Mailgate,
         "allow 198.51.100.0/24 set=partners listener=smtp,imap expires=2027-05-25T01:21:38Z client_rate=60 "
         "owner=\"Anna Smith\" ticket=CHG-4711 ACME, renewed\ndeny 2001:db8:bad::/48 reply=temporary,note "
         "\"a \\x41 b\"\ndeny 203.0.113.128/25\n"},
        {ImportFormat::Plain, "# list\n192.0.2.0/24\n203.0.113.17 # seen\n2001:db8::/32\n"},
        {ImportFormat::Cidr, "192.0.2.9\tpermit\n192.0.2.0/24\treject\n203.0.113.60/32  554 5.7.1 go away\n"},
        {ImportFormat::Haproxy, "10.0.0.0/8 deny\n172.16.0.0/255.240.0.0 allow\n192.0.2.10 deny\n"},
        {ImportFormat::Drop, "; DROP\r\n1.10.16.0/20 ; SBL256894\r\n1.19.0.0/16 ; SBL434604\r\n"},
        {ImportFormat::Drop,
         "{\"cidr\":\"1.10.16.0/20\",\"sblid\":\"SBL256894\"}\n{\"cidr\":\"1.19.0.0/"
         "16\",\"sblid\":\"SBL434604\"}\n"
         "{\"type\":\"metadata\",\"records\":2}\n"},
        {ImportFormat::Csv, "ip,action,comment\n192.0.2.0/24,allow,\"ACME, Inc.\"\n203.0.113.99,block,\n"},
    };
    for (const auto& list : lists) {
        SCOPED_TRACE(list.text);
        const std::string_view whole = list.text;
        ImportOptions piped = options(std::nullopt, list.format);
        if (list.format == ImportFormat::Plain) piped.verdict = Verdict::Deny;
        piped.may_be_cut = true;
        const auto expected = imported(whole, piped);
        ASSERT_GT(expected.size(), 1u);
        ImportOptions replacing = piped;
        replacing.end_mark_required = true;
        for (std::size_t length = 0; length <= whole.size(); ++length) {
            const auto cut = parseRules(whole.substr(0, length), piped);
            EXPECT_NE(errorsOf(parseRules(whole.substr(0, length), replacing)), "") << length;
            if (!cut.errors.empty()) continue;
            const auto lines = linesOf(cut);
            ASSERT_LE(lines.size(), expected.size()) << length;
            EXPECT_TRUE(std::equal(lines.begin(), lines.end(), expected.begin())) << length;
        }
    }
}

TEST(Import, AnExportMayNameListenersThatAreGone) {
    const auto result =
        parseRules("deny 192.0.2.1 listener=gone\nallow 192.0.2.2\n# end, 2 rules\n", options());
    EXPECT_EQ(errorsOf(result), "");
    EXPECT_THAT(result.unknown_listeners, ElementsAre("gone"));
}

TEST(Import, SetOwnerAndTicket) {
    const auto read = [](std::string_view text, std::optional<std::string> set = {}) {
        ImportOptions with;
        with.set = std::move(set);
        return parseRules(text, with);
    };
    auto result = read(
        "allow 192.0.2.1 set=git owner=ops@example.org ticket=\"CHG 4711\" ticket 4711 it is\n"
        "deny 192.0.2.2 expires=never \"\"\n");
    ASSERT_EQ(errorsOf(result), "");
    EXPECT_EQ(result.rules[0].rule.set, "git");
    EXPECT_EQ(result.rules[0].rule.owner, "ops@example.org");
    EXPECT_EQ(result.rules[0].rule.ticket, "CHG 4711");
    EXPECT_EQ(result.rules[0].rule.note, "ticket 4711 it is");
    EXPECT_FALSE(result.rules[0].never_expires || result.rules[0].no_note);
    EXPECT_EQ(result.rules[1].rule.set, "manual");
    EXPECT_TRUE(result.rules[1].never_expires && result.rules[1].no_note);
    EXPECT_EQ(read("deny 192.0.2.2\n", "git").rules.at(0).rule.set, "git");
    EXPECT_EQ(
        read("network,set,owner,ticket,verdict\n192.0.2.1,git,Anna S,CHG 1,allow\n").rules.at(0).rule.owner,
        "Anna S");

    for (const char* line :
         {"allow 192.0.2.1 set=", "allow 192.0.2.1 set=two,sets", "allow 192.0.2.1 set=a set=b",
          "allow 192.0.2.1 owner=", "allow 192.0.2.1 owner= x", "allow 192.0.2.1 owner=\"\"",
          "allow 192.0.2.1 owner=\"x", "allow 192.0.2.1 owner=\"x\"y", "allow 192.0.2.1 owner=a owner=b",
          "allow 192.0.2.1 set = git", "allow 192.0.2.1 ticket = 4711",
          "allow 192.0.2.1 expires=never expires=never"})
        EXPECT_NE(errorsOf(read(std::string(line) + "\n")), "") << line;
    EXPECT_NE(errorsOf(read("allow 192.0.2.1 owner=" + std::string(201, 'x') + "\n")), "");
    EXPECT_NE(errorsOf(read("allow 192.0.2.1 set=git\n", "partners")), "");
    EXPECT_EQ(errorsOf(read("allow 192.0.2.1 set=git\n", "git")), "");
}

TEST(Import, AReplyIsForDenyRules) {
    const auto read = [](std::string_view line) { return parseRules(std::string(line) + "\n", options()); };
    const auto denied = read("deny 192.0.2.1 reply=temporary,note reply in a while");
    ASSERT_EQ(errorsOf(denied), "");
    EXPECT_EQ(denied.rules[0].rule.reply, (RuleReply{true, true}));
    EXPECT_TRUE(denied.rules[0].names_reply);
    EXPECT_EQ(denied.rules[0].rule.note, "reply in a while");
    EXPECT_EQ(formatRule(denied.rules[0].rule), "deny 192.0.2.1 reply=temporary,note reply in a while");
    EXPECT_TRUE(read("deny 192.0.2.1 reply=default").rules.at(0).names_reply);
    EXPECT_FALSE(read("deny 192.0.2.1").rules.at(0).names_reply);
    for (const char* line :
         {"allow 192.0.2.1 reply=note", "deny 192.0.2.1 reply=", "deny 192.0.2.1 reply=450",
          "deny 192.0.2.1 reply=note reply=note", "deny 192.0.2.1 reply = note"})
        EXPECT_NE(errorsOf(read(line)), "") << line;
    const auto trail = parseTrailRule("deny 192.0.2.1 listener=mx reply=note owner=ops spam");
    ASSERT_TRUE(trail);
    EXPECT_EQ(trail->reply, (RuleReply{false, true}));
    EXPECT_EQ(trail->owner, "ops");
    EXPECT_FALSE(parseTrailRule("deny 192.0.2.1 reply=loud"));
}

TEST(Export, OwnersAndTicketsComeBackAsTheyWere) {
    for (const std::string tag : {"ops@example.org", "Anna Smith", "a\"b", "\\", "x=y", "#4711",
                                  "listener=mx", "554", "B\xC3\xBCro", "tab\there"}) {
        SCOPED_TRACE(tag);
        AccessRule rule;
        rule.network = network("192.0.2.0/24");
        rule.set = "git";
        rule.owner = tag;
        rule.note = "a note";
        for (const NoteForm form : {NoteForm::Utf8, NoteForm::Ascii}) {
            const auto result = parseRules(formatRule(rule, form) + "\n", options());
            if (tag == "tab\there") {
                EXPECT_NE(errorsOf(result), "") << "mailgate keeps no such owner";
                continue;
            }
            ASSERT_EQ(errorsOf(result), "");
            EXPECT_EQ(result.rules[0].rule.owner, tag);
            EXPECT_EQ(result.rules[0].rule.set, "git");
            EXPECT_EQ(result.rules[0].rule.note, "a note");
        }
    }
}

TEST(Export, EveryNoteComesBackAsItWas) {
    for (const std::string note : {"",
                                   "plain",
                                   "two  blanks",
                                   "#4711",
                                   "listener=smtp",
                                   "expires=never",
                                   "--listener smtp",
                                   "192.0.2.9 is theirs too",
                                   " leading",
                                   "trailing ",
                                   "\"quoted\"",
                                   "back\\slash",
                                   "a \"quote\" inside",
                                   "two\nlines\r\n",
                                   "tab\tinside",
                                   "Büro München",
                                   "\x01\x7f",
                                   "allow",
                                   "listener=smtp \"both\" \\",
                                   "; a comment",
                                   "see Listener=smtp",
                                   "REJECT spam",
                                   "554 5.7.1 no",
                                   "\xC2\x9B"
                                   "31m",
                                   "\xE2\x80\xAE"
                                   "evil"}) {
        SCOPED_TRACE(note);
        AccessRule rule;
        rule.network = network("192.0.2.0/24");
        rule.listener = "imap";
        rule.expires_at = 1'800'000'000;
        rule.note = note;
        for (const NoteForm form : {NoteForm::Utf8, NoteForm::Ascii}) {
            const std::string line = formatRule(rule, form);
            EXPECT_EQ(line.find('\n'), std::string::npos);
            if (form == NoteForm::Ascii) {
                EXPECT_TRUE(
                    std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7F; }));
            }
            const auto result = parseRules(line + "\n", options());
            ASSERT_EQ(errorsOf(result), "");
            ASSERT_EQ(result.rules.size(), 1u);
            EXPECT_EQ(result.rules[0].rule.note, note);
            EXPECT_EQ(result.rules[0].rule.listener, "imap");
            EXPECT_EQ(result.rules[0].rule.verdict, Verdict::Deny);
            EXPECT_EQ(result.rules[0].rule.expires_at, 1'800'000'000);
        }
    }
}

TEST(Import, ARuleIsInAListOnce) {
    const auto twice = [](std::string_view first, std::string_view second) {
        return errorsOf(parseRules(std::string(first) + '\n' + std::string(second) + '\n', options()));
    };
    EXPECT_EQ(twice("deny 192.0.2.1", "deny 192.0.2.1 a note"),
              "2: deny 192.0.2.1 is in line 1 already, with something else\n");
    for (const auto& [first, second] : std::map<std::string, std::string>{
             {"allow 192.0.2.0/24 client_rate=5", "allow 192.0.2.0-192.0.2.255"},
             {"deny 192.0.2.1", "deny 192.0.2.1 reply=default"},
             {"deny 192.0.2.1 expires=never", "deny 192.0.2.1/32"},
             {"deny 192.0.2.1 listener=smtp,imap", "deny 192.0.2.1 listener=imap x"},
             {"deny host:a.example", "deny HOST:a.example. owner=x"}})
        EXPECT_THAT(twice(first, second), HasSubstr("in line 1 already")) << second;
    for (const auto& [first, second] :
         std::map<std::string, std::string>{{"deny 192.0.2.1 x", "deny 192.0.2.1/32 x"},
                                            {"deny 192.0.2.1", "deny 192.0.2.1 set=a x"},
                                            {"deny 192.0.2.1 listener=imap", "deny 192.0.2.1 x"},
                                            {"deny host:a.example", "deny spf:a.example x"}})
        EXPECT_EQ(twice(first, second), "") << second;
    EXPECT_THAT(linesOf(parseRules("deny 192.0.2.1 x\ndeny 192.0.2.2\ndeny 192.0.2.1 x\n", options())),
                ElementsAre("2: deny 192.0.2.2", "3: deny 192.0.2.1 x"));
    EXPECT_THAT(linesOf(parseRules("192.0.2.1 ; SBL1\n192.0.2.1 ; SBL2\n", options())),
                ElementsAre("2: deny 192.0.2.1 SBL2"))
        << "others' lists have comments";
    EXPECT_THAT(errorsOf(parseRules("ip,action,note\n192.0.2.1,deny,a\n192.0.2.1,deny,b\n", options())),
                HasSubstr("3: deny 192.0.2.1 is in line 2 already"));
    std::string many;
    for (int turn = 0; turn < 2; ++turn)
        for (int each = 0; each < 5'000; ++each)
            many += "deny 10." + std::to_string(each / 256) + "." + std::to_string(each % 256) + ".0/24\n";
    EXPECT_EQ(parseRules(many + formatEnd(10'000) + "\n", options()).rules.size(), 5'000u);
}

TEST(Import, LinesThatContradictEachOtherAreTold) {
    const auto told = [](std::string_view text) {
        const auto result = parseRules(text, options());
        EXPECT_EQ(errorsOf(result), "");
        std::string all;
        for (const ImportError& one : result.contradictions)
            all += std::to_string(one.line) + ": " + one.message + "\n";
        return all;
    };
    EXPECT_EQ(told("allow 192.0.2.1\ndeny 192.0.2.1\n"),
              "2: deny 192.0.2.1 overrides the allow rule of line 1\n");
    EXPECT_EQ(told("deny 192.0.2.1 x\nallow 192.0.2.1 y\n"),
              "2: allow 192.0.2.1 has no effect: it is denied in line 1\n");
    EXPECT_EQ(told("allow 192.0.2.0/24\ndeny 192.0.2.1\nallow 192.0.2.1 listener=smtp\n"), "");
}

TEST(Import, SeveralNetworksInALineAreNoListAndNoNote) {
    for (const ImportFormat format : {ImportFormat::Auto, ImportFormat::Plain, ImportFormat::Haproxy})
        for (const char* text : {"198.51.100.201 198.51.100.202 2001:db8::1\n", "10.0.0.0 255.0.0.0 vpn\n"})
            EXPECT_THAT(errorsOf(parseRules(text, options(Verdict::Deny, format))),
                        HasSubstr(": a list has one network a line"))
                << toString(format) << text;
}

TEST(Import, AWordThatMayBeANameIsTold) {
    for (const ImportFormat format :
         {ImportFormat::Auto, ImportFormat::Plain, ImportFormat::Haproxy, ImportFormat::Mailgate})
        EXPECT_THAT(errorsOf(parseRules("192.0.2.1\n_spf.acme.example\n", options(Verdict::Allow, format))),
                    HasSubstr("(for a name: host:_spf.acme.example, or spf:_spf.acme.example for its"))
            << toString(format);
    EXPECT_THAT(imported("192.0.2.1 # office\nspf:acme.example\n", options(Verdict::Allow)),
                ElementsAre("1: allow 192.0.2.1", "2: allow spf:acme.example"));
    for (const ImportFormat format : {ImportFormat::Plain, ImportFormat::Haproxy})
        EXPECT_THAT(
            errorsOf(parseRules("spf:acme.example\n", options(Verdict::Allow, format))),
            HasSubstr("spf:acme.example: of lists, those of the formats mailgate and csv may have names"));
}

TEST(Import, ARangeWithBlanksIsNone) {
    for (const char* text : {"deny 192.0.2.1 - 192.0.2.9\n", "192.0.2.1 - 192.0.2.9\n"})
        EXPECT_THAT(errorsOf(parseRules(text, options(Verdict::Deny))), HasSubstr("a range is one word"))
            << text;
}

TEST(Export, TheExpiryIsKeptWithoutAListenerToo) {
    AccessRule rule;
    rule.network = network("2001:db8::/32");
    rule.verdict = Verdict::Allow;
    rule.expires_at = 0;
    rule.note = "expires=2030-01-01T00:00:00Z";
    EXPECT_EQ(formatRule(rule),
              "allow 2001:db8::/32 expires=1970-01-01T00:00:00Z \"expires=2030-01-01T00:00:00Z\"");
}

}  // namespace
}  // namespace mailgate::store
