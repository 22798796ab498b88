// SPDX-License-Identifier: Apache-2.0
/// \file  Those who issue the certificates that are believed, from a PEM file; and whether that file has changed.
#pragma once

#include "gateway/tls/certificate.h"

#include <string>
#include <string_view>

struct ssl_ctx_st;

namespace mailgate {

/// Has `context` verify `whom` ("clients", "servers") by those in `file`. Throws TlsError.
void trustAuthorities(const std::string& file, std::string_view whom, ssl_ctx_st* context);

/// For one thread. `file`: empty where there is none, which never changes.
class AuthoritiesWatcher {
  public:
    explicit AuthoritiesWatcher(const std::string& file);

    FileIdentities now() const noexcept { return identitiesOf(file_); }

    /// To be asked every few seconds: it has changed since it was handled, and not since the last time.
    bool settled() noexcept;
    /// It has been read as it was then. False: settled() has told of that, or it was so from the beginning.
    bool handled(const FileIdentities& state) noexcept;

  private:
    CertificateFiles file_;
    FileIdentities seen_;
    FileIdentities handled_;
};

}  // namespace mailgate
