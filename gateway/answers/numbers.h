// SPDX-License-Identifier: Apache-2.0
/// \file  Numbers as people read them. Not for JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::answers {

/// "1,532"
std::string grouped(std::uint64_t number);

/// "3 rules", "1 rule".
std::string counted(std::uint64_t count, std::string_view noun);

}  // namespace mailgate::answers
