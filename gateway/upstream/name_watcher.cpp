// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/name_watcher.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace mailgate {
namespace {

using Clock = std::chrono::steady_clock;

struct WatchedName {
    UpstreamPool* pool = nullptr;
    std::size_t server = 0;
    std::string host;
    std::uint16_t port = 0;
    std::chrono::milliseconds interval{};
    Clock::time_point due;
    bool failing = false;
};

}  // namespace

struct NameWatcher::Shared {
    std::mutex mutex;  ///< held while pools or events are used
    std::condition_variable changed;
    bool stopping = false;
    bool resolving = false;
    Events events;
    Resolver resolve;
    std::vector<WatchedName> names;

    void apply(WatchedName& name, const Resolution& resolution) {
        const UpstreamConfig& upstream = name.pool->config();
        const ServerConfig& server = upstream.servers[name.server];
        const bool failing = resolution.addresses.empty();
        if (failing && !name.failing && events.failed) events.failed(upstream, server, resolution.error);
        name.failing = failing;
        std::vector<Endpoint> endpoints;
        for (const IpAddress& address : resolution.addresses)
            endpoints.push_back({address, name.port});
        if (name.pool->setAddresses(name.server, endpoints) && events.changed)
            events.changed(upstream, server, endpoints);
    }
};

NameWatcher::NameWatcher(std::vector<UpstreamPool*> pools, Events events, Resolver resolve)
    : shared_(std::make_shared<Shared>()) {
    shared_->events = std::move(events);
    shared_->resolve = std::move(resolve);
    for (UpstreamPool* pool : pools) {
        const UpstreamConfig& upstream = pool->config();
        for (std::size_t i = 0; i < upstream.servers.size(); ++i) {
            const ServerConfig& server = upstream.servers[i];
            if (server.host.empty()) continue;
            // What loading the configuration could not resolve is wanted at once.
            const auto wait =
                server.endpoints.empty() ? std::chrono::milliseconds(0) : upstream.resolve_interval;
            shared_->names.push_back({pool, i, server.host, server.port, upstream.resolve_interval,
                                      Clock::now() + wait, server.endpoints.empty()});
        }
    }
}

NameWatcher::~NameWatcher() {
    stop();
}

void NameWatcher::start() {
    if (!shared_->names.empty()) thread_ = std::thread([shared = shared_] { run(shared); });
}

void NameWatcher::stop() {
    if (!thread_.joinable()) return;
    std::unique_lock lock(shared_->mutex);
    shared_->stopping = true;
    const bool resolving = shared_->resolving;
    lock.unlock();
    shared_->changed.notify_all();
    if (resolving)
        thread_.detach();
    else
        thread_.join();
}

void NameWatcher::run(const std::shared_ptr<Shared>& shared) {
    std::unique_lock lock(shared->mutex);
    while (!shared->stopping) {
        const auto next = std::min_element(shared->names.begin(), shared->names.end(),
                                           [](const auto& a, const auto& b) { return a.due < b.due; });
        if (next->due > Clock::now()) {
            shared->changed.wait_until(lock, next->due);
            continue;
        }
        shared->resolving = true;
        lock.unlock();
        const Resolution resolution = shared->resolve(next->host);
        lock.lock();
        shared->resolving = false;
        if (shared->stopping) return;
        shared->apply(*next, resolution);
        next->due = Clock::now() + next->interval;
    }
}

}  // namespace mailgate
