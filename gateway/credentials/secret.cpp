// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/secret.h"

#include <Poco/SHA2Engine.h>

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace mailgate::credentials {

std::string newSecret() {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    constexpr std::size_t kLength = 43;
    std::array<std::uint8_t, 33> random{};  // 264 bits: 44 digits, of which one is not needed
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
        throw std::system_error(errno, std::generic_category(), "getrandom");
    std::string text;
    for (std::size_t at = 0; at < random.size(); at += 3) {
        const std::uint32_t bits = static_cast<std::uint32_t>(random[at]) << 16 |
                                   static_cast<std::uint32_t>(random[at + 1]) << 8 | random[at + 2];
        for (const unsigned shift : {18U, 12U, 6U, 0U})
            text += kDigits[bits >> shift & 63U];
    }
    text.resize(kLength);
    return text;
}

std::string digestOf(std::string_view secret) {
    Poco::SHA2Engine engine(Poco::SHA2Engine::SHA_256);
    engine.update(secret.data(), secret.size());
    return Poco::DigestEngine::digestToHex(engine.digest());
}

}  // namespace mailgate::credentials
