// SPDX-License-Identifier: Apache-2.0
#include "store/rules/store.h"

#include <fmt/format.h>

namespace mailgate::store {

namespace {

constexpr std::string_view kProgram = "program ";

}  // namespace

std::string programName(std::string_view program) {
    return fmt::format("{}{}", kProgram, program);
}

bool isProgram(std::string_view who) noexcept {
    return who.starts_with(kProgram);
}

}  // namespace mailgate::store
