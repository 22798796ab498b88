// SPDX-License-Identifier: Apache-2.0
/// \file  What comes next for a session: the arrows of its state diagram (docs/architecture.md). Each phase returns one, and
/// Session::advance() follows it.
#pragma once

#include "gateway/session/counters.h"
#include "gateway/session/session_record.h"
#include "protocols/refusal.h"
#include "protocols/values/address.h"
#include "protocols/values/time.h"

#include <variant>

namespace mailgate {

/// To end between `from` and `until` (the host's clock), at a point where that breaks nothing, else at `until`.
struct Drain {
    End end = End::None;  ///< Shutdown, or Drained: its server is to be left alone; None: it is not to end
    Millis from = 0;
    Millis until = 0;

    explicit operator bool() const noexcept { return end != End::None; }
};

namespace next {

/// The phase waits for another event.
struct Stay {};
/// The client is known: whether it may enter is for the rules and limits to say.
struct Admit {
    Endpoint client;
    Endpoint destination;
};
/// A balancer's probe, which is answered here.
struct Answer {};
/// The client hears why it is not served, and no server hears of it.
struct Refuse {
    Refusal refusal;
    LimitReached limit{};
};
/// It is served: by whom is to be found out.
struct Connect {};
/// Its server has spoken, or waits for the client: bytes move both ways.
struct Relay {
    Drain drain;  ///< asked for while it was on its way to the server
};
/// All is said.
struct Linger {
    End reason;
};
struct Close {
    End reason;
};

}  // namespace next

using Next = std::variant<next::Stay, next::Admit, next::Answer, next::Refuse, next::Connect, next::Relay,
                          next::Linger, next::Close>;

inline bool stays(const Next& step) noexcept {
    return std::holds_alternative<next::Stay>(step);
}

}  // namespace mailgate
