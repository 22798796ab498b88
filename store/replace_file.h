// SPDX-License-Identifier: Apache-2.0
/// \file  A small file that is there as a whole, whenever the power goes: the one before, or the new one.
#pragma once

#include <string>
#include <string_view>

namespace mailgate::store {

/// By way of PATH.new. With its folder it is on the disk then. Throws StoreError.
void replaceFile(const std::string& path, std::string_view text);

}  // namespace mailgate::store
