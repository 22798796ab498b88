// SPDX-License-Identifier: Apache-2.0
// Properties: the outcome does not depend on how the bytes were split, and a header read and written again
// names the same endpoints.

#include "protocols/proxy/decoder.h"
#include "protocols/proxy/encoder.h"

#include <cstdlib>

namespace {

using namespace mailgate::proxy;
using Bytes = std::span<const std::uint8_t>;

void require(bool holds) {
    if (!holds) std::abort();
}

/// How many bytes the outcome rests on; while there is none, how many it takes at least.
std::size_t decidedAt(const DecodeResult& result, std::size_t received) {
    if (const auto* more = std::get_if<NeedMore>(&result)) {
        require(more->at_least >= 1);
        return received + more->at_least;
    }
    if (const auto* malformed = std::get_if<Malformed>(&result)) return malformed->offset;
    return std::get<Header>(result).size;
}

void requireSame(const DecodeResult& a, const DecodeResult& b) {
    require(a.index() == b.index());
    if (const auto* malformed = std::get_if<Malformed>(&a)) {
        require(malformed->reason == std::get<Malformed>(b).reason);
        require(malformed->offset == std::get<Malformed>(b).offset);
    } else if (const auto* header = std::get_if<Header>(&a)) {
        require(header->size == std::get<Header>(b).size);
        require(header->source == std::get<Header>(b).source);
        require(header->hasClientAddress() == std::get<Header>(b).hasClientAddress());
        require(header->tlvs.all.size() == std::get<Header>(b).tlvs.all.size());
    }
}

void requireSplitIndependence(Bytes input, const DecodeResult& whole) {
    const std::size_t decided_at = decidedAt(whole, input.size());
    for (std::size_t size = 0; size < decided_at && size <= input.size(); ++size) {
        const DecodeResult prefix = decode(input.first(size));
        require(std::holds_alternative<NeedMore>(prefix));
        require(size + std::get<NeedMore>(prefix).at_least <= decided_at);
    }
    if (decided_at <= input.size()) requireSame(whole, decode(input.first(decided_at)));
}

void requireReadable(const std::string& encoded, const Connection& connection) {
    const DecodeResult result =
        decode({reinterpret_cast<const std::uint8_t*>(encoded.data()), encoded.size()});
    const auto* header = std::get_if<Header>(&result);
    require(header != nullptr && header->hasClientAddress() && header->size == encoded.size());
    require(header->source == connection.source && header->destination == connection.destination);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes input(data, size);
    const DecodeResult result = decode(input);
    requireSplitIndependence(input, result);
    const auto* header = std::get_if<Header>(&result);
    if (header != nullptr && header->hasClientAddress()) {
        const Connection connection{header->source, header->destination};
        requireReadable(encodeV1(connection), connection);
        requireReadable(encodeV2(connection, header->tlvs.all), connection);
        requireReadable(encodeV2(connection, header->tlvs.all, true, kMaxHeaderBytes), connection);
    }
    return 0;
}
