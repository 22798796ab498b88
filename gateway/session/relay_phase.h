// SPDX-License-Identifier: Apache-2.0
/// \file  Bytes move both ways, as the protocol's filter lets them, until one side is done or has to be.
///
/// The one place that decides whether a reply of ours may be put into the server's stream to the client.
#pragma once

#include "gateway/session/phase.h"
#include "protocols/stream/stream_filter.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace mailgate {

class RelayPhase final : public Phase, private RelayTap {
  public:
    explicit RelayPhase(SessionContext& context, const next::Relay& relayed = {}) noexcept
        : Phase(context), greeted_(relayed.greeted) {}
    /// What the filter still knew is in the record.
    ~RelayPhase() override;

    Next begin();
    Next onClient(std::uint32_t events) { return onEvents(Side::Client, events); }
    Next onServer(std::uint32_t events) { return onEvents(Side::Server, events); }
    Next onDeadline();
    Next onDrain(const Drain& drain);
    Next onKill();
    Next onAbort(CloseReason reason);
    std::string_view name() const noexcept { return "relaying"; }
    /// The envelope sender of the transaction that is open.
    std::string_view sender() const noexcept { return filter_ ? filter_->sender() : std::string_view(); }

  private:
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override;
    void onMail(const MailTransaction& mail, std::uint32_t number) noexcept override;

    void watch();
    Next onEvents(Side side, std::uint32_t events);
    Next pump(Side source);
    Next afterPump(Side source);
    Next startTls();
    std::optional<Next> spokeBehindStartTls(Side side);
    Next secureServer();
    TlsTransport& secured() noexcept;
    Next onSecuring(Side side, std::uint32_t events);
    Next shakeHands();
    Next serverNotSecured(TlsFailure failure);
    Next answerStartTls();
    Next onSourceEnded(Side source);
    Next onServerEnded();
    Next passEnd(Side source);
    Next onLost(Side side);
    Next onServerLost();
    Next onIdle();
    Next onViolation();
    Next endViolated();
    Next maybeDrain();
    bool mayReply() const noexcept;
    void reply(Refusal refusal);
    Millis idleLimit() const noexcept;
    void arm() noexcept;
    Millis keepAliveAt() const noexcept;
    void keepAlive() noexcept;

    std::unique_ptr<StreamFilter> filter_;         ///< null: there is nothing to see, or no more
    const bool greeted_;                           ///< before STARTTLS
    CloseReason half_closed_ = CloseReason::None;  ///< how it ends once both sides are done; None: neither is
    bool securing_ = false;                        ///< hands are shaken with the server, after STARTTLS
    bool kept_alive_ = false;                      ///< the kernel looks after both connections
    bool server_lost_ = false;
    bool watches_bare_lf_ = false;  ///< messages that the listener would reject are normalized
    bool violated_ = false;         ///< the session ends of it: no more of the client's bytes go on
};

}  // namespace mailgate
