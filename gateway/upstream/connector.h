// SPDX-License-Identifier: Apache-2.0
/// \file  The way to a server, the same for sessions, health checks and `mailgate probe`.
///
///     connecting ─ our PROXY header, in one send ─┬───────────────────────────────────────┬─ connected ─ the server's
///                                                 ├─────────────────────── TLS handshake ─┤              greeting ─ greeted
///                                                 └─ greeting, STARTTLS ── TLS handshake ─┘
///
/// No clock, no timer, no retries: its owner has the deadlines and lets go of it when one has passed. What happened
/// is a value. Where TLS is spoken with the server, the transport that is here is replaced by one that speaks it, and
/// nothing else changes for the owner: what that has read ahead no event tells, so hasMore() has to be asked. A greeting
/// that came before STARTTLS is the client's all the same, but for what it says that TLS makes untrue; one that refuses the
/// client is all that it gets of a server with which TLS is not spoken yet.
///
/// In gateway/upstream, not in gateway/io: it judges servers by what they say, and io knows nothing of protocols.
#pragma once

#include "gateway/io/transport.h"
#include "gateway/tls/tls_transport.h"
#include "gateway/upstream/server_failure.h"
#include "protocols/mail_protocol.h"
#include "protocols/starttls_dialogue.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate {

/// How TLS is spoken with a server.
struct ServerTls {
    std::shared_ptr<const TlsClientContext> context;
    std::string name;  ///< whom its certificate must be for
    std::string peer;  ///< as of TlsTransport::connect()
    /// STARTTLS comes first: the dialogue, which has said nothing yet. Null: hands are shaken at once.
    std::unique_ptr<StartTlsDialogue> starttls{};
};

class Connector {
  public:
    /// Nothing to report yet: an event will.
    struct Waiting {
        bool again = false;  ///< no event will: call onEvents() without bits, in a later turn
    };
    /// The header is out, and TLS is spoken where it was to be. The owner may take the transport, or wait for the
    /// greeting.
    struct Connected {};
    /// The server has sent a greeting that is for the client. Everything that was read is in `bytes` (of the scratch
    /// buffer); `ended`: its end comes behind them, and no event will tell.
    struct Greeted {
        Greeting verdict = Greeting::Welcome;  ///< or Refused
        std::string_view bytes;
        bool ended = false;
    };
    /// The server does not serve; the connection is of no further use, but for reading it to its end.
    struct Failed {
        ServerFailure failure = ServerFailure::ConnectFailed;
        int error = 0;         ///< the errno, where there is one
        TlsFailure tls{};      ///< of a handshake
        std::string detail{};  ///< what it said instead of consenting to STARTTLS, escaped
    };
    /// The gateway has no descriptor or memory for it, which says nothing about the server.
    struct NoResources {
        int error = 0;
    };
    using Progress = std::variant<Waiting, Connected, Greeted, Failed, NoResources>;

    /// Greetings are judged as of `protocol`.
    explicit Connector(Protocol protocol) noexcept : protocol_(protocol) {}

    /// `transport`: as connect() gave it, not watched yet; null: `error` is why. `header` goes out before anything
    /// else; empty: nothing does. `at_once`: the connection may be there already (on loopback the handshake is over
    /// when connect() returns), so the header is tried before an event says so. `tls`: null where it is not spoken.
    Progress begin(std::unique_ptr<Transport> transport, int error, std::string header, bool at_once,
                   std::unique_ptr<ServerTls> tls = nullptr);

    /// After an event. `scratch`: what is read goes there, behind what was read before (less than 1,000 bytes: a longer
    /// first line is no greeting).
    Progress onEvents(std::uint32_t events, std::span<char> scratch);

    /// While there is one: from begin() on, unless that failed, until take().
    Transport* transport() const noexcept { return transport_.get(); }
    /// The header is out, and STARTTLS is under way: the server takes as long as for its greeting.
    bool startingTls() const noexcept { return stage_ == Stage::StartingTls; }
    /// ... and it has greeted: what is awaited is its next word.
    bool awaitsStartTls() const noexcept {
        return startingTls() && tls_->starttls->state() != StartTlsDialogue::State::Greeting;
    }
    /// ... and the handshake.
    bool shakingHands() const noexcept { return encrypted_ && stage_ == Stage::ShakingHands; }
    /// onEvents() without bits has something to report though no event came.
    bool hasMore() const noexcept { return greeted_before_ || transport_->readable(); }
    /// The transport, where TLS is spoken or about to be; else null.
    TlsTransport* tls() const noexcept {
        return encrypted_ ? static_cast<TlsTransport*>(transport_.get()) : nullptr;
    }
    /// Of a connection that is made. Whatever was read of a greeting that is not whole yet, or came before TLS, is in
    /// heard().
    std::unique_ptr<Transport> take() noexcept {
        encrypted_ = false;
        return std::move(transport_);
    }
    /// A greeting's beginning, or all of one from before TLS.
    std::string_view heard() const noexcept {
        return stage_ == Stage::Connected ? std::string_view(kept_) : std::string_view();
    }

  private:
    enum class Stage : std::uint8_t { Connecting, StartingTls, ShakingHands, Connected };

    Progress sendHeader();
    Progress talk();
    std::optional<Progress> hear(std::string_view bytes, bool ended);
    Progress notWelcome(const StartTlsDialogue& dialogue);
    Progress beginTls();
    Progress shakeHands();
    Progress readGreeting(std::span<char> scratch);
    bool watch(bool writable) noexcept;

    std::unique_ptr<Transport> transport_;
    std::string kept_;                ///< the header until it is out, then what there is of the greeting
    std::unique_ptr<ServerTls> tls_;  ///< until the handshake begins
    Protocol protocol_;
    Stage stage_ = Stage::Connecting;
    bool watched_ = false;
    bool encrypted_ = false;       ///< transport_ is a TlsTransport
    bool greeted_before_ = false;  ///< TLS: kept_ is the greeting, and yet to be reported
};

/// Why a server does not serve, for people: a phrase, with what is known of a handshake's failure.
std::string describe(const Connector::Failed& failed);

}  // namespace mailgate
