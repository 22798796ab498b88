// SPDX-License-Identifier: Apache-2.0
/// \file  Gets a new server connection past its greeting, for a client that has been greeted by another one.
///
/// After the client's STARTTLS a server is told that its client is secure by a new connection, whose header says so.
/// SMTP: 220, all lines of it; IMAP: everything up to the answer to a CAPABILITY that is sent along, because Dovecot may
/// greet twice; POP3: one line; ManageSieve: the capabilities up to OK, which are the client's: RFC 5804 2.2 has them
/// sent, unasked, once TLS runs. Pure: bytes in, values out. What is not understood, or is more than
/// kMaxUnfinishedBytes, has failed.
#pragma once

#include "protocols/dialogue/protocol_traits.h"
#include "protocols/values/protocol.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate {

class GreetingSwallower {
  public:
    enum class State : std::uint8_t { Reading, Done, Failed };

    /// Not for Protocol::Tcp.
    explicit GreetingSwallower(Protocol protocol) noexcept;

    /// Goes out right behind the header; may be empty.
    std::string_view opening() const noexcept;

    /// What the server said, in any pieces. Not to be called again once it was not Reading. Throws std::bad_alloc.
    State onBytes(std::string_view bytes);
    /// The server closed.
    State onEnd();

    State state() const noexcept { return state_; }
    /// When Done: the server's bytes that are not swallowed, to be shown to the new filter as the server's; empty but in
    /// ManageSieve. ScreenConfig::greeted has to be what greeted() is.
    const std::string& forClient() const noexcept { return kept_; }
    bool greeted() const noexcept { return !handsOn(); }
    /// Why it failed, with the server's own line, escaped, if there was one.
    const std::string& reason() const noexcept { return reason_; }

  private:
    bool handsOn() const noexcept { return traits_.starttls.greets_again; }
    void onLine(std::string_view line);
    void fail(std::string reason);

    const ProtocolTraits& traits_;
    std::string kept_;  ///< what is handed on, or the beginning of a line
    std::string reason_;
    std::size_t read_ = 0;  ///< of kept_: lines that were looked at
    std::size_t swallowed_ = 0;
    State state_ = State::Reading;
    bool begun_ = false;
};

}  // namespace mailgate
