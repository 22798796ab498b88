// SPDX-License-Identifier: Apache-2.0
/// \file  Who uses the command line, and gives orders on the admin socket.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace mailgate::admin {

/// "uid 1234" if there is none. May query the network (nsswitch.conf). Any thread.
std::string userName(uid_t uid);

/// Of this process, for audit trails: who called sudo(8) rather than root, and beside another user: "carol (sudo -u mailgate)".
std::string actingUser();

/// In which an order has it. That of a process of root's is believed: for others the kernel's word counts.
inline constexpr const char* kActingUserHeader = "X-Acting-User";
std::string orderingUser(uid_t uid, std::string_view header);

}  // namespace mailgate::admin
