// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_seal.h"

#include "gateway/tls/certificate.h"
#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <span>
#include <tuple>

namespace mailgate {
namespace {

// AES-256-GCM: a random nonce is good for far more keys than a fleet makes.
constexpr std::size_t kNonce = 12, kTag = 16;
constexpr std::size_t kKeyBytes = std::tuple_size_v<decltype(TicketKey::name)> +
                                  std::tuple_size_v<decltype(TicketKey::cipher)> +
                                  std::tuple_size_v<decltype(TicketKey::mac)>;
constexpr std::size_t kSealed = kNonce + kKeyBytes + kTag;

/// Overwritten when it goes.
template <std::size_t Size>
struct Wiped {
    std::array<unsigned char, Size> bytes{};
    Wiped() = default;
    ~Wiped() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    Wiped(const Wiped&) = delete;
    Wiped& operator=(const Wiped&) = delete;
};

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, openssl::Deleter<EVP_CIPHER_CTX_free>>;
using Derivation = std::unique_ptr<EVP_KDF, openssl::Deleter<EVP_KDF_free>>;
using DerivationContext = std::unique_ptr<EVP_KDF_CTX, openssl::Deleter<EVP_KDF_CTX_free>>;

/// RFC 5869, with SHA-256 and no salt.
void derive(std::string_view secret, std::string_view purpose, std::span<unsigned char> out) {
    const Derivation hkdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
    const DerivationContext context(hkdf ? EVP_KDF_CTX_new(hkdf.get()) : nullptr);
    char sha256[] = "SHA256";
    const auto octets = [](const char* name, std::string_view value) {
        return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
    };
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
                                     octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_INFO, purpose),
                                     OSSL_PARAM_construct_end()};
    if (!context || EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) != 1)
        throw TlsError("the key for session tickets cannot be derived: " + openssl::lastError());
}

std::string hexOf(std::span<const unsigned char> bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (const unsigned char byte : bytes)
        text += fmt::format("{:02x}", byte);
    return text;
}

/// False: it is no such text.
bool bytesOf(std::string_view hex, std::span<unsigned char> bytes) noexcept {
    const auto digit = [](char character) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        return kDigits.find(character);
    };
    if (hex.size() != 2 * bytes.size()) return false;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        const std::size_t high = digit(hex[2 * at]), low = digit(hex[2 * at + 1]);
        if (high == std::string_view::npos || low == std::string_view::npos) return false;
        bytes[at] = static_cast<unsigned char>(high * 16 + low);
    }
    return true;
}

int intOf(std::size_t size) noexcept {
    return static_cast<int>(size);
}

const unsigned char* bytesOf(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

TicketSeal TicketSeal::fromFile(const std::string& file) {
    struct ::stat status {};
    constexpr mode_t kOthers = S_IWGRP | S_IRWXO;
    if (::stat(file.c_str(), &status) == 0 && (status.st_mode & kOthers) != 0)
        throw TlsError(
            fmt::format("{}: its mode is {:04o}, and nobody but its owner and, to read it, its group may use "
                        "it: chmod 640",
                        file, status.st_mode & 07777));
    std::string secret = readTlsFile(file);
    const auto wipe = [&secret] { OPENSSL_cleanse(secret.data(), secret.size()); };
    const std::size_t end = secret.find_last_not_of(" \t\r\n");
    const std::size_t length = end == std::string::npos ? 0 : end + 1;
    if (length < kShortestSecret || length > kLongestSecret) {
        wipe();
        throw TlsError(fmt::format(
            "{}: expected {} to {} bytes of a secret, found {}: openssl rand -base64 48 makes one", file,
            kShortestSecret, kLongestSecret, length));
    }
    TicketSeal seal(std::string_view(secret).substr(0, length));
    wipe();
    return seal;
}

TicketSeal::TicketSeal(std::string_view secret) : key_{} {
    derive(secret, "mailgate ticket keys: seal 1", key_);
    std::array<unsigned char, 16> id{};
    derive(secret, "mailgate ticket keys: name 1", id);
    id_ = hexOf(id);
}

TicketSeal::~TicketSeal() {
    OPENSSL_cleanse(key_.data(), key_.size());
}

std::optional<std::string> TicketSeal::seal(const TicketKey& key, std::string_view purpose) const {
    Wiped<kKeyBytes> clear;
    auto* to = std::copy(key.name.begin(), key.name.end(), clear.bytes.data());
    to = std::copy(key.cipher.begin(), key.cipher.end(), to);
    std::copy(key.mac.begin(), key.mac.end(), to);
    std::array<unsigned char, kSealed> sealed{};
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    if (!context || RAND_bytes(sealed.data(), intOf(kNonce)) != 1 ||
        EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), sealed.data()) != 1 ||
        EVP_EncryptUpdate(context.get(), nullptr, &length, bytesOf(purpose), intOf(purpose.size())) != 1 ||
        EVP_EncryptUpdate(context.get(), sealed.data() + kNonce, &length, clear.bytes.data(),
                          intOf(kKeyBytes)) != 1 ||
        EVP_EncryptFinal_ex(context.get(), sealed.data() + kNonce + kKeyBytes, &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, intOf(kTag),
                            sealed.data() + kNonce + kKeyBytes) != 1)
        return std::nullopt;
    return hexOf(sealed);
}

std::optional<TicketKey> TicketSeal::open(std::string_view sealed, std::string_view purpose) const {
    std::array<unsigned char, kSealed> bytes{};
    if (!bytesOf(sealed, bytes)) return std::nullopt;
    Wiped<kKeyBytes> clear;
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    if (!context ||
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes.data()) != 1 ||
        EVP_DecryptUpdate(context.get(), nullptr, &length, bytesOf(purpose), intOf(purpose.size())) != 1 ||
        EVP_DecryptUpdate(context.get(), clear.bytes.data(), &length, bytes.data() + kNonce,
                          intOf(kKeyBytes)) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, intOf(kTag),
                            bytes.data() + kNonce + kKeyBytes) != 1 ||
        EVP_DecryptFinal_ex(context.get(), clear.bytes.data(), &length) != 1)
        return std::nullopt;
    TicketKey key;
    const unsigned char* from = clear.bytes.data();
    const auto take = [&from](auto& part) {
        std::copy_n(from, part.size(), part.begin());
        from += part.size();
    };
    take(key.name);
    take(key.cipher);
    take(key.mac);
    return key;
}

}  // namespace mailgate
