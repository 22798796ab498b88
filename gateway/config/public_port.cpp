// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/public_port.h"

#include "protocols/mail_protocol.h"

#include <span>
#include <string_view>

namespace mailgate::config {

namespace {

/// The ports that clients use for a protocol, the usual one first.
std::span<const std::uint16_t> customaryPorts(const ListenerConfig& listener) {
    const ProtocolTraits& traits = traitsOf(listener.protocol);
    return beginsWithTls(listener) ? traits.tls_ports : traits.ports;
}

bool namesSubmission(std::string_view name) {
    return name.find("submission") != std::string_view::npos;
}

}  // namespace

bool beginsWithTls(const ListenerConfig& listener) noexcept {
    return listener.tls == ListenerTls::Passthrough || listener.tls == ListenerTls::Implicit;
}

std::uint16_t publicPortOf(const ListenerConfig& listener) {
    const std::uint16_t own = listener.addresses.front().port;
    const std::span<const std::uint16_t> customary = customaryPorts(listener);
    if (own < 1024 || customary.empty()) return own;
    for (const std::uint16_t port : customary)
        if (port >= 100 && own % (port < 1000 ? 1000 : 10'000) == port) return port;
    return customary.size() > 1 && namesSubmission(listener.name) ? customary[1] : customary.front();
}

bool isSubmission(const ListenerConfig& listener) {
    if (listener.protocol != Protocol::Smtp) return false;
    if (namesSubmission(listener.name)) return true;
    const std::uint16_t port = publicPortOf(listener);
    return port == 587 || port == 465;
}

}  // namespace mailgate::config
