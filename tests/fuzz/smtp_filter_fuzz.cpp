#include "tests/fuzz/filter_fuzz.h"

// The same bytes as SMTP and as LMTP.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mailgate::fuzz::observe(mailgate::Protocol::Smtp, data, size);
    mailgate::fuzz::observe(mailgate::Protocol::Lmtp, data, size);
    return 0;
}
