// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/shared_parts.h"

#include <algorithm>

namespace mailgate::console {

api::Response SharedParts::get(const std::string& key, const std::function<api::Response()>& make) {
    constexpr int kShare = 100;
    constexpr Clock::duration kLeast = std::chrono::seconds(1), kMost = std::chrono::seconds(10);
    const std::lock_guard lock(mutex_);
    const auto begun = now_();
    if (const auto found = parts_.find(key); found != parts_.end() && begun < found->second.until)
        return found->second.response;
    api::Response response = make();
    if (response.status != 200) return response;
    const auto made = now_();
    parts_[key] = {response, made + std::clamp((made - begun) * kShare, kLeast, kMost)};
    return response;
}

}  // namespace mailgate::console
