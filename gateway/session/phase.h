// SPDX-License-Identifier: Apache-2.0
/// \file  What a phase of a session does about an event unless it says otherwise.
///
/// A phase begins (begin()), gets the events, and returns what comes next; it calls no other phase. What only
/// it needs it keeps itself, and that ends with it. Session holds the current phase by value: no function
/// here is virtual.
#pragma once

#include "gateway/session/next.h"
#include "gateway/session/session_context.h"

#include <cstdint>
#include <string_view>

namespace mailgate {

class Phase {
  public:
    // `events`: Event bits of that side's connection, which has noted them; 0: what defer() asked for.
    Next onClient(std::uint32_t /*events*/) { return next::Stay{}; }
    Next onServer(std::uint32_t /*events*/) { return next::Stay{}; }
    Next onDeadline() { return next::Stay{}; }
    Next onDrain(const Drain& /*drain*/) { return next::Stay{}; }
    /// An administrator ends it, with the protocol's goodbye where one can be sent safely. Stay: it has ended
    /// already.
    Next onKill() { return next::Close{CloseReason::Killed}; }
    /// It ends now, whatever is under way.
    Next onAbort(CloseReason reason) { return next::Close{reason}; }

    Phase(const Phase&) = delete;
    Phase& operator=(const Phase&) = delete;

  protected:
    explicit Phase(SessionContext& context) noexcept : context_(context) {}
    ~Phase() = default;

    Relay& relay() noexcept { return context_.relay; }
    const Relay& relay() const noexcept { return context_.relay; }

    SessionContext& context_;
};

/// Handed to the host: nothing reaches it any more.
class ClosedPhase : public Phase {
  public:
    explicit ClosedPhase(SessionContext& context) noexcept : Phase(context) {}
    Next begin() { return next::Stay{}; }
    Next onKill() { return next::Stay{}; }
    Next onAbort(CloseReason /*reason*/) { return next::Stay{}; }
    std::string_view name() const noexcept { return "closed"; }
};

}  // namespace mailgate
