// SPDX-License-Identifier: Apache-2.0
/// \file  What a server shows when TLS is spoken with it, and what a client thinks of that: for `mailgate tls test` and
/// `mailgate probe`. A certificate that a session would refuse ends nothing here: it is the report.
#pragma once

#include "gateway/upstream/polled_connection.h"
#include "protocols/values/protocol.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace mailgate {

struct TlsReport {
    std::string failure;  ///< why hands were not shaken, in words; empty: they were, and all else is known
    std::string version, cipher;
    TlsFailure verdict;        ///< what is wrong with the certificate; None: nothing
    std::string verdict_text;  ///< the same in OpenSSL's words
    std::vector<TlsChainCertificate> chain;
};

/// Of hands that were shaken.
TlsReport reportOn(const TlsTransport& tls);

/// How TLS is spoken for a report, by the rules of `options` and with the certificate of the files, if there is one.
/// `starttls`: the protocol in which it has to be asked for; `gateway`: the name that EHLO says then. Throws TlsError.
PolledConnection::TlsFor tlsForReport(TlsClientOptions options, const CertificateFiles& certificate,
                                      const std::string& name, std::optional<Protocol> starttls,
                                      const std::string& gateway);

/// Shakes hands with whoever listens there; no PROXY header is sent. Blocks, for `timeout` at most.
TlsReport testTls(const Endpoint& server, const PolledConnection::TlsFor& tls,
                  std::chrono::milliseconds timeout);

/// What to do about a certificate that is refused: a sentence.
std::string adviseOn(const TlsReport& report);

}  // namespace mailgate
