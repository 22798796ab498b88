// SPDX-License-Identifier: Apache-2.0
/// \file  Configuration for the mail servers and balancers around mailgate, to match this one.
#pragma once

#include "gateway/config/config.h"

#include <span>
#include <string>
#include <string_view>

namespace mailgate::answers {

struct Snippet {
    std::string_view name, about;
    /// Asks the routing table from where servers see this machine, and nothing else.
    std::string (*text)(const Config&);
    bool needs_addresses = false;  ///< of the servers, also of those that have host names
};

std::span<const Snippet> snippets() noexcept;
/// Null: there is none of that name.
const Snippet* snippetNamed(std::string_view name) noexcept;

}  // namespace mailgate::answers
