// SPDX-License-Identifier: Apache-2.0
/// \file  All is said: writes what the client has not taken yet, then reads and drops, so that a reset does not eat
/// our last line.
#pragma once

#include "gateway/session/phase.h"

#include <cstdint>
#include <string_view>

namespace mailgate {

/// Why the session ends is in its record.
class LingerPhase : public Phase {
  public:
    explicit LingerPhase(SessionContext& context) noexcept : Phase(context) {}

    Next begin();
    Next onClient(std::uint32_t events);
    Next onDeadline() { return close(); }
    Next onKill() { return next::Stay{}; }
    std::string_view name() const noexcept { return "lingering"; }

  private:
    Next finishWriting();
    Next discard();
    next::Close close() const noexcept { return {context_.record.end}; }
};

}  // namespace mailgate
