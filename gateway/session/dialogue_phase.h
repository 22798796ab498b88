// SPDX-License-Identifier: Apache-2.0
/// \file  A conversation that mailgate holds itself, without a server: a balancer probe, or a refusal.
#pragma once

#include "gateway/session/phase.h"
#include "protocols/refusal.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace mailgate {

/// A balancer probe, counted: its answer depends on whether clients would be served now.
std::unique_ptr<Dialogue> answerProbe(SessionContext& context);
/// A client is refused, counted and reported. Null: too many refused clients stay connected already; it was sent its
/// refusal, and is not waited for.
std::unique_ptr<Dialogue> refuse(SessionContext& context, const next::Refuse& refused);

class DialoguePhase : public Phase {
  public:
    /// `reason`: why the session ends when all is said.
    DialoguePhase(SessionContext& context, std::unique_ptr<Dialogue> dialogue, CloseReason reason) noexcept;

    Next begin();
    Next onClient(std::uint32_t events);
    Next onDeadline() { return next::Linger{reason_}; }
    Next onDrain(const Drain& drain);
    std::string_view name() const noexcept { return reason_ == CloseReason::Check ? "checking" : "refusing"; }

  private:
    Next send(const Dialogue::Step& step);
    Next flush();
    Next readClient();

    std::unique_ptr<Dialogue> dialogue_;
    CloseReason reason_;
};

}  // namespace mailgate
