// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/name_watcher.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <utility>

namespace mailgate {
namespace {

// By then the C library has given up.
constexpr std::chrono::minutes kPatience{2};
// There may be memory then.
constexpr std::chrono::seconds kMemoryPause{1};

}  // namespace

NameWatcher::NameWatcher(const std::vector<UpstreamPool*>& pools, Events events, Resolver resolve)
    : events_(std::move(events)), resolve_(std::move(resolve)) {
    const auto now = Clock::now();
    for (UpstreamPool* pool : pools) {
        const UpstreamConfig& upstream = pool->config();
        for (std::size_t i = 0; i < upstream.servers.size(); ++i) {
            const ServerConfig& server = upstream.servers[i];
            if (server.host.empty()) continue;
            // What loading the configuration could not resolve is wanted at once.
            const auto wait =
                server.endpoints.empty() ? std::chrono::milliseconds(0) : upstream.resolve_interval;
            names_.push_back({pool, i, server.host, server.port, upstream.resolve_interval, now + wait,
                              server.endpoints.empty()});
        }
    }
}

NameWatcher::~NameWatcher() {
    stop();
}

void NameWatcher::start() {
    if (!names_.empty()) thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void NameWatcher::stop() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    thread_.join();
}

void NameWatcher::run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
        const auto next = std::min_element(names_.begin(), names_.end(),
                                           [](const Name& a, const Name& b) { return a.due < b.due; });
        stopped.wait_until(lock, stop, next->due, [] { return false; });
        try {
            resolveDue(stop);
        } catch (const std::bad_alloc&) {
            for (Name& name : names_)
                name.due = std::max(name.due, Clock::now() + kMemoryPause);
        }
    }
}

void NameWatcher::resolveDue(const std::stop_token& stop) {
    std::vector<Name*> due;
    std::vector<std::string> hosts;
    auto now = Clock::now();
    for (Name& name : names_) {
        if (name.due > now) continue;
        due.push_back(&name);
        hosts.push_back(name.host);
    }
    const std::vector<Resolution> answers = resolveAll(hosts, resolve_, kPatience, stop);
    if (stop.stop_requested()) return;
    // One time for all, so that they stay side by side.
    now = Clock::now();
    for (std::size_t i = 0; i < due.size(); ++i) {
        apply(*due[i], answers[i]);
        due[i]->due = now + due[i]->interval;
    }
}

void NameWatcher::apply(Name& name, const Resolution& resolution) {
    const UpstreamConfig& upstream = name.pool->config();
    const ServerConfig& server = upstream.servers[name.server];
    const bool failing = resolution.addresses.empty();
    if (failing && !name.failing && events_.failed) events_.failed(upstream, server, resolution.error);
    name.failing = failing;
    std::vector<Endpoint> endpoints;
    endpoints.reserve(resolution.addresses.size());
    for (const IpAddress& address : resolution.addresses)
        endpoints.push_back({address, name.port});
    if (name.pool->setAddresses(name.server, endpoints) && events_.changed)
        events_.changed(upstream, server, endpoints);
}

}  // namespace mailgate
