// SPDX-License-Identifier: Apache-2.0
/// \file  What the tests of the PROXY protocol codec share.
#pragma once

#include "protocols/proxy/decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mailgate::proxy {

inline DecodeResult decodeText(std::string_view received) {
    return decode({reinterpret_cast<const std::uint8_t*>(received.data()), received.size()});
}

/// What decode() must say of `received` once it has decided, whatever the split: NeedMore before, the same ever
/// after. Sets `decided_at` to the number of bytes that it took; NeedMore when all of them do not suffice.
inline DecodeResult decodeByteByByte(std::string_view received, std::size_t& decided_at) {
    std::size_t promised = 0;
    for (std::size_t size = 0; size <= received.size(); ++size) {
        // A copy of its own, so that a sanitizer sees a read behind the end.
        const std::string prefix(received.substr(0, size));
        const DecodeResult result = decodeText(prefix);
        if (const auto* more = std::get_if<NeedMore>(&result)) {
            EXPECT_GE(more->at_least, 1u);
            promised = std::max(promised, size + more->at_least);
            continue;
        }
        EXPECT_GE(size, promised) << "decided before the bytes that were said to be necessary";
        decided_at = size;
        return result;
    }
    return NeedMore{};
}

inline Header decodedHeader(std::string_view received) {
    const DecodeResult result = decodeText(received);
    const auto* malformed = std::get_if<Malformed>(&result);
    if (malformed != nullptr) ADD_FAILURE() << toString(malformed->reason) << " at " << malformed->offset;
    if (std::holds_alternative<NeedMore>(result)) ADD_FAILURE() << "incomplete";
    const auto* header = std::get_if<Header>(&result);
    return header != nullptr ? *header : Header{};
}

inline Endpoint endpoint(std::string_view address, std::uint16_t port) {
    const auto parsed = IpAddress::parse(address);
    EXPECT_TRUE(parsed) << address;
    return {parsed.value_or(IpAddress{}), port};
}

}  // namespace mailgate::proxy
