// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace mailgate {
namespace {

using Phrases = std::vector<std::string>;

template <typename T>
struct Key {
    std::string_view name;
    bool (*differs)(const T&, const T&);
};

/// A key of the file, and the member that holds its value.
template <auto Member, typename T>
constexpr Key<T> key(std::string_view name) {
    return {name, [](const T& a, const T& b) { return !(a.*Member == b.*Member); }};
}
template <auto Section, auto Member>
constexpr Key<Config> keyOf(std::string_view name) {
    return {name,
            [](const Config& a, const Config& b) { return !(a.*Section.*Member == b.*Section.*Member); }};
}
template <Protocol Of>
constexpr Key<Config> idleKey(std::string_view name) {
    return {name, [](const Config& a, const Config& b) {
                return a.timeouts.idleFor(Of) != b.timeouts.idleFor(Of);
            }};
}

using L = ListenerConfig;
constexpr Key<L> kListenerKeys[] = {
    key<&L::protocol, L>("protocol"),
    key<&L::addresses, L>("address"),
    key<&L::proxy, L>("proxy"),
    key<&L::trusted, L>("trusted"),
    key<&L::access, L>("access"),
    key<&L::tls, L>("tls"),
    key<&L::bare_lf, L>("bare_lf"),
    key<&L::bare_lf_exclude, L>("bare_lf_exclude"),
    key<&L::client_sessions, L>("client_sessions"),
    key<&L::client_rate, L>("client_rate"),
    key<&L::client_ipv4_prefix, L>("client_ipv4_prefix"),
    key<&L::client_ipv6_prefix, L>("client_ipv6_prefix"),
    key<&L::upstream, L>("upstream"),
};

using S = ServerConfig;
// What a name stands for at the moment is no change of the file.
constexpr Key<S> kServerKeys[] = {
    key<&S::address, S>("address"),
    key<&S::weight, S>("weight"),
    key<&S::backup, S>("backup"),
};

using U = UpstreamConfig;
constexpr Key<U> kUpstreamKeys[] = {
    key<&U::send_proxy, U>("send_proxy"),
    key<&U::lost_client_address_accepted, U>("lost_client_address"),
    key<&U::max_header_bytes, U>("max_header"),
    key<&U::pass_tlvs, U>("pass_tlvs"),
    key<&U::balance, U>("balance"),
    key<&U::check, U>("check"),
    key<&U::check_protocol, U>("check_protocol"),
    key<&U::interval, U>("interval"),
    key<&U::check_timeout, U>("check_timeout"),
    key<&U::fall, U>("fall"),
    key<&U::rise, U>("rise"),
    key<&U::slow_start, U>("slow_start"),
    key<&U::resolve_interval, U>("resolve_interval"),
};

using T = Timeouts;
constexpr Key<Config> kKeys[] = {
    key<&Config::name, Config>("gateway.name"),
    key<&Config::max_sessions, Config>("gateway.max_sessions"),
    key<&Config::drain_timeout, Config>("gateway.drain_timeout"),
    keyOf<&Config::timeouts, &T::proxy_header>("timeouts.proxy_header"),
    keyOf<&Config::timeouts, &T::connect>("timeouts.connect"),
    keyOf<&Config::timeouts, &T::greeting>("timeouts.greeting"),
    keyOf<&Config::timeouts, &T::hold>("timeouts.hold"),
    keyOf<&Config::timeouts, &T::half_close>("timeouts.half_close"),
    idleKey<Protocol::Smtp>("timeouts.idle.smtp"),
    idleKey<Protocol::Imap>("timeouts.idle.imap"),
    idleKey<Protocol::Pop3>("timeouts.idle.pop3"),
    idleKey<Protocol::Lmtp>("timeouts.idle.lmtp"),
    idleKey<Protocol::Sieve>("timeouts.idle.sieve"),
    idleKey<Protocol::Tcp>("timeouts.idle.tcp"),
    keyOf<&Config::log, &LogConfig::format>("log.format"),
    keyOf<&Config::log, &LogConfig::target>("log.target"),
    keyOf<&Config::log, &LogConfig::level>("log.level"),
};

using J = JournalConfig;
constexpr Key<Config> kRestartKeys[] = {
    key<&Config::workers, Config>("gateway.workers"),
    key<&Config::user, Config>("gateway.user"),
    key<&Config::store_url, Config>("store.url"),
    keyOf<&Config::journal, &J::enabled>("journal.enabled"),
    keyOf<&Config::journal, &J::url>("journal.url"),
    keyOf<&Config::journal, &J::keep>("journal.keep"),
    keyOf<&Config::journal, &J::keep_refused>("journal.keep_refused"),
    keyOf<&Config::journal, &J::max_bytes>("journal.max_size"),
    keyOf<&Config::journal, &J::mask_after>("journal.mask_after"),
    keyOf<&Config::admin, &AdminConfig::socket>("admin.socket"),
    keyOf<&Config::admin, &AdminConfig::http>("admin.http"),
};

template <typename C, std::size_t Count>
Phrases differing(const Key<C> (&keys)[Count], const C& before, const C& after) {
    Phrases names;
    for (const Key<C>& key : keys) {
        if (key.differs(before, after)) names.emplace_back(key.name);
    }
    return names;
}

std::string joined(const Phrases& words) {
    return fmt::format("{}", fmt::join(words, ", "));
}

template <typename C>
const C* find(const std::vector<C>& all, std::string_view name) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const C& one) { return one.name == name; });
    return found == all.end() ? nullptr : &*found;
}

// Names are keys; their order in the file means nothing, and neither does the index that follows from it.
template <typename C, typename Describe>
void compareNamed(Phrases& changes, std::string_view kind, const std::vector<C>& before,
                  const std::vector<C>& after, Describe describe) {
    for (const C& old : before) {
        if (!find(after, old.name)) changes.push_back(fmt::format("{} {}: removed", kind, old.name));
    }
    for (const C& now : after) {
        const C* old = find(before, now.name);
        const std::string what = old ? joined(describe(*old, now)) : "added";
        if (!what.empty()) changes.push_back(fmt::format("{} {}: {}", kind, now.name, what));
    }
}

Phrases describeUpstream(const UpstreamConfig& before, const UpstreamConfig& after) {
    Phrases keys = differing(kUpstreamKeys, before, after);
    compareNamed(keys, "server", before.servers, after.servers,
                 [](const S& a, const S& b) { return differing(kServerKeys, a, b); });
    return keys;
}

}  // namespace

Phrases describeChanges(const Config& before, const Config& after) {
    Phrases changes;
    compareNamed(changes, "listener", before.listeners, after.listeners,
                 [](const L& a, const L& b) { return differing(kListenerKeys, a, b); });
    compareNamed(changes, "upstream", before.upstreams, after.upstreams, describeUpstream);
    for (std::string& key : differing(kKeys, before, after))
        changes.push_back(std::move(key));
    return changes;
}

Phrases restartOnlyChanges(const Config& before, const Config& after) {
    return differing(kRestartKeys, before, after);
}

}  // namespace mailgate
