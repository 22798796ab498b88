// SPDX-License-Identifier: Apache-2.0
/// \file  A certificate authority of a test's own, and what it issues, as PEM files.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace mailgate::test {

inline void writeFile(const std::string& file, const std::string& content, unsigned mode = 0600) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    std::filesystem::permissions(file, static_cast<std::filesystem::perms>(mode));
}

/// What a test asks of a certificate.
struct Wanted {
    std::vector<std::string> names{};  ///< DNS names; "IP:…" for an address
    std::string common_name = "test";
    bool rsa = false;
    std::string usage{};  ///< extended: "clientAuth"
    long from = -3600;    ///< in seconds from now
    long until = 86'400;
};

struct Issued {
    std::shared_ptr<X509> certificate;
    std::shared_ptr<EVP_PKEY> key;

    std::string certificatePem() const {
        return written([&](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
    }
    std::string keyPem() const {
        return written([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        });
    }
    std::string encryptedKeyPem() const {
        return written([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), EVP_aes_128_cbc(), nullptr, 0, nullptr,
                                     const_cast<char*>("secret"));
        });
    }

    template <typename Write>
    static std::string written(Write write) {
        BIO* bio = BIO_new(BIO_s_mem());
        write(bio);
        char* text = nullptr;
        const long size = BIO_get_mem_data(bio, &text);
        std::string copy(text, static_cast<std::size_t>(size));
        BIO_free(bio);
        return copy;
    }
};

class CertificateAuthority {
  public:
    explicit CertificateAuthority(const std::string& name) {
        self_.key = newKey(false);
        self_.certificate = make({{}, name}, self_.key.get(), self_.key.get(), nullptr, true);
    }
    /// Its certificate is issued by `above`.
    CertificateAuthority(const std::string& name, const CertificateAuthority& above) {
        self_.key = newKey(false);
        self_.certificate =
            make({{}, name}, self_.key.get(), above.self_.key.get(), above.self_.certificate.get(), true);
    }

    std::string pem() const { return self_.certificatePem(); }
    const Issued& self() const { return self_; }

    Issued issue(const Wanted& wanted) const {
        Issued issued;
        issued.key = newKey(wanted.rsa);
        issued.certificate = make(wanted, issued.key.get(), self_.key.get(), self_.certificate.get(), false);
        return issued;
    }

    /// DER; holds from now until `until` seconds later.
    std::string ocspResponse(const Issued& about, long until = 3600) const {
        OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
        OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), about.certificate.get(), self_.certificate.get());
        ASN1_TIME* from = X509_gmtime_adj(nullptr, -7200);
        ASN1_TIME* end = X509_gmtime_adj(nullptr, until);
        OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, from, end);
        OCSP_basic_sign(basic, self_.certificate.get(), self_.key.get(), EVP_sha256(), nullptr, 0);
        OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
        unsigned char* der = nullptr;
        const int size = i2d_OCSP_RESPONSE(response, &der);
        std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
        OPENSSL_free(der);
        OCSP_RESPONSE_free(response);
        OCSP_BASICRESP_free(basic);
        OCSP_CERTID_free(id);
        ASN1_TIME_free(from);
        ASN1_TIME_free(end);
        return text;
    }

  private:
    static std::shared_ptr<EVP_PKEY> newKey(bool rsa) {
        EVP_PKEY* key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
        if (!key) throw std::runtime_error("no key");
        return {key, EVP_PKEY_free};
    }

    static void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer ? issuer : certificate, certificate, nullptr, nullptr, 0);
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
        if (!extension) throw std::runtime_error("no extension");
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }

    static std::shared_ptr<X509> make(const Wanted& wanted, EVP_PKEY* key, EVP_PKEY* signer, X509* issuer,
                                      bool authority) {
        static long serial = 1000;
        std::shared_ptr<X509> made(X509_new(), X509_free);
        X509_set_version(made.get(), X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(made.get()), wanted.from);
        X509_gmtime_adj(X509_getm_notAfter(made.get()), wanted.until);
        X509_set_pubkey(made.get(), key);
        X509_NAME* subject = X509_get_subject_name(made.get());
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(wanted.common_name.c_str()), -1, -1,
                                   0);
        X509_set_issuer_name(made.get(), issuer ? X509_get_subject_name(issuer) : subject);
        extend(made.get(), issuer, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
        extend(made.get(), issuer, NID_subject_key_identifier, "hash");
        std::string names;
        for (const std::string& name : wanted.names) {
            names += (names.empty() ? "" : ",") + (name.starts_with("IP:") ? name : "DNS:" + name);
        }
        if (!names.empty()) extend(made.get(), issuer, NID_subject_alt_name, names);
        if (!wanted.usage.empty()) extend(made.get(), issuer, NID_ext_key_usage, wanted.usage);
        if (X509_sign(made.get(), signer, EVP_sha256()) == 0) throw std::runtime_error("not signed");
        return made;
    }

    Issued self_;
};

}  // namespace mailgate::test
