// SPDX-License-Identifier: Apache-2.0
#include "tests/support/command_line.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using test::Ran;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string listener(const std::string& name, const std::string& protocol, const std::string& address,
                     const std::string& upstream = "u", const std::string& further = "") {
    return fmt::format(
        "[[listener]]\nname = \"{}\"\nprotocol = \"{}\"\naddress = \"{}\"\nupstream = \"{}\"\nproxy = "
        "\"mixed\"\n"
        "trusted = \"10.0.0.0/8\"\n{}\n",
        name, protocol, address, upstream, further);
}

std::string upstream(const std::string& name = "u", const std::string& server = "127.0.0.1:10025",
                     const std::string& further = "") {
    return fmt::format(
        "[[upstream]]\nname = \"{}\"\n{}\n[[upstream.server]]\nname = \"s-1\"\naddress = \"{}\"\n", name,
        further, server);
}

constexpr const char* kNoHeader = "send_proxy = \"off\"\nlost_client_address = \"accepted\"";

class SnippetCommandTest : public test::CommandTest {
  protected:
    std::string snippet(const std::string& site, std::vector<std::string> words) const {
        configure("[gateway]\nname = \"gw.example.org\"\n" + site);
        words.insert(words.begin(), "snippet");
        const Ran done = run(std::move(words));
        EXPECT_EQ(done.exit_code, kDone) << done.errors;
        return done.output;
    }
    std::string whyNot(const std::string& site, const std::string& kind) const {
        configure("[gateway]\nname = \"gw.example.org\"\n" + site);
        const Ran done = run({"snippet", kind});
        EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
        EXPECT_EQ(done.output, "");
        return done.errors;
    }
};

TEST_F(SnippetCommandTest, PostfixGetsAnSmtpdThatReadsTheHeader) {
    const std::string site = listener("mx", "smtp", "0.0.0.0:25") + upstream();
    EXPECT_EQ(
        snippet(site, {"postfix"}),
        "# Lines for master.cf. Without this in main.cf, clients with IPv6 addresses are refused:\n"
        "#   postconf -e 'inet_protocols = all'\n\n"
        "# Anybody who reaches such a port can claim any client address: let only the gateway connect "
        "to it.\n"
        "# Keep the gateway's address out of mynetworks (127.0.0.1 may be there if the gateway is on this "
        "machine).\n"
        "# u/s-1: 127.0.0.1:10025\n"
        "127.0.0.1:10025 inet n - n - - smtpd\n"
        "  -o smtpd_upstream_proxy_protocol=haproxy\n"
        "  -o smtpd_client_port_logging=yes\n");
    EXPECT_THAT(
        snippet(listener("mx", "smtp", "0.0.0.0:25") + upstream("u", "mx.invalid:10025"), {"postfix"}),
        HasSubstr("\n10025 inet n"))
        << "a name is no address to bind";
    EXPECT_THAT(snippet(site, {"postscreen"}),
                AllOf(HasSubstr("#   postconf -e 'postscreen_access_list = permit_mynetworks, cidr:{ { "
                                "127.0.0.1 permit } }'\n#  "
                                " postconf -e 'inet_protocols = all'\n\n"),
                      HasSubstr("127.0.0.1:10025 inet n - n - 1 postscreen\n"),
                      HasSubstr("=btree:$data_directory/postscreen_cache_127.0.0.1_10025\n"),
                      HasSubstr("smtpd pass - - n - - smtpd\n")));
}

TEST_F(SnippetCommandTest, SubmissionGetsTlsAndAPassword) {
    const std::string submission = listener("submission", "smtp", "0.0.0.0:10587") + upstream();
    const std::string tls =
        listener("users", "smtp", "0.0.0.0:465", "u", "tls = \"passthrough\"") + upstream();
    for (const char* kind : {"postfix", "postscreen"}) {  // which is for strangers
        EXPECT_THAT(snippet(submission, {kind}),
                    AllOf(HasSubstr("  -o smtpd_tls_security_level=encrypt\n"),
                          HasSubstr("syslog_name=postfix/submission\n"),
                          HasSubstr("smtpd_relay_restrictions=permit_sasl_authenticated,reject\n"),
                          Not(HasSubstr("wrappermode")), Not(HasSubstr(" 1 postscreen"))));
        EXPECT_THAT(snippet(tls, {kind}), AllOf(HasSubstr("  -o smtpd_tls_wrappermode=yes\n"),
                                                HasSubstr("syslog_name=postfix/submissions\n")));
    }
    const std::string both = listener("mx", "smtp", "0.0.0.0:25") + submission;
    EXPECT_THAT(snippet(both, {"postfix"}),
                AllOf(HasSubstr("serves both MX mail and submission (listener \"submission\")"),
                      Not(HasSubstr("sasl"))));
}

TEST_F(SnippetCommandTest, DovecotGetsListenersForItsServices) {
    const std::string site =
        listener("imap", "imap", "0.0.0.0:143", "mail.box") + upstream("mail.box", "127.0.0.1:10143") +
        listener("imaps", "imap", "0.0.0.0:993", "tls", "tls = \"passthrough\"") +
        upstream("tls", "127.0.0.1:10993") + listener("sieve", "sieve", "0.0.0.0:4190", "s") +
        upstream("s", "127.0.0.1:14190");
    const std::string older = snippet(site, {"dovecot"});
    EXPECT_THAT(older, HasSubstr("\nhaproxy_trusted_networks = 127.0.0.1\n"));
    EXPECT_THAT(older, HasSubstr("service imap-login {\n"
                                 "  # mail.box/s-1: 127.0.0.1:10143\n"
                                 "  inet_listener mailgate_mail_box_s_1 {\n"
                                 "    port = 10143\n    haproxy = yes\n  }\n}\n"));
    EXPECT_THAT(older, HasSubstr("    port = 10993\n    haproxy = yes\n    ssl = yes\n"));
    EXPECT_THAT(older, HasSubstr("service managesieve-login {\n"));
    EXPECT_THAT(older, Not(HasSubstr("ssl = required")));
    EXPECT_EQ(older, snippet(site, {"dovecot", "--version", "2.3"}));
    EXPECT_THAT(snippet(site, {"dovecot", "--version", "2.4"}),
                AllOf(HasSubstr("\nssl = required\n"), HasSubstr("%{remote_ip}")));
    EXPECT_EQ(run({"snippet", "dovecot", "--version", "2.2"}).exit_code, kUsage);
}

TEST_F(SnippetCommandTest, AServerThatGetsNoHeaderMustNotExpectOne) {
    const std::string comment =
        "# Upstream \"u\" has send_proxy = \"off\": its servers must not expect a header.\n\n";
    const std::string smtp =
        listener("mx", "smtp", "0.0.0.0:25") + upstream("u", "127.0.0.1:10025", kNoHeader);
    EXPECT_EQ(snippet(smtp, {"postfix"}), comment);
    EXPECT_EQ(snippet(smtp, {"postscreen"}), comment);
    const std::string imap =
        listener("imap", "imap", "0.0.0.0:143") + upstream("u", "127.0.0.1:10143", kNoHeader);
    EXPECT_THAT(snippet(imap, {"dovecot"}), AllOf(HasSubstr(comment), Not(HasSubstr("inet_listener"))));
}

TEST_F(SnippetCommandTest, WithoutSuchServersThereIsNothing) {
    const std::string imap = listener("imap", "imap", "0.0.0.0:143") + upstream();
    const std::string why = "mailgate: " + file_ + " has no upstream whose listeners speak ";
    EXPECT_EQ(whyNot(imap, "postfix"), why + "SMTP\n");
    EXPECT_EQ(whyNot(imap, "postscreen"), why + "SMTP\n");
    EXPECT_EQ(whyNot(listener("mx", "smtp", "0.0.0.0:25") + upstream(), "dovecot"),
              why + "IMAP, POP3, LMTP or ManageSieve\n");
}

TEST_F(SnippetCommandTest, ABalancerGetsTheClientsPortsEachOnce) {
    struct Case {
        std::string listeners;
        std::vector<std::string> ports;
    };
    const Case cases[] = {
        {listener("mx", "smtp", "0.0.0.0:25") + listener("submission", "smtp", "0.0.0.0:587"), {"25", "587"}},
        {listener("mx", "smtp", "0.0.0.0:2525") + listener("users", "smtp", "0.0.0.0:10587"), {"25", "587"}},
        {listener("mx", "smtp", "0.0.0.0:2525") + listener("submission", "smtp", "0.0.0.0:2526"),
         {"25", "587"}},
        {listener("mx", "smtp", "0.0.0.0:2525") + listener("other", "smtp", "0.0.0.0:2526"), {"25", "2526"}},
        {listener("mx", "smtp", "127.0.0.1:25") + listener("other", "smtp", "127.0.0.2:25"), {"25"}},
        {listener("imaps", "imap", "0.0.0.0:10993", "u", "tls = \"passthrough\""), {"993"}},
        {listener("any", "tcp", "0.0.0.0:9000"), {"9000"}},
    };
    const std::pair<const char*, const char*> kinds[] = {{"haproxy", "bind :(\\d+)"},
                                                         {"nginx", "listen (\\d+);"},
                                                         {"aws-nlb", "--protocol TCP --port (\\d+) \\\\"}};
    for (const auto& [kind, pattern] : kinds)
        for (const auto& [listeners, want] : cases) {
            const std::string text = snippet(listeners + upstream(), {kind});
            const std::regex port(pattern);
            std::vector<std::string> got;
            for (std::sregex_iterator match(text.begin(), text.end(), port), end; match != end; ++match)
                got.push_back((*match)[1]);
            EXPECT_EQ(got, want) << kind;
        }
}

TEST_F(SnippetCommandTest, HaproxySendsTheHeaderAndChecksWithWords) {
    const std::string site = listener("mx", "smtp", "0.0.0.0:25") + upstream();
    EXPECT_THAT(
        snippet(site, {"haproxy"}),
        AllOf(HasSubstr("listen mailgate_mx\n  mode tcp\n  bind :25,:::25 v6only\n  timeout connect 5s\n"),
              HasSubstr("  option tcp-check\n"),
              HasSubstr("  server gw.example.org gw.example.org:25 send-proxy-v2 check "
                        "check-send-proxy inter 5s\n")));
    EXPECT_THAT(snippet("[timeouts.idle]\nsmtp = \"600500ms\"\n" + site, {"haproxy"}),
                HasSubstr("  timeout client 631s\n  timeout server 631s\n"))
        << "outlasts our own limit";
    const std::string opaque =
        listener("imaps", "imap", "192.0.2.1:993", "u", "tls = \"passthrough\"") + upstream();
    EXPECT_THAT(snippet(opaque, {"haproxy"}),
                AllOf(Not(HasSubstr("tcp-check")), HasSubstr(" 192.0.2.1:993 send-proxy-v2")));
}

TEST_F(SnippetCommandTest, NginxAndTheNlbSendItToo) {
    const std::string site = listener("mx", "smtp", "192.0.2.1:25") + upstream();
    EXPECT_THAT(snippet(site, {"nginx"}),
                AllOf(HasSubstr("    listen 25;\n    listen [::]:25;\n    proxy_pass 192.0.2.1:25;\n    "
                                "proxy_protocol on;\n"),
                      testing::EndsWith("  }\n}\n")));
    EXPECT_THAT(
        snippet(site, {"aws-nlb"}),
        AllOf(HasSubstr("--name mailgate-mx --protocol TCP --port 25 "),
              HasSubstr("Key=proxy_protocol_v2.client_to_server.header_placement,Value=on_first_ack")));
}

TEST_F(SnippetCommandTest, AListenerThatReadsNoHeaderIsLeftOut) {
    const std::string site =
        "[[listener]]\nname = \"mx\"\nprotocol = \"smtp\"\naddress = \"0.0.0.0:25\"\n"
        "upstream = \"u\"\n" +
        upstream();
    for (const char* kind : {"haproxy", "nginx", "aws-nlb"})
        EXPECT_THAT(snippet(site, {kind}),
                    AllOf(HasSubstr("# Listener \"mx\" has proxy = \"off\": set \"require\""),
                          Not(HasSubstr("25;")), Not(HasSubstr(":25"))));
    EXPECT_THAT(snippet(site, {"nginx"}), HasSubstr("\nstream {\n  # Listener \"mx\" has "));
}

TEST_F(SnippetCommandTest, AKindIsNeeded) {
    EXPECT_EQ(run({"snippet"}).exit_code, kUsage);
    EXPECT_THAT(run({"snippet", "postfix", "--version", "3.4"}).errors,
                HasSubstr("has no option \"--version\""));
    EXPECT_THAT(run({"snippet", "postfx"}).errors, HasSubstr("did you mean \"postfix\"?"));
    configure("nonsense = 1\n");
    EXPECT_EQ(run({"snippet", "nginx"}).exit_code, kBadConfiguration);
}

}  // namespace
}  // namespace mailgate::cli
