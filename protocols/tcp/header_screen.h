// SPDX-License-Identifier: Apache-2.0
/// \file  StreamFilter that sees to it that a client does not open with a PROXY header, and then detaches.
#pragma once

#include "protocols/stream/stream_filter.h"

#include <cstddef>

namespace mailgate {

class HeaderScreen final : public StreamFilter {
  public:
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override;
    bool serverAtBoundary() const noexcept override { return false; }
    bool noReplyPending() const noexcept override { return true; }
    bool interruptible() const noexcept override { return false; }
    void finish(std::string_view /*told*/) noexcept override {}

  private:
    std::size_t seen_ = 0;
    bool v1_ = true;
    bool v2_ = true;
};

}  // namespace mailgate
