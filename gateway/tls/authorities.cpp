// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/authorities.h"

#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <new>
#include <utility>

namespace mailgate {
namespace {

void freeAll(STACK_OF(X509_INFO) * entries) noexcept {
    sk_X509_INFO_pop_free(entries, X509_INFO_free);
}
using Entries = std::unique_ptr<STACK_OF(X509_INFO), openssl::Deleter<freeAll>>;

}  // namespace

void trustAuthorities(const std::string& file, std::string_view whom, SSL_CTX* context) {
    const std::string pem = readTlsFile(file);
    const openssl::Bio bio = openssl::reader(pem);
    if (!bio) throw std::bad_alloc();
    ERR_clear_error();
    const Entries entries(PEM_X509_INFO_read_bio(bio.get(), nullptr, nullptr, nullptr));
    const std::string why = entries ? "none in PEM form (BEGIN CERTIFICATE)" : openssl::lastError();
    bool any = false;
    for (int i = 0; i < sk_X509_INFO_num(entries.get()); ++i) {
        X509* authority = sk_X509_INFO_value(entries.get(), i)->x509;
        if (!authority) continue;
        any = true;
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) != 1) throw std::bad_alloc();
    }
    ERR_clear_error();
    if (any) return;
    throw TlsError(fmt::format("{}: has no certificates to verify {} with: {}", file, whom, why));
}

AuthoritiesWatcher::AuthoritiesWatcher(const std::string& file)
    : file_{file, {}, {}}, seen_(now()), handled_(seen_) {}

bool AuthoritiesWatcher::settled() noexcept {
    const FileIdentities state = now();
    if (std::exchange(seen_, state) != state || state == handled_) return false;
    handled_ = state;
    return true;
}

bool AuthoritiesWatcher::handled(const FileIdentities& state) noexcept {
    return std::exchange(handled_, state) != state;
}

}  // namespace mailgate
