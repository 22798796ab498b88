// SPDX-License-Identifier: Apache-2.0
/// \file  Reads a PROXY protocol header, v1 or v2, from the first bytes of a connection.
///
/// Pure: a function from bytes to an outcome, the same for any split of the input. A bad v1 line is decided
/// at the first impossible byte (a field as a whole by the delimiter behind it), a bad v2 header by its 13th,
/// 14th or 16th byte, bad TLVs by the header's last. Reads nothing behind the header. Work per call is
/// bounded by kMaxHeaderBytes, and nothing is allocated but for TLVs. Thread-safe.
#pragma once

#include "protocols/proxy/header.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

namespace mailgate::proxy {

struct NeedMore {
    std::size_t at_least = 1;  ///< bytes beyond the input without which no decision is possible
};
struct Malformed {
    Reason reason;
    std::size_t offset;  ///< how many bytes had to be seen to know
};
using DecodeResult = std::variant<NeedMore, Malformed, Header>;

/// `input`: all bytes received so far, from the first.
///
/// PROXY headers for UDP and Unix sockets are rejected. LOCAL, v1 UNKNOWN and v2 UNSPEC (also with one half of the
/// family byte unspecified) come back as headers without a client address. What they carry is skipped, but for plain
/// UNSPEC when it is nothing but valid TLVs. Of several TLVs of a type all must be valid, checksums included.
DecodeResult decode(std::span<const std::uint8_t> input);

}  // namespace mailgate::proxy
