// SPDX-License-Identifier: Apache-2.0
/// \file  What the filters of the line-based mail protocols have in common.
#pragma once

#include "protocols/lines.h"
#include "protocols/sasl.h"
#include "protocols/stream_filter.h"

#include <string>
#include <string_view>

namespace mailgate {

class LineFilter : public StreamFilter {
  public:
    explicit LineFilter(SessionFacts& facts) noexcept : facts_(facts) {}

    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept final;
    bool opaque() const noexcept final { return opaque_; }

  protected:
    /// These may throw std::bad_alloc: observe() then gives up. They stop as soon as opaque() is true.
    /// onClient() takes off the front what may go on.
    virtual void onClient(std::string_view& bytes) = 0;
    virtual void onServer(std::string_view bytes) = 0;

    /// Detaches: for good reasons, and when the position in the stream is no longer certain, since to go on
    /// guessing might take message bytes or a password for a name.
    void becomeOpaque() noexcept { opaque_ = true; }
    void startedTls();
    /// `name` may be empty: then the client has offered nothing.
    void offeredUser(std::string name);
    /// The server accepted the login of `name`; empty where nobody could see the name. An earlier attempt's
    /// name goes then, since it is not the one that was accepted.
    void loggedIn(std::string name);
    /// The same for the SASL exchange that is going on.
    void saslAccepted() { loggedIn(sasl_.named() ? facts_.user : std::string()); }

    SessionFacts& facts_;
    LineReader client_lines_;
    LineReader server_lines_;
    SaslExchange sasl_;
    bool greeting_over_ = false;

  private:
    bool opaque_ = false;
};

}  // namespace mailgate
