// SPDX-License-Identifier: Apache-2.0
#include "store/rules/contrast.h"

#include <algorithm>
#include <utility>

namespace mailgate::rules {

using store::AccessTable;

Contrast::Contrast(const Site& site, std::shared_ptr<const AccessTable> before,
                   std::shared_ptr<const AccessTable> after, UnixSeconds now)
    : site_(site), before_(std::move(before)), after_(std::move(after)), now_(now) {}

bool Contrast::allows(const AccessTable& table, const AddressBytes& client, std::size_t listener) const {
    const auto match = table.lookup(client, static_cast<store::ListenerIndex>(listener), now_);
    return match ? match->verdict == Verdict::Allow : !site_.listeners[listener].allowlist;
}

std::optional<bool> Contrast::decidesNow(const AddressBytes& client, std::string_view listener) const {
    const auto found = std::find_if(site_.listeners.begin(), site_.listeners.end(),
                                    [&](const Site::Listener& one) { return one.name == listener; });
    if (found == site_.listeners.end()) return std::nullopt;
    const auto index = static_cast<std::size_t>(found - site_.listeners.begin());
    const bool now = allows(*after_, client, index);
    return now == allows(*before_, client, index) ? std::nullopt : std::optional(now);
}

}  // namespace mailgate::rules
