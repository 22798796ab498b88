// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/pools.h"

#include <fcntl.h>
#include <unistd.h>

#include <new>
#include <utility>

namespace mailgate {
namespace {

// What one splice moves at most; the kernel's default of 64 KiB would double the system calls of a download.
constexpr int kPipeBytes = 256 << 10;

void closePipe(const Pipe& pipe) noexcept {
    ::close(pipe.read_end);
    ::close(pipe.write_end);
}

}  // namespace

std::unique_ptr<Block> BlockPool::borrow() noexcept {
    if (free_.empty()) return std::unique_ptr<Block>(new (std::nothrow) Block);
    std::unique_ptr<Block> block = std::move(free_.back());
    free_.pop_back();
    block->begin = block->end = block->unseen = 0;
    return block;
}

void BlockPool::giveBack(std::unique_ptr<Block> block) noexcept {
    if (free_.capacity() == 0) free_.reserve(kKept);
    if (free_.size() < kKept) free_.push_back(std::move(block));
}

PipePool::~PipePool() {
    for (const auto& pipe : free_)
        closePipe(*pipe);
}

std::unique_ptr<Pipe> PipePool::borrow() noexcept {
    if (!free_.empty()) {
        std::unique_ptr<Pipe> pipe = std::move(free_.back());
        free_.pop_back();
        return pipe;
    }
    std::unique_ptr<Pipe> pipe(new (std::nothrow) Pipe);
    int ends[2];
    if (!pipe || ::pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return nullptr;
    // Refused beyond the user's soft limit for pipe pages: then the pipe keeps its default size.
    ::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
    *pipe = {ends[0], ends[1], 0};
    return pipe;
}

void PipePool::giveBack(std::unique_ptr<Pipe> pipe) noexcept {
    if (pipe->bytes != 0 || free_.size() >= kKept) return closePipe(*pipe);
    if (free_.capacity() == 0) free_.reserve(kKept);
    free_.push_back(std::move(pipe));
}

}  // namespace mailgate
