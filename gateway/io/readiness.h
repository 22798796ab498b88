// SPDX-License-Identifier: Apache-2.0
/// \file  The memory of an edge-triggered connection: what events have said about reading, until reads use it up.
#pragma once

#include "gateway/io/session_set.h"
#include "gateway/io/transport.h"

#include <cstdint>

namespace mailgate {

class Readiness {
  public:
    void note(std::uint32_t events) noexcept {
        if (events & kReadable) ready_ = true;
        if (events & kHangup) hangup_ = true;
        // After a reset, no end of file follows the last bytes: the read that reports the reset has to be made.
        if (events & (kUrgent | kFailed)) urgent_ = true;
    }
    bool readable() const noexcept { return ready_; }

    /// Takes into account what a read of the descriptor gave. `drained`: it gave less than was asked for, so there is
    /// no more. If the FIN had arrived before that read, the end is next, and no further event will report it.
    IoResult conclude(IoResult got, bool drained) noexcept {
        switch (got.status) {
            case IoStatus::Ok:
                if (drained && !urgent_) {
                    got.last = hangup_;
                    ready_ = false;
                }
                break;
            case IoStatus::WouldBlock:
                ready_ = urgent_ = false;
                break;
            case IoStatus::Eof:
                ready_ = false;
                break;
            case IoStatus::Error:
                break;
        }
        got.more = ready_;
        return got;
    }

  private:
    bool ready_ = false;   ///< there may be bytes
    bool hangup_ = false;  ///< the peer's FIN is here
    bool urgent_ = false;  ///< urgent data, or a reset: a short read does not mean drained
};

}  // namespace mailgate
