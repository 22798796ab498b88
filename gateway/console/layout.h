// SPDX-License-Identifier: Apache-2.0
/// \file  What all pages have around them. Pure.
#pragma once

#include "gateway/console/html.h"

#include <string>
#include <string_view>

namespace mailgate::console {

/// For whom a page is.
struct Viewer {
    std::string name;  ///< empty: nobody has logged in
    bool may_change = false;
    std::string csrf_token;  ///< empty: none is needed, and there is no session to be ended
    bool sees_configuration = false;
    bool has_fleet = false;
};

/// The part of the console that a page belongs to.
enum class Place : unsigned char { None, Overview, Sessions, Live, Rules, Servers, Fleet, Configuration };

/// A whole page, with `title` as its heading.
std::string page(const Viewer& viewer, Place place, std::string_view title, const Html& content);

}  // namespace mailgate::console
