// SPDX-License-Identifier: Apache-2.0
/// \file  One client connection's whole life, including the server it is handed to.
///
///     AwaitingHeader ─ Checking                    a balancer's health check, answered here
///            │
///          admit ──── Refusing ──┐                 by rule, or because the gateway cannot serve
///            │                   │
///        Connecting ─ AwaitingGreeting ─ Relaying ─┤
///            └─ Holding (no server yet) ┘          Lingering ─ Closed
///
/// Lives and dies on the worker that accepted it; no locks. Closing is a verb with a reason: finish() is
/// idempotent, and after it no event, timer or task does anything.
#pragma once

#include "gateway/session/live_session.h"
#include "gateway/session/session_host.h"
#include "gateway/session/session_record.h"
#include "protocols/refusal.h"
#include "protocols/stream/stream_filter.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

class Session final : public EventHandler, private Timer, private RelayTap, private MailSink {
  public:
    static constexpr unsigned kClientSlot = 0;

    Session(SessionHost& host, const Arrival& arrival);
    ~Session() override;

    /// `client`: connected, its events go to this session's kClientSlot.
    void start(std::unique_ptr<Transport> client);

    void onEvents(unsigned slot, std::uint32_t events) override;

    /// To end between `from` and `until` (the host's clock), at a point where that breaks nothing, else at
    /// `until`.
    struct Drain {
        End end = End::Shutdown;  ///< Shutdown, or Drained: its server is to be left alone
        Millis from = 0;
        Millis until = 0;
    };
    void drain(const Drain& drain);
    /// The operator changed his mind about the server.
    void undrain() noexcept;
    /// Ends it now, in the protocol's words where that breaks nothing. False: it has ended already.
    bool kill();
    /// Ends now, whatever is under way.
    void abort(End end);

    // What the administrator sees.
    LiveSession live() const;
    const SessionId& id() const noexcept { return record_.id; }
    const ListenerConfig& listener() const noexcept { return record_.listener(); }
    const Endpoint& client() const noexcept { return record_.client; }
    /// Its client is known: any header has been read.
    bool identified() const noexcept { return record_.identified(); }
    bool usesServer(std::string_view upstream, std::string_view server) const noexcept;

    // Links of the worker's list of sessions.
    Session* previous = nullptr;
    Session* next = nullptr;

  private:
    enum class State : std::uint8_t {
        AwaitingHeader,    ///< reading the PROXY header; deadline proxy_header, absolute from accept
        Checking,          ///< a balancer's health check: a dialogue of ours
        Refusing,          ///< a refusal's dialogue; the server never hears of this client
        Connecting,        ///< connect() or the sending of our header is under way; deadline connect
        AwaitingGreeting,  ///< the server must show that it serves this client; the client is not read
        Holding,           ///< no server answered; tried again until `hold` has passed
        Relaying,
        Lingering,  ///< all is said; reads and drops, so that a reset does not eat our last line
        Closed,     ///< handed to the host; nothing reaches us any more
    };

    std::string_view stateName() const noexcept;
    void onTimer() override;
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override;
    void onMail(const MailTransaction& mail, std::uint32_t number) noexcept override;

    template <typename Work>
    void guarded(Work work);
    void handle(unsigned slot, std::uint32_t events);
    void handleTimer();

    void readHeader();
    void headerComplete(proxy::Header&& header, std::string_view rest);
    void rejectHeader(Rejection rejection, std::string_view first_bytes, std::size_t offset);
    void admit();
    LimitReached claimPlace();
    void startCheck();
    void refuse(Refusal refusal, const LimitReached& limit = {});
    void say(std::string_view bytes);
    void converse(std::unique_ptr<Dialogue> dialogue, State state, Millis limit);
    void take(const Dialogue::Step& step);
    void onClient();

    void connectNext();
    void sendProxyHeader();
    bool watchServer(bool writable) noexcept;
    std::string proxyHeader() const;
    void awaitGreeting();
    void readGreeting();
    void serverFailed(ServerFailure failure);
    void dropServer();
    void holdOn();
    void giveUp();

    void beginRelay();
    void watchTls();
    void pump(Side source);
    void onSourceEnded(Side source);
    void onLost(Side side);
    void serverGone();
    void onIdle();
    void onViolation();
    void endViolated();
    Millis idleLimit() const noexcept;
    bool sayInStream(Refusal refusal);
    bool maySpeak() const noexcept;
    void maybeDrain();
    void armRelay();

    void linger(End end);
    void discard();
    void finish(End end);

    RefusalText refusalText() const noexcept { return {config().name, client_text_, record_.id.text()}; }
    unsigned serverSlot() const noexcept { return server_slot_; }
    bool opaqueFromStart() const noexcept;
    const Config& config() const noexcept { return record_.config(); }
    UpstreamPool& pool() const { return record_.pool(); }
    ListenerCounters& listenerCounters() const { return record_.listenerCounters(); }

    SessionHost& host_;
    SessionRecord record_;
    State state_ = State::AwaitingHeader;
    End half_closed_ = End::None;  ///< how it ends once both sides are done; None: neither is
    bool server_gone_ = false;
    bool violated_ = false;  ///< the session ends of it: no more of the client's bytes go on
    bool server_watched_ = false;
    bool admitted_ = false;      ///< let in, and not refused since: one `session.end` line is owed
    bool kept_refused_ = false;  ///< the host counts it among the refused that stay
    std::uint8_t server_slot_ = 1;

    std::string client_text_;
    ClientTable::Ticket ticket_;

    std::unique_ptr<Transport> client_;
    std::unique_ptr<Transport> server_;
    UpstreamPool::Tried tried_ = 0;
    Relay relay_;

    std::unique_ptr<StreamFilter> filter_;
    std::unique_ptr<Dialogue> dialogue_;

    Millis hold_until_ = 0;
    std::optional<Drain> drain_;
};

}  // namespace mailgate
