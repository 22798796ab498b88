// SPDX-License-Identifier: Apache-2.0
/// \file  What a listener that ends TLS keeps: its context, made anew when the files of a certificate have changed, or the
/// one of those who issue the clients'.
///
/// Connections take the context that is current when they begin. Nothing that is wrong with a new file reaches them:
/// the context before it stays until all is well.
#pragma once

#include "gateway/tls/authorities.h"
#include "gateway/tls/certificate_watcher.h"
#include "gateway/tls/server_context.h"

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace mailgate {

class TlsListener {
  public:
    struct Callbacks {
        std::function<void(const Certificate& certificate)> renewed;
        /// One sentence, once for each change: what is wrong, and that the old one stays in use.
        std::function<void(const std::string& why)> refused;
        /// Clients are believed by a changed file.
        std::function<void(const std::string& client_ca)> trusts;
    };

    /// Throws TlsError.
    TlsListener(const TlsServerOptions& options, const std::vector<CertificateFiles>& files,
                std::shared_ptr<TicketKeys> tickets, Callbacks callbacks);
    TlsListener(const TlsListener&) = delete;
    TlsListener& operator=(const TlsListener&) = delete;

    /// Never null. Any thread.
    std::shared_ptr<const TlsServerContext> context() const noexcept;

    /// Why what the files say now is not in use, and what a restart would do; empty: it is. Any thread.
    std::string refusal() const;

    /// Looks at the files; every few seconds, always on the same thread.
    void poll(UnixSeconds now);

  private:
    void rebuild();

    const TlsServerOptions options_;
    const std::shared_ptr<TicketKeys> tickets_;
    const Callbacks callbacks_;
    CertificateWatcher watcher_;
    AuthoritiesWatcher authorities_;  ///< of clients
    std::set<std::size_t> waiting_;   ///< places whose new certificates are in no context yet
    bool authorities_wait_ = false;   ///< likewise
    std::string last_refusal_;        ///< of a context that could not be built
    mutable std::mutex mutex_;
    std::shared_ptr<const TlsServerContext> context_;
    std::string refusal_;
};

}  // namespace mailgate
