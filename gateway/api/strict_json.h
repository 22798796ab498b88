// SPDX-License-Identifier: Apache-2.0
/// \file  What a JSON parser lets pass, and readers may take in two ways. Pure.
#pragma once

#include <string>
#include <string_view>

namespace mailgate::api {

/// Why a text that has been parsed (RFC 8259) can be taken in two ways: a member of an object comes twice (section 4), or a whole
/// number has no place in 64 bits, of which parsers keep the rest (section 6). Empty: it cannot. `json` may be anything.
std::string ambiguityIn(std::string_view json);

}  // namespace mailgate::api
