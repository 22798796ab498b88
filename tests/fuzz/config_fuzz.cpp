/// parseConfig throws nothing but ConfigError, whatever the file holds.
#include "gateway/config/load.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const mailgate::Resolver resolve = [](const std::string& host) {
        if (host.size() % 2 == 0) return mailgate::Resolution{{}, "no such name"};
        return mailgate::Resolution{{mailgate::IpAddress::fromV4({127, 0, 0, 1})}, ""};
    };
    try {
        mailgate::parseConfig({reinterpret_cast<const char*>(data), size}, "/etc/mailgate/mailgate.toml",
                              resolve);
    } catch (const mailgate::ConfigError&) {
    }
    return 0;
}
