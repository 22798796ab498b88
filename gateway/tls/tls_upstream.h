// SPDX-License-Identifier: Apache-2.0
/// \file  What an upstream whose servers speak TLS keeps: its context, made anew when the files that it was read from
/// have changed: the certificates of those whom it trusts, and its own certificate, if it has one.
///
/// Connections take the context that is current when they begin. Nothing that is wrong with a new file reaches them:
/// the context before it stays until all is well.
#pragma once

#include "gateway/tls/authorities.h"
#include "gateway/tls/certificate_watcher.h"
#include "gateway/tls/client_context.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace mailgate {

class TlsUpstream {
  public:
    struct Callbacks {
        /// A changed file is in use.
        std::function<void(const std::string& file)> renewed;
        /// One sentence, once for each change: what is wrong, and that the old one stays in use.
        std::function<void(const std::string& why)> refused;
    };

    /// `certificate`: what servers get that ask for one; without a file there is none. Throws TlsError.
    TlsUpstream(const TlsClientOptions& options, const CertificateFiles& certificate, Callbacks callbacks);
    TlsUpstream(const TlsUpstream&) = delete;
    TlsUpstream& operator=(const TlsUpstream&) = delete;

    /// Never null. Any thread.
    std::shared_ptr<const TlsClientContext> context() const noexcept;

    /// Why what the files say now is not in use, and what a restart would do; empty: it is. Any thread.
    std::string refusal() const;

    /// Looks at the files; every few seconds, always on the same thread.
    void poll(UnixSeconds now);

  private:
    std::shared_ptr<const TlsClientContext> build() const;
    void rebuild();

    const TlsClientOptions options_;
    const Callbacks callbacks_;
    CertificateWatcher watcher_;
    AuthoritiesWatcher authorities_;
    std::string waiting_;  ///< a changed file that is in no context yet
    std::string last_refusal_;
    mutable std::mutex mutex_;
    std::shared_ptr<const TlsClientContext> context_;
    std::string refusal_;
};

}  // namespace mailgate
