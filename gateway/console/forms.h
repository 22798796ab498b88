// SPDX-License-Identifier: Apache-2.0
/// \file  What browsers send of forms (HTML 4.10.22). Pure functions; what they read may be anything.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

/// What a form has held, or a query, in its order.
using Fields = std::vector<std::pair<std::string, std::string>>;

/// Of application/x-www-form-urlencoded; empty when it is none.
Fields formFields(std::string_view body);

/// The boundary in a Content-Type of multipart/form-data (RFC 7578 4.1); empty: it is another type.
std::string boundaryOf(std::string_view content_type);
/// Of multipart/form-data; empty when it is none, or is cut off. Files are texts like others; their names are nothing.
Fields multipartFields(std::string_view body, std::string_view boundary);

/// The one of that name; empty: there is none, or more than one.
std::string fieldNamed(const Fields& fields, std::string_view name);
/// All of that name.
std::vector<std::string> fieldsNamed(const Fields& fields, std::string_view name);

}  // namespace mailgate::console
