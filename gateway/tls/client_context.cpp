// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_context.h"

#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"

#include <openssl/err.h>

#include <new>
#include <utility>

namespace mailgate {
namespace {

void trust(const std::string& ca, SSL_CTX* context) {
    if (ca == "system") {
        if (SSL_CTX_set_default_verify_paths(context) != 1)
            throw TlsError("ca: the system has no certificates");
    } else if (SSL_CTX_load_verify_file(context, ca.c_str()) != 1) {
        throw TlsError(ca + ": has no certificates to verify servers with: " + openssl::lastError());
    }
}

}  // namespace

std::shared_ptr<const TlsClientContext> TlsClientContext::build(
    const TlsClientOptions& options, std::shared_ptr<const Certificate> certificate) {
    std::shared_ptr<SSL_CTX> context = openssl::Context(SSL_CTX_new(TLS_client_method()));
    if (!context) throw std::bad_alloc();
    apply(options, context.get());
    if (options.verify) trust(options.ca, context.get());
    SSL_CTX_set_verify(context.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (certificate && SSL_CTX_use_cert_and_key(context.get(), certificate->leaf(), certificate->key(),
                                                certificate->chain(), 1) != 1) {
        throw TlsError(certificate->files().certificate + ": cannot be used: " + openssl::lastError());
    }
    ERR_clear_error();
    return std::shared_ptr<const TlsClientContext>(new TlsClientContext(std::move(context), options.verify));
}

}  // namespace mailgate
