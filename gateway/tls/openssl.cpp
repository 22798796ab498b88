// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/openssl.h"

#include "protocols/values/text.h"

#include <fmt/format.h>
#include <openssl/err.h>

#include <algorithm>
#include <ctime>
#include <limits>

namespace mailgate::openssl {
namespace {

constexpr std::size_t kSubjectBytes = 256;

std::string nameText(const X509_NAME* name) {
    const Bio out(BIO_new(BIO_s_mem()));
    if (!out) return {};
    X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return size > 0 ? printable({text, static_cast<std::size_t>(size)}, kSubjectBytes) : std::string();
}

}  // namespace

std::string lastError() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    const char* reason = ERR_reason_error_string(code);
    return reason ? reason : fmt::format("error {:x}", code);
}

Bio reader(std::string_view text) noexcept {
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
    return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string subjectOf(const X509* certificate) {
    return nameText(X509_get_subject_name(certificate));
}

std::string issuerOf(const X509* certificate) {
    return nameText(X509_get_issuer_name(certificate));
}

std::vector<std::string> hostNamesOf(const X509* certificate, bool& any) {
    const Names alternatives(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    any = alternatives != nullptr;
    std::vector<std::string> names;
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
        const GENERAL_NAME* alternative = sk_GENERAL_NAME_value(alternatives.get(), i);
        if (alternative->type != GEN_DNS) continue;
        const std::string_view name(
            reinterpret_cast<const char*>(ASN1_STRING_get0_data(alternative->d.dNSName)),
            static_cast<std::size_t>(ASN1_STRING_length(alternative->d.dNSName)));
        if (!name.empty() && isAscii(name) && std::none_of(name.begin(), name.end(), isControl)) {
            names.push_back(lowerCase(name));
        }
    }
    return names;
}

std::string commonNameOf(const X509* certificate) {
    const X509_NAME* subject = X509_get_subject_name(certificate);
    int at = -1;
    for (int next = -1; (next = X509_NAME_get_index_by_NID(subject, NID_commonName, next)) >= 0;)
        at = next;
    if (at < 0) return {};
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) return {};
    const std::unique_ptr<unsigned char, decltype([](unsigned char* text) { OPENSSL_free(text); })> owner(
        utf8);
    const std::string_view name(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
    for (const char character : name) {
        if (isControl(character)) return {};
    }
    return name.size() <= kSubjectBytes ? std::string(name) : std::string();
}

std::string sha256Of(const X509* certificate) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return {};
    std::string text;
    for (unsigned int i = 0; i < size; ++i)
        text += fmt::format("{:02x}", digest[i]);
    return text;
}

std::int64_t seconds(const ASN1_TIME* time) noexcept {
    std::tm parts{};
    return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<std::int64_t>(::timegm(&parts)) : 0;
}

}  // namespace mailgate::openssl
