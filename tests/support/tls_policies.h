// SPDX-License-Identifier: Apache-2.0
/// \file  What a filter may be told of TLS that ends at the gateway.
#pragma once

#include "protocols/stream/stream_filter.h"

namespace mailgate::test {

inline constexpr ScreenConfig kOffered{.tls = {.stage = TlsPolicy::Stage::Before}};
inline constexpr ScreenConfig kRequired{.tls = {.stage = TlsPolicy::Stage::Before, .required = true}};
inline constexpr ScreenConfig kMirror{.tls = {.stage = TlsPolicy::Stage::Before, .mirror = true}};
/// From the first byte on.
inline constexpr ScreenConfig kWithin{.tls = {.stage = TlsPolicy::Stage::Within}};
/// The server alone has TLS.
inline constexpr ScreenConfig kToServer{.tls = {.stage = TlsPolicy::Stage::ToServer}};
/// After STARTTLS.
inline constexpr ScreenConfig kWithinAgain{.tls = {.stage = TlsPolicy::Stage::Within}, .greeted = true};

}  // namespace mailgate::test
