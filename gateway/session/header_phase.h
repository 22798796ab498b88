// SPDX-License-Identifier: Apache-2.0
/// \file  The PROXY header is read, if one has to come. Nothing is sent before it is complete and valid.
#pragma once

#include "gateway/session/phase.h"
#include "protocols/proxy/header.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate {

class HeaderPhase : public Phase {
  public:
    explicit HeaderPhase(SessionContext& context) noexcept : Phase(context) {}

    Next begin();
    Next onClient(std::uint32_t events);
    /// Absolute, from the accept. A drain waits for it too: who the client is decides which reply it gets.
    Next onDeadline();
    std::string_view name() const noexcept { return "awaiting_header"; }

  private:
    Next ended();
    Next complete(proxy::Header&& header, std::string_view rest);
    Next reject(Rejection rejection, std::string_view first_bytes, std::size_t offset);
};

}  // namespace mailgate
