// SPDX-License-Identifier: Apache-2.0
/// \file  Two examples for the --help of each command, in one list.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace CLI {
class App;
}

namespace mailgate::cli {

struct Examples {
    std::string_view command;  ///< as in "sessions show"; empty: mailgate itself
    std::array<std::string_view, 2> lines;
};
std::span<const Examples> allExamples() noexcept;

/// Adds them to the ends of the help texts.
void addExamples(CLI::App& root);

}  // namespace mailgate::cli
