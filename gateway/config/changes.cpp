#include "gateway/config/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace mailgate {
namespace {

using Phrases = std::vector<std::string>;

template <typename T>
const T* find(const std::vector<T>& all, std::string_view name) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const T& one) { return one.name == name; });
    return found == all.end() ? nullptr : &*found;
}

std::string joined(const Phrases& words) {
    return fmt::format("{}", fmt::join(words, ", "));
}

std::string keysOf(const ListenerConfig& a, const ListenerConfig& b) {
    Phrases keys;
    if (a.protocol != b.protocol) keys.push_back("protocol");
    if (a.addresses != b.addresses) keys.push_back("address");
    if (a.proxy != b.proxy) keys.push_back("proxy");
    if (a.trusted != b.trusted) keys.push_back("trusted");
    if (a.access != b.access) keys.push_back("access");
    if (a.tls != b.tls) keys.push_back("tls");
    if (a.bare_lf != b.bare_lf) keys.push_back("bare_lf");
    if (a.bare_lf_exclude != b.bare_lf_exclude) keys.push_back("bare_lf_exclude");
    if (a.client_sessions != b.client_sessions) keys.push_back("client_sessions");
    if (a.client_rate != b.client_rate) keys.push_back("client_rate");
    if (a.client_ipv4_prefix != b.client_ipv4_prefix) keys.push_back("client_ipv4_prefix");
    if (a.client_ipv6_prefix != b.client_ipv6_prefix) keys.push_back("client_ipv6_prefix");
    if (a.upstream != b.upstream) keys.push_back("upstream");
    return joined(keys);
}

std::string keysOf(const UpstreamConfig& a, const UpstreamConfig& b) {
    Phrases keys;
    if (a.servers != b.servers) keys.push_back("servers");
    if (a.send_proxy != b.send_proxy) keys.push_back("send_proxy");
    if (a.balance != b.balance) keys.push_back("balance");
    // What the checks speak may follow from the listeners: that is told there.
    UpstreamConfig same = b;
    same.check_protocol = a.check_protocol;
    if (keys.empty() && !(a == same)) keys.push_back("options");
    return joined(keys);
}

// Names are keys; their order in the file means nothing, and neither does the index that follows from it.
template <typename T>
void compareNamed(Phrases& changes, std::string_view kind, const std::vector<T>& before,
                  const std::vector<T>& after) {
    for (const T& old : before) {
        if (!find(after, old.name)) changes.push_back(fmt::format("{} {}: removed", kind, old.name));
    }
    for (const T& now : after) {
        const T* old = find(before, now.name);
        if (!old) {
            changes.push_back(fmt::format("{} {}: added", kind, now.name));
        } else if (!(*old == now)) {
            const std::string keys = keysOf(*old, now);
            if (!keys.empty()) changes.push_back(fmt::format("{} {}: {}", kind, now.name, keys));
        }
    }
}

}  // namespace

Phrases describeChanges(const Config& before, const Config& after) {
    Phrases changes;
    compareNamed(changes, "listener", before.listeners, after.listeners);
    compareNamed(changes, "upstream", before.upstreams, after.upstreams);
    if (before.name != after.name) changes.push_back("gateway.name");
    if (before.max_sessions != after.max_sessions) changes.push_back("gateway.max_sessions");
    if (before.drain_timeout != after.drain_timeout) changes.push_back("gateway.drain_timeout");
    if (!(before.timeouts == after.timeouts)) changes.push_back("timeouts");
    if (!(before.log == after.log)) changes.push_back("log");
    return changes;
}

Phrases restartOnlyChanges(const Config& before, const Config& after) {
    Phrases keys;
    if (before.workers != after.workers) keys.push_back("gateway.workers");
    if (before.user != after.user) keys.push_back("gateway.user");
    if (before.store_url != after.store_url) keys.push_back("store.url");
    if (!(before.journal == after.journal)) keys.push_back("journal");
    if (!(before.admin == after.admin)) keys.push_back("admin");
    return keys;
}

}  // namespace mailgate
