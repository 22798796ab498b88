// SPDX-License-Identifier: Apache-2.0
/// \file  Sets of addresses as packet filters print them. Pure functions; the text may be hostile. Internal to store/.
#pragma once

#include "store/rules/import_lines.h"
#include "store/rules/import_result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace mailgate::store::import {

struct Element {
    std::size_t line;
    std::size_t column;
    std::string_view network;                ///< as it stands there: a network, or a range
    std::optional<std::int64_t> lifetime{};  ///< seconds that are left, when the set was printed
    std::string_view comment{};
    bool stays = false;  ///< for good, whatever its set says
};

/// The elements of the one set that there is, up to the first error.
struct Dump {
    std::vector<Element> elements;
    std::optional<ImportError> error;
};

/// What ipset(8) prints with `ipset save NAME`.
Dump readIpset(std::span<const Line> lines);

/// What nft(8) prints with `nft list set FAMILY TABLE NAME`.
Dump readNft(std::span<const Line> lines);

}  // namespace mailgate::store::import
