// SPDX-License-Identifier: Apache-2.0
/// \file  The files that pages load, which are in the program. Another content has another name, so browsers may keep them for
/// good.
#pragma once

#include <string>
#include <string_view>

namespace mailgate::console {

enum class AssetName : unsigned char { Style, Script, Icon, Htmx, Plot, PlotStyle };

struct Asset {
    std::string_view
        path;  ///< "/assets/0123456789abcdef.css", of its SHA-256; empty: this build does without
    std::string_view content_type;
    std::string_view gzipped;  ///< RFC 1952
};

const Asset& asset(AssetName name) noexcept;
/// Null: nothing has that path.
const Asset* assetAt(std::string_view path) noexcept;
/// For who does not take gzip.
std::string contentOf(const Asset& asset);

}  // namespace mailgate::console
