// SPDX-License-Identifier: Apache-2.0
/// \file  Networks and addresses written down.
#pragma once

#include "protocols/values/network.h"

#include <stdexcept>
#include <string_view>
#include <variant>

namespace mailgate {

inline Network network(std::string_view text) {
    const auto parsed = parseNetwork(text);
    if (const auto* error = std::get_if<NetworkError>(&parsed)) throw std::invalid_argument(error->message);
    return std::get<Network>(parsed);
}

inline AddressBytes address(std::string_view text) {
    return network(text).address;
}

}  // namespace mailgate
