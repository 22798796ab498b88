// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/password.h"

#include <fmt/format.h>

#include <crypt.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace mailgate::credentials {

namespace {

constexpr const char* kYescrypt = "$y$";
constexpr unsigned long kDefaultCost = 0;

/// What crypt(3) works in; it holds the password.
struct Forget {
    void operator()(crypt_data* data) const noexcept {
        ::explicit_bzero(data, sizeof *data);
        delete data;
    }
};

/// Empty when crypt(3) will not have it.
std::string crypted(const std::string& password, const std::string& setting) {
    const std::unique_ptr<crypt_data, Forget> data(new crypt_data{});
    const char* const hash =
        ::crypt_rn(password.c_str(), setting.c_str(), data.get(), static_cast<int>(sizeof *data));
    return hash == nullptr ? "" : hash;
}

/// Takes as long whatever is in them.
bool sameBytes(std::string_view one, std::string_view other) noexcept {
    if (one.size() != other.size()) return false;
    unsigned difference = 0;
    for (std::size_t at = 0; at < one.size(); ++at)
        difference |= static_cast<unsigned char>(one[at]) ^ static_cast<unsigned char>(other[at]);
    return difference == 0;
}

}  // namespace

std::string passwordError(std::string_view password) {
    const auto characters = static_cast<std::size_t>(std::count_if(
        password.begin(), password.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));  // of UTF-8
    if (characters < kMinPassword) return fmt::format("is shorter than {} characters", kMinPassword);
    if (password.size() > kMaxPassword) return fmt::format("is longer than {} bytes", kMaxPassword);
    if (password.find('\0') != std::string_view::npos) return "contains a NUL byte";
    return "";
}

std::string hashPassword(const std::string& password) {
    std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
    if (::crypt_gensalt_rn(kYescrypt, kDefaultCost, nullptr, 0, setting.data(),
                           static_cast<int>(setting.size())) == nullptr)
        throw std::system_error(errno, std::generic_category(), "crypt_gensalt");
    std::string hash = crypted(password, setting.data());
    if (hash.empty()) throw std::system_error(errno, std::generic_category(), "crypt");
    return hash;
}

bool isPassword(const std::string& password, const std::string& hash) {
    if (password.size() > kMaxPassword || password.find('\0') != std::string::npos) return false;
    const std::string found = crypted(password, hash);
    return !found.empty() && sameBytes(found, hash);
}

}  // namespace mailgate::credentials
