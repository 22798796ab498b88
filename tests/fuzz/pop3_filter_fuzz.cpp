// SPDX-License-Identifier: Apache-2.0
#include "protocols/pop3/pop3_protocol.h"
#include "tests/fuzz/login_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mailgate::fuzz::observeLogin<mailgate::test::Pop3Model>(mailgate::pop3::kPop3, data, size);
    return 0;
}
