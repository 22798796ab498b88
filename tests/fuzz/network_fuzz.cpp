// SPDX-License-Identifier: Apache-2.0
// A network that is read must be written so that it is read as the same; whatever is refused has a reason.

#include "protocols/values/network.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace mailgate;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto parsed = parseNetwork({reinterpret_cast<const char*>(data), size});
    if (const auto* error = std::get_if<NetworkError>(&parsed)) {
        if (error->message.empty() || error->message.size() > 1'000) std::abort();
        return 0;
    }
    const Network& network = std::get<Network>(parsed);
    const auto again = parseNetwork(network.toString());
    const auto* same = std::get_if<Network>(&again);
    if (same == nullptr || *same != network || !network.contains(network) ||
        !network.contains(network.address))
        std::abort();
    return 0;
}
