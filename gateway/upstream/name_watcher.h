// SPDX-License-Identifier: Apache-2.0
/// \file  Resolves the upstreams' host names again and again, in the background.
///
/// getaddrinfo(3) blocks and tells no TTL, so one thread asks for each name every `resolve_interval`. All
/// addresses of a name become endpoints of its server; those that are gone get no new sessions, and sessions
/// that are under way stay. An answer that fails changes nothing: the last good one stays in force.
#pragma once

#include "gateway/io/resolve.h"
#include "gateway/upstream/upstream_pool.h"

#include <functional>
#include <memory>
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
        /// A name has no answer; once, until it has one again.
        std::function<void(const UpstreamConfig&, const ServerConfig&, const std::string& why)> failed;
    };

    /// The pools must outlive the watcher.
    NameWatcher(std::vector<UpstreamPool*> pools, Events events, Resolver resolve = resolveHost);
    ~NameWatcher();
    NameWatcher(const NameWatcher&) = delete;
    NameWatcher& operator=(const NameWatcher&) = delete;

    /// No thread is started when no server has a name.
    void start();
    /// Returns at once, also in mid-look-up (which may take many seconds): its result is not used.
    void stop();

  private:
    struct Shared;
    static void run(const std::shared_ptr<Shared>& shared);

    std::shared_ptr<Shared> shared_;  ///< with the thread, which may outlive this object in getaddrinfo
    std::thread thread_;
};

}  // namespace mailgate
