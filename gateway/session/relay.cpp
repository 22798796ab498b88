// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/relay.h"

#include <cassert>
#include <cstring>
#include <utility>

namespace mailgate {

namespace {

// What nobody looks at nobody edits: that buffer is free then, and twice as large. A block takes as much.
constexpr std::size_t kBulkBytes = 2 * kReadBytes;

}  // namespace

/// What a tap decides about bytes that `from` sent. As long as it only passes, nothing is copied.
class Relay::Edit final : public Output {
  public:
    Edit(Relay& relay, Side from, std::string_view input) noexcept
        : relay_(relay), from_(from), input_(input) {}

    void pass(std::size_t bytes) override {
        if (edited_) put(input_.substr(at_, bytes));
        at_ += bytes;
    }
    void drop(std::size_t bytes) override {
        beginEditing();
        at_ += bytes;
    }
    void write(std::string_view text) override {
        beginEditing();
        put(text);
    }
    bool canReply() const override {
        const Side back = other(from_);
        return !lost_ && relay_.drained(back) && !relay_.endPassed(back);
    }
    void reply(std::string_view text) override {
        const Status status = relay_.reply(from_, text);
        no_room_ |= status == Status::NoMemory;
        lost_ |= status == Status::SinkLost;
    }

    void passRest() { pass(input_.size() - at_); }
    bool noRoom() const noexcept { return no_room_; }
    bool senderLost() const noexcept { return lost_; }
    std::string_view decided() const noexcept {
        return edited_ ? std::string_view{relay_.resources_.edited.data(), size_} : input_.substr(0, at_);
    }
    std::string_view left() const noexcept { return input_.substr(at_); }

  private:
    void beginEditing() {
        if (!std::exchange(edited_, true)) put(input_.substr(0, at_));
    }
    void put(std::string_view text) {
        if (text.size() > relay_.resources_.edited.size() - size_) {
            no_room_ = true;
            return;
        }
        std::memcpy(relay_.resources_.edited.data() + size_, text.data(), text.size());
        size_ += text.size();
    }

    Relay& relay_;
    const Side from_;
    const std::string_view input_;
    std::size_t at_ = 0;    ///< of the input: decided
    std::size_t size_ = 0;  ///< in Resources::edited
    bool edited_ = false;
    bool no_room_ = false;
    bool lost_ = false;
};

Relay::~Relay() {
    dropHeld(Side::Client);
    dropHeld(Side::Server);
}

IoResult Relay::readFrom(Side side, std::size_t limit) noexcept {
    return readInto(side, resources_.scratch.first(limit));
}

IoResult Relay::readInto(Side side, std::span<char> buffer) noexcept {
    Flow& source = flow(side);
    const IoResult got = end(side).read(buffer);
    if (got.status == IoStatus::Ok) {
        source.bytes += got.bytes;
        source.unanswered = false;
    }
    source.eof = got.last || got.status == IoStatus::Eof;
    return got;
}

bool Relay::receive(Side source_side, std::string_view bytes, bool ended) noexcept {
    flow(source_side).bytes += bytes.size();
    flow(source_side).eof = ended;
    return hold(source_side, bytes);
}

bool Relay::hold(Side source_side, std::string_view bytes) noexcept {
    if (bytes.empty()) return true;
    Flow& source = flow(source_side);
    if (!source.block && !(source.block = resources_.blocks.borrow())) return false;
    Block& block = *source.block;
    if (bytes.size() > kBlockBytes - block.end) {
        // The front has gone on.
        std::memmove(block.bytes, block.bytes + block.begin, block.end - block.begin);
        block.end -= std::exchange(block.begin, 0);
    }
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

std::string Relay::takeHeld(Side source_side) {
    std::string bytes(held(source_side));
    dropHeld(source_side);
    flow(source_side).bytes -= bytes.size();
    return bytes;
}

void Relay::consumeHeld(Side source_side, std::size_t bytes) noexcept {
    Flow& source = flow(source_side);
    if (!source.block) return;
    source.block->begin += static_cast<std::uint32_t>(bytes);
    if (source.block->begin == source.block->end) resources_.blocks.giveBack(std::move(source.block));
}

void Relay::dropHeld(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (source.block) resources_.blocks.giveBack(std::move(source.block));
    if (source.pipe) resources_.pipes.giveBack(std::move(source.pipe));
}

void Relay::showHeld(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (!source.block) return;
    source.block->unseen = source.block->end - source.block->begin;
    source.block->rest = Rest::Hold;
}

void Relay::dropUnseen(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (!source.block) return;
    source.block->end -= std::exchange(source.block->unseen, 0);
    if (source.block->begin == source.block->end) resources_.blocks.giveBack(std::move(source.block));
}

Relay::Status Relay::reply(Side to, std::string_view text) noexcept {
    const Side source = other(to);
    if (drained(source)) return writeOn(source, text).value_or(Status::Open);
    if (!hold(source, text)) return Status::NoMemory;
    return flush(source).value_or(Status::Open);
}

Relay::Status Relay::pump(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (unseen(source_side) > 0) {
        if (const auto stop = showHeldAgain(source_side)) return *stop;
    }
    for (int reads = 0; reads < kReadsPerTurn; ++reads) {
        if (!drained(source_side)) {
            if (const auto stop = flush(source_side)) return *stop;
            if (stalled(source_side)) return Status::Open;
        }
        // What was not whole when its sender ended goes nowhere.
        if (source.eof) {
            dropHeld(source_side);
            return Status::Ended;
        }
        if (!mayHaveInput(source_side)) return Status::Open;
        const bool spliced = source.pipe || (source.bulk && !tap_ && canSplice());
        if (const auto stop = spliced ? spliceOnce(source_side) : copyOnce(source_side)) return *stop;
    }
    return Status::Unfinished;
}

void Relay::passEnd(Side source_side) noexcept {
    Flow& source = flow(source_side);
    if (source.ended) return;
    source.ended = true;
    if (const auto& sink = transport(other(source_side))) sink->shutdownWrite();
}

void Relay::endSource(Side source_side) noexcept {
    flow(source_side).eof = true;
}

std::optional<Relay::Status> Relay::showHeldAgain(Side source_side) noexcept {
    if (flow(source_side).block->rest == Rest::More && tap_) return std::nullopt;
    if (const auto stop = flush(source_side)) return stop;
    return decide(source_side, held(source_side));
}

// Shows `bytes`, which are in the scratch buffer, or all that the source's block holds, to the tap.
std::optional<Relay::Status> Relay::decide(Side source_side, std::string_view bytes) noexcept {
    if (!tap_) return putOn(source_side, bytes, {});
    Edit edit(*this, source_side, bytes);
    const Rest rest = tap_->onBytes(source_side, bytes, edit);
    if (!tap_) edit.passRest();
    if (edit.senderLost()) return Status::SourceLost;
    if (edit.noRoom()) return Status::NoMemory;
    if (rest == Rest::More && !edit.left().empty()) end(source_side).acknowledge();
    const auto stop = putOn(source_side, edit.decided(), edit.left());
    if (unseen(source_side) > 0) flow(source_side).block->rest = rest;
    return stop;
}

// `decided` goes on, `left` stays; either may stand in the source's block, which then holds nothing else.
std::optional<Relay::Status> Relay::putOn(Side source_side, std::string_view decided,
                                          std::string_view left) noexcept {
    Flow& source = flow(source_side);
    // The end follows it: pump() returns Status::Ended.
    if (!source.block && left.empty()) return writeOn(source_side, decided, source.eof);
    std::unique_ptr<Block> from = std::move(source.block);
    auto stop = writeOn(source_side, decided);
    if (!stop || *stop == Status::Open) {
        if (from && !source.block && !left.empty()) {
            source.block = std::move(from);
            source.block->begin = static_cast<std::uint32_t>(left.data() - source.block->bytes);
        } else if (!hold(source_side, left)) {
            stop = Status::NoMemory;
        }
        if (source.block) source.block->unseen = static_cast<std::uint32_t>(left.size());
    }
    if (from) resources_.blocks.giveBack(std::move(from));
    return stop;
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
        const std::string_view bytes =
            held(source_side).substr(0, held(source_side).size() - unseen(source_side));
        if (bytes.empty()) break;
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
    const bool wide = source.bulk && !tap_ && unseen(source_side) == 0;
    const std::span<char> into = wide ? resources_.edited.first(kBulkBytes)
                                      : resources_.scratch.first(kReadBytes - unseen(source_side));
    const IoResult got = readInto(source_side, into);
    switch (got.status) {
        case IoStatus::Ok:
            break;
        case IoStatus::WouldBlock:
        case IoStatus::Eof:
            return std::nullopt;
        case IoStatus::Error:
            return Status::SourceLost;
    }
    source.bulk = got.bytes >= kReadBytes;
    const std::string_view bytes(into.data(), got.bytes);
    if (unseen(source_side) == 0) return decide(source_side, bytes);
    if (!hold(source_side, bytes)) return Status::NoMemory;
    return decide(source_side, held(source_side));
}

std::optional<Relay::Status> Relay::writeOn(Side source_side, std::string_view bytes, bool last) noexcept {
    if (bytes.empty()) return std::nullopt;
    Transport& sink = end(other(source_side));
    // Nagle's algorithm would hold back the second of two small writes until the first is acknowledged. Asked
    // for only then: in a lock-step dialogue each write is answered, and the system call saved.
    if (flow(other(source_side)).unanswered) sink.noDelay();
    const IoResult put = last ? sink.writeLast(bytes) : sink.write(bytes);
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
    if (!source.pipe) source.pipe = resources_.pipes.borrow();
    if (!source.pipe) {
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
            break;
        case IoStatus::Eof:
            source.eof = true;
            break;
        case IoStatus::Error:
            return Status::SourceLost;
    }
    // Nothing under way: the pipe goes back, and the next bytes show by their number whether it is worth another.
    source.bulk = false;
    resources_.pipes.giveBack(std::move(source.pipe));
    return std::nullopt;
}

}  // namespace mailgate
