// SPDX-License-Identifier: Apache-2.0
/// \file  Tries which PROXY headers a server accepts, and says what to change, and where.
///
/// Blocks; for the command line. Every attempt is one short, polite conversation, so the server's log
/// shows connections from this machine, and for each header that it refuses the complaint that it would
/// make of a gateway's session.
#pragma once

#include "gateway/config/config.h"
#include "gateway/upstream/tls_report.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace mailgate {

/// What one attempt got.
struct ProbeAnswer {
    bool tried = false;
    bool accepted = false;
    std::string reason;              ///< when not accepted
    bool misread = false;            ///< a TLS server took the header for a client's first message
    std::optional<TlsReport> tls{};  ///< where hands were shaken
};

struct ProbeReport {
    Endpoint endpoint;
    IpAddress own;            ///< the address that the server sees
    std::string unreachable;  ///< not empty: nothing else was tried
    bool greets_without_header = false;
    ProbeAnswer v1, v2, tcp6, local;
    std::size_t largest_header = 0;  ///< bytes, of the sizes tried
    std::string larger_reason;       ///< what the next size got; empty when all were accepted
    std::optional<TlsReport> tls{};  ///< what the server shows; none: TLS is off, or was not got to
};

/// Tries one address of a server of `upstream`. `name`: the gateway's; `tls_name`: whom its certificate must be for.
/// A certificate that sessions would refuse is reported, and the attempts go on. Throws TlsError.
ProbeReport probeServer(const UpstreamConfig& upstream, const Endpoint& server, const std::string& name,
                        const std::string& tls_name = {});

/// What has to change so that sessions, checks and IPv6 clients get through; empty when all is well.
std::vector<std::string> adviseOn(const UpstreamConfig& upstream, const ProbeReport& report);

/// The local address of a connection to `remote`; nothing is sent. The unspecified address when there is no route.
IpAddress localAddressTowards(const Endpoint& remote);

}  // namespace mailgate
