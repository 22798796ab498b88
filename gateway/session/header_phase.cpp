// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/header_phase.h"

#include "gateway/session/session_report.h"
#include "protocols/proxy/decoder.h"

#include <memory>
#include <utility>

namespace mailgate {
namespace {

Rejection rejectionFor(proxy::Reason reason) noexcept {
    return static_cast<Rejection>(static_cast<int>(Rejection::NotProxy) + static_cast<int>(reason));
}

}  // namespace

Next HeaderPhase::begin() {
    SessionRecord& record = context_.record;
    if (record.arrival.header_expected) {
        context_.armAt(record.start + context_.config().timeouts.proxy_header.count());
        return next::Stay{};
    }
    record.header_done = record.at(record.start);
    return next::Admit{record.arrival.peer, record.destination};
}

Next HeaderPhase::onClient(std::uint32_t /*events*/) {
    bool broken = false;
    while (!broken && relay().mayHaveInput(Side::Client)) {
        const IoResult got = relay().readFrom(Side::Client);
        broken = got.status == IoStatus::Error;
        if (got.status != IoStatus::Ok) continue;
        std::string_view input = relay().scratch(got.bytes);
        const bool in_pieces = !relay().held(Side::Client).empty();
        if (in_pieces) {
            if (!relay().hold(Side::Client, input)) return next::Close{CloseReason::GatewayError};
            input = relay().held(Side::Client);
        }
        proxy::DecodeResult decoded =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()});
        if (const auto* malformed = std::get_if<proxy::Malformed>(&decoded)) {
            return reject(rejectionFor(malformed->reason), input, malformed->offset);
        }
        if (auto* header = std::get_if<proxy::Header>(&decoded)) {
            if (in_pieces) relay().consumeHeld(Side::Client, header->size);
            return complete(std::move(*header), in_pieces ? std::string_view{} : input.substr(header->size));
        }
        if (!in_pieces && !relay().hold(Side::Client, input)) return next::Close{CloseReason::GatewayError};
        context_.client()->acknowledge();  // the rest may wait for that
    }
    if (!broken && !relay().sourceEnded(Side::Client)) return next::Stay{};
    return ended();
}

Next HeaderPhase::ended() {
    // Not even one byte: a probe of the port, not worth a warning.
    if (relay().bytesFrom(Side::Client) == 0) {
        count(context_.host.counters().empty);
        return next::Close{CloseReason::ClientClosed};
    }
    return reject(Rejection::Incomplete, relay().held(Side::Client), relay().bytesFrom(Side::Client));
}

Next HeaderPhase::complete(proxy::Header&& header, std::string_view rest) {
    SessionRecord& record = context_.record;
    record.header_done = record.at(context_.host.now());
    record.header_bytes = static_cast<std::uint16_t>(header.size);
    if (!relay().hold(Side::Client, rest)) return next::Close{CloseReason::GatewayError};
    if (!header.tlvs.all.empty()) record.tlvs = std::make_unique<proxy::Tlvs>(std::move(header.tlvs));
    // A header that describes its own connection is a balancer speaking for itself (HAProxy's v1 checks).
    if (!header.hasClientAddress() || header.source == record.arrival.peer) return next::Answer{};
    return next::Admit{header.source, header.destination};
}

Next HeaderPhase::onDeadline() {
    const std::uint64_t bytes = relay().bytesFrom(Side::Client);
    return reject(bytes == 0 ? Rejection::NoHeader : Rejection::HeaderTimeout, relay().held(Side::Client),
                  bytes);
}

// Nothing is said: the protocol must not begin before a valid header (specification 2).
Next HeaderPhase::reject(Rejection rejection, std::string_view first_bytes, std::size_t offset) {
    report::rejected(context_.host, context_.record.arrival, rejection, first_bytes, offset);
    return next::Close{CloseReason::Refused};
}

}  // namespace mailgate
