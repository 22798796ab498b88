// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/stream_filter.h"

namespace mailgate {

std::string_view toString(Violation violation) noexcept {
    switch (violation) {
        case Violation::BareLf:
            return "bare_lf";
        case Violation::ForbiddenCommand:
            return "forbidden_command";
        case Violation::ProxyHeader:
            return "proxy_header";
        case Violation::BadCommand:
            return "bad_command";
        case Violation::TooLong:
            return "too_long";
        case Violation::PlaintextAfterStartTls:
            return "plaintext_after_starttls";
        case Violation::TlsRequired:
            return "tls_required";
        case Violation::UnexpectedReply:
            return "unexpected_reply";
        case Violation::NoMemory:
            return "no_memory";
    }
    return "";
}

}  // namespace mailgate
