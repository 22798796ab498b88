// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/expiry.h"

namespace mailgate {
namespace {

constexpr UnixSeconds kDay = UnixSeconds{24} * 3600;
constexpr UnixSeconds kExpiresSoon = 14 * kDay;

}  // namespace

std::int64_t daysLeft(UnixSeconds not_after, UnixSeconds now) noexcept {
    return (not_after - now) / kDay;
}

bool ExpiryWarnings::due(const std::string& key, UnixSeconds not_after, UnixSeconds now) {
    if (not_after - now >= kExpiresSoon) {
        warned_.erase(key);
        return false;
    }
    const auto [warned, first] = warned_.try_emplace(key, now);
    if (!first && now - warned->second < kDay) return false;
    warned->second = now;
    return true;
}

}  // namespace mailgate
