// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/load.h"

#include "protocols/mail_protocol.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
namespace fs = std::filesystem;

const fs::path kFile = "/etc/mailgate/mailgate.toml";

Resolution resolveForTest(const std::string& host) {
    if (host == "mx.example.org")
        return {{*IpAddress::parse("192.0.2.7"), *IpAddress::parse("2001:db8::7")}, ""};
    return {{}, "no such name"};
}

Config parse(const std::string& text) {
    return parseConfig(text, kFile, resolveForTest);
}

/// But for those about the name of the machine that runs the test.
std::vector<std::string> warningsOf(Config config) {
    std::erase_if(config.warnings, [](const std::string& warning) {
        return warning.find("gateway.name") != std::string::npos;
    });
    return std::move(config.warnings);
}

/// All errors of a text; empty when there are none.
std::string errorsOf(const std::string& text) {
    try {
        parse(text);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "";
}

/// A listener and an upstream that are right, each with further lines.
std::string site(const std::string& listener = "proxy = \"require\"\ntrusted = \"10.0.0.0/8\"",
                 const std::string& upstream = "",
                 const std::string& server = "address = \"127.0.0.1:10025\"") {
    return fmt::format(
        "[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = \"0.0.0.0:2525\"\nupstream = "
        "\"postfix\"\n{}\n"
        "[[upstream]]\nname = \"postfix\"\n{}\n[[upstream.server]]\nname = \"mx1\"\n{}\n",
        listener, upstream, server);
}

const fs::path kSample = fs::path(MAILGATE_SOURCE_DIR) / "etc/mailgate.toml";

std::string repeated(std::string_view text, std::size_t times) {
    std::string all;
    for (; times > 0; --times)
        all += text;
    return all;
}

TEST(Config, WhatIsNestedWithoutEndIsRefusedBeforeItIsRead) {
    constexpr std::size_t kDeep = 200'000;
    EXPECT_THAT(errorsOf("a = " + repeated("{a=", kDeep)), HasSubstr("nested too deeply"));
    EXPECT_THAT(errorsOf("\n\na = [" + repeated("[", 32)), HasSubstr("mailgate.toml:3:37: tables or arrays"));
}

TEST(Config, ASmallSiteTakesTheDefaults) {
    const Config config = parse(site());
    EXPECT_THAT(warningsOf(config), IsEmpty());
    EXPECT_EQ(config.file, kFile.string());
    EXPECT_FALSE(config.name.empty());
    EXPECT_EQ(config.max_sessions, 50'000u);
    EXPECT_EQ(config.store_url, "sqlite:/var/lib/mailgate/mailgate.db");
    EXPECT_EQ(config.journal.url, "sqlite:/var/lib/mailgate/mailgate-journal.db");
    EXPECT_EQ(config.admin.socket, "/run/mailgate/mailgate.sock");
    for (const char* const other : {"/etc/mailgate/./mailgate.toml", "/etc/../etc/mailgate/mailgate.toml"})
        EXPECT_EQ(parseConfig(site(), other, resolveForTest).store_url, config.store_url) << other;
    EXPECT_EQ(config.timeouts.idleFor(Protocol::Imap), 31min);
    ASSERT_EQ(config.listeners.size(), 1u);
    EXPECT_EQ(config.listeners[0].addresses, std::vector{(Endpoint{IpAddress::fromV4({0, 0, 0, 0}), 2525})});
    EXPECT_EQ(config.listeners[0].access, AccessDefault::Allowlist);
    EXPECT_EQ(config.listeners[0].trusted.size(), 1u);
    ASSERT_EQ(config.upstreams.size(), 1u);
    EXPECT_EQ(config.upstreams[0].send_proxy, SendProxy::V2);
    EXPECT_EQ(config.upstreams[0].max_header_bytes, 536u);
    EXPECT_TRUE(config.upstreams[0].pass_tlvs);
    EXPECT_TRUE(config.upstreams[0].check);
    EXPECT_EQ(config.upstreams[0].check_protocol, Protocol::Smtp) << "what its listener speaks";
    EXPECT_EQ(config.upstreams[0].servers[0].weight, 1u);
}

TEST(Config, EveryKeyReachesItsField) {
    const Config config = parse(
        "[gateway]\nname = \"gw-1\"\nworkers = 3\nmax_sessions = 7\ndrain_timeout = \"250ms\"\nuser = "
        "\"mail\"\n"
        "[store]\nurl = \"sqlite:/var/lib/rules.db\"\n"
        "[log]\nformat = \"logfmt\"\ntarget = \"file:log/gw.log\"\nlevel = \"debug\"\n"
        "[admin]\nsocket = \"run.sock\"\nhttp = \"127.0.0.1:8025\"\n"
        "[timeouts]\nproxy_header = \"3s\"\nconnect = \"1s\"\ngreeting = \"1m\"\nhold = \"0s\"\nhalf_close = "
        "\"1h\"\n"
        "idle = { smtp = \"5m\", imap = \"30m\", pop3 = \"10m\", lmtp = \"5m\", sieve = \"30m\", tcp = "
        "\"1s\" }\n"
        "[[upstream]]\nname = \"a\"\nserver = [{name = \"s\", address = \"192.0.2.1:1\"}]\n"
        "[[upstream]]\nname = \"b\"\nsend_proxy = \"off\"\nlost_client_address = \"accepted\"\nmax_header = "
        "\"1KiB\"\n"
        "pass_tlvs = false\nbalance = \"source\"\nserver = [{name = \"s\", address = "
        "\"mx.example.org:24\", weight = 7, backup = true}]\n"
        "check = false\ncheck_protocol = \"sieve\"\ninterval = \"1s\"\ncheck_timeout = \"2s\"\nfall = 3\n"
        "rise = 4\nslow_start = \"10s\"\nresolve_interval = \"5m\"\n"
        "[[listener]]\nname = \"l\"\nprotocol = \"lmtp\"\naddress = [\"[::]:24\", \"0.0.0.0:24\"]\nproxy = "
        "\"mixed\"\n"
        "trusted = [\"192.0.2.1\"]\naccess = \"open\"\nmode = \"monitor\"\nrefusal_footer = \"ask us: "
        "$id\"\ntls = \"passthrough\"\nbare_lf = \"reject\"\n"
        "bare_lf_exclude = [\"192.0.2.0/24\"]\nclient_sessions = 20\nclient_rate = 60\nclient_ipv4_prefix = "
        "24\nclient_ipv6_prefix = 48\nupstream "
        "= \"b\"\n");
    EXPECT_EQ(config.name, "gw-1");
    EXPECT_EQ(config.workers, 3u);
    EXPECT_EQ(config.max_sessions, 7u);
    EXPECT_EQ(config.drain_timeout, 250ms);
    EXPECT_EQ(config.user, "mail");
    EXPECT_EQ(config.store_url, "sqlite:/var/lib/rules.db");
    EXPECT_EQ(config.log.format, LogFormat::Logfmt);
    EXPECT_EQ(config.log.target, "file:/etc/mailgate/log/gw.log");
    EXPECT_EQ(config.log.level, LogLevel::Debug);
    EXPECT_EQ(config.admin.socket, "/etc/mailgate/run.sock");
    EXPECT_EQ(config.admin.http, "127.0.0.1:8025");
    EXPECT_EQ(config.timeouts.proxy_header, 3s);
    EXPECT_EQ(config.timeouts.connect, 1s);
    EXPECT_EQ(config.timeouts.greeting, 1min);
    EXPECT_EQ(config.timeouts.hold, 0s);
    EXPECT_EQ(config.timeouts.half_close, 1h);
    EXPECT_THAT(config.timeouts.idle, ElementsAre(5min, 30min, 10min, 5min, 30min, 1s));
    const UpstreamConfig& upstream = config.upstreams.at(1);
    EXPECT_EQ(upstream.send_proxy, SendProxy::Off);
    EXPECT_TRUE(upstream.lost_client_address_accepted);
    EXPECT_EQ(upstream.max_header_bytes, 1024u);
    EXPECT_FALSE(upstream.pass_tlvs);
    EXPECT_EQ(upstream.balance, Balance::Source);
    ASSERT_EQ(upstream.servers.size(), 1u);
    EXPECT_EQ(upstream.servers[0].endpoints.size(), 2u);
    EXPECT_EQ(upstream.servers[0].endpoints[1].toString(), "[2001:db8::7]:24");
    EXPECT_EQ(upstream.servers[0].host, "mx.example.org");
    EXPECT_EQ(upstream.servers[0].port, 24);
    EXPECT_EQ(upstream.servers[0].weight, 7u);
    EXPECT_TRUE(upstream.servers[0].backup);
    EXPECT_FALSE(upstream.check);
    EXPECT_EQ(upstream.check_protocol, Protocol::Sieve);
    EXPECT_EQ(upstream.interval, 1s);
    EXPECT_EQ(upstream.check_timeout, 2s);
    EXPECT_EQ(upstream.fall, 3u);
    EXPECT_EQ(upstream.rise, 4u);
    EXPECT_EQ(upstream.slow_start, 10s);
    EXPECT_EQ(upstream.resolve_interval, 5min);
    const ListenerConfig& listener = config.listeners.at(0);
    EXPECT_EQ(listener.protocol, Protocol::Lmtp);
    EXPECT_EQ(listener.addresses.size(), 2u);
    EXPECT_EQ(listener.proxy, ProxyMode::Mixed);
    EXPECT_EQ(listener.access, AccessDefault::Open);
    EXPECT_EQ(listener.tls, ListenerTls::Passthrough);
    EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("198.51.100.7")), BareLfPolicy::Reject);
    EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("192.0.2.7")), BareLfPolicy::Pass);
    EXPECT_EQ(listener.mode, ListenerMode::Monitor);
    EXPECT_EQ(listener.refusal_footer, "ask us: $id");
    EXPECT_EQ(listener.client_sessions, 20u);
    EXPECT_EQ(listener.client_rate, 60u);
    EXPECT_EQ(listener.client_ipv4_prefix, 24u);
    EXPECT_EQ(listener.client_ipv6_prefix, 48u);
    EXPECT_EQ(listener.upstream_index, 1u);
}

TEST(Config, EveryErrorIsToldAtOnceWithItsPlaceInTheFilesOrder) {
    const std::string text =
        "[gateway]\nworkers = \"many\"\n" + site() + "[log]\nformat = \"xml\"\nlevle = 1\n";
    EXPECT_EQ(
        errorsOf(text),
        "/etc/mailgate/mailgate.toml:2:11: gateway.workers: expected a whole number from 0 to 1024, found "
        "\"many\"\n"
        "/etc/mailgate/mailgate.toml:17:10: log.format: expected \"json\" or \"logfmt\", found \"xml\"\n"
        "/etc/mailgate/mailgate.toml:18:1: log.levle: unknown key (did you mean \"level\"?)");
}

TEST(Config, ASyntaxErrorNamesItsPlace) {
    EXPECT_THAT(errorsOf("[log]\nformat = \"json\n"), HasSubstr("/etc/mailgate/mailgate.toml:2:"));
}

TEST(Config, ASlipIsToldInWordsThatHelp) {
    const std::pair<std::string, std::string> slips[] = {
        {"[log]\nformat = \"json\nlevel = \"error\"\n",
         ":2:15: the quote that closes the text of column 10 is missing"},
        {"[gateway]\nname = \"a", ":2:10: the quote that closes the text of column 8 is missing"},
        {"[[listener]]\naddress = [\"a:1\", \"b:2]\n",
         "the quote that closes the text of column 19 is missing"},
        {"[[listener]]\nprotocol = smtp  # mail\n",
         ":2:12: what is no number, true or false needs quotes: \"smtp\""},
        {"[[listener]]\naddress = 0.0.0.0:25\n", "needs quotes: \"0.0.0.0:25\""},
        {"[timeouts]\nhold = 30s\n", "needs quotes: \"30s\""},
        {"[[listener]]\ntrusted = [10.0.0.0/8]\n", "needs quotes: \"10.0.0.0/8\""},
        {"[gateway]\nname = gw\"\n", "a quote is missing at the beginning of \"gw\""},
        {"[listener]\nname = \"a\"\n[[listener]]\n",
         ":3:1: line 1: there may be more than one: write [[listener]] with"},
        {"[listener]\nname = \"a\"\n[listener]\n",
         ":3:1: line 1: there may be more than one: write [[listener]] with"},
        {"[log]\n[log]\n", ":2:1: the table \"log\" is here for the second time"},
        {"[log]\nlevel = \"error\"\nlevel = \"debug\"\n", ":3:9: the key \"level\" is already set above"},
        {"[log]\nlevel = \u201cerror\u201d\n", ":2:9: these quotes are typographic ones, write \" or '"},
        {"[log]\n\xff\xfe\n", "this is no UTF-8 text"},
        {"[networks]\nbalancers = []\n[[listener]]\nproxy = \"mixed\"\ntrusted = \"@balancers\"\n",
         ":5:11: listener.trusted: \"@balancers\" is an empty list: there would be no balancer"},
        {"[listener]\nname = \"a\"\n", "[[listener]], found a table: two brackets"},
        {"[gateway]\nworkers 4\n", "expected '=', saw '4'"},
        {"[gateway]\nworkers =\nname = \"x\"\n", "2:10: a value is missing at the end of the line"},
        {"[gateway]\n\\\n", "saw '\\'"},
        {"[journal]\nmax_size = \"10GB\"\n",
         "expected a size from \"16MiB\" to \"16384GiB\", found \"10GB\": the units are KiB, MiB and GiB "
         "(did you "
         "mean \"10GiB\"?)"},
        {"[[listener]]\ntls = \"smtps\"\n",
         "found \"smtps\": TLS from the first byte (ports 465, 993, 995) is"},
        {"[[listener]]\nprotocol = \"smtps\"\n",
         "found \"smtps\": that is protocol = \"smtp\" with tls = \"implicit\" or \"passthrough\""},
    };
    for (const auto& [text, words] : slips)
        EXPECT_THAT(errorsOf(text), HasSubstr(words)) << text;
}

TEST(Config, MetricsForEverybodyAreWarnedOf) {
    const auto warnings = [](const std::string& http) {
        return warningsOf(parse("[admin]\nhttp = \"" + http + "\"\n" + site()));
    };
    EXPECT_THAT(warnings("0.0.0.0:8025"),
                ElementsAre(HasSubstr(":2:8: warning: admin.http: has no authentication")));
    EXPECT_THAT(warnings("[::]:8025"), testing::SizeIs(1));
    EXPECT_THAT(warnings("127.0.0.1:8025"), IsEmpty());
}

// ---- defaults and lists of networks

TEST(Config, WhatAListenerDoesNotSayItsDefaultsDo) {
    const std::string defaults =
        "[networks]\nbalancers = [\"10.0.0.8\", \"10.0.0.9\"]\n"
        "[defaults.listener]\nproxy = \"require\"\ntrusted = \"@balancers\"\naccess = \"open\"\n"
        "bare_lf = \"pass\"\ntls_required = true\n"
        "[defaults.upstream]\nfall = 7\nsend_proxy = \"v1\"\ntls_verify = \"off\"\n";
    const std::string imap =
        "[[listener]]\nname = \"imap\"\nprotocol = \"imap\"\naddress = \"[::]:143\"\nupstream = "
        "\"postfix\"\nproxy = "
        "\"off\"\n";
    const Config config = parse(defaults + site("access = \"allowlist\"", "fall = 3\ncheck = false") + imap);
    ASSERT_EQ(config.listeners.size(), 2u);
    EXPECT_EQ(config.listeners[0].proxy, ProxyMode::Require);
    EXPECT_EQ(config.listeners[0].trusted.size(), 2u);
    EXPECT_EQ(config.listeners[0].access, AccessDefault::Allowlist) << "what it says itself holds";
    EXPECT_EQ(config.listeners[0].bare_lf, BareLfPolicy::Pass);
    EXPECT_EQ(config.listeners[1].access, AccessDefault::Open);
    EXPECT_THAT(config.listeners[1].trusted, IsEmpty()) << "of no meaning where no header is read";
    EXPECT_EQ(config.upstreams[0].fall, 3u);
    EXPECT_EQ(config.upstreams[0].send_proxy, SendProxy::V1);
    EXPECT_TRUE(config.upstreams[0].tls_options.verify);
}

TEST(Config, DefaultsAreJudgedOnceAndWhereTheyStand) {
    EXPECT_EQ(
        errorsOf("[defaults.listener]\nmode = \"x\"\nname = \"a\"\nacess = 1\n[defaults.server]\n" + site() +
                 "[[listener]]\nname = \"b\"\nprotocol = \"smtp\"\naddress = \"[::]:25\"\nupstream = "
                 "\"postfix\"\n"),
        "/etc/mailgate/mailgate.toml:2:8: defaults.listener.mode: expected \"enforce\", \"soft\" or "
        "\"monitor\", found \"x\"\n"
        "/etc/mailgate/mailgate.toml:3:8: defaults.listener.name: has no default: each listener needs its "
        "own\n"
        "/etc/mailgate/mailgate.toml:4:1: defaults.listener.acess: unknown key (did you mean \"access\"?)\n"
        "/etc/mailgate/mailgate.toml:5:11: defaults.server: unknown key");
}

TEST(Config, AListOfNetworksStandsWhereverNetworksDo) {
    const std::string lists = "[networks]\nlb = [\"10.0.0.8\", \"10.1.0.0/16\"]\nold = \"192.0.2.7\"\n";
    const Config config =
        parse(lists + site("proxy = \"require\"\ntrusted = [\"@lb\", \"10.9.9.9\", { network = "
                           "\"@old\", tls = true }]\nbare_lf_exclude = \"@old\""));
    EXPECT_EQ(config.listeners[0].trusted.size(), 4u);
    EXPECT_EQ(config.listeners[0].trusted_tls.size(), 1u);
    EXPECT_EQ(config.listeners[0].bare_lf_exclude.size(), 1u);
    EXPECT_THAT(
        errorsOf(lists + site("proxy = \"require\"\ntrusted = \"@lbs\"")),
        HasSubstr(":10:11: listener.trusted: there is no \"lbs\" in [networks] (did you mean \"lb\"?)"));
    EXPECT_THAT(errorsOf("[networks]\na = \"10.0.0.1/8\"\nb = \"@a\"\n\"c d\" = []\n" + site()),
                testing::AllOf(HasSubstr(":2:5: networks.a: 10.0.0.1/8 has host bits set"),
                               HasSubstr(":3:5: networks.b: a list of networks cannot name another one"),
                               HasSubstr(":4:9: networks.c d: expected a name")));
}

// ---- several files

using FileTexts = std::map<std::string, std::string>;  // by name

/// Files of /etc/mailgate beside the main one.
class Included {
  public:
    explicit Included(FileTexts files) : files_(std::move(files)) {}

    Config load(const std::string& main) const {
        const config::FileSource source{
            [this](const fs::path& folder) -> std::optional<std::vector<std::string>> {
                std::vector<std::string> names;
                for (const auto& [name, text] : files_)
                    if ((kFile.parent_path() / name).parent_path() == folder)
                        names.push_back(fs::path(name).filename().string());
                std::reverse(names.begin(), names.end());
                return names.empty() ? std::nullopt : std::optional(names);
            },
            [this](const fs::path& file) {
                const auto found = files_.find(file.lexically_relative(kFile.parent_path()).string());
                if (found == files_.end()) throw ConfigError("cannot be read: no such file");
                return found->second;
            }};
        return parseConfig(main, kFile, resolveForTest, source);
    }
    std::string errors(const std::string& main) const {
        try {
            load(main);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "";
    }

  private:
    FileTexts files_;
};

TEST(Include, FilesAreReadInTheOrderOfTheirNamesAndJoined) {
    const Included files(FileTexts{{"conf.d/20-b.toml", "[timeouts]\nhold = \"9s\"\n"},
                                   {"conf.d/10-a.toml", site()},
                                   {"conf.d/.hidden.toml", "nonsense"},
                                   {"conf.d/30-c.toml~", "nonsense"},
                                   {"more.toml", "include = \"conf.d/*.toml\"\n[log]\nlevel = \"error\"\n"}});
    const Config config = files.load("include = [\"more.toml\"]\n[timeouts]\nconnect = \"3s\"\n");
    EXPECT_THAT(config.files,
                ElementsAre("/etc/mailgate/mailgate.toml", "/etc/mailgate/more.toml",
                            "/etc/mailgate/conf.d/10-a.toml", "/etc/mailgate/conf.d/20-b.toml"));
    EXPECT_EQ(config.timeouts.connect, 3s);
    EXPECT_EQ(config.timeouts.hold, 9s);
    EXPECT_EQ(config.log.level, LogLevel::Error);
    EXPECT_EQ(config.listeners.size(), 1u);
    EXPECT_EQ(config.store_url, "sqlite:/var/lib/mailgate/mailgate.db");
}

TEST(Include, AnErrorNamesItsFileAndAllFilesAreToldAtOnce) {
    const Included files(FileTexts{{"a.toml", "[log]\nlevel = \"none\"\n[[listener]]\nname = \"smtp\"\n"},
                                   {"b.toml", "x = \"\n"},
                                   {"c.toml", "\n[log]\nlevel = \"error\"\nformat = [\n"}});
    EXPECT_THAT(files.errors("include = \"a.toml\"\n" + site()),
                testing::AllOf(
                    HasSubstr("/etc/mailgate/a.toml:2:9: log.level: expected"),
                    HasSubstr("/etc/mailgate/a.toml:4:8: listener.name: \"smtp\" is already used on line 3 "
                              "of /etc/mailgate/mailgate.toml")));
    EXPECT_THAT(
        files.errors("include = [\"b.toml\", \"c.toml\", \"d.toml\"]\n" + site()),
        testing::AllOf(
            HasSubstr("/etc/mailgate/b.toml:1:7: the quote"), HasSubstr("/etc/mailgate/c.toml:"),
            HasSubstr("/etc/mailgate/mailgate.toml:1:32: include: \"/etc/mailgate/d.toml\": cannot be "
                      "read: no such file")));
}

TEST(Include, WhatIsSetTwiceIsRefused) {
    const Included files(FileTexts{{"a.toml", "[log]\nlevel = \"error\"\n[timeouts.idle]\nsmtp = \"7m\"\n"}});
    EXPECT_EQ(files.errors(
                  "include = \"a.toml\"\n[log]\nlevel = \"debug\"\n[timeouts]\nidle = { smtp = \"8m\" }\n" +
                  site()),
              "/etc/mailgate/a.toml:2:9: log.level: is already set on line 3 of /etc/mailgate/mailgate.toml\n"
              "/etc/mailgate/a.toml:4:8: timeouts.idle.smtp: is already set on line 5 of "
              "/etc/mailgate/mailgate.toml");
}

TEST(Include, ASingleTableWhereThereMayBeSeveralIsTold) {
    const Included files(
        FileTexts{{"one.toml", "[listener]\nname = \"b\"\n"}, {"other.toml", "[listener]\nname = \"c\"\n"}});
    constexpr std::string_view kTold =
        ": listener: there may be more than one: write [[listener]] with two brackets, each time";
    EXPECT_EQ(files.errors("include = \"one.toml\"\n" + site()),
              fmt::format("/etc/mailgate/one.toml:1:1{}", kTold));
    EXPECT_EQ(files.errors("include = [\"one.toml\", \"other.toml\"]\n"),
              fmt::format("/etc/mailgate/other.toml:1:1{}", kTold));
    const Included several(FileTexts{{"site.toml", site()}});
    EXPECT_EQ(several.errors("include = \"site.toml\"\n[listener]\nname = \"a\"\n"),
              fmt::format("/etc/mailgate/mailgate.toml:2:1{}", kTold));
}

TEST(Include, ACycleAndAFileThatComesTwiceAreRefused) {
    const Included files(FileTexts{{"a.toml", "include = \"b.toml\"\n"},
                                   {"b.toml", "include = \"./a.toml\"\n"},
                                   {"c.toml", ""},
                                   {"mailgate.toml", ""}});
    EXPECT_THAT(
        files.errors("include = \"a.toml\"\n" + site()),
        HasSubstr("/etc/mailgate/b.toml:1:11: include: \"/etc/mailgate/a.toml\": would include itself"));
    EXPECT_THAT(files.errors("include = [\"c.toml\", \"c.*\"]\n" + site()),
                HasSubstr("mailgate.toml:1:22: include: \"/etc/mailgate/c.toml\": is included twice"));
    EXPECT_THAT(files.errors("include = \"m*.toml\"\n" + site()),
                HasSubstr("would include itself: name the others in a"));
}

TEST(Include, WhatAPatternDoesNotFindIsSaid) {
    const Included files(FileTexts{{"conf.d/a.toml", ""}});
    EXPECT_THAT(files.errors("include = \"cnf.d/*.toml\"\n" + site()),
                HasSubstr(":1:11: include: the folder \"/etc/mailgate/cnf.d\" does not exist"));
    EXPECT_THAT(files.errors("include = \"/dev/null/*.toml\"\n" + site()),
                HasSubstr("the folder \"/dev/null\" cannot be read: Not a directory"));
    EXPECT_THAT(files.errors("include = \"*/a.toml\"\n" + site()),
                HasSubstr("wildcards may stand in the last part"));
    EXPECT_THAT(
        warningsOf(files.load("include = \"conf.d/*.conf\"\n" + site())),
        ElementsAre(HasSubstr(":1:11: warning: include: no file is named \"/etc/mailgate/conf.d/*.conf\"")));
    EXPECT_THAT(files.errors("[gateway]\ninclude = \"conf.d/*.toml\"\n" + site()),
                HasSubstr("gateway.include: unknown key: include has to stand before the first [table]"));
}

TEST(Include, RealFilesAreFoundNextToTheMainOne) {
    const TemporaryFolder folder;
    fs::create_directory(folder.path() / "conf.d");
    fs::create_directory(folder.path() / "conf.d/x.toml");
    std::ofstream(folder.path() / "mailgate.toml") << "include = \"conf.d/*.toml\"\n";
    std::ofstream(folder.path() / "conf.d/site.toml") << site();
    EXPECT_EQ(loadConfig(folder.path() / "mailgate.toml").listeners.size(), 1u);
    ASSERT_EQ(::mkfifo((folder.path() / "conf.d/pipe.toml").c_str(), 0600), 0);
    const auto errors = [&](const std::string& include) -> std::string {
        std::ofstream(folder.path() / "other.toml") << "include = \"" << include << "\"\n";
        try {
            loadConfig(folder.path() / "other.toml");
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_THAT(errors("conf.d/*.toml"), HasSubstr("pipe.toml\": cannot be read: it is no regular file"));
    EXPECT_THAT(errors("conf.d"), HasSubstr("it is a folder: name its files, such as \"conf.d/*.toml\""));
    fs::remove_all(folder.path() / "conf.d");
    EXPECT_THROW(loadConfig(folder.path() / "mailgate.toml"), ConfigError);
}

TEST(Config, AnEmptyFileSaysWhatIsNeeded) {
    EXPECT_EQ(errorsOf(""),
              "/etc/mailgate/mailgate.toml:1:1: listener: missing: at least one [[listener]] is needed\n"
              "/etc/mailgate/mailgate.toml:1:1: upstream: missing: at least one [[upstream]] is needed");
}

struct WrongText {
    std::string text;
    std::string want_error;
};

void PrintTo(const WrongText& wrong, std::ostream* out) {
    *out << wrong.want_error;
}

class WrongConfig : public testing::TestWithParam<WrongText> {};

TEST_P(WrongConfig, IsRefusedWithAReason) {
    EXPECT_THAT(errorsOf(GetParam().text), HasSubstr(GetParam().want_error));
}

const std::string kTakesStartTls =
    "[[listener]]\nprotocol = \"smtp\"\ntls = \"starttls\"\nproxy = \"mixed\"\n";
const std::string kTrusted = "proxy = \"require\"\ntrusted = \"10.0.0.0/8\"\n";

INSTANTIATE_TEST_SUITE_P(
    Kinds, WrongConfig,
    testing::Values(
        WrongText{"log = 3\n", ":1:7: log: expected a table, [log], found 3"},
        WrongText{"[[listener]]\nprotocol = \"imap\"\nbare_lf = \"pass\"\n",
                  ":3:11: listener.bare_lf: is for smtp and lmtp listeners only"},
        WrongText{"[[listener]]\nmode = \"observe\"\n",
                  ":2:8: listener.mode: expected \"enforce\", \"soft\" or \"monitor\", found \"observe\""},
        WrongText{"[[listener]]\nprotocol = \"smtp\"\nrefusal_footer = \"ask $postmaster\"\n",
                  ":3:18: listener.refusal_footer: knows the variables $client, $id and $rule_note; a dollar "
                  "sign is $$"},
        WrongText{"[[listener]]\nprotocol = \"smtp\"\nrefusal_footer = \"a\\\\b\"\n",
                  "listener.refusal_footer: must be printable ASCII on one line"},
        WrongText{"[[listener]]\nprotocol = \"smtp\"\nrefusal_footer = \"" + std::string(400, 'x') + "\"\n",
                  "listener.refusal_footer: too long: a reply has at most 512 bytes"},
        WrongText{"[gateway]\nname = \"" + std::string(200, 'n') +
                      "\"\n[[listener]]\nprotocol = \"smtp\"\nrefusal_footer = \"" + std::string(200, 'x') +
                      "\"\n",
                  "listener.refusal_footer: too long"},
        WrongText{"[[listener]]\nprotocol = \"imap\"\nbare_lf_exclude = \"192.0.2.0/24\"\n",
                  ":3:19: listener.bare_lf_exclude: is for smtp and lmtp listeners only"},
        WrongText{"[listener]\n", "listener: expected an array of tables, [[listener]], found a table"},
        WrongText{"[[upstream.server]]\nname = \"a\"\n",
                  ":1:1: upstream: expected an array of tables, [[upstream]], found a table: [[upstream]] "
                  "has to come "
                  "before what belongs to it"},
        WrongText{"[[upstream.server]]\nname = \"a\"\n[[upstream]]\nname = \"u\"\n",
                  ": [[upstream]] has to come before what belongs to it, which begins in line 1"},
        WrongText{"[[listener]]\naddress = 127.0.0.1:25\n", "needs quotes: \"127.0.0.1:25\""},
        WrongText{"[[listener]]\ntls = \"implicit\"\ncertificates = { certificate = \"a\" }\n",
                  ":3:16: listener.certificates: expected an array of tables, certificates = [{ ... }], "
                  "found a table"},
        WrongText{"listener = [1]\n", ":1:13: listener: expected an array of tables, [[listener]], found 1"},
        WrongText{"[gateway]\nmax_sessions = 0\n", "expected a whole number from 1 to 10000000, found 0"},
        WrongText{"[timeouts]\nhold = \"8d\"\n", "expected a duration from 0s to 7d, found \"8d\""},
        WrongText{"[timeouts]\nproxy_header = \"2s\"\n", "expected a duration from 3s to 30s, found \"2s\""},
        WrongText{"[timeouts]\nproxy_header = \"31s\"\n", "expected a duration from 3s to 30s"},
        WrongText{"[[server]]\n", "server: unknown key: a server is [[upstream.server]]"},
        WrongText{"[log]\ntarget = \"/x.log\"\n", "found \"/x.log\" (did you mean \"file:/x.log\"?)"},
        WrongText{"[listner]\n", ":1:2: listner: unknown key (did you mean \"listener\"?)"}));

INSTANTIATE_TEST_SUITE_P(
    Listeners, WrongConfig,
    testing::Values(
        WrongText{"[[listener]]\n", ":1:1: listener.name: missing"},
        WrongText{"[[listener]]\n", "listener.protocol: missing"},
        WrongText{"[[listener]]\n", "listener.address: missing"},
        WrongText{"[[listener]]\n", "listener.upstream: missing"},
        WrongText{"[[listener]]\naddress = []\n", ":2:11: listener.address: missing"},
        WrongText{kTakesStartTls, "listener.address: missing"},
        WrongText{kTakesStartTls + "address = []\n", "listener.address: missing"},
        WrongText{kTakesStartTls + "address = \"0.0.0.0:2525x\"\n", "listener.address: "},
        WrongText{"[[listener]]\naddress = [\"[::]:25\", 25]\n", ":2:23: listener.address: expected a text"},
        WrongText{"[[listener]]\naddress = [\"0.0.0.0:25\", \"127.0.0.1:25\"]\n",
                  ":2:26: listener.address: 127.0.0.1:25 is already used by 0.0.0.0:25 on line 2"},
        WrongText{"[[listener]]\naddress = \"[::1]:25\"\n[[listener]]\naddress = \"[::]:25\"\n",
                  ":4:11: listener.address: [::]:25 is already used by [::1]:25 on line 2"},
        WrongText{"[[listener]]\naddress = [\"[::]:25\",\n\"192.0.2.25:25\"]\n",
                  ":3:1: listener.address: 192.0.2.25:25 is already used by [::]:25 on line 2"},
        WrongText{"[admin]\nhttp = \"127.0.0.1:25\"\n[[listener]]\naddress = \"[::]:25\"\n",
                  ":4:11: listener.address: [::]:25 is already used by 127.0.0.1:25 on line 2"},
        WrongText{
            "[console]\naddress = \"[::]:25\"\n[[listener]]\naddress = [\"0.0.0.0:25\", \"[::1]:26\"]\n",
            ":4:12: listener.address: 0.0.0.0:25 is already used by [::]:25 on line 2"},
        WrongText{"[[listener]]\naddress = \"0.0.0.0:25\"\n[admin]\nhttp = \"[::]:25\"\n",
                  ":2:11: listener.address: 0.0.0.0:25 is already used by [::]:25 on line 4"},
        WrongText{"[[listener]]\nname = \"a\"\n[[listener]]\nname = \"a\"\n",
                  ":4:8: listener.name: \"a\" is already used on line 2"},
        WrongText{site("proxy = \"require\""),
                  "listener.trusted: missing or empty: nobody could ever connect"},
        WrongText{site("proxy = \"required\""),
                  "expected \"off\", \"mixed\" or \"require\", found \"required\""},
        WrongText{site("") + "[[listener]]\nupstream = \"postfx\"\n",
                  "there is no [[upstream]] named \"postfx\" (did you mean \"postfix\"?)"}));

INSTANTIATE_TEST_SUITE_P(
    Upstreams, WrongConfig,
    testing::Values(
        WrongText{"[[upstream]]\nname = \"u\"\n", "upstream.server: missing"},
        WrongText{site(kTrusted, "send_proxy = \"off\""), "upstream.send_proxy: \"off\" hides the client"},
        WrongText{site(kTrusted, "max_header = 106"),
                  "upstream.max_header: expected a size from 107 to 1500 bytes"},
        WrongText{site() + "[[upstream]]\nname = \"postfix\"\n",
                  "upstream.name: \"postfix\" is already used on line 9"},
        WrongText{site() + "[[upstream.server]]\nname = \"mx1\"\n",
                  "upstream.server.name: \"mx1\" is already used"},
        WrongText{site(kTrusted, "", ""), "upstream.server.address: missing"},
        WrongText{site(kTrusted, "", "address = \"10025\""), "upstream.server.address: expected a server's"},
        WrongText{site(kTrusted, "interval = \"99ms\""), "upstream.interval: expected a duration from 100ms"},
        WrongText{site(kTrusted, "check_protocol = \"nntp\""), "upstream.check_protocol: expected \"smtp\""},
        WrongText{site(kTrusted, "", "address = \"127.0.0.1:2525\""),
                  "is this gateway's own listener (0.0.0.0:2525, line 4)"}));

TEST(Config, TheSamePortOfBothFamiliesIsNoConflict) {
    EXPECT_EQ(errorsOf("[[listener]]\nname = \"a\"\nprotocol = \"tcp\"\naddress = [\"[::]:25\", "
                       "\"0.0.0.0:25\"]\nupstream = \"u\"\n"
                       "[[upstream]]\nname = \"u\"\nserver = [{name = \"s\", address = \"192.0.2.1:25\"}]\n"),
              "");
}

TEST(Config, ALoopIsSeenThroughADualStackWildcardAndAResolvedName) {
    const std::string listener =
        "[[listener]]\nname = \"a\"\nprotocol = \"tcp\"\nupstream = \"u\"\naddress = ";
    const std::string upstream = "\n[[upstream]]\nname = \"u\"\nserver = [{name = \"s\", address = ";
    EXPECT_THAT(errorsOf(listener + "\"[::]:25\"" + upstream + "\"127.0.0.1:25\"}]\n"),
                HasSubstr("own listener"));
    EXPECT_THAT(errorsOf(listener + "\"192.0.2.7:25\"" + upstream + "\"mx.example.org:25\"}]\n"),
                HasSubstr("own listener"));
    EXPECT_EQ(errorsOf(listener + "\"0.0.0.0:25\"" + upstream + "\"[::1]:25\"}]\n"), "");
}

struct Doubtful {
    std::string text;
    std::string want_warning;
};

TEST(Config, WhatIsDoubtfulIsAWarning) {
    const Doubtful doubtful[] = {
        {site("proxy = \"mixed\"\ntrusted = \"0.0.0.0/0\""),
         ":7:11: warning: listener.trusted: 0.0.0.0/0 is everybody, and 0.0.0.0:2525 may be reached from the "
         "Internet"},
        {site("proxy = \"mixed\"\ntrusted = \"8.0.0.0/6\""),
         ":7:11: warning: listener.trusted: 8.0.0.0/6 is far larger"},
        {site(kTrusted, "",
              "address = \"192.0.2.1:25\"\n[[upstream.server]]\nname = \"mx2\"\naddress = "
              "\"192.0.2.1:25\""),
         ":17:11: warning: upstream.server.address: 192.0.2.1:25 is server \"mx1\" as well (line 14)"},
        {"[networks]\nspare = \"192.0.2.1\"\n" + site(),
         ":2:9: warning: networks: nothing refers to \"@spare\""},
        {site(kTrusted, "", "address = \"nowhere.example:25\""),
         "upstream.server.address: \"nowhere.example\" cannot be resolved now: no such name"},
        {site(kTrusted, "send_proxy = \"off\"\nlost_client_address = \"accepted\""), "are an open relay if"},
        {"[[listener]]\nname = \"imap\"\nprotocol = \"imap\"\naddress = \"[::]:143\"\nupstream = "
         "\"postfix\"\n" +
             site(),
         "only connect: set the protocol to check"},
        {site() + "[[upstream]]\nname = \"spare\"\nserver = [{name = \"s\", address = \"192.0.2.1:1\"}]\n",
         "no listener uses \"spare\""},
        {"[[listener]]\nname = \"imaps\"\nprotocol = \"imap\"\naddress = \"[::]:993\"\nupstream = "
         "\"postfix\"\n" +
             site(kTrusted, "check_protocol = \"imap\""),
         "port 993 use TLS from the first byte"},
    };
    for (const Doubtful& each : doubtful)
        EXPECT_THAT(warningsOf(parse(each.text)), ElementsAre(HasSubstr(each.want_warning))) << each.text;
}

TEST(Config, ANameThatStrictServersRefuseInEhloIsDoubtful) {
    for (const char* name : {"gw1", "10.0.0.1", "gw_1.example.org"})
        EXPECT_THAT(parse(fmt::format("[gateway]\nname = \"{}\"\n", name) + site()).warnings,
                    ElementsAre(HasSubstr(fmt::format(
                        ":2:8: warning: gateway.name: \"{}\" is not a fully qualified host name", name))));
    EXPECT_THAT(parse("[gateway]\nname = \"gw.example.org\"\n" + site()).warnings, IsEmpty());
    // Nothing says EHLO there.
    EXPECT_THAT(parse("[gateway]\nname = \"gw1\"\n" + site(kTrusted, "check = false")).warnings, IsEmpty());
}

TEST(Config, TlsThatEndsHereHasItsCertificatesAndOptions) {
    const Config config = parse(
        site("tls = \"implicit\"\ncertificates = [{ certificate = \"tls/a.pem\", key = \"/k/a.key\" },\n"
             "  { certificate = \"/c/b.pem\", ocsp = \"b.ocsp\" }]\n"
             "min_version = \"1.3\"\nciphers = \"TLS_AES_128_GCM_SHA256\"\ngroups = \"X25519\"\n"
             "client_certificates = \"optional\"\nclient_ca = \"ca.pem\"",
             "check = false") +
        "[timeouts]\ntls_handshake = \"3s\"\n");
    const ListenerConfig& listener = config.listeners.at(0);
    EXPECT_EQ(listener.tls, ListenerTls::Implicit);
    EXPECT_THAT(listener.certificates,
                ElementsAre(CertificateFiles{"/etc/mailgate/tls/a.pem", "/k/a.key", ""},
                            CertificateFiles{"/c/b.pem", "", "/etc/mailgate/b.ocsp"}));
    EXPECT_EQ(listener.tls_options.min_version, "1.3");
    EXPECT_EQ(listener.tls_options.ciphers, "TLS_AES_128_GCM_SHA256");
    EXPECT_EQ(listener.tls_options.groups, "X25519");
    EXPECT_EQ(listener.tls_options.client_certificates, ClientCertificates::Optional);
    EXPECT_EQ(listener.tls_options.client_ca, "/etc/mailgate/ca.pem");
    EXPECT_EQ(listener.tls_options.scope, "smtp");
    EXPECT_EQ(config.timeouts.tls_handshake, 3s);
    EXPECT_THAT(warningsOf(config), IsEmpty());
    EXPECT_THAT(warningsOf(parse(site("tls = \"implicit\"\ncertificates = [{ certificate = \"a.pem\" }]",
                                      "check = false\nsend_proxy = \"v1\""))),
                ElementsAre(HasSubstr("are not told that clients use TLS")));
}

TEST(Config, TlsThatEndsHereIsRefusedWithoutWhatItNeedsAndItsKeysWithoutIt) {
    const std::string implicit = "tls = \"implicit\"\ncertificates = [{ certificate = \"a.pem\" }]\n";
    const std::pair<std::string, std::string> wrong[] = {
        {"tls = \"implicit\"", "listener.certificates: missing or empty"},
        {"tls = \"implicit\"\ncertificates = []", "listener.certificates: missing or empty"},
        {"tls = \"implicit\"\ncertificates = [{ key = \"a\" }]",
         "listener.certificates.certificate: missing"},
        {"tls = \"implicit\"\ncertificates = [{ certificate = \"a\", chain = \"b\" }]", "chain"},
        {"tls = \"starttls\"", "listener.certificates: missing or empty"},
        {"tls_required = true", "listener.tls_required: would be ignored"},
        {implicit + "tls_required = false", "listener.tls_required: would be ignored"},
        {"tls = \"on\"", "listener.tls: "},
        {"certificates = [{ certificate = \"a.pem\" }]", "listener.certificates: would be ignored"},
        {"tls = \"passthrough\"\nmin_version = \"1.3\"", "listener.min_version: would be ignored"},
        {"client_ca = \"ca.pem\"", "listener.client_ca: would be ignored"},
        {implicit + "min_version = \"1.1\"", "expected \"1.2\" or \"1.3\""},
        {implicit + "client_certificates = \"required\"", "listener.client_ca: missing"},
        {implicit + "client_ca = \"ca.pem\"", "because client_certificates is \"off\""},
    };
    for (const auto& [lines, error] : wrong)
        EXPECT_THAT(errorsOf(site(lines)), HasSubstr(error)) << lines;
}

TEST(Config, StartTlsIsRequiredWhereMailOfOtherServersDoesNotComeIn) {
    const auto listener = [](const std::string& protocol, const std::string& address,
                             const std::string& more) {
        return parse("[[listener]]\nname = \"l\"\nprotocol = \"" + protocol + "\"\naddress = \"" + address +
                     "\"\ntls = \"starttls\"\ncertificates = [{ certificate = \"a.pem\" }]\nupstream = "
                     "\"u\"\n" +
                     more +
                     "[[upstream]]\nname = \"u\"\n[[upstream.server]]\nname = \"s\"\naddress = "
                     "\"192.0.2.9:25\"\n");
    };
    const auto required = [&](const std::string& protocol, const std::string& address,
                              const std::string& more) {
        return listener(protocol, address, more).listeners[0].tls_required;
    };
    EXPECT_FALSE(required("smtp", "0.0.0.0:25", ""));
    EXPECT_TRUE(required("smtp", "0.0.0.0:587", ""));
    EXPECT_TRUE(required("smtp", "0.0.0.0:25", "tls_required = true\n"));
    EXPECT_FALSE(required("smtp", "0.0.0.0:2525", "tls_required = false\n"));
    for (const std::string protocol : {"imap", "pop3", "sieve", "lmtp"})
        EXPECT_TRUE(required(protocol, "0.0.0.0:25", "")) << protocol;
    const std::string balanced = "proxy = \"require\"\ntrusted = \"10.0.0.0/8\"\n";
    for (const char* address : {"0.0.0.0:2525", "0.0.0.0:10025", "0.0.0.0:7000"})
        EXPECT_THAT(warningsOf(listener("smtp", address, balanced)),
                    ElementsAre(HasSubstr("write tls_required = false")))
            << address;
    for (const std::string said : {"tls_required = false\n", "tls_required = true\n"})
        EXPECT_THAT(warningsOf(listener("smtp", "0.0.0.0:2525", balanced + said)), IsEmpty());
    for (const char* address : {"0.0.0.0:587", "0.0.0.0:10587", "0.0.0.0:2587"})
        EXPECT_THAT(warningsOf(listener("smtp", address, balanced)), IsEmpty()) << address;
    EXPECT_THAT(warningsOf(listener("smtp", "0.0.0.0:2525", "")), IsEmpty()) << "clients know that port";
    EXPECT_THAT(warningsOf(listener("lmtp", "0.0.0.0:2525", balanced)), IsEmpty());
    EXPECT_THAT(errorsOf("[[listener]]\nname = \"l\"\nprotocol = \"tcp\"\naddress = \"0.0.0.0:25\"\ntls = "
                         "\"starttls\"\nupstream = \"u\"\n"),
                HasSubstr("tcp has no STARTTLS"));
}

TEST(Config, ABalancerMayBeTrustedToEndTls) {
    const ListenerConfig listener =
        parse(site("proxy = \"require\"\ntrusted = [\"10.0.0.8\", { network = \"10.0.0.9\", tls = true }, "
                   "{ network = \"10.0.0.10\" }]"))
            .listeners[0];
    EXPECT_EQ(listener.trusted.size(), 3U);
    EXPECT_TRUE(listener.endedBy(*IpAddress::parse("10.0.0.9")));
    EXPECT_FALSE(listener.endedBy(*IpAddress::parse("10.0.0.8")));
    EXPECT_FALSE(listener.endedBy(*IpAddress::parse("10.0.0.10")));
    for (const auto& [balancer, error] :
         {std::pair<std::string, std::string>{"{ tls = true }", "network: missing"},
          {"{ network = \"10.0.0.300\" }", "10.0.0.300"},
          {"{ network = \"10.0.0.9\", tls = 1 }", "tls"},
          {"{ network = \"10.0.0.9\", ssl = true }", "ssl"},
          {"7", "text"}})
        EXPECT_THAT(errorsOf(site("proxy = \"require\"\ntrusted = [" + balancer + "]")), HasSubstr(error));
}

TEST(Config, TlsToServersHasItsCaItsNamesAndItsCertificate) {
    const UpstreamConfig upstream =
        parse(site(kTrusted,
                   "tls = \"starttls\"\nca = \"ca.pem\"\nserver_name = \"mx.example.net\"\n"
                   "client_certificate = { certificate = \"gw.pem\", key = \"/k/gw.key\" }"))
            .upstreams.at(0);
    EXPECT_EQ(upstream.tls, UpstreamTls::StartTls);
    EXPECT_TRUE(upstream.tls_options.verify);
    EXPECT_EQ(upstream.tls_options.ca, "/etc/mailgate/ca.pem");
    EXPECT_EQ(upstream.client_certificate, (CertificateFiles{"/etc/mailgate/gw.pem", "/k/gw.key", ""}));
    EXPECT_EQ(upstream.servers.at(0).tls_name, "mx.example.net");
    const auto nameOf = [](const std::string& upstream_keys, const std::string& server) {
        return parse(site(kTrusted, "check = false\ntls = \"implicit\"\n" + upstream_keys, server))
            .upstreams.at(0)
            .servers.at(0)
            .tls_name;
    };
    EXPECT_EQ(nameOf("server_name = \"all.example.net\"",
                     "address = \"127.0.0.1:1\"\nserver_name = \"one.example.net\""),
              "one.example.net");
    EXPECT_EQ(nameOf("", "address = \"127.0.0.1:1\""), "127.0.0.1");
}

TEST(Config, TlsToServersIsWarnedOfWhereItProvesLittle) {
    EXPECT_THAT(warningsOf(parse(site(kTrusted, "tls = \"implicit\"\ntls_verify = \"off\""))),
                Contains(HasSubstr("believes whoever answers")));
    EXPECT_THAT(warningsOf(parse(site(kTrusted, "tls = \"implicit\""))),
                Contains(HasSubstr("has to be for the address 127.0.0.1")));
}

TEST(Config, TlsToServersIsRefusedWhereItMakesNoSense) {
    const std::string implicit = "tls = \"implicit\"\n";
    const std::pair<std::string, std::string> wrong[] = {
        {"tls = \"on\"", "upstream.tls: "},
        {"ca = \"ca.pem\"", "upstream.ca: would be ignored"},
        {"tls_verify = \"off\"", "upstream.tls_verify: would be ignored"},
        {"server_name = \"a.example\"", "upstream.server_name: would be ignored"},
        {"client_certificate = { certificate = \"a\" }", "upstream.client_certificate: would be ignored"},
        {implicit + "tls_verify = \"off\"\nca = \"ca.pem\"", "because tls_verify is \"off\""},
        {implicit + "server_name = \"a b\"", "expected a host name or an address"},
        {implicit + "client_certificate = { key = \"a\" }", "client_certificate.certificate: missing"},
        {implicit + "client_certificate = { certificate = \"a\", ocsp = \"b\" }", "ocsp"},
    };
    for (const auto& [lines, error] : wrong)
        EXPECT_THAT(errorsOf(site(kTrusted, lines)), HasSubstr(error)) << lines;
    EXPECT_THAT(errorsOf(site(kTrusted, "", "address = \"127.0.0.1:1\"\nserver_name = \"a.example\"")),
                HasSubstr("because tls of the upstream is \"off\""));
    const std::string open = "access = \"open\"\n";
    EXPECT_THAT(errorsOf(site(open + "tls = \"passthrough\"", implicit)),
                HasSubstr("inside of the gateway's own"));
    const std::string tcp =
        "[[listener]]\nname = \"t\"\nprotocol = \"tcp\"\naddress = \"0.0.0.0:1\"\nupstream = \"postfix\"\n";
    for (const std::string tls : {"starttls", "mirror"})
        EXPECT_THAT(errorsOf(tcp + open + site(kTrusted, "tls = \"" + tls + "\"")),
                    HasSubstr("has no STARTTLS"));
    EXPECT_THAT(errorsOf(site(open + "tls = \"passthrough\"", "tls = \"mirror\"")),
                HasSubstr("inside of the gateway's own"));
}

TEST(Config, TlsThatIsMirroredNeedsSomethingToMirror) {
    const std::string mirror = "tls = \"mirror\"\nserver_name = \"mx.example.net\"";
    const Config config = parse(site(kTrusted, mirror));
    EXPECT_EQ(config.upstreams[0].tls, UpstreamTls::Mirror);
    EXPECT_TRUE(config.upstreams[0].asksForStartTls());
    EXPECT_THAT(warningsOf(config), Not(Contains(HasSubstr("nothing to mirror"))))
        << "a balancer may end TLS";
    EXPECT_THAT(warningsOf(parse(site("access = \"open\"", mirror))),
                Contains(HasSubstr("nothing to mirror")));
}

TEST(Config, PrivateNetworksAndImplicitTlsPassedThroughAreNotDoubtful) {
    const Config config = parse(
        "[[listener]]\nname = \"imaps\"\nprotocol = \"imap\"\naddress = \"[::]:993\"\nupstream = "
        "\"postfix\"\n"
        "tls = \"passthrough\"\naccess = \"open\"\n" +
        site("proxy = \"mixed\"\ntrusted = [\"10.0.0.0/8\", \"fc00::/7\", \"::1\"]", "check = false"));
    EXPECT_THAT(warningsOf(config), IsEmpty());
}

TEST(Config, EveryProtocolHasAnIdleTimeAboveItsFloor) {
    for (const std::string_view word : kProtocolWords) {
        const Protocol protocol = *protocolFromString(word);
        EXPECT_GT(Timeouts().idleFor(protocol), traitsOf(protocol).idle_floor) << word;
    }
}

TEST(Config, TheSampleLoads) {
    const TemporaryFolder folder;
    fs::copy_file(kSample, folder.path() / "mailgate.toml");
    const Config sample = loadConfig(folder.path() / "mailgate.toml");
    EXPECT_THAT(warningsOf(sample), IsEmpty());
    EXPECT_EQ(sample.store_url, "sqlite:" + (folder.path() / "mailgate.db").string());
}

TEST(Config, AFileThatCannotBeReadIsNamedWithTheReason) {
    const TemporaryFolder folder;
    const auto errorOf = [](const fs::path& file) -> std::string {
        try {
            loadConfig(file);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_EQ(errorOf(folder.path() / "none.toml"),
              (folder.path() / "none.toml").string() + ": cannot be read: No such file or directory");
    EXPECT_THAT(errorOf(folder.path()), HasSubstr("it is a folder"));
    std::ofstream(folder.path() / "big.toml") << std::string((1u << 20) + 1, '#');
    EXPECT_THAT(errorOf(folder.path() / "big.toml"), HasSubstr("larger than 1 MiB"));
}

TEST(FindConfig, TakesTheGivenThenTheWorkingFoldersThenSaysWhereItLooked) {
    const TemporaryFolder folder;
    const fs::path before = fs::current_path();
    fs::current_path(folder.path());
    EXPECT_EQ(findConfig("other.toml").file, "other.toml");
    if (!fs::exists("/etc/mailgate/mailgate.toml")) {
        try {
            findConfig("");
            ADD_FAILURE() << "found a configuration in an empty folder";
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), HasSubstr((folder.path() / "mailgate.toml").string()));
            EXPECT_THAT(error.what(), HasSubstr("/etc/mailgate/mailgate.toml"));
        }
    }
    std::ofstream("mailgate.toml") << "";
    EXPECT_EQ(findConfig("").file, "mailgate.toml");
    EXPECT_EQ(findConfig("").how, FoundConfig::How::WorkingFolder);
    fs::current_path(before);
}

TEST(FindConfig, AFileOfSomebodyElseIsUsedWhenItIsNamedAlone) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
    const TemporaryFolder folder;
    const fs::path before = fs::current_path();
    fs::current_path(folder.path());
    std::ofstream("mailgate.toml") << "";
    ASSERT_EQ(::chown("mailgate.toml", 65534, 65534), 0);
    EXPECT_EQ(findConfig("mailgate.toml").how, FoundConfig::How::Named);
    std::string words;
    try {
        words = findConfig("").passed_over;
    } catch (const ConfigError& error) {
        words = error.what();
    }
    EXPECT_THAT(words, HasSubstr("mailgate.toml is not used, because it belongs to another user"));
    fs::current_path(before);
}

const std::string kStores =
    "[gateway]\nname = \"gw.example.org\"\n[store]\nurl = \"sqlite:rules.db\"\n[admin]\nsocket = "
    "\"gw.sock\"\n[log]\nlevel = \"debug\"\n";

/// Of what is wrong with a file nothing is guessed: "" where it is refused, else its rules.
std::string rulesOf(const std::string& text) {
    try {
        const ReadableConfig read = parseReadable(text, kFile);
        EXPECT_TRUE(read.config.listeners.empty() || read.errors.empty());
        EXPECT_TRUE(read.config.upstreams.empty() || read.errors.empty());
        return read.config.store_url;
    } catch (const ConfigError& error) {
        EXPECT_EQ(errorsOf(text), error.what()) << "all that is wrong is told";
        return "";
    }
}

TEST(LoadReadable, AFileThatIsRightIsWhole) {
    const ReadableConfig read = parseReadable(kStores + site(), kFile);
    EXPECT_EQ(read.errors, "");
    EXPECT_EQ(read.config.listeners.size(), 1u);
    EXPECT_EQ(read.config.store_url, "sqlite:/etc/mailgate/rules.db");
}

TEST(LoadReadable, AsksNoNameServerAndServersAreLookedUpWhereTheyAreNeeded) {
    const std::string two =
        "[[upstream]]\nname = \"x\"\nserver = [{ name = \"a\", address = \"a.example:25\" }, "
        "{ name = \"b\", address = \"localhost:26\" }]\n";
    Config config = parseReadable(site() + two, kFile).config;
    ASSERT_EQ(config.upstreams.size(), 2u);
    const std::vector<ServerConfig>& servers = config.upstreams.back().servers;
    EXPECT_THAT(servers.front().endpoints, IsEmpty());
    EXPECT_THAT(servers.back().endpoints, IsEmpty());
    for (const std::string& warning : config.warnings)
        EXPECT_THAT(warning, Not(HasSubstr("resolved"))) << "which was not tried";
    const auto resolve = [](const std::string& host) {
        return host == "a.example" ? Resolution{{*IpAddress::parse("192.0.2.1")}, ""} : Resolution{{}, "no"};
    };
    const auto isA = [](const UpstreamConfig&, const ServerConfig& server) { return server.name == "a"; };
    const auto isB = [](const UpstreamConfig&, const ServerConfig& server) { return server.name == "b"; };
    resolveServers(config, isB, resolve);
    EXPECT_THAT(servers.front().endpoints, IsEmpty()) << "nobody asked for it";
    EXPECT_THAT(servers.back().endpoints, IsEmpty()) << "there is no such name";
    resolveServers(config, isA, resolve);
    EXPECT_THAT(servers.front().endpoints, ElementsAre(Endpoint{*IpAddress::parse("192.0.2.1"), 25}));
}

TEST(LoadReadable, AnErrorElsewhereLeavesRulesAndSocket) {
    const std::string rules = "sqlite:/etc/mailgate/rules.db";
    const std::string half = kStores + site("proxy = \"off\"\nacces = \"open\"");
    const ReadableConfig read = parseReadable(half, kFile);
    EXPECT_EQ(read.config.store_url, rules);
    EXPECT_EQ(read.config.admin.socket, "/etc/mailgate/gw.sock");
    EXPECT_EQ(read.config.name, "gw.example.org");
    EXPECT_EQ(read.errors, errorsOf(half));
    EXPECT_THAT(read.errors, HasSubstr("mailgate.toml:15:1: listener.acces: "));
    EXPECT_EQ(rulesOf(kStores + site("proxy = ")), rules) << "which is no TOML";
    EXPECT_EQ(rulesOf(kStores + site("trusted = [\"10.0.0.0/8\"")), rules) << "an array that is open";
    EXPECT_EQ(rulesOf(kStores + site("refusal_footer = \"\"\"what\n[store]\nurl = \"x\"\n")), "")
        << "an open text, and who knows what is in it";
    EXPECT_EQ(rulesOf(kStores + "[timeouts]\nidle = \n" + site()), rules);
    EXPECT_EQ(rulesOf(kStores + "retention = 3\n" + site()), rules) << "of [log]";
    EXPECT_EQ(rulesOf(kStores), rules) << "without a listener";
}

TEST(LoadReadable, WhatIsNeededIsNotGuessed) {
    EXPECT_EQ(rulesOf("[store]\nurl = \"pg:x\"\n" + site()), "");
    EXPECT_EQ(rulesOf("[store]\nulr = \"sqlite:x\"\n" + site()), "");
    EXPECT_EQ(rulesOf("[stor]\nurl = \"sqlite:x\"\n" + site()), "");
    EXPECT_EQ(rulesOf("[admin]\nsocket = 3\n" + site()), "");
    EXPECT_EQ(rulesOf("[gateway]\nname = \"x\"\n[stor\nurl = \"sqlite:x\"\n" + site()), "");
    EXPECT_EQ(rulesOf("[log]\nlevel = \"debug\"\nurl = \"sqlite:x\"\n" + site()), "")
        << "the heading in front of it was lost";
    EXPECT_EQ(rulesOf("[gateway]\nname = \"x\"\n[log]\nlevel = \nurl = \"sqlite:x\"\n" + site()), "")
        << "likewise";
    EXPECT_EQ(rulesOf("[gateway]\nname = \"x\"\n" + site("proxy = ") + "[store]\nurl = \"sqlite:x\"\n"), "")
        << "it is behind what cannot be read";
    EXPECT_EQ(rulesOf("[gateway]\nname = \"x\"\n" + site("proxy = ") + "# [store]\n"),
              "sqlite:/var/lib/mailgate/mailgate.db");
    EXPECT_EQ(rulesOf("include = \"more.toml\"\n" + kStores + site("x = 1")), "")
        << "a file that cannot be read";
    EXPECT_EQ(rulesOf(site("proxy = ")), "sqlite:/var/lib/mailgate/mailgate.db") << "the file names no other";
    EXPECT_EQ(rulesOf("url = \n" + site()), "") << "no table is in front of it";
}

TEST(LoadReadable, IncludedFilesAreReadLikewise) {
    std::string included = kStores;
    const config::FileSource source{[](const fs::path&) { return std::nullopt; },
                                    [&](const fs::path&) { return included; }};
    const std::string main = "include = \"stores.toml\"\n" + site("x = 1");
    const auto rules = [&] { return parseReadable(main, kFile, source).config.store_url; };
    EXPECT_EQ(rules(), "sqlite:/etc/mailgate/rules.db");
    included = kStores + "[[listener]]\nname = ";
    EXPECT_EQ(rules(), "sqlite:/etc/mailgate/rules.db");
    included = kStores + "[fleet]\nurl = ";
    EXPECT_THROW(rules(), ConfigError);
}

TEST(LoadConsole, NeedsTlsWhereOthersCanConnect) {
    const auto errors = [](const std::string& console) {
        return errorsOf("[console]\n" + console + "\n" + site());
    };
    EXPECT_EQ(errors("address = \"\""), "");
    EXPECT_EQ(errors("address = \"127.0.0.1:8026\""), "");
    EXPECT_EQ(errors("address = \"[::1]:8026\""), "");
    EXPECT_THAT(errors("address = \"0.0.0.0:8026\""), HasSubstr("insecure = \"accepted\""));
    EXPECT_EQ(errors("address = \"0.0.0.0:8026\"\ncertificates = [{ certificate = \"a.pem\" }]"), "");
    EXPECT_EQ(errors("address = \"0.0.0.0:8026\"\ninsecure = \"accepted\""), "");
    EXPECT_THAT(
        warningsOf(parse("[console]\naddress = \"0.0.0.0:8026\"\ninsecure = \"accepted\"\n" + site())),
        ElementsAre(HasSubstr("in the clear")));
    EXPECT_THAT(
        warningsOf(parse("[console]\naddress = \"127.0.0.1:8026\"\ninsecure = \"accepted\"\n" + site())),
        ElementsAre(HasSubstr("no effect")));
    EXPECT_THAT(errors("address = \"console.example.net:8026\""), HasSubstr("expected an address"));
    EXPECT_THAT(errors("address = \"0.0.0.0:2525\"\ninsecure = \"accepted\""), HasSubstr("already used"));
}

TEST(LoadConsole, HasAnAddressOfItsOwnInTheBrowser) {
    const auto urlOf = [](const std::string& url) {
        return parse("[console]\nbase_url = \"" + url + "\"\n" + site()).console.base_url;
    };
    EXPECT_EQ(urlOf(""), "");
    EXPECT_EQ(urlOf("https://Console.example.net/"), "https://console.example.net");
    EXPECT_EQ(urlOf("http://[2001:db8::1]:8026"), "http://[2001:db8::1]:8026");
    for (const char* wrong : {"console.example.net", "https://", "https:///", "ftp://x", "https://x/console",
                              "https://u@x", "https://x y", "https://x?"})
        EXPECT_THAT(errorsOf(std::string("[console]\nbase_url = \"") + wrong + "\"\n" + site()),
                    HasSubstr("expected a URL without a path"))
            << wrong;
}

TEST(LoadConsole, BelievesNoHeaderWithoutAProxy) {
    const auto errors = [](const std::string& console) {
        return errorsOf("[console]\n" + console + "\n" + site());
    };
    EXPECT_THAT(errors("user_header = \"X-User\""), HasSubstr("trusted_proxies"));
    EXPECT_EQ(errors("trusted_proxies = [\"10.0.0.1\", \"2001:db8::/64\"]\nuser_header = \"X-User\""), "");
    EXPECT_THAT(errors("trusted_proxies = \"10.0.0.1\"\nuser_header = \"X User\""),
                HasSubstr("header field"));
    EXPECT_THAT(errors("trusted_proxies = \"10.0.0.1/8\""), HasSubstr("host bits"));
}

}  // namespace
}  // namespace mailgate
