// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_dumps.h"

#include "protocols/values/text.h"
#include "store/rules/import_export.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr UnixSeconds kPrinted = 1'800'000'000;

/// The rules as lines, or the first error.
std::vector<std::string> readDump(std::string_view text, ImportFormat format) {
    ImportOptions options;
    options.verdict = Verdict::Deny;
    options.now = kPrinted;
    const auto result = parseRules(text, options);
    if (!result.errors.empty()) {
        const ImportError& error = result.errors.front();
        return {std::to_string(error.line) + ":" + std::to_string(error.column) + ": " + error.message};
    }
    EXPECT_EQ(toString(result.format), toString(format));
    std::vector<std::string> lines;
    for (const ImportedRule& one : result.rules)
        lines.push_back(std::to_string(one.line) + ": " + formatRule(one.rule));
    return lines;
}

TEST(Ipset, MembersBecomeRules) {
    EXPECT_THAT(
        readDump("create b hash:net family inet hashsize 1024 maxelem 65536 timeout 300 comment counters\n"
                 "add b 192.0.2.0/24 timeout 60 packets 1 bytes 40 comment \"a # b\"\n"
                 "add b 203.0.113.1-203.0.113.2 timeout 0\n"
                 "add b 2001:db8::1\n"
                 "add b 2001:db8::2 timeout 30\n",
                 ImportFormat::Ipset),
        ElementsAre("2: deny 192.0.2.0/24 expires=" + formatUtc(kPrinted + 60) + " a # b",
                    "3: deny 203.0.113.1", "3: deny 203.0.113.2",
                    "4: deny 2001:db8::1 expires=" + formatUtc(kPrinted + 300),
                    "5: deny 2001:db8::2 expires=" + formatUtc(kPrinted + 30)))
        << "a file for ipset restore leaves the time to the set";
    EXPECT_THAT(readDump("create b hash:ip timeout 0\nadd b 192.0.2.1\n", ImportFormat::Ipset),
                ElementsAre("2: deny 192.0.2.1"));
}

TEST(Ipset, SaysWhatIsWrongAndWhere) {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"create b hash:ip,port family inet\n",
         "1:10: a set of type \"hash:ip,port\" holds more than networks"},
        {"create b hash:ip\nadd b 192.0.2.1,tcp:25\n", "2:7: \"192.0.2.1,tcp:25\" is not an IP address"},
        {"create b hash:ip family inet hashsize 64 netmask 24\nadd b 192.0.2.0\n",
         "1:42: with netmask each element stands for a network"},
        {"create b hash:ip timeout soon\nadd b 192.0.2.1\n", "1:18: the set's timeout is no number"},
        {"add b 192.0.2.1\nadd w 192.0.2.2\n", "2:5: there are several sets, b and w"},
        {"create b hash:net\ncreate w hash:net\n", "2:8: there are several sets"},
        {"add b 192.0.2.1 nomatch\n", "1:17: an exception (nomatch)"},
        {"add b 192.0.2.1 comment \"open\n", "1:17: the comment's quote is not closed"},
        {"add b 192.0.2.1 timeout -1\n", "1:17: the option \"timeout\" is unknown, or has no number"},
        {"add b 192.0.2.1 timeout 9999999999\n", "1:17: the option \"timeout\""},
        {"add b 192.0.2.1 skbmark 1\n", "1:17: the option \"skbmark\" is unknown"},
        {"add b 192.0.2.1\n192.0.2.2\n", "2:1: \"192.0.2.2\" is neither create nor add"},
        {"add b 192.0.2.5/24\n", "1:7: 192.0.2.5/24 has host bits set"},
    };
    for (const auto& one : cases)
        EXPECT_THAT(readDump(one.text, ImportFormat::Ipset), ElementsAre(HasSubstr(one.message))) << one.text;
}

TEST(Nft, ElementsBecomeRules) {
    EXPECT_THAT(readDump("table inet filter { # handle 5\n"
                         "\tset b {\n"
                         "\t\ttype ipv4_addr\n"
                         "\t\tsize 65535\n"
                         "\t\tflags interval,timeout\n"
                         "\t\tcomment \"a { b }\"\n"
                         "\t\telements = { 192.0.2.0/24 timeout 1d expires 1h0m1s500ms,\n"
                         "\t\t\t     198.51.100.2-198.51.100.3 counter packets 3 bytes 120,\n"
                         "\t\t\t     203.0.113.7 comment \"x, y }\", }\n"
                         "\t}\n"
                         "}\n",
                         ImportFormat::Nft),
                ElementsAre("7: deny 192.0.2.0/24 expires=" + formatUtc(kPrinted + 3'602),
                            "8: deny 198.51.100.2/31", "9: deny 203.0.113.7 x, y }"));
    EXPECT_THAT(readDump("set b {\ntype ipv6_addr;\nelements = { 2001:db8::/32 timeout 30s }\n}\n",
                         ImportFormat::Nft),
                ElementsAre("3: deny 2001:db8::/32 expires=" + formatUtc(kPrinted + 30)));
    EXPECT_THAT(readDump("set b {\ntype ipv4_addr; flags timeout; timeout 1h;\n"
                         "elements = { 192.0.2.1, 192.0.2.2 timeout 30s, 192.0.2.3 timeout 0s }\n}\n",
                         ImportFormat::Nft),
                ElementsAre("3: deny 192.0.2.1 expires=" + formatUtc(kPrinted + 3'600),
                            "3: deny 192.0.2.2 expires=" + formatUtc(kPrinted + 30), "3: deny 192.0.2.3"))
        << "a file for nft -f leaves the time to the set";
}

TEST(Nft, SaysWhatIsWrongAndWhere) {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"table inet f {\n chain input {\n }\n}\n", "2:2: \"chain\" is no set of addresses"},
        {"table inet f {\n set a {\n }\n set b {\n }\n}\n", "4:2: there are several sets"},
        {"set b {\n type ipv4_addr . inet_service\n}\n", "2:17: expected a set of addresses only"},
        {"set b {\n type inet_service\n}\n", "2:7: expected ipv4_addr or ipv6_addr"},
        {"set b {\n elements = { 192.0.2.1,\n", "2:0: the set is not closed"},
        {"set b {\n elements = { 192.0.2.1\n", "the set is not closed"},
        {"set b {\n elements = { 192.0.2.1 192.0.2.2 }\n}\n", "2:25: expected \",\""},
        {"set b {\n elements = { 192.0.2.1 timeout never }\n}\n", "2:33: expected a duration"},
        {"set b {\n elements = { 192.0.2.1 comment \"open }\n}\n", "expected a comment in double quotes"},
        {"set b {\n elements = { @other }\n}\n", "2:15: \"@other\" is not an IP address"},
        {"set b {\n timeout soon\n}\n", "2:10: expected a duration"},
        {"set b {\n hook input\n}\n", "2:2: expected a property of a set"},
        {"set b {\n}\n}\n", "3:1: \"}\" is no set of addresses"},
    };
    for (const auto& one : cases)
        EXPECT_THAT(readDump(one.text, ImportFormat::Nft), ElementsAre(HasSubstr(one.message))) << one.text;
}

TEST(Nft, IsRefusedWhereverItEnds) {
    const std::string whole =
        "table inet f {\n set b {\n type ipv4_addr\n elements = { 192.0.2.1, 192.0.2.22 }\n }\n}";
    for (std::size_t length = 16; length < whole.size(); ++length)
        EXPECT_THAT(readDump(whole.substr(0, length), ImportFormat::Nft), ElementsAre(HasSubstr(": ")))
            << length;
    EXPECT_THAT(readDump(whole, ImportFormat::Nft), ElementsAre("4: deny 192.0.2.1", "4: deny 192.0.2.22"));
}

}  // namespace
}  // namespace mailgate::store
