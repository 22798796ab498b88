// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/connector.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace mailgate {
namespace {

bool outOfResources(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Connector::Progress Connector::begin(std::unique_ptr<Transport> transport, int error, std::string header,
                                     bool at_once) {
    if (!transport) {
        if (outOfResources(error)) return NoResources{error};
        return Failed{connectFailure(error), error};
    }
    transport_ = std::move(transport);
    kept_ = std::move(header);
    watched_ = connected_ = false;
    if (at_once) return sendHeader();
    if (!watch(true)) return NoResources{errno};
    return Waiting{};
}

Connector::Progress Connector::onEvents(std::uint32_t events, std::span<char> scratch) {
    transport_->note(events);
    return connected_ ? readGreeting(scratch) : sendHeader();
}

// One send, the whole header, before anything else: all mail servers refuse a header in two segments.
Connector::Progress Connector::sendHeader() {
    const IoResult put = transport_->write(kept_);
    switch (put.status) {
        case IoStatus::WouldBlock:
            if (!watch(true)) return NoResources{errno};
            return Waiting{};
        case IoStatus::Eof:
        case IoStatus::Error:
            return Failed{connectFailure(put.error), put.error};
        case IoStatus::Ok:
            break;
    }
    if (put.bytes != kept_.size()) return Failed{ServerFailure::HeaderNotTaken};
    if (!watch(false)) return NoResources{errno};
    connected_ = true;
    kept_ = {};
    return Connected{};
}

// The server's first words decide whether it serves. A greeting that comes whole, as nearly all do, is judged where
// it was read; judgeGreeting() bounds what has to be kept of another.
Connector::Progress Connector::readGreeting(std::span<char> scratch) {
    while (transport_->readable()) {
        std::memcpy(scratch.data(), kept_.data(), kept_.size());
        const IoResult got = transport_->read(scratch.subspan(kept_.size()));
        switch (got.status) {
            case IoStatus::WouldBlock:
                return Waiting{};
            case IoStatus::Eof:
                return Failed{kept_.empty() ? ServerFailure::ClosedWithoutGreeting
                                            : ServerFailure::ClosedInGreeting};
            case IoStatus::Error:
                return Failed{ServerFailure::ResetWithoutGreeting, got.error};
            case IoStatus::Ok:
                break;
        }
        const std::string_view bytes(scratch.data(), kept_.size() + got.bytes);
        const Greeting verdict = judgeGreeting(protocol_, bytes);
        switch (verdict) {
            case Greeting::Incomplete:
                if (got.last) return Failed{ServerFailure::ClosedInGreeting};
                kept_ = bytes;
                break;
            case Greeting::Welcome:
            case Greeting::Refused:
                return Greeted{verdict, bytes, got.last};
            case Greeting::Unavailable:
                return Failed{ServerFailure::SystemNotAccepting};
            case Greeting::Foreign:
                return Failed{ServerFailure::Foreign};
        }
    }
    return Waiting{};
}

bool Connector::watch(bool writable) noexcept {
    return watched_ || (watched_ = transport_->watch(writable));
}

}  // namespace mailgate
