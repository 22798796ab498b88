// SPDX-License-Identifier: Apache-2.0
/// \file  How a listener speaks TLS: certificates by the name that the client asks for, versions, ciphers, tickets.
///
/// Immutable: a changed certificate makes a new one, which is swapped in as a whole; connections keep theirs. May be
/// shared by threads.
#pragma once

#include "gateway/tls/certificate.h"
#include "gateway/tls/context_options.h"
#include "gateway/tls/ticket_keys.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct ssl_ctx_st;

namespace mailgate {

enum class ClientCertificates : std::uint8_t {
    Off,
    Optional,  ///< asked for; one that cannot be verified is noted as such, and the session goes on
    Required,  ///< without one that `client_ca` leads to there is no session
};

struct TlsServerOptions : TlsOptions {
    ClientCertificates client_certificates = ClientCertificates::Off;
    std::string client_ca;  ///< PEM: who may have issued them
    std::string alpn;   ///< what is spoken here, as registered; empty: the client's offer is not looked at
    std::string scope;  ///< tickets are good where they were got alone: the listener's name

    friend bool operator==(const TlsServerOptions&, const TlsServerOptions&) = default;
};

class TlsServerContext {
  public:
    using Certificates = std::vector<std::shared_ptr<const Certificate>>;

    /// `certificates`: at least one; the first is for clients that ask for a name that is none's, or for none.
    /// `tickets`: never null. Throws TlsError.
    static std::shared_ptr<const TlsServerContext> build(const TlsServerOptions& options,
                                                         Certificates certificates,
                                                         std::shared_ptr<TicketKeys> tickets);
    TlsServerContext(const TlsServerContext&) = delete;
    TlsServerContext& operator=(const TlsServerContext&) = delete;

    const Certificates& certificates() const noexcept { return certificates_; }
    /// Of those that are for `name`, one of each key type.
    Certificates certificatesFor(std::string_view name) const;

    ssl_ctx_st* context() const noexcept { return sets_.front().context.get(); }

  private:
    using Set = std::vector<std::size_t>;  ///< indices into certificates_, one of a key type
    struct Context {
        Set certificates;
        std::shared_ptr<ssl_ctx_st> context;
    };
    struct Callbacks;

    TlsServerContext(const TlsServerOptions& options, Certificates certificates,
                     std::shared_ptr<TicketKeys> tickets);
    Set matching(std::string_view name) const;
    Set defaults() const;
    std::size_t contextFor(const Set& set);
    std::shared_ptr<ssl_ctx_st> newContext(const Set& set) const;
    void askForCertificates(ssl_ctx_st* context) const;
    std::size_t find(std::string_view name) const noexcept;

    TlsServerOptions options_;
    Certificates certificates_;
    std::shared_ptr<TicketKeys> tickets_;
    std::string alpn_;   ///< in wire form
    std::string scope_;  ///< digest of what a ticket must not carry a session across
    std::vector<Context> sets_;
    std::map<std::string, std::size_t, std::less<>> exact_;     ///< into sets_
    std::map<std::string, std::size_t, std::less<>> wildcard_;  ///< by what follows "*"
};

}  // namespace mailgate
