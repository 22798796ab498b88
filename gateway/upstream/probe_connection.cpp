// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/probe_connection.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <variant>

namespace mailgate {
namespace {

// How long a server may take to end after we have.
constexpr std::chrono::milliseconds kServerFarewell{2'000};

}  // namespace

ProbeConnection::~ProbeConnection() {
    if (!open_) return;
    connection_.transport().shutdownWrite();
    deadline_ = Clock::now() + kServerFarewell;
    std::string ignored;
    while (receive(ignored) == Got::Bytes) {
    }
}

std::string ProbeConnection::open(const Endpoint& server, const PolledConnection::HeaderFor& header,
                                  const PolledConnection::TlsFor& tls) {
    Connector::Progress progress = connection_.begin(server, header, tls);
    while (std::holds_alternative<Connector::Waiting>(progress)) {
        const short events = wait();
        if (events == 0 && connection_.shakingHands()) {
            tls_failure_ = {TlsFailure::Reason::Timeout};
            return std::string(toString(ServerFailure::NoHandshake));
        }
        if (events == 0)
            return connection_.startingTls() ? "sends nothing" : "no answer to the connection attempt";
        progress = connection_.onReady(events);
    }
    if (const auto* lacking = std::get_if<Connector::NoResources>(&progress))
        return std::strerror(lacking->error);
    const auto* failed = std::get_if<Connector::Failed>(&progress);
    open_ = !failed || failed->error == 0;
    if (!failed) {
        const auto* greeted = std::get_if<Connector::Greeted>(&progress);
        heard_ = greeted ? greeted->bytes : connection_.greeting();
        return "";
    }
    tls_failure_ = failed->tls;
    if (failed->error != 0) return std::strerror(failed->error);
    return failed->failure == ServerFailure::HeaderNotTaken ? "does not accept the header"
                                                            : describe(*failed);
}

ProbeConnection::Got ProbeConnection::receive(std::string& bytes) {
    bytes.clear();
    Transport& transport = connection_.transport();
    while (!ended_) {
        // What has been read ahead poll(2) does not tell.
        if (!transport.readable()) {
            const short events = wait();
            if (events == 0) return Got::Nothing;
            connection_.note(events);
        }
        std::array<char, 4096> buffer;
        const IoResult got = transport.read(buffer);
        if (got.status == IoStatus::WouldBlock) continue;
        if (got.status == IoStatus::Error) return Got::Broken;
        ended_ = got.last || got.status == IoStatus::Eof;
        bytes.assign(buffer.data(), got.bytes);
        if (got.status == IoStatus::Ok) return Got::Bytes;
    }
    return Got::End;
}

/// What has happened; 0 only when the time is over. What has come by then counts, however late this process comes to
/// look.
short ProbeConnection::wait() const {
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
        pollfd watched = connection_.interest();
        const int ready = ::poll(&watched, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
        if (ready > 0) return watched.revents;
        if (ready == 0 && left.count() <= 0) return 0;
    }
}

}  // namespace mailgate
