// SPDX-License-Identifier: Apache-2.0
/// \file  Resolves the upstreams' host names again and again, in the background.
///
/// getaddrinfo(3) blocks and tells no TTL, so names are asked for every `resolve_interval`, those that are due side
/// by side: one whose name servers are mute keeps no other waiting that is due with it. All addresses of a name
/// become endpoints of its server; those that are gone get no new sessions, and sessions that are under way stay. An
/// answer that fails changes nothing: the last good one stays in force.
#pragma once

#include "gateway/io/resolve.h"
#include "gateway/upstream/upstream_pool.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {

class NameWatcher {
  public:
    /// Called from the watcher's thread.
    struct Events {
        /// The addresses of a server changed.
        std::function<void(const UpstreamConfig&, const ServerConfig&, const std::vector<Endpoint>&)> changed;
        /// A name could not be resolved; called once, until it can be again.
        std::function<void(const UpstreamConfig&, const ServerConfig&, const std::string& why)> failed;
    };

    /// The pools must outlive the watcher.
    NameWatcher(const std::vector<UpstreamPool*>& pools, Events events, Resolver resolve = resolveHost);
    ~NameWatcher();
    NameWatcher(const NameWatcher&) = delete;
    NameWatcher& operator=(const NameWatcher&) = delete;

    /// No thread is started when no server has a name.
    void start();
    /// Returns at once, also in mid-look-up, which goes on by itself (for many seconds perhaps): its result
    /// is not used.
    void stop();

  private:
    using Clock = std::chrono::steady_clock;
    struct Name {
        UpstreamPool* pool = nullptr;
        std::size_t server = 0;
        std::string host;
        std::uint16_t port = 0;
        std::chrono::milliseconds interval{};
        Clock::time_point due;
        bool failing = false;
    };

    void run(const std::stop_token& stop);
    void resolveDue(const std::stop_token& stop);
    void apply(Name& name, const Resolution& resolution);

    Events events_;
    Resolver resolve_;
    std::vector<Name> names_;  ///< of the thread, once it runs
    std::jthread thread_;
};

}  // namespace mailgate
