// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/own_name.h"

#include "protocols/values/address.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <string>

namespace mailgate::console {

namespace {

/// Without a port, and without the brackets of an IPv6 address; empty: it is no host with a port or without (RFC 3986 3.2).
std::string_view nameIn(std::string_view host) noexcept {
    const bool in_brackets = host.starts_with('[');
    const std::size_t end = in_brackets ? host.find(']') : std::min(host.find(':'), host.size());
    if (end == std::string_view::npos) return {};
    const std::string_view port = host.substr(in_brackets ? end + 1 : end);
    const bool is_port = port.empty() || (port.front() == ':' &&
                                          port.find_first_not_of("0123456789", 1) == std::string_view::npos);
    if (!is_port) return {};
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

bool isOwnOrigin(std::string_view origin, std::string_view host, std::string_view base_url) {
    if (origin.empty()) return false;
    return equalsIgnoreCase(origin, base_url) || equalsIgnoreCase(hostIn(origin), host);
}

}  // namespace mailgate::console
