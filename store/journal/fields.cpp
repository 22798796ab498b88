// SPDX-License-Identifier: Apache-2.0
#include "store/journal/fields.h"

#include "protocols/values/protocol.h"

namespace mailgate::store::journal {

bool carriesMail(const JournalSession& session) noexcept {
    return session.protocol == toString(Protocol::Smtp) || session.protocol == toString(Protocol::Lmtp);
}

}  // namespace mailgate::store::journal
