// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/changes.h"

#include "gateway/config/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace mailgate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A key with two values; empty: it is not in the file.
struct KeySample {
    std::string key, before, after;
};

const KeySample kKeySamples[] = {
    {"admin.http", "\"127.0.0.1:8025\"", "\"\""},
    {"admin.socket", "\"a.sock\"", "\"b.sock\""},
    {"gateway.drain_timeout", "\"30s\"", "\"31s\""},
    {"gateway.max_sessions", "10", "11"},
    {"gateway.name", "\"gw.example.org\"", "\"gx.example.org\""},
    {"gateway.user", "\"\"", "\"mail\""},
    {"gateway.workers", "1", "2"},
    {"journal.enabled", "true", "false"},
    {"journal.keep", "\"90d\"", "\"91d\""},
    {"journal.keep_refused", "\"14d\"", "\"15d\""},
    {"journal.mask_after", "\"\"", "\"30d\""},
    {"journal.max_size", "\"10GiB\"", "\"11GiB\""},
    {"journal.url", "\"sqlite:j.db\"", "\"sqlite:k.db\""},
    {"log.format", "\"json\"", "\"logfmt\""},
    {"log.level", "\"information\"", "\"debug\""},
    {"log.target", "\"stderr\"", "\"syslog\""},
    {"store.url", "\"sqlite:r.db\"", "\"sqlite:s.db\""},
    {"timeouts.connect", "\"5s\"", "\"6s\""},
    {"timeouts.greeting", "\"30s\"", "\"31s\""},
    {"timeouts.half_close", "\"30s\"", "\"31s\""},
    {"timeouts.hold", "\"15s\"", "\"16s\""},
    {"timeouts.proxy_header", "\"5s\"", "\"6s\""},
    {"timeouts.idle.imap", "\"31m\"", "\"32m\""},
    {"timeouts.idle.lmtp", "\"6m\"", "\"7m\""},
    {"timeouts.idle.pop3", "\"11m\"", "\"12m\""},
    {"timeouts.idle.sieve", "\"31m\"", "\"32m\""},
    {"timeouts.idle.smtp", "\"6m\"", "\"7m\""},
    {"timeouts.idle.tcp", "\"1h\"", "\"2h\""},
    {"listener.access", "\"allowlist\"", "\"open\""},
    {"listener.address", "\"0.0.0.0:25\"", "[\"0.0.0.0:25\", \"[::]:25\"]"},
    {"listener.bare_lf", "\"reject\"", "\"pass\""},
    {"listener.bare_lf_exclude", "\"192.0.2.0/24\"", "\"192.0.2.0/25\""},
    {"listener.client_ipv4_prefix", "32", "24"},
    {"listener.client_ipv6_prefix", "64", "56"},
    {"listener.client_rate", "0", "1"},
    {"listener.client_sessions", "0", "1"},
    {"listener.name", "\"l\"", "\"renamed\""},
    {"listener.protocol", "\"smtp\"", "\"lmtp\""},
    {"listener.proxy", "\"require\"", "\"mixed\""},
    {"listener.tls", "\"off\"", "\"passthrough\""},
    {"listener.trusted", "\"10.0.0.0/8\"", "\"10.1.0.0/16\""},
    {"listener.upstream", "\"u\"", "\"other\""},
    {"upstream.balance", "\"roundrobin\"", "\"source\""},
    {"upstream.check", "true", "false"},
    {"upstream.check_protocol", "\"smtp\"", "\"tcp\""},
    {"upstream.check_timeout", "\"5s\"", "\"6s\""},
    {"upstream.fall", "2", "3"},
    {"upstream.interval", "\"5s\"", "\"6s\""},
    {"upstream.lost_client_address", "", "\"accepted\""},
    {"upstream.max_header", "536", "232"},
    {"upstream.name", "\"u\"", "\"v\""},
    {"upstream.pass_tlvs", "true", "false"},
    {"upstream.resolve_interval", "\"30s\"", "\"31s\""},
    {"upstream.rise", "2", "3"},
    {"upstream.send_proxy", "\"v2\"", "\"v1\""},
    {"upstream.slow_start", "\"0s\"", "\"1s\""},
    {"upstream.server.address", "\"192.0.2.1:25\"", "\"mx.example.org:25\""},
    {"upstream.server.backup", "false", "true"},
    {"upstream.server.name", "\"s\"", "\"t\""},
    {"upstream.server.weight", "1", "2"},
};

/// All of the keys, `changed` with its other value.
Config sampleConfig(std::string_view changed) {
    std::string text, last;
    for (const KeySample& sample : kKeySamples) {
        const std::size_t dot = sample.key.rfind('.');
        const std::string table = sample.key.substr(0, dot);
        const bool array = table.starts_with("listener") || table.starts_with("upstream");
        if (table != last) text += array ? "[[" + table + "]]\n" : "[" + table + "]\n";
        last = table;
        const std::string& value = sample.key == changed ? sample.after : sample.before;
        if (!value.empty()) text += fmt::format("{} = {}\n", sample.key.substr(dot + 1), value);
    }
    text +=
        "[[upstream]]\nname = \"other\"\ncheck_protocol = \"smtp\"\nserver = [{name = \"o\", address = "
        "\"192.0.2.9:25\"}]\n";
    return parseConfig(text, "/etc/mailgate/mailgate.toml", [](const std::string&) {
        return Resolution{{*IpAddress::parse("192.0.2.7")}, ""};
    });
}

TEST(ConfigChanges, EveryKeyThatChangesIsReportedByItsName) {
    std::vector<std::string> sampled;
    for (const KeySample& sample : kKeySamples)
        sampled.push_back(sample.key);
    // Tables are keys with something behind them.
    std::vector<std::string> keys = configKeys();
    std::erase_if(keys, [all = keys](const std::string& key) {
        return std::any_of(all.begin(), all.end(),
                           [&](const std::string& other) { return other.starts_with(key + "."); });
    });
    EXPECT_THAT(sampled, testing::UnorderedElementsAreArray(keys)) << "a sample for every key";
    const Config before = sampleConfig("");
    EXPECT_THAT(describeChanges(before, sampleConfig("")), IsEmpty());
    EXPECT_THAT(restartOnlyChanges(before, sampleConfig("")), IsEmpty());
    for (const std::string& key : sampled) {
        // Of what has another name, the one is removed and the other added: see below.
        if (key == "listener.name" || key == "upstream.name" || key == "upstream.server.name") continue;
        const Config after = sampleConfig(key);
        std::vector<std::string> reported = describeChanges(before, after);
        for (std::string& restart : restartOnlyChanges(before, after))
            reported.push_back(std::move(restart));
        const std::string leaf = key.substr(key.rfind('.') + 1);
        std::string want = key;
        if (key.starts_with("listener.")) want = "listener l: " + leaf;
        if (key.starts_with("upstream.")) want = "upstream u: " + leaf;
        if (key.starts_with("upstream.server.")) want = "upstream u: server s: " + leaf;
        EXPECT_THAT(reported, ElementsAre(want));
    }
}

TEST(ConfigChanges, AllKeysOfATableAreReportedAndWhatIsNamedComesAndGoes) {
    const Config before = sampleConfig("");
    Config after = before;
    after.upstreams[0].balance = Balance::LeastConn;
    after.upstreams[0].fall = 7;
    after.upstreams[0].interval = std::chrono::seconds(1);
    EXPECT_THAT(describeChanges(before, after), ElementsAre("upstream u: balance, interval, fall"));
    EXPECT_THAT(describeChanges(before, sampleConfig("listener.name")),
                ElementsAre("listener l: removed", "listener renamed: added"));
    EXPECT_THAT(describeChanges(before, sampleConfig("upstream.server.name")),
                ElementsAre("upstream u: server s: removed, server t: added"));
    after = before;
    after.upstreams[0].name = "v";
    EXPECT_THAT(describeChanges(before, after), ElementsAre("upstream u: removed", "upstream v: added"));
    // What a name stands for changes by itself.
    const Config named = sampleConfig("upstream.server.address");
    after = named;
    after.upstreams[0].servers[0].endpoints.clear();
    EXPECT_THAT(describeChanges(named, after), IsEmpty());
}

}  // namespace
}  // namespace mailgate
