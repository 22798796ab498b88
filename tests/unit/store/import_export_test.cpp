#include "store/import_export.h"

#include "support.h"

#include <gmock/gmock.h>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<std::string> kListeners{"smtp", "imap"};

std::vector<std::string> linesOf(const ImportResult& result) {
    std::vector<std::string> lines;
    for (const ImportedRule& one : result.rules)
        lines.push_back(std::to_string(one.line) + ": " + formatRule(one.rule));
    return lines;
}

TEST(Import, ReadsTheUsualLines) {
    const auto result = parseRules(
        "# partners\n"
        "\n"
        "192.0.2.0/25\n"
        "allow 198.51.100.0/24 partner one, ticket #4711\r\n"
        "\tdeny\t203.0.113.9  \n"
        "deny 2001:DB8::/32 listener=smtp,imap expires=2026-12-31T23:59:59Z until the contract ends\n"
        "   # indented\n"
        "192.0.2.200 # seen in an old list\n"
        "192.0.2.201 expires=2027-01-01T00:00:00+01:00\n"
        "192.0.2.202 client_rate=0 client_sessions=20 partners get more\n",
        kListeners);
    EXPECT_THAT(result.errors, IsEmpty());
    EXPECT_THAT(
        linesOf(result),
        ElementsAre(
            "3: allow 192.0.2.0/25", "4: allow 198.51.100.0/24 partner one, ticket #4711",
            "5: deny 203.0.113.9",
            "6: deny 2001:db8::/32 listener=smtp expires=2026-12-31T23:59:59Z until the contract ends",
            "6: deny 2001:db8::/32 listener=imap expires=2026-12-31T23:59:59Z until the contract ends",
            "8: allow 192.0.2.200", "9: allow 192.0.2.201 expires=2026-12-31T23:00:00Z",
            "10: allow 192.0.2.202 client_sessions=20 client_rate=0 partners get more"));
}

TEST(Import, SaysWhatIsWrongAndWhere) {
    const struct {
        const char* line;
        const char* message;
    } cases[] = {
        {"allow", "a network must follow allow"},
        {"permit 192.0.2.1", "\"permit\" is not an IP address"},
        {"192.0.2.5/24", "did you mean 192.0.2.0/24 or 192.0.2.5/32?"},
        {"192.0.2.1 listener=pop3", "no listener is named \"pop3\": the configuration has smtp, imap"},
        {"192.0.2.1 listener=", "is not a listener's name"},
        {"192.0.2.1 listener=smtp,", "is not a listener's name"},
        {"192.0.2.1 listener=smtp listener=imap", "stands twice"},
        {"192.0.2.1 expires=tomorrow", "expected RFC 3339"},
        {"192.0.2.1 expires=2026-12-31T23:59:59Z expires=2026-12-31T23:59:59Z", "stands twice"},
        {"192.0.2.1 client_sessions=many", "\"many\" is not a number from 0 to 1000000"},
        {"192.0.2.1 client_rate=1000001", "is not a number from 0 to 1000000"},
        {"192.0.2.1 client_rate=1 client_rate=1", "stands twice"},
        {"deny 192.0.2.1 client_rate=1", "is for allow rules"},
        {"192.0.2.1 \"open", "not closed"},
        {"192.0.2.1 \"open\" more", "not closed"},
        {"192.0.2.1 \"\\n\"", "unknown escape"},
        {"192.0.2.1 \"\\x4", "unknown escape"},
        {"192.0.2.1 be\x07ll", "control character"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.line);
        const auto result = parseRules(std::string("# first\n") + one.line + "\n192.0.2.7\n", kListeners);
        ASSERT_EQ(result.errors.size(), 1u);
        EXPECT_EQ(result.errors[0].line, 2u);
        EXPECT_THAT(result.errors[0].message, HasSubstr(one.message));
    }
}

TEST(Import, StopsAfterAHundredErrors) {
    std::string text;
    for (int line = 0; line < 5'000; ++line)
        text += "nonsense\n";
    EXPECT_EQ(parseRules(text, kListeners).errors.size(), kMaxImportErrors);
}

TEST(Import, LongNotesAreRefused) {
    const std::string longest(kMaxNoteLength, 'n');
    EXPECT_THAT(parseRules("192.0.2.1 " + longest, {}).errors, IsEmpty());
    EXPECT_EQ(parseRules("192.0.2.1 " + longest + "n", {}).errors.size(), 1u);
    EXPECT_EQ(noteError(longest), "");
    EXPECT_NE(noteError(longest + "n"), "");
    EXPECT_NE(noteError("two\nlines"), "");
}

TEST(Export, EveryNoteComesBackAsItWas) {
    for (const std::string note :
         {"", "plain", "two  blanks", "#4711", "listener=smtp", "expires=never", " leading", "trailing ",
          "\"quoted\"", "back\\slash", "a \"quote\" inside", "two\nlines\r\n", "tab\tinside", "Büro München",
          "\x01\x7f", "allow", "listener=smtp \"both\" \\"}) {
        SCOPED_TRACE(note);
        AccessRule rule;
        rule.network = network("192.0.2.0/24");
        rule.listener = "imap";
        rule.expires_at = 1'800'000'000;
        rule.note = note;
        const std::string line = formatRule(rule);
        EXPECT_EQ(line.find('\n'), std::string::npos);
        const auto result = parseRules(line + "\n", kListeners);
        ASSERT_THAT(result.errors, IsEmpty());
        ASSERT_EQ(result.rules.size(), 1u);
        EXPECT_EQ(result.rules[0].rule.note, note);
        EXPECT_EQ(result.rules[0].rule.listener, "imap");
        EXPECT_EQ(result.rules[0].rule.verdict, Verdict::Deny);
        EXPECT_EQ(result.rules[0].rule.expires_at, 1'800'000'000);
    }
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
