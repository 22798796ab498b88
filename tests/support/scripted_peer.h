// SPDX-License-Identifier: Apache-2.0
/// \file  A connection whose far end is the test: what it sends, when it blocks, how it breaks.
#pragma once

#include "gateway/io/readiness.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>

namespace mailgate::test {

/// The far end. Outlives the transport that the session owns, so a test can look at it afterwards.
struct ScriptedPeer {
    std::string to_read;    ///< what the peer has sent and the gateway has not read yet
    bool finished = false;  ///< the peer's FIN follows to_read
    int broken = 0;         ///< errno that reading gives once to_read is empty
    std::string received;   ///< what the gateway wrote
    int writes = 0;         ///< ... and in how many calls that took something
    std::size_t room =
        std::numeric_limits<std::size_t>::max();  ///< bytes that writing takes before it blocks
    int write_error = 0;                          ///< errno that writing gives
    std::size_t unacknowledged = 0;               ///< of what was written
    int acknowledgements = 0;                     ///< that were asked for
    bool connecting = false;                      ///< connect() is still under way
    bool got_fin = false;
    bool reset = false;             ///< instead, as soon as it is closed
    bool wrote_behind_fin = false;  ///< what a socket would have refused
    bool closed = false;
    bool wants_writable = false;
    bool kept_alive = false;   ///< the kernel is to look after it
    bool unwatchable = false;  ///< the kernel watches no more descriptors
    unsigned slot = 0;         ///< as the gateway registered it

    void sends(std::string_view bytes) { to_read += bytes; }
    /// Takes what was received so far.
    std::string heard() { return std::exchange(received, {}); }
};

class ScriptedTransport final : public Transport {
  public:
    explicit ScriptedTransport(std::shared_ptr<ScriptedPeer> peer) : peer_(std::move(peer)) {}
    ~ScriptedTransport() override { peer_->closed = true; }

    bool watch(bool writable) noexcept override {
        peer_->wants_writable = writable;
        return !peer_->unwatchable;
    }
    void note(std::uint32_t events) noexcept override { readiness_.note(events); }
    bool readable() const noexcept override { return readiness_.readable(); }
    IoResult read(std::span<char> into) noexcept override {
        const IoResult got = take(into);
        return readiness_.conclude(got, got.bytes < into.size());
    }
    IoResult write(std::string_view bytes) noexcept override {
        if (peer_->write_error) return {IoStatus::Error, 0, peer_->write_error};
        if (peer_->got_fin && !bytes.empty()) {
            peer_->wrote_behind_fin = true;
            return {IoStatus::Error, 0, EPIPE};
        }
        if (peer_->connecting || (peer_->room == 0 && !bytes.empty())) return {IoStatus::WouldBlock, 0, 0};
        const std::size_t count = std::min(bytes.size(), peer_->room);
        peer_->received += bytes.substr(0, count);
        peer_->writes += count > 0 ? 1 : 0;
        if (peer_->room != std::numeric_limits<std::size_t>::max()) peer_->room -= count;
        return {IoStatus::Ok, count, 0};
    }
    bool splices = true;
    bool canSplice() const noexcept override { return splices; }
    // The bytes of a splice go through the real pipe.
    IoResult spliceTo(Pipe& pipe) noexcept override {
        char buffer[4096];
        const IoResult got = readiness_.conclude(take(buffer), false);
        if (got.status != IoStatus::Ok) return got;
        if (::write(pipe.write_end, buffer, got.bytes) != static_cast<ssize_t>(got.bytes)) std::abort();
        pipe.bytes += got.bytes;
        return got;
    }
    IoResult spliceFrom(Pipe& pipe) noexcept override {
        char buffer[4096];
        const std::size_t wanted = std::min({sizeof buffer, pipe.bytes, peer_->room});
        if (wanted == 0) return {IoStatus::WouldBlock, 0, 0};
        if (::read(pipe.read_end, buffer, wanted) != static_cast<ssize_t>(wanted)) std::abort();
        pipe.bytes -= wanted;
        return write({buffer, wanted});
    }
    int peek() noexcept override {
        return peer_->to_read.empty() ? -1 : static_cast<unsigned char>(peer_->to_read.front());
    }
    void shutdownWrite() noexcept override { peer_->got_fin = true; }
    void resetOnClose() noexcept override { peer_->reset = true; }
    void notifyWritable() noexcept override { peer_->wants_writable = true; }
    std::size_t unacknowledged() const noexcept override { return peer_->unacknowledged; }
    void acknowledge() noexcept override { ++peer_->acknowledgements; }
    void noDelay() noexcept override {}
    void keepAlive() noexcept override { peer_->kept_alive = true; }

  private:
    IoResult take(std::span<char> into) noexcept {
        if (peer_->to_read.empty()) {
            if (peer_->broken) return {IoStatus::Error, 0, peer_->broken};
            return {peer_->finished ? IoStatus::Eof : IoStatus::WouldBlock};
        }
        const std::size_t count = std::min(into.size(), peer_->to_read.size());
        std::memcpy(into.data(), peer_->to_read.data(), count);
        peer_->to_read.erase(0, count);
        return {IoStatus::Ok, count};
    }

    std::shared_ptr<ScriptedPeer> peer_;
    Readiness readiness_;
};

}  // namespace mailgate::test
