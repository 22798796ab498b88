// SPDX-License-Identifier: Apache-2.0
#include "store/journal/record.h"

namespace mailgate::store {

Network clientNetwork(const JournalSession& session) noexcept {
    Network network{session.client, 128};
    if (session.client_masked) network.prefix_length = network.isV4() ? 96 + 24 : 48;
    return network;
}

}  // namespace mailgate::store
