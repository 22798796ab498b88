// SPDX-License-Identifier: Apache-2.0
/// \file  The certificates of the listeners at which TLS ends: read for a configuration, watched while it is in force.
#pragma once

#include "gateway/config/config.h"
#include "gateway/log/event_log.h"
#include "gateway/tls/expiry.h"
#include "gateway/tls/tls_listener.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace mailgate {

class TlsListeners {
  public:
    /// By listener of the configuration; null where TLS does not end.
    using Row = std::vector<std::shared_ptr<TlsListener>>;

    /// Throws TlsError when the system gives no random bytes.
    TlsListeners();
    TlsListeners(const TlsListeners&) = delete;
    TlsListeners& operator=(const TlsListeners&) = delete;

    /// Reads them all. Throws ConfigError: which listener, which file, and what is wrong with it.
    Row make(const Config& config);
    /// Those of the console, which has a row of its own for as long as the process lives; null: it has none. Throws ConfigError.
    std::shared_ptr<TlsListener> makeConsole(const ConsoleConfig& config);

    /// The keys of session tickets, which live as long as anybody has them.
    const std::shared_ptr<TicketKeys>& tickets() const noexcept { return tickets_; }

    /// From now on `log`, which must live as long, tells what poll() finds.
    void tell(EventLog& log) noexcept { log_ = &log; }
    /// Looks whether files have changed, and whether what is in use expires; every few seconds, always on the same thread.
    void poll(const Config& config, const Row& listeners);

  private:
    std::shared_ptr<TlsListener> listenerOf(const std::string& name, const TlsServerOptions& options,
                                            const std::vector<CertificateFiles>& certificates);
    void poll(const std::string& name, TlsListener& listener, UnixSeconds now);
    void warnOfExpiry(const std::string& listener, const Certificate& certificate, UnixSeconds now);

    std::shared_ptr<TicketKeys> tickets_;  ///< of all listeners and configurations: clients outlast a reload
    std::atomic<EventLog*> log_{nullptr};
    std::shared_ptr<TlsListener> console_;  ///< null: it has no certificates
    ExpiryWarnings warnings_;               ///< by listener and certificate
};

/// What is not wrong with certificates but will trouble clients: a sentence each.
std::vector<std::string> certificateWarnings(const TlsListeners::Row& listeners);

}  // namespace mailgate
