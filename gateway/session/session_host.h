// SPDX-License-Identifier: Apache-2.0
/// \file  What a session needs of the worker it lives on.
#pragma once

#include "gateway/admission/client_table.h"
#include "gateway/io/session_set.h"
#include "gateway/io/transport.h"
#include "gateway/log/event_sink.h"
#include "gateway/session/counters.h"
#include "gateway/session/generation.h"
#include "gateway/session/recorder.h"
#include "gateway/session/relay.h"
#include "gateway/session/session_id.h"
#include "store/rules/table.h"

#include <memory>

namespace mailgate {

class Session;

/// Implemented by Worker, and by the tests' scripted host. All calls come from the worker's thread.
class SessionHost {
  public:
    virtual ~SessionHost() = default;

    virtual EventSink& log() noexcept = 0;
    /// Null when nothing is kept.
    virtual Recorder* recorder() noexcept = 0;
    virtual Counters& counters() noexcept = 0;
    /// The table in force for the listeners of `generation`.
    virtual const store::AccessTable& accessTable(const Generation& generation) noexcept = 0;
    virtual const Relay::Resources& resources() noexcept = 0;
    virtual SessionId newSessionId() noexcept = 0;

    /// The monotonic clock, and the wall clock for what people read, both in milliseconds.
    virtual Millis now() const noexcept = 0;
    virtual std::int64_t wallClock() const noexcept = 0;
    virtual void arm(Timer& timer, Millis deadline) noexcept = 0;

    /// Begins to connect; null with `error` (errno) when that fails at once. `speaks_first`: the session has something
    /// to write as soon as it can.
    virtual std::unique_ptr<Transport> connect(const Endpoint& to, EventHandler& handler, unsigned slot,
                                               bool speaks_first, int& error) noexcept = 0;

    /// onEvents(slot, 0) in a later turn.
    virtual void defer(EventHandler& handler, unsigned slot) = 0;

    virtual ClientTable& clients() noexcept = 0;

    /// No session beyond this one fits.
    virtual bool full() const noexcept = 0;
    /// A refused client may stay and be talked to, until refusedGone(). False: too many do, and they must not
    /// take the place of those who are let in.
    virtual bool keepRefused() noexcept = 0;
    virtual void refusedGone() noexcept = 0;
    virtual bool stopping() const noexcept = 0;

    /// One more TLS handshake may begin beside those under way; each has an end, handshakeOver().
    virtual bool handshakeBegins() noexcept = 0;
    virtual void handshakeOver() noexcept = 0;
    /// One more step of a handshake fits into this turn.
    virtual bool mayShakeHands() noexcept = 0;

    /// Whether a rejection of `peer` is worth a log line of its own now; else it is only counted, and
    /// `suppressed` tells the next line how many were.
    virtual bool mayLogRejection(const IpAddress& peer, Rejection rejection,
                                 std::uint32_t& suppressed) noexcept = 0;

    /// The same of a handshake that failed.
    virtual bool mayLogTlsFailure(const IpAddress& client, TlsFailure failure,
                                  std::uint32_t& suppressed) noexcept = 0;

    /// Whether a client is refused again and again. Null: it is not, and this refusal has a record of its own.
    /// Else it is counted, and where nothing is kept yet its record is to be put there; it is written with
    /// their number when the time is over.
    virtual std::unique_ptr<store::JournalSession>* repeatedRefusal(const IpAddress& client,
                                                                    store::ListenerIndex listener,
                                                                    Refusal refusal) = 0;

    /// The client of a listener of `generation` is known: counted to notice when all clients seem to come
    /// from one address.
    virtual void sawClient(const Generation& generation, store::ListenerIndex listener,
                           const IpAddress& client) noexcept = 0;

    /// The session is closed and may be destroyed once the current batch of events is over.
    virtual void release(Session& session) noexcept = 0;
};

}  // namespace mailgate
