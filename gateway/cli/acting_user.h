// SPDX-License-Identifier: Apache-2.0
/// \file  Who uses the command line.
#pragma once

#include <string>

namespace mailgate::cli {

/// The Unix user, for audit trails: who called sudo(8) rather than root, and beside another user: "carol (sudo -u mailgate)".
std::string actingUser();

}  // namespace mailgate::cli
