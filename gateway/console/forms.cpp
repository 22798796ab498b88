// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/forms.h"

#include "protocols/values/text.h"

#include <Poco/Exception.h>
#include <Poco/URI.h>

#include <algorithm>
#include <cstddef>
#include <optional>

namespace mailgate::console {

Fields formFields(std::string_view body) {
    Fields fields;
    const auto decoded = [](std::string_view text) {
        std::string encoded(text), plain;
        std::replace(encoded.begin(), encoded.end(), '+', ' ');
        Poco::URI::decode(encoded, plain);
        return plain;
    };
    try {
        while (!body.empty()) {
            const std::size_t end = std::min(body.find('&'), body.size());
            const std::string_view field = body.substr(0, end);
            const std::size_t equals = std::min(field.find('='), field.size());
            const std::size_t value = std::min(equals + 1, field.size());
            if (!field.empty())
                fields.emplace_back(decoded(field.substr(0, equals)), decoded(field.substr(value)));
            body.remove_prefix(std::min(end + 1, body.size()));
        }
    } catch (const Poco::Exception&) {
        return {};
    }
    return fields;
}

namespace {

constexpr std::string_view kNewline = "\r\n";
constexpr std::size_t kMostFields = 500;

/// The value of a parameter of a header field (RFC 9110 5.6.6), without quotes; what browsers escape in names is none of ours.
std::string parameterOf(std::string_view header, std::string_view wanted) {
    while (!header.empty()) {
        const std::size_t end = std::min(header.find(';'), header.size());
        const std::string_view one = trimmed(header.substr(0, end));
        header.remove_prefix(std::min(end + 1, header.size()));
        const std::size_t equals = one.find('=');
        if (equals == std::string_view::npos || !equalsIgnoreCase(one.substr(0, equals), wanted)) continue;
        std::string_view value = one.substr(equals + 1);
        if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"'))
            value = value.substr(1, value.size() - 2);
        return std::string(value);
    }
    return "";
}

/// The name of the field that a part is; empty: it is none.
std::string partName(std::string_view head) {
    constexpr std::string_view kField = "content-disposition:";
    while (!head.empty()) {
        const std::size_t end = std::min(head.find(kNewline), head.size());
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(std::min(end + kNewline.size(), head.size()));
        if (startsWithIgnoreCase(line, kField)) return parameterOf(line.substr(kField.size()), "name");
    }
    return "";
}

}  // namespace

std::string boundaryOf(std::string_view content_type) {
    const std::size_t end = std::min(content_type.find(';'), content_type.size());
    if (!equalsIgnoreCase(trimmed(content_type.substr(0, end)), "multipart/form-data")) return "";
    return parameterOf(content_type.substr(end), "boundary");
}

Fields multipartFields(std::string_view body, std::string_view boundary) {
    constexpr std::string_view kDashes = "--", kEndOfHead = "\r\n\r\n";
    const std::string first = std::string(kDashes).append(boundary);
    const std::string delimiter = std::string(kNewline) + first;
    if (boundary.empty() || !body.starts_with(first)) return {};
    body.remove_prefix(first.size());
    Fields fields;
    while (!body.starts_with(kDashes)) {
        const std::size_t end = body.find(delimiter);
        const std::size_t head = body.find(kEndOfHead);
        // A head's end may not be that of the part, too.
        if (end == std::string_view::npos || head < kNewline.size() || head > end ||
            end - head < kEndOfHead.size() || !body.starts_with(kNewline) || fields.size() == kMostFields)
            return {};
        const std::string_view part = body.substr(0, end);
        std::string name = partName(part.substr(kNewline.size(), head - kNewline.size()));
        if (name.empty()) return {};
        fields.emplace_back(std::move(name), part.substr(head + kEndOfHead.size()));
        body.remove_prefix(end + delimiter.size());
    }
    return fields;
}

std::string fieldNamed(const Fields& fields, std::string_view name) {
    const auto is_named = [&](const auto& field) { return field.first == name; };
    if (std::count_if(fields.begin(), fields.end(), is_named) != 1) return "";
    return std::find_if(fields.begin(), fields.end(), is_named)->second;
}

std::vector<std::string> fieldsNamed(const Fields& fields, std::string_view name) {
    std::vector<std::string> values;
    for (const auto& [key, value] : fields)
        if (key == name) values.push_back(value);
    return values;
}

}  // namespace mailgate::console
