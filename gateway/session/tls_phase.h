// SPDX-License-Identifier: Apache-2.0
/// \file  The TLS handshake with a client that has been let in, from the first byte on or after its STARTTLS. Behind it the
/// session goes on as if it had come in the clear.
///
/// After STARTTLS: our reply is the last that goes out in the clear, and the client's next byte is the handshake's first. A
/// client whose next byte is not has said something in the clear that was to be taken for what it says within TLS
/// (CVE-2011-0411). SMTP and LMTP servers stay connected, and those that speak TLS by now (UpstreamTls::Mirror). The others
/// take the client for one in the clear until they are told otherwise, which they can be only in the header of a new
/// connection: theirs is dropped.
///
/// A handshake costs as much as relaying a thousand lines does: steps are rationed by the host, and so is their number at
/// the same time.
#pragma once

#include "gateway/session/phase.h"
#include "gateway/tls/tls_transport.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate {

class TlsPhase : public Phase {
  public:
    explicit TlsPhase(SessionContext& context, next::ShakeHands&& asked = {}) noexcept
        : Phase(context), reply_(std::move(asked.reply)), after_starttls_(reply_) {}
    ~TlsPhase();

    Next begin();
    Next onClient(std::uint32_t events);
    /// Absolute from the end of the PROXY header, or from our reply.
    Next onDeadline() { return failed({TlsFailure::Reason::Timeout}); }
    Next onDrain(const Drain& drain);
    std::string_view name() const noexcept { return "tls_handshake"; }

  private:
    Next sendReply();
    Next secure();
    Next step();
    Next later();
    Next done();
    Next failed(TlsFailure failure);
    void giveUp() noexcept;

    TlsTransport* tls_ = nullptr;         ///< the client's transport, while the handshake lasts
    std::unique_ptr<std::string> reply_;  ///< what is left of it; null: nothing
    const bool after_starttls_;
    bool queued_ = false;  ///< an event without bits is to come
};

}  // namespace mailgate
