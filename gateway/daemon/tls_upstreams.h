// SPDX-License-Identifier: Apache-2.0
/// \file  How TLS is spoken with the servers of the upstreams that speak it: read for a configuration, watched while it
/// is in force.
#pragma once

#include "gateway/config/config.h"
#include "gateway/log/event_log.h"
#include "gateway/tls/expiry.h"
#include "gateway/tls/tls_upstream.h"
#include "gateway/upstream/upstream_pool.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace mailgate {

class TlsUpstreams {
  public:
    /// By upstream of the configuration; null where its servers speak in the clear.
    using Row = std::vector<std::shared_ptr<TlsUpstream>>;

    TlsUpstreams() = default;
    TlsUpstreams(const TlsUpstreams&) = delete;
    TlsUpstreams& operator=(const TlsUpstreams&) = delete;

    /// Reads them all. Throws ConfigError: which upstream, which file, and what is wrong with it.
    Row make(const Config& config);

    /// From now on `log`, which must live as long, tells what poll() finds.
    void tell(EventLog& log) noexcept { log_ = &log; }
    /// Looks whether files have changed, and whether a server's certificate expires; every few seconds, always on the
    /// same thread.
    void poll(const std::vector<std::unique_ptr<UpstreamPool>>& pools);

  private:
    void warnOfExpiry(const UpstreamPool& pool, const ServerEndpoint& server, UnixSeconds now);

    std::atomic<EventLog*> log_{nullptr};
    ExpiryWarnings warnings_;  ///< by upstream, server and address
};

}  // namespace mailgate
