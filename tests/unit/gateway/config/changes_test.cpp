// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/changes.h"

#include "gateway/config/fields.h"
#include "gateway/config/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iterator>
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

/// Of the keys whose type does not say what a value looks like, or that others depend on.
const KeySample kOwnSamples[] = {
    {"fleet.url", "\"postgresql://127.0.0.1/a\"", "\"postgresql://127.0.0.1/b\""},
    {"fleet.poll", "\"500ms\"", "\"1s\""},
    {"fleet.ticket_secret", "\"\"", "\"tickets\""},
    {"admin.http", "\"127.0.0.1:8025\"", "\"\""},
    {"admin.socket", "\"a.sock\"", "\"b.sock\""},
    {"console.address", "\"127.0.0.1:8026\"", "\"127.0.0.1:8027\""},
    {"console.certificates", "[{ certificate = \"a.pem\" }]", "[{ certificate = \"b.pem\" }]"},
    {"console.insecure", "", "\"accepted\""},
    {"console.trusted_proxies", "\"10.0.0.1\"", "\"10.0.0.2\""},
    {"console.user_header", "\"X-User\"", "\"X-Remote-User\""},
    {"console.base_url", "\"http://a.example\"", "\"https://b.example:8443\""},
    {"gateway.name", "\"gw.example.org\"", "\"gx.example.org\""},
    {"gateway.user", "\"\"", "\"mail\""},
    {"journal.mask_after", "\"\"", "\"30d\""},
    {"journal.url", "\"sqlite:j.db\"", "\"sqlite:k.db\""},
    {"log.target", "\"stderr\"", "\"syslog\""},
    {"rules.keep_audit", "\"30d\"", "\"60d\""},
    {"store.url", "\"sqlite:r.db\"", "\"sqlite:s.db\""},
    {"listener.address", "\"0.0.0.0:25\"", "[\"0.0.0.0:25\", \"[::]:25\"]"},
    {"listener.bare_lf", "\"reject\"", "\"pass\""},
    {"listener.bare_lf_exclude", "\"192.0.2.0/24\"", "\"192.0.2.0/25\""},
    {"listener.certificates", "[{ certificate = \"a.pem\" }]", "[{ certificate = \"b.pem\" }]"},
    {"listener.ciphers", "\"\"", "\"TLS_AES_128_GCM_SHA256\""},
    {"listener.client_ca", "\"a-ca.pem\"", "\"b-ca.pem\""},
    {"listener.client_certificates", "\"optional\"", "\"required\""},
    {"listener.groups", "\"\"", "\"X25519\""},
    {"listener.tls", "\"starttls\"", "\"starttls\""},
    {"listener.name", "\"l\"", "\"renamed\""},
    {"listener.protocol", "\"smtp\"", "\"lmtp\""},
    {"listener.proxy", "\"require\"", "\"mixed\""},
    {"listener.refusal_footer", "\"\"", "\"ask postmaster@example.net\""},
    {"listener.trusted", "\"10.0.0.0/8\"", "\"10.1.0.0/16\""},
    {"listener.upstream", "\"u\"", "\"other\""},
    {"upstream.ca", "", "\"ca.pem\""},
    {"upstream.check_protocol", "\"smtp\"", "\"tcp\""},
    {"upstream.client_certificate", "{ certificate = \"a.pem\" }", "{ certificate = \"b.pem\" }"},
    {"upstream.lost_client_address", "", "\"accepted\""},
    {"upstream.name", "\"u\"", "\"v\""},
    {"upstream.send_proxy", "\"v2\"", "\"v1\""},
    {"upstream.server.address", "\"192.0.2.1:25\"", "\"mx.example.org:25\""},
    {"upstream.server.name", "\"s\"", "\"t\""},
    {"upstream.server.server_name", "\"a.example.org\"", "\"b.example.org\""},
    {"upstream.server_name", "\"a.example.org\"", "\"b.example.org\""},
    {"upstream.tls", "\"implicit\"", "\"starttls\""},
};

/// Two values of a type, as the reference writes it: "boolean", "1 to 100", "1h or more", "`json`, `logfmt`"…
KeySample sampleOf(const std::string& key, const std::string& type) {
    const std::size_t to = type.find(" to ");
    const std::string low = type.substr(0, type.find(' '));
    const std::string high =
        to == std::string::npos ? "" : type.substr(to + 4, type.find(' ', to + 4) - to - 4);
    const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
    if (type == "boolean") return {key, "true", "false"};
    if (type == "duration") return {key, "\"1s\"", "\"2s\""};
    if (type.ends_with("B or more")) return {key, quoted(low), "\"1GiB\""};
    if (type.ends_with(" or more")) return {key, quoted(low), "\"7d\""};
    if (type.starts_with('`')) {
        const std::size_t end = type.find('`', 1);
        const std::size_t next = type.find('`', end + 1) + 1;
        return {key, quoted(type.substr(1, end - 1)), quoted(type.substr(next, type.find('`', next) - next))};
    }
    if (high.ends_with('s') || high.ends_with('d')) return {key, quoted(low), quoted(high)};
    return {key, low, high};
}

std::vector<KeySample> allSamples() {
    std::vector<KeySample> samples;
    for (const config::DescribedTable& table : config::describeTables()) {
        if (table.path.empty() || table.path == "defaults") continue;  // what they change is others' keys
        for (const config::Described& row : table.keys) {
            const std::string key = table.path + "." + row.key;
            const auto* own = std::ranges::find(kOwnSamples, key, &KeySample::key);
            samples.push_back(own != std::end(kOwnSamples) ? *own : sampleOf(key, row.type));
        }
    }
    return samples;
}

/// All of the keys, `changed` with its other value.
Config sampleConfig(std::string_view changed) {
    std::string text, last;
    for (const KeySample& sample : allSamples()) {
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
    const Config before = sampleConfig("");
    EXPECT_THAT(describeChanges(before, sampleConfig("")), IsEmpty());
    EXPECT_THAT(restartOnlyChanges(before, sampleConfig("")), IsEmpty());
    for (const auto& [key, value, other] : allSamples()) {
        // Of what has another name, the one is removed and the other added: see below.
        if (key == "listener.tls") continue;  // the others hang on it
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
    after = before;
    after.listeners[0].tls = ListenerTls::Off;
    EXPECT_THAT(describeChanges(before, after), ElementsAre("listener l: tls"));
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
