// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/own_name.h"

#include "protocols/values/address.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

namespace mailgate::console {

namespace {

/// Nothing, or a colon and up to 65535, or nothing behind it (RFC 3986 3.2.3).
bool isPort(std::string_view text) noexcept {
    if (text.empty()) return true;
    const char* const end = text.data() + text.size();
    std::uint16_t port = 0;
    if (text.front() != ':') return false;
    if (text.size() == 1) return true;
    const auto [last, error] = std::from_chars(text.data() + 1, end, port);
    return error == std::errc() && last == end;
}

/// Without a port, and without the brackets of an IPv6 address; empty: it is no host with a port or without (RFC 3986 3.2).
std::string_view nameIn(std::string_view host) noexcept {
    const bool in_brackets = host.starts_with('[');
    const std::size_t end = in_brackets ? host.find(']') : std::min(host.find(':'), host.size());
    if (end == std::string_view::npos) return {};
    if (!isPort(host.substr(in_brackets ? end + 1 : end))) return {};
    return in_brackets ? host.substr(1, end - 1) : host.substr(0, end);
}

std::string_view hostIn(std::string_view url) noexcept {
    const std::size_t scheme = url.find("://");
    return scheme == std::string_view::npos ? std::string_view() : url.substr(scheme + 3);
}

}  // namespace

bool isOwnName(std::string_view host, std::string_view base_url, std::string_view gateway_name) {
    const std::string_view name = nameIn(host);
    if (name.empty()) return false;
    return IpAddress::parse(std::string(name)).has_value() || equalsIgnoreCase(name, "localhost") ||
           equalsIgnoreCase(name, gateway_name) || equalsIgnoreCase(name, nameIn(hostIn(base_url)));
}

bool hasSoundPort(std::string_view host_or_origin) {
    const std::size_t scheme = host_or_origin.find("://");
    if (scheme != std::string_view::npos) host_or_origin.remove_prefix(scheme + 3);
    const std::size_t end = host_or_origin.starts_with('[')
                                ? host_or_origin.find(']')
                                : std::min(host_or_origin.find(':'), host_or_origin.size());
    if (end == std::string_view::npos) return false;
    return isPort(host_or_origin.substr(host_or_origin.starts_with('[') ? end + 1 : end));
}

bool isOwnOrigin(std::string_view origin, std::string_view host, std::string_view base_url) {
    if (origin.empty()) return false;
    return equalsIgnoreCase(origin, base_url) || equalsIgnoreCase(hostIn(origin), host);
}

}  // namespace mailgate::console
