// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/context_options.h"

#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"
#include "protocols/values/text.h"

#include <openssl/err.h>

#include <new>
#include <string_view>
#include <vector>

namespace mailgate {
namespace {

// With the CBC suites that servers of older years are left with: what cannot agree here delivers in the clear.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL";

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> found;
    while (!text.empty()) {
        const std::size_t end = text.find_first_of(": ,");
        if (end != 0) found.emplace_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return found;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ":") + word;
    return text;
}

/// OpenSSL skips names that it does not know as long as it knows one: each is asked for by itself.
bool knowsCipher(const std::string& word) {
    const openssl::Context scratch(SSL_CTX_new(TLS_method()));
    const bool known = scratch && SSL_CTX_set_cipher_list(scratch.get(), word.c_str()) == 1;
    ERR_clear_error();
    return known;
}

void setCiphers(const std::string& option, SSL_CTX* context) {
    std::vector<std::string> suites, older;
    for (const std::string& word : words(option)) {
        if (word.starts_with("TLS_")) {
            if (SSL_CTX_set_ciphersuites(context, word.c_str()) != 1) {
                throw TlsError("ciphers: OpenSSL knows no " + printable(word));
            }
            suites.push_back(word);
        } else {
            // "!", "-", "+" and "@" change what the words before them chose.
            if (word.find_first_of("!-+@") != 0 && !knowsCipher(word)) {
                throw TlsError("ciphers: OpenSSL knows no " + printable(word));
            }
            older.push_back(word);
        }
    }
    if (!suites.empty()) SSL_CTX_set_ciphersuites(context, joined(suites).c_str());
    if (older.empty() && !suites.empty()) {
        if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1) throw std::bad_alloc();
        return;
    }
    if (SSL_CTX_set_cipher_list(context, older.empty() ? kCiphers : joined(older).c_str()) != 1) {
        throw TlsError("ciphers: none is left of " + printable(option));
    }
}

void setGroups(const std::string& option, SSL_CTX* context) {
    if (option.empty()) return;
    const std::vector<std::string> groups = words(option);
    for (const std::string& group : groups) {
        if (SSL_CTX_set1_groups_list(context, group.c_str()) != 1) {
            throw TlsError("groups: OpenSSL knows no " + printable(group));
        }
    }
    if (SSL_CTX_set1_groups_list(context, joined(groups).c_str()) != 1) {
        throw TlsError("groups: " + openssl::lastError() + " in " + printable(option));
    }
}

int minVersion(const std::string& option) {
    if (option == "1.2") return TLS1_2_VERSION;
    if (option == "1.3") return TLS1_3_VERSION;
    throw TlsError("min_version: must be \"1.2\" or \"1.3\", not \"" + printable(option) + '"');
}

}  // namespace

void apply(const TlsOptions& options, SSL_CTX* context) {
    ERR_clear_error();
    if (SSL_CTX_set_min_proto_version(context, minVersion(options.min_version)) != 1) throw std::bad_alloc();
    setCiphers(options.ciphers, context);
    setGroups(options.groups, context);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // Partial and moving writes: what the kernel did not take is kept by the caller, not by us. Released buffers: an
    // idle connection has none.
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    ERR_clear_error();
}

}  // namespace mailgate
