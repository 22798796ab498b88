// SPDX-License-Identifier: Apache-2.0
/// \file  Moves bytes both ways between a client and its server, in order, as the filter lets them go on.
///
/// Knows nothing of protocols: a tap decides what goes on, and its Output is written here, the one place that knows
/// about partial writes. Reads go through the worker's buffers; only bytes that the other side
/// would not take are kept, in one pooled block per direction, and while a direction holds such bytes its
/// source is not read (backpressure). A direction that nobody watches and that sees large reads moves by
/// splice, where both ends have descriptors for it. The end of one side is passed on as a half-close once the bytes before it are out.
#pragma once

#include "gateway/io/pools.h"
#include "gateway/io/session_set.h"
#include "gateway/io/transport.h"
#include "protocols/stream/stream_filter.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// Reads of one direction in one turn, so that a fast sender leaves the worker to others.
inline constexpr int kReadsPerTurn = 16;

/// Sees what the relay has read, before it is written on, and takes the mails in it.
class RelayTap : public MailSink {
  public:
    /// As StreamFilter::onBytes(). When a tap removes itself (Relay::setTap), all that is left goes on.
    virtual Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept = 0;
};

class Relay {
  public:
    /// What a worker lends to its sessions' relays.
    struct Resources {
        std::span<char> scratch;  ///< kReadBytes
        std::span<char> edited;   ///< kBlockBytes
        BlockPool& blocks;
        PipePool& pipes;
    };

    enum class Status : std::uint8_t {
        Open,        ///< waits for events
        Unfinished,  ///< has more to do at once: call pump() again in a later turn
        Ended,       ///< the source has ended and all its bytes are out: passEnd() is due, or done
        SourceLost,  ///< reset by the source
        SinkLost,    ///< the sink takes no more bytes
        NoMemory,
    };

    /// `resources` outlive it.
    explicit Relay(const Resources& resources) noexcept : resources_(resources) {}
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// The connection of that side; null while there is none.
    std::unique_ptr<Transport>& transport(Side side) noexcept { return ends_[index(side)]; }
    const std::unique_ptr<Transport>& transport(Side side) const noexcept { return ends_[index(side)]; }
    /// Null when nobody watches.
    void setTap(RelayTap* tap) noexcept { tap_ = tap; }

    /// Reads from `side` into the scratch buffer, for the phases before the relay proper: the bytes are the caller's.
    IoResult readFrom(Side side, std::size_t limit = kReadBytes) noexcept;
    std::string_view scratch(std::size_t bytes) const noexcept { return {resources_.scratch.data(), bytes}; }

    /// Takes over what somebody else has read from `source`; `ended`: its end comes behind it. False as for hold().
    [[nodiscard]] bool receive(Side source, std::string_view bytes, bool ended) noexcept;

    /// Keeps bytes that `source` sent, behind those already kept. False when there is no room (a block) or memory.
    [[nodiscard]] bool hold(Side source, std::string_view bytes) noexcept;
    std::string_view held(Side source) const noexcept;
    /// Takes them out, as if they had never been read: for a layer between `source` and the relay.
    std::string takeHeld(Side source);
    void consumeHeld(Side source, std::size_t bytes) noexcept;
    void dropHeld(Side source) noexcept;
    /// Marks what is held as not yet shown to the tap.
    void showHeld(Side source) noexcept;
    /// What the tap has left over goes nowhere; what it has let go on stays.
    void dropUnseen(Side source) noexcept;

    /// Moves what `source` has to the other side.
    Status pump(Side source) noexcept;

    /// Words of ours to `to`, behind all that the other side has sent it so far: what it does not take at once is
    /// kept and written by the next pump(). Only where these bytes end at a boundary: the filter knows.
    Status reply(Side to, std::string_view text) noexcept;

    /// After Status::Ended: tells the other side (half-close). Idempotent.
    void passEnd(Side source) noexcept;

    /// Nothing more is read from `source`, as if it had ended.
    void endSource(Side source) noexcept;

    bool sourceEnded(Side source) const noexcept { return flow(source).eof; }
    bool mayHaveInput(Side source) const noexcept {
        return !flow(source).eof && ends_[index(source)] && ends_[index(source)]->readable();
    }
    std::uint64_t bytesFrom(Side source) const noexcept { return flow(source).bytes; }
    bool endPassed(Side source) const noexcept { return flow(source).ended; }
    bool ended() const noexcept { return flows_[0].ended && flows_[1].ended; }
    /// The tap holds bytes of `source` back until the other side has spoken.
    bool stalled(Side source) const noexcept {
        return unseen(source) > 0 && flow(source).block->rest == Rest::Hold;
    }
    /// Nothing read from `source` waits to be written.
    bool drained(Side source) const noexcept { return !flow(source).block && !flow(source).pipe; }

  private:
    /// One direction, named by its source.
    struct Flow {
        std::unique_ptr<Block> block;  ///< bytes that the sink would not take; null when there are none
        std::unique_ptr<Pipe> pipe;    ///< the same, while the direction is spliced; else null
        // Parts of one word: there are two of these in every session, and most of those do nothing.
        std::uint64_t bytes : 56 = 0;  ///< read from the source
        bool eof : 1 = false;          ///< the source has ended
        bool ended : 1 = false;        ///< ... and the sink has been told
        bool bulk : 1 = false;         ///< the last read was of kReadBytes or more
        bool unanswered : 1 = false;   ///< we wrote to this source and have read nothing from it since
    };

    static constexpr std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }
    Flow& flow(Side source) noexcept { return flows_[index(source)]; }
    const Flow& flow(Side source) const noexcept { return flows_[index(source)]; }
    /// What the tap has left over: at the end of the block.
    std::uint32_t unseen(Side source) const noexcept {
        return flow(source).block ? flow(source).block->unseen : 0;
    }
    Transport& end(Side side) noexcept { return *ends_[index(side)]; }

    class Edit;

    IoResult readInto(Side side, std::span<char> buffer) noexcept;
    bool canSplice() const noexcept { return ends_[0]->canSplice() && ends_[1]->canSplice(); }
    std::optional<Status> decide(Side source, std::string_view bytes) noexcept;
    std::optional<Status> putOn(Side source, std::string_view decided, std::string_view left) noexcept;
    std::optional<Status> showHeldAgain(Side source) noexcept;
    std::optional<Status> flush(Side source) noexcept;
    std::optional<Status> copyOnce(Side source) noexcept;
    std::optional<Status> spliceOnce(Side source) noexcept;
    std::optional<Status> writeOn(Side source, std::string_view bytes, bool last = false) noexcept;
    void wroteTo(Side sink) noexcept;

    const Resources& resources_;
    std::unique_ptr<Transport> ends_[2];
    RelayTap* tap_ = nullptr;
    Flow flows_[2];
};

}  // namespace mailgate
