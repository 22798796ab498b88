// SPDX-License-Identifier: Apache-2.0
/// \file  Writes the PROXY protocol headers that mailgate sends to its servers.
///
/// The result goes out in one send(2), before anything else (specification 2). Addresses of different families are
/// promoted to IPv6-mapped ones, so a header always says what is true; UNKNOWN and UNSPEC are never written.
#pragma once

#include "protocols/proxy/header.h"

#include <string>
#include <vector>

namespace mailgate::proxy {

struct Connection {
    Endpoint source;
    Endpoint destination;
};

/// v1 line (2.1), at most kMaxV1HeaderBytes.
std::string encodeV1(const Connection& connection);

/// v2 PROXY header (2.2) with `tlvs` in order; what does not fit into `max_bytes` is left out from the end,
/// so the caller gives the least important last. With `checksum` a CRC32C TLV ends the header; its room is
/// taken before the TLVs'. A CRC32C among `tlvs` belongs to the header it came from and is not passed on. The
/// addresses are always written.
std::string encodeV2(const Connection& connection, const std::vector<Tlv>& tlvs = {}, bool checksum = false,
                     std::size_t max_bytes = kSafeSentBytes);

/// The TLV of a client's TLS (2.2.6). A certificate that was not verified is one that nobody showed.
Tlv encodeSsl(const SslInfo& ssl);

/// v2 LOCAL header for the gateway's own checks: family 0, no addresses, no TLVs.
std::string encodeLocal();

}  // namespace mailgate::proxy
