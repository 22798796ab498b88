#include "gateway/session/relay.h"

#include <cassert>
#include <cstring>
#include <utility>

namespace mailgate {

Relay::~Relay() {
    dropHeld(Side::Client);
    dropHeld(Side::Server);
}

void Relay::note(Side side, std::uint32_t events) noexcept {
    Flow& source = flow(side);
    if (events & kReadable) source.ready = true;
    if (events & kHangup) source.hangup = true;
    // What came with a reset is followed by no end: the read that tells has to be made.
    if (events & (kUrgent | kFailed)) source.urgent = true;
}

// After a short read the socket is empty. When the FIN had come before that read, the end is what comes next,
// and there will be no further event to say so.
void Relay::drainedAfter(Flow& source, bool short_read) noexcept {
    if (!short_read || source.urgent) return;
    if (source.hangup) source.eof = true;
    source.ready = false;
}

IoResult Relay::readFrom(Side side) noexcept {
    Flow& source = flow(side);
    const IoResult got = end(side).read(resources_.scratch);
    switch (got.status) {
        case IoStatus::Ok:
            source.bytes += got.bytes;
            source.unanswered = false;
            drainedAfter(source, got.bytes < resources_.scratch.size());
            break;
        case IoStatus::WouldBlock:
            source.ready = false;
            source.urgent = false;
            break;
        case IoStatus::Eof:
            source.ready = false;
            source.eof = true;
            break;
        case IoStatus::Error:
            break;
    }
    return got;
}

bool Relay::hold(Side source_side, std::string_view bytes) noexcept {
    if (bytes.empty()) return true;
    Flow& source = flow(source_side);
    if (!source.block && !(source.block = resources_.blocks.borrow())) return false;
    Block& block = *source.block;
    if (bytes.size() > kBlockBytes - block.end) return false;
    std::memcpy(block.bytes + block.end, bytes.data(), bytes.size());
    block.end += static_cast<std::uint32_t>(bytes.size());
    return true;
}

std::string_view Relay::held(Side source_side) const noexcept {
    const Flow& source = flow(source_side);
    if (!source.block) return {};
    return {source.block->bytes + source.block->begin, source.block->end - source.block->begin};
}

void Relay::consumeHeld(Side source_side, std::size_t bytes) noexcept {
    Flow& source = flow(source_side);
    if (!source.block) return;
    source.block->begin += static_cast<std::uint32_t>(bytes);
    if (source.block->begin == source.block->end) resources_.blocks.giveBack(std::move(source.block));
}

void Relay::dropHeld(Side source_side) noexcept {
    Flow& source = flow(source_side);
    source.unseen = 0;
    if (source.block) resources_.blocks.giveBack(std::move(source.block));
    if (source.pipe) resources_.pipes.giveBack(*std::exchange(source.pipe, std::nullopt));
}

void Relay::showHeld(Side source_side) noexcept {
    flow(source_side).unseen = static_cast<std::uint32_t>(held(source_side).size());
}

void Relay::resetServer() noexcept {
    dropHeld(Side::Server);
    flow(Side::Server) = Flow{};
}

Relay::Status Relay::pump(Side source_side) noexcept {
    Flow& source = flow(source_side);
    show(source_side);
    for (int reads = 0; reads < kReadsPerTurn; ++reads) {
        if (const auto stop = flush(source_side)) return *stop;
        if (source.eof) return Status::Ended;
        if (!source.ready) return Status::Open;
        const bool spliced = source.pipe || (source.bulk && !tap_);
        if (const auto stop = spliced ? spliceOnce(source_side) : copyOnce(source_side)) return *stop;
    }
    return Status::Unfinished;
}

void Relay::passEnd(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (std::exchange(source.ended, true)) return;
    if (Transport* sink = ends_[index(other(source_side))]) sink->shutdownWrite();
}

void Relay::endSource(Side source_side) noexcept {
    flow(source_side).eof = true;
    flow(source_side).ready = false;
}

void Relay::show(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (source.unseen == 0) return;
    const std::string_view held_bytes = held(source_side);
    const std::string_view unseen = held_bytes.substr(held_bytes.size() - source.unseen);
    const std::size_t passed = tap_ ? tap_->onBytes(source_side, unseen) : unseen.size();
    source.unseen -= static_cast<std::uint32_t>(passed);
}

// Writes what is kept and may go on. A value: the direction cannot go on.
std::optional<Relay::Status> Relay::flush(Side source_side) noexcept {
    Flow& source = flow(source_side);
    Transport& sink = end(other(source_side));
    while (source.pipe && source.pipe->bytes > 0) {
        const IoResult put = sink.spliceFrom(*source.pipe);
        if (put.status == IoStatus::Error) return Status::SinkLost;
        if (put.status == IoStatus::WouldBlock) {
            sink.notifyWritable();
            return Status::Open;
        }
    }
    while (source.block) {
        const std::string_view bytes = held(source_side).substr(0, held(source_side).size() - source.unseen);
        if (bytes.empty()) return Status::Open;
        const IoResult put = sink.write(bytes);
        if (put.status == IoStatus::Error) return Status::SinkLost;
        if (put.status == IoStatus::WouldBlock) {
            sink.notifyWritable();
            return Status::Open;
        }
        wroteTo(other(source_side));
        consumeHeld(source_side, put.bytes);
    }
    return std::nullopt;
}

std::optional<Relay::Status> Relay::copyOnce(Side source_side) noexcept {
    Flow& source = flow(source_side);
    const IoResult got = readFrom(source_side);
    switch (got.status) {
        case IoStatus::Ok:
            break;
        case IoStatus::WouldBlock:
        case IoStatus::Eof:
            return std::nullopt;
        case IoStatus::Error:
            return Status::SourceLost;
    }
    source.bulk = got.bytes == resources_.scratch.size();
    const std::string_view bytes = scratch(got.bytes);
    const std::size_t passed = tap_ ? tap_->onBytes(source_side, bytes) : bytes.size();
    const auto stop = writeOn(source_side, bytes.substr(0, passed));
    const std::string_view unseen = bytes.substr(passed);
    if (unseen.empty() || (stop && *stop != Status::Open)) return stop;
    if (!hold(source_side, unseen)) return Status::NoMemory;
    source.unseen = static_cast<std::uint32_t>(unseen.size());
    return Status::Open;
}

std::optional<Relay::Status> Relay::writeOn(Side source_side, std::string_view bytes) noexcept {
    if (bytes.empty()) return std::nullopt;
    Transport& sink = end(other(source_side));
    // Nagle's algorithm would hold back the second of two small writes until the first is acknowledged. Asked
    // for only then: in a lock-step dialogue each write is answered, and the system call saved.
    if (flow(other(source_side)).unanswered) sink.noDelay();
    const IoResult put = sink.write(bytes);
    if (put.status == IoStatus::Error) return Status::SinkLost;
    if (put.status == IoStatus::Ok) {
        wroteTo(other(source_side));
        bytes.remove_prefix(put.bytes);
    }
    if (bytes.empty()) return std::nullopt;
    sink.notifyWritable();
    if (!hold(source_side, bytes)) return Status::NoMemory;
    return Status::Open;
}

void Relay::wroteTo(Side sink) noexcept {
    flow(sink).unanswered = true;
}

std::optional<Relay::Status> Relay::spliceOnce(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (!source.pipe && !(source.pipe = resources_.pipes.borrow())) {
        source.bulk = false;
        return copyOnce(source_side);
    }
    end(other(source_side)).noDelay();
    const IoResult got = end(source_side).spliceTo(*source.pipe);
    switch (got.status) {
        case IoStatus::Ok:
            source.bytes += got.bytes;
            return std::nullopt;
        case IoStatus::WouldBlock:
            source.ready = false;
            break;
        case IoStatus::Eof:
            source.ready = false;
            source.eof = true;
            break;
        case IoStatus::Error:
            return Status::SourceLost;
    }
    // Nothing under way: the pipe goes back, and the next bytes show by their number whether it is worth
    // another.
    source.bulk = false;
    resources_.pipes.giveBack(*std::exchange(source.pipe, std::nullopt));
    return std::nullopt;
}

}  // namespace mailgate
