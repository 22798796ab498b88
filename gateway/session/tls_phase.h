// SPDX-License-Identifier: Apache-2.0
/// \file  The TLS handshake with a client that has been let in. Behind it the session goes on as if it had come in the clear.
///
/// A handshake costs as much as relaying a thousand lines does: steps are rationed by the host, and so is their number at
/// the same time.
#pragma once

#include "gateway/session/phase.h"
#include "gateway/tls/tls_transport.h"

#include <cstdint>
#include <string_view>

namespace mailgate {

class TlsPhase : public Phase {
  public:
    explicit TlsPhase(SessionContext& context) noexcept : Phase(context) {}
    ~TlsPhase();

    Next begin();
    Next onClient(std::uint32_t events);
    /// Absolute from the end of the PROXY header.
    Next onDeadline() { return failed({TlsFailure::Reason::Timeout}); }
    Next onDrain(const Drain& drain);
    std::string_view name() const noexcept { return "tls_handshake"; }

  private:
    Next step();
    Next later();
    Next done();
    Next failed(TlsFailure failure);
    void giveUp() noexcept;

    TlsTransport* tls_ = nullptr;  ///< the client's transport, while the handshake lasts
    bool counted_ = false;         ///< among those of the host
    bool queued_ = false;          ///< an event without bits is to come
};

}  // namespace mailgate
