// SPDX-License-Identifier: Apache-2.0
/// \file  The files that pages need, which are in the program. Another content has another name, so browsers may keep them for
/// good.
#pragma once

#include <string_view>

namespace mailgate::console {

std::string_view stylePath() noexcept;
std::string_view styleSheet() noexcept;

}  // namespace mailgate::console
