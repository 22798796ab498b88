// SPDX-License-Identifier: Apache-2.0
#include "store/journal/fields.h"

#include "protocols/values/protocol.h"

namespace mailgate::store::journal {

bool carriesMail(const JournalSession& session) noexcept {
    const std::optional<Protocol> protocol = protocolFromString(session.protocol);
    return protocol && transfersMail(*protocol);
}

}  // namespace mailgate::store::journal
