#include "tests/fuzz/filter_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mailgate::fuzz::observe(mailgate::Protocol::Sieve, data, size);
    return 0;
}
