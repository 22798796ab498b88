// SPDX-License-Identifier: Apache-2.0
/// \file  The first byte of a stream that is TLS: the content type of its first record (RFC 8446 5.1).
#pragma once

namespace mailgate {

inline constexpr char kTlsAlert = 0x15;
inline constexpr char kTlsHandshake = 0x16;

}  // namespace mailgate
