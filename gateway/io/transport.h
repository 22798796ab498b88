// SPDX-License-Identifier: Apache-2.0
/// \file  One end of a connection, as sessions see it.
///
/// Nothing here throws, blocks or retries: "not now" is a value. A transport belongs to one session and is
/// used on that session's worker only. It owns its descriptor; destroying it closes the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mailgate {

enum class IoStatus : std::uint8_t {
    Ok,          ///< `bytes` were moved (none only where none were asked for)
    WouldBlock,  ///< nothing now; an event will tell
    Eof,         ///< the peer has finished sending
    Error,       ///< the connection is gone; `error` is the errno
};

struct IoResult {
    IoStatus status = IoStatus::Ok;
    std::size_t bytes = 0;
    int error = 0;
    bool more = false;  ///< of a read: another one may give something at once; else an event will tell
    bool last = false;  ///< of a read: the end comes behind these bytes, and no event will tell
};

/// A kernel pipe that splice(2) moves bytes through. `bytes` are in it and belong to one direction of one session.
struct Pipe {
    int read_end = -1;
    int write_end = -1;
    std::size_t bytes = 0;
};

class Transport {
  public:
    virtual ~Transport() = default;

    /// Starts events for a connection that is being made; `writable`: also for when it is established or
    /// failed. False when the kernel refuses to watch one more descriptor. Accepted connections are watched
    /// from the start.
    virtual bool watch(bool writable) noexcept = 0;

    /// Notes an event (Event bits). It is kept until reads have used it up: events report a change only once.
    virtual void note(std::uint32_t events) noexcept = 0;
    /// A read may give something now.
    virtual bool readable() const noexcept = 0;

    virtual IoResult read(std::span<char> into) noexcept = 0;
    /// On a connection that is being established: WouldBlock until it is, Error with the cause if that failed; an
    /// empty write finds out.
    virtual IoResult write(std::string_view bytes) noexcept = 0;

    /// Whether there is a descriptor that spliceTo() and spliceFrom() can use.
    virtual bool canSplice() const noexcept { return true; }
    /// Between this connection and `pipe`, without the bytes entering user space. `bytes` of the pipe is kept
    /// up to date.
    virtual IoResult spliceTo(Pipe& pipe) noexcept = 0;
    virtual IoResult spliceFrom(Pipe& pipe) noexcept = 0;

    /// The first byte that waits to be read, or -1: for telling TLS from text before anything is consumed.
    virtual int peek() noexcept = 0;

    /// Sends FIN; reading goes on.
    virtual void shutdownWrite() noexcept = 0;

    /// From now on closing is a reset: who is at the other end must not take what it has got for all that there was.
    virtual void resetOnClose() noexcept = 0;

    /// Asks for an event when a write that would have blocked may go on. Idempotent; stays on.
    virtual void notifyWritable() noexcept = 0;

    /// Bytes that were written and that the peer has not acknowledged.
    virtual std::size_t unacknowledged() const noexcept = 0;

    /// Acknowledges what was read at once: a peer that writes a line in two pieces may wait for that before the second
    /// (Nagle's algorithm against delayed acknowledgements, RFC 1122 4.2.3.2 and 4.2.3.4).
    virtual void acknowledge() noexcept = 0;

    /// Turns Nagle's algorithm off, where it is still on. Idempotent.
    virtual void noDelay() noexcept = 0;

    /// Has the kernel find out whether a silent peer is still there (gateway/io/keep_alive.h).
    virtual void keepAlive() noexcept = 0;
};

}  // namespace mailgate
