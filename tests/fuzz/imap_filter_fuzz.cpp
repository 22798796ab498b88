// SPDX-License-Identifier: Apache-2.0
#include "protocols/imap/imap_protocol.h"
#include "tests/fuzz/login_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mailgate::fuzz::observeLogin<mailgate::test::ImapModel>(mailgate::imap::kImap, data, size);
    return 0;
}
