// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/changes.h"

#include "gateway/config/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace mailgate {
namespace {

using Phrases = std::vector<std::string>;

template <typename Struct>
Phrases differing(const config::Fields<Struct>& fields, const Struct& before, const Struct& after) {
    Phrases keys;
    for (const config::Field<Struct>& field : fields) {
        if (!field.kind.equal(before, after)) keys.emplace_back(field.key);
    }
    return keys;
}

/// Of the tables that a file has once, with the table's name.
Phrases differingKeys(const Config& before, const Config& after, config::Change change) {
    Phrases keys;
    config::forEachSection([&](std::string_view path, const auto& fields, auto part) {
        for (const auto& field : fields) {
            if (field.change == change && !field.kind.equal(part(before), part(after)))
                keys.push_back(fmt::format("{}.{}", path, field.key));
        }
    });
    return keys;
}

std::string listOf(const Phrases& words) {
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
        const std::string what = old ? listOf(describe(*old, now)) : "added";
        if (!what.empty()) changes.push_back(fmt::format("{} {}: {}", kind, now.name, what));
    }
}

Phrases describeUpstream(const UpstreamConfig& before, const UpstreamConfig& after) {
    Phrases keys = differing(config::upstreamFields(), before, after);
    compareNamed(
        keys, "server", before.servers, after.servers,
        [](const ServerConfig& a, const ServerConfig& b) { return differing(config::serverFields(), a, b); });
    return keys;
}

}  // namespace

Phrases describeChanges(const Config& before, const Config& after) {
    Phrases changes;
    compareNamed(changes, "listener", before.listeners, after.listeners,
                 [](const ListenerConfig& a, const ListenerConfig& b) {
                     return differing(config::listenerFields(), a, b);
                 });
    compareNamed(changes, "upstream", before.upstreams, after.upstreams, describeUpstream);
    for (std::string& key : differingKeys(before, after, config::Change::Reload))
        changes.push_back(std::move(key));
    return changes;
}

Phrases restartOnlyChanges(const Config& before, const Config& after) {
    return differingKeys(before, after, config::Change::Restart);
}

}  // namespace mailgate
