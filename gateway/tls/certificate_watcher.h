// SPDX-License-Identifier: Apache-2.0
/// \file  Notices that the files of certificates have changed, and reads them anew.
///
/// poll() is all that happens, on the thread that calls it, every few seconds. A renewal writes several files, one
/// after the other, or points symlinks elsewhere: they are read when two polls have found them the same. A pair that
/// cannot be used is refused, the one before stays, and it is tried again at each poll; told of once for each change.
#pragma once

#include "gateway/tls/certificate.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailgate {

/// The same, with what follows where files cannot be used; empty stays empty.
std::string startWouldFail(const std::string& refusal);

class CertificateWatcher {
  public:
    using Certificates = std::vector<std::shared_ptr<const Certificate>>;
    struct Callbacks {
        /// Of one poll, all together: those at these places of current() are new.
        std::function<void(const std::vector<std::size_t>& places)> changed;
        std::function<void(const CertificateFiles& files, const std::string& why)> refused;
    };

    CertificateWatcher(Certificates certificates, Callbacks callbacks);

    void poll(UnixSeconds now);

    /// In the order in which they were given.
    const Certificates& current() const noexcept { return current_; }
    /// Why the files that are there now are not in use, and what a restart would do with them; empty: they are those of
    /// current(), or are being written.
    std::string refusal() const;

  private:
    struct Watched {
        FileIdentities handled;  ///< loaded, or refused
        FileIdentities seen;     ///< at the last poll
        std::string refusal;     ///< of those handled last; empty: they were loaded
        bool loads = false;      ///< and whoever loads them anew would present them all the same
    };

    bool due(std::size_t place) noexcept;
    bool renew(std::size_t place, UnixSeconds now);

    Certificates current_;
    std::vector<Watched> watched_;
    Callbacks callbacks_;
};

}  // namespace mailgate
