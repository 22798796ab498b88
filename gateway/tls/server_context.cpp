// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_context.h"

#include "gateway/tls/authorities.h"
#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

namespace mailgate {
namespace {

// RFC 1035 2.3.4.
constexpr std::size_t kMaxName = 255;

int serverSlot() noexcept {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

int errorSlot() noexcept {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

/// Looked up once: by name it would be for every ticket.
const EVP_CIPHER* ticketCipher() noexcept {
    static const EVP_CIPHER* const fetched = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
    return fetched;
}

std::string digestOf(std::string_view text) {
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
    return digest;
}

/// Goes on with a certificate that cannot be verified, and keeps the first cause as the result.
int noteOnly(int good, X509_STORE_CTX* store) noexcept {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto noted = reinterpret_cast<std::intptr_t>(SSL_get_ex_data(ssl, errorSlot()));
    const int error = noted ? static_cast<int>(noted) : good ? X509_V_OK : X509_STORE_CTX_get_error(store);
    if (error != X509_V_OK && !noted) {
        // Without the note a later certificate of the chain that is good would have the last word.
        // NOLINTNEXTLINE(performance-no-int-to-ptr): OpenSSL keeps pointers, and this one is never followed.
        if (SSL_set_ex_data(ssl, errorSlot(), reinterpret_cast<void*>(static_cast<std::intptr_t>(error))) !=
            1)
            return 0;
    }
    X509_STORE_CTX_set_error(store, error);
    return 1;
}

}  // namespace

/// What OpenSSL calls back. None of it may throw.
struct TlsServerContext::Callbacks {
    static const TlsServerContext& of(SSL* ssl) noexcept {
        return *static_cast<const TlsServerContext*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), serverSlot()));
    }

    static int onServerName(SSL* ssl, int*, void*) noexcept {
        const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        if (!name) return SSL_TLSEXT_ERR_NOACK;
        const TlsServerContext& self = of(ssl);
        const std::size_t found = self.find(name);
        if (found == self.sets_.size()) return SSL_TLSEXT_ERR_NOACK;
        return SSL_set_SSL_CTX(ssl, self.sets_[found].context.get()) ? SSL_TLSEXT_ERR_OK
                                                                     : SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    // A client that offers protocols, and not ours, was sent here by somebody else (ALPACA): RFC 7301 3.2.
    static int onProtocols(SSL* ssl, const unsigned char** chosen, unsigned char* size,
                           const unsigned char* offered, unsigned int offered_size, void*) noexcept {
        const std::string& ours = of(ssl).alpn_;
        unsigned char* found = nullptr;
        if (SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                                  static_cast<unsigned int>(ours.size()), offered,
                                  offered_size) != OPENSSL_NPN_NEGOTIATED) {
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        }
        *chosen = found;
        return SSL_TLSEXT_ERR_OK;
    }

    static int onStatus(SSL* ssl, void*) noexcept {
        const X509* in_use = SSL_get_certificate(ssl);
        for (const auto& certificate : of(ssl).certificates_) {
            if (certificate->leaf() != in_use) continue;
            const std::string_view response = certificate->ocspResponse(std::time(nullptr));
            if (response.empty()) break;
            void* copy = OPENSSL_memdup(response.data(), response.size());
            if (!copy) break;
            SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(response.size()));
            return SSL_TLSEXT_ERR_OK;
        }
        return SSL_TLSEXT_ERR_NOACK;
    }

    /// 1: go on, 0: without a ticket or a resumption, 2: go on, and issue a new ticket.
    static int onTicket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                        EVP_MAC_CTX* mac, int sealing) noexcept {
        TicketKeys& keys = *of(ssl).tickets_;
        if (sealing) {
            const auto key = keys.current();
            if (!key || !ticketCipher() || RAND_bytes(iv, EVP_CIPHER_get_iv_length(ticketCipher())) != 1)
                return 0;
            std::memcpy(name, key->name.data(), key->name.size());
            return use(*key, iv, cipher, mac, true) ? 1 : 0;
        }
        const auto found = keys.find(std::span<const unsigned char, 16>(name, 16));
        if (!found || !use(found->key, iv, cipher, mac, false)) return 0;
        // RFC 8446 C.4: a client should show each ticket once, so in TLS 1.3 it needs the next one.
        return found->previous || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
    }

    /// The verdict on a client's certificate comes with its ticket, and in TLS 1.3 each ticket brings the next: a
    /// certificate that has expired since has to be shown again.
    static SSL_TICKET_RETURN onTicketOpened(SSL* ssl, SSL_SESSION* session, const unsigned char*, std::size_t,
                                            SSL_TICKET_STATUS status, void*) noexcept {
        const bool renewed = status == SSL_TICKET_SUCCESS_RENEW;
        if (status != SSL_TICKET_SUCCESS && !renewed) return SSL_TICKET_RETURN_IGNORE_RENEW;
        const X509* shown = SSL_SESSION_get0_peer(session);
        if (shown && openssl::seconds(X509_get0_notAfter(shown)) <= of(ssl).tickets_->now())
            return SSL_TICKET_RETURN_IGNORE_RENEW;
        return renewed ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
    }

    static bool use(const TicketKey& key, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                    bool sealing) noexcept {
        char sha256[] = "SHA256";
        OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.mac.data()),
                                              key.mac.size()),
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
            OSSL_PARAM_construct_end(),
        };
        return EVP_CipherInit_ex(cipher, ticketCipher(), nullptr, key.cipher.data(), iv, sealing ? 1 : 0) ==
                   1 &&
               EVP_MAC_CTX_set_params(mac, parameters) == 1;
    }
};

std::shared_ptr<const TlsServerContext> TlsServerContext::build(const TlsServerOptions& options,
                                                                Certificates certificates,
                                                                std::shared_ptr<TicketKeys> tickets) {
    if (certificates.empty()) throw TlsError("certificates: at least one is needed");
    return std::shared_ptr<const TlsServerContext>(
        new TlsServerContext(options, std::move(certificates), std::move(tickets)));
}

TlsServerContext::TlsServerContext(const TlsServerOptions& options, Certificates certificates,
                                   std::shared_ptr<TicketKeys> tickets)
    : options_(options), certificates_(std::move(certificates)), tickets_(std::move(tickets)) {
    if (!options_.alpn.empty()) alpn_ = static_cast<char>(options_.alpn.size()) + options_.alpn;
    scope_ =
        digestOf(fmt::format("{}\n{}\n{}", options_.scope, static_cast<int>(options_.client_certificates),
                             options_.client_ca.empty() ? std::string() : readTlsFile(options_.client_ca)));
    contextFor(defaults());
    for (const auto& certificate : certificates_) {
        for (const std::string& name : certificate->names()) {
            const bool any = name.starts_with("*.");
            auto& names = any ? wildcard_ : exact_;
            const std::string key = any ? name.substr(1) : name;
            if (!names.contains(key)) names[key] = contextFor(matching(name));
        }
    }
}

/// `name` as a certificate has it. Of each key type: the first that has it, else the first whose wildcard covers it.
TlsServerContext::Set TlsServerContext::matching(std::string_view name) const {
    Set set;
    const auto add = [&](std::string_view wanted) {
        for (std::size_t i = 0; i < certificates_.size(); ++i) {
            const auto& names = certificates_[i]->names();
            const bool taken = std::any_of(set.begin(), set.end(), [&](std::size_t other) {
                return certificates_[other]->keyType() == certificates_[i]->keyType();
            });
            if (!taken && std::find(names.begin(), names.end(), wanted) != names.end()) set.push_back(i);
        }
    };
    add(name);
    const std::size_t dot = name.find('.');
    if (dot != std::string_view::npos && dot > 0 && !name.starts_with("*.")) {
        add("*" + std::string(name.substr(dot)));
    }
    return set;
}

/// The first, and with it those of other key types that share a name with it.
TlsServerContext::Set TlsServerContext::defaults() const {
    Set set{0};
    for (const std::string& name : certificates_.front()->names()) {
        for (const std::size_t other : matching(name)) {
            const bool taken = std::any_of(set.begin(), set.end(), [&](std::size_t one) {
                return certificates_[one]->keyType() == certificates_[other]->keyType();
            });
            if (!taken) set.push_back(other);
        }
    }
    return set;
}

std::size_t TlsServerContext::contextFor(const Set& set) {
    for (std::size_t i = 0; i < sets_.size(); ++i) {
        if (sets_[i].certificates == set) return i;
    }
    sets_.push_back({set, newContext(set)});
    return sets_.size() - 1;
}

std::shared_ptr<SSL_CTX> TlsServerContext::newContext(const Set& set) const {
    std::shared_ptr<SSL_CTX> context = openssl::Context(SSL_CTX_new(TLS_server_method()));
    if (!context) throw std::bad_alloc();
    SSL_CTX* const raw = context.get();
    apply(options_, raw);
    if (SSL_CTX_set_ex_data(raw, serverSlot(), const_cast<TlsServerContext*>(this)) != 1)
        throw std::bad_alloc();
    for (const std::size_t i : set) {
        const Certificate& certificate = *certificates_[i];
        if (SSL_CTX_use_cert_and_key(raw, certificate.leaf(), certificate.key(), certificate.chain(), 1) !=
            1) {
            throw TlsError(certificate.files().certificate + ": cannot be used: " + openssl::lastError());
        }
    }
    SSL_CTX_set_tlsext_servername_callback(raw, &Callbacks::onServerName);
    SSL_CTX_set_tlsext_status_cb(raw, &Callbacks::onStatus);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, &Callbacks::onTicket);
    if (!alpn_.empty()) SSL_CTX_set_alpn_select_cb(raw, &Callbacks::onProtocols, nullptr);
    SSL_CTX_set_num_tickets(raw, 1);
    SSL_CTX_set_timeout(raw, static_cast<long>(TicketKeys::kLifetime));
    SSL_CTX_set_session_id_context(raw, reinterpret_cast<const unsigned char*>(scope_.data()),
                                   static_cast<unsigned int>(scope_.size()));
    askForCertificates(raw);
    return context;
}

void TlsServerContext::askForCertificates(SSL_CTX* context) const {
    if (options_.client_certificates == ClientCertificates::Off) return;
    if (options_.client_ca.empty())
        throw TlsError("client_ca: is needed to verify the certificates of clients");
    trustAuthorities(options_.client_ca, "clients", context);
    const openssl::Chain authorities(X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(context)));
    for (int i = 0; i < sk_X509_num(authorities.get()); ++i)
        if (SSL_CTX_add_client_CA(context, sk_X509_value(authorities.get(), i)) != 1) throw std::bad_alloc();
    const bool required = options_.client_certificates == ClientCertificates::Required;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       required ? nullptr : &noteOnly);
    SSL_CTX_set_session_ticket_cb(context, nullptr, &Callbacks::onTicketOpened, nullptr);
    ERR_clear_error();
}

/// Into sets_; its size: nobody's name.
std::size_t TlsServerContext::find(std::string_view name) const noexcept {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::array<char, kMaxName> lowered;
    if (name.empty() || name.size() > lowered.size()) return sets_.size();
    std::transform(name.begin(), name.end(), lowered.begin(), lower);
    const std::string_view wanted(lowered.data(), name.size());
    if (const auto found = exact_.find(wanted); found != exact_.end()) return found->second;
    const std::size_t dot = wanted.find('.');
    if (dot == 0 || dot == std::string_view::npos) return sets_.size();
    const auto found = wildcard_.find(wanted.substr(dot));
    return found != wildcard_.end() ? found->second : sets_.size();
}

TlsServerContext::Certificates TlsServerContext::certificatesFor(std::string_view name) const {
    const std::size_t found = find(name);
    Certificates chosen;
    for (const std::size_t i : sets_[found == sets_.size() ? 0 : found].certificates) {
        chosen.push_back(certificates_[i]);
    }
    return chosen;
}

}  // namespace mailgate
