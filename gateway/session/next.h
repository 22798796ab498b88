// SPDX-License-Identifier: Apache-2.0
/// \file  What comes next for a session: the arrows of its state diagram (docs/architecture.md). Each phase returns
/// one, and Session::advance() follows it.
#pragma once

#include "gateway/session/counters.h"
#include "gateway/session/session_record.h"
#include "protocols/refusal.h"
#include "protocols/values/address.h"

#include <memory>
#include <string>
#include <variant>

namespace mailgate {

namespace next {

/// The phase waits for another event.
struct Stay {};
/// The client is known: the rules and limits decide whether it is admitted.
struct Admit {
    Endpoint client;
    Endpoint destination;
};
/// A balancer probe, which is answered here.
struct Answer {};
/// The client gets its refusal, and no server sees it.
struct Refuse {
    Refusal refusal;
    LimitReached limit{};
};
/// It may enter, and speaks TLS, which ends here; or it asked for that, and gets `reply` first.
struct ShakeHands {
    std::unique_ptr<std::string> reply{};  ///< null: from the first byte on
};
/// It is to be served; the server is yet to be found.
struct Connect {};
/// Its server has sent its greeting, or waits for the client: bytes move both ways.
struct Relay {
    bool greeted = false;  ///< before STARTTLS: no greeting is to come
};
/// Everything is sent.
struct Linger {
    CloseReason reason;
};
struct Close {
    CloseReason reason;
};

}  // namespace next

using Next = std::variant<next::Stay, next::Admit, next::Answer, next::Refuse, next::ShakeHands,
                          next::Connect, next::Relay, next::Linger, next::Close>;

inline bool stays(const Next& step) noexcept {
    return std::holds_alternative<next::Stay>(step);
}

}  // namespace mailgate
