// SPDX-License-Identifier: Apache-2.0
#include "protocols/tcp/header_screen.h"

#include "protocols/proxy/wire.h"

namespace mailgate {

Rest HeaderScreen::onBytes(Side from, std::string_view bytes, Output& out) noexcept {
    std::size_t passed = bytes.size();
    for (std::size_t at = 0; from == Side::Client && at < bytes.size(); ++at) {
        v1_ = v1_ && bytes[at] == proxy::wire::kV1Signature[seen_];
        v2_ = v2_ && bytes[at] == proxy::wire::kV2Signature[seen_];
        opaque_ = !v1_ && !v2_;
        ++seen_;
        const bool header = (v1_ && seen_ == proxy::wire::kV1Signature.size()) ||
                            (v2_ && seen_ == proxy::wire::kV2Signature.size());
        if (header) {
            violation_ = Violation::ProxyHeader;
            passed = at;
        }
        if (header || opaque_) break;
    }
    out.pass(passed);
    return Rest::Hold;
}

}  // namespace mailgate
