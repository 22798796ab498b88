// SPDX-License-Identifier: Apache-2.0
/// \file  Short conversations with a client that mailgate holds itself, without a server.
#pragma once

#include "protocols/dialogue/refusal_wording.h"
#include "protocols/stream/lines.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate {

/// Pure: bytes in, bytes out.
class Dialogue {
  public:
    struct Step {
        std::string reply;  ///< to be sent to the client; may be empty
        bool done = false;  ///< after `reply`, close
    };
    virtual ~Dialogue() = default;
    /// What is said before the client has said anything.
    virtual Step open() = 0;
    /// What the client sent, in any pieces. Bounded: a line longer than 1,000 bytes counts as a bad command;
    /// at most ten commands and 16 KiB are read, then the protocol's goodbye and done.
    virtual Step onBytes(std::string_view bytes) = 0;
};

/// Sends one line and is done.
class Farewell final : public Dialogue {
  public:
    explicit Farewell(std::string line) : line_(std::move(line)) {}

    Step open() override { return {.reply = line_, .done = true}; }
    Step onBytes(std::string_view /*bytes*/) override { return {.reply = {}, .done = true}; }

  private:
    std::string line_;
};

/// Sends nothing, whatever comes.
class Silence final : public Dialogue {
  public:
    Step open() override { return {}; }
    Step onBytes(std::string_view /*bytes*/) override { return {}; }
};

/// Begins with a line, then answers a bounded number of commands.
class Conversation : public Dialogue {
  public:
    Step open() final { return {.reply = opening_, .done = false}; }
    Step onBytes(std::string_view bytes) final;

  protected:
    /// `goodbye`: the last line for a client that goes on and on.
    Conversation(std::string opening, std::string goodbye)
        : opening_(std::move(opening)), goodbye_(std::move(goodbye)) {}

    /// The reply to one command; an overlong one comes as an empty line.
    virtual Step answer(std::string_view line) const = 0;

    const std::string& opening() const noexcept { return opening_; }

  private:
    const std::string opening_;
    const std::string goodbye_;
    LineReader lines_;
    int commands_ = 0;
    std::size_t received_ = 0;
    bool done_ = false;
};

}  // namespace mailgate
