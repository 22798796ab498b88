// SPDX-License-Identifier: Apache-2.0
/// \file  By which names a browser may ask for the console. Pure functions; what they read may be anything.
#pragma once

#include <string_view>

namespace mailgate::console {

/// Whether `host` (a Host field) can mean this console: an address, localhost, the gateway's name, or the name in `base_url`; with any
/// port. A page whose own name has been made to stand for this host (DNS rebinding) would be of one origin with the console
/// otherwise, and what a trusted proxy is believed, it could say itself.
bool isOwnName(std::string_view host, std::string_view base_url, std::string_view gateway_name);

/// Whether what stands behind the host in a Host or an Origin field is a port, or nothing.
bool hasSoundPort(std::string_view host_or_origin);

/// Whether `origin` (an Origin field, RFC 6454 7) is that of a page that was asked for as `host`, or as `base_url`.
bool isOwnOrigin(std::string_view origin, std::string_view host, std::string_view base_url);

}  // namespace mailgate::console
