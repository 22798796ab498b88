// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate.h"

#include "gateway/base/descriptor.h"
#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"
#include "protocols/values/text.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <system_error>
#include <tuple>
#include <utility>

namespace mailgate {
namespace {

// Far above any chain, and far below what would hurt.
constexpr std::size_t kMaxCertificateBytes = std::size_t{1} << 20;
constexpr int kMaxChain = 16;

/// Text that is overwritten when it is no longer needed: it may hold a key.
class SecretText {
  public:
    SecretText() = default;
    ~SecretText() { OPENSSL_cleanse(text.data(), text.size()); }
    SecretText(const SecretText&) = delete;
    SecretText& operator=(const SecretText&) = delete;
    std::string text;
};

FileIdentity identityOf(const struct ::stat& status) noexcept {
    return {status.st_dev, status.st_ino, status.st_size,
            static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
    throw TlsError(file + ": " + why);
}

std::string errnoText(int error) {
    return std::generic_category().message(error);
}

/// A regular file, whole. `mode` gets its permissions.
FileIdentity readFile(const std::string& file, std::string& into, mode_t& mode) {
    // Without O_NONBLOCK a named pipe would keep the caller waiting.
    const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct ::stat status {};
    if (descriptor.get() < 0 || ::fstat(descriptor.get(), &status) != 0) {
        refuse(file, "cannot be read: " + errnoText(errno));
    }
    if (!S_ISREG(status.st_mode)) refuse(file, "is not a file");
    if (status.st_size > static_cast<off_t>(kMaxCertificateBytes)) refuse(file, "is larger than 1 MiB");
    // Never grown while it is read: what is overwritten at the end is all that there was.
    into.resize(static_cast<std::size_t>(status.st_size));
    std::size_t at = 0;
    while (at < into.size()) {
        const ssize_t got = ::read(descriptor.get(), into.data() + at, into.size() - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) refuse(file, "cannot be read: " + errnoText(errno));
        if (got == 0) break;
        at += static_cast<std::size_t>(got);
    }
    into.resize(at);
    mode = status.st_mode;
    return identityOf(status);
}

int noPassphrase(char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

bool endOfPem() noexcept {
    return ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PEM &&
           ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

/// Whether the response is about this certificate: from when until when it holds.
std::pair<UnixSeconds, UnixSeconds> ocspPeriod(const std::string& file, const std::string& der,
                                               const X509* leaf) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const openssl::OcspResponse response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(der.size())));
    if (!response) refuse(file, "is no OCSP response in DER form");
    if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        refuse(file, "the OCSP responder gave no status");
    }
    const openssl::OcspBasic basic(OCSP_response_get1_basic(response.get()));
    for (int i = 0; basic && i < OCSP_resp_count(basic.get()); ++i) {
        OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), i);
        ASN1_INTEGER* serial = nullptr;
        OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial,
                          const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
        if (!serial || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0) continue;
        ASN1_GENERALIZEDTIME *from = nullptr, *until = nullptr;
        OCSP_single_get0_status(single, nullptr, nullptr, &from, &until);
        return {from ? openssl::seconds(from) : 0,
                until ? openssl::seconds(until) : std::numeric_limits<UnixSeconds>::max()};
    }
    refuse(file, "the OCSP response is about another certificate");
}

}  // namespace

std::string readTlsFile(const std::string& file) {
    std::string content;
    mode_t mode = 0;
    readFile(file, content, mode);
    return content;
}

FileIdentities identitiesOf(const CertificateFiles& files) noexcept {
    FileIdentities found;
    const std::string* const names[] = {&files.certificate, &files.key, &files.ocsp};
    for (std::size_t i = 0; i < found.size(); ++i) {
        struct ::stat status {};
        if (!names[i]->empty() && ::stat(names[i]->c_str(), &status) == 0) found[i] = identityOf(status);
    }
    return found;
}

std::shared_ptr<const Certificate> Certificate::load(const CertificateFiles& files) {
    ERR_clear_error();
    std::shared_ptr<Certificate> made(new Certificate);
    made->files_ = files;
    SecretText certificates, key;
    mode_t mode = 0;
    made->identities_[0] = readFile(files.certificate, certificates.text, mode);
    made->readCertificates(certificates.text);
    if (!files.key.empty()) made->identities_[1] = readFile(files.key, key.text, mode);
    const std::string& key_file = files.key.empty() ? files.certificate : files.key;
    if (mode & (S_IROTH | S_IWOTH | S_IWGRP)) {
        refuse(
            key_file,
            fmt::format("holds a private key and its mode is {:04o}: none but its owner may write to it, and "
                        "others than owner and group may not read it (chmod 0640)",
                        mode & 07777));
    }
    made->readKey(files.key.empty() ? certificates.text : key.text, key_file);
    made->readNames();
    made->checkChain();
    made->checkUse();
    if (!files.ocsp.empty()) {
        std::string response;
        made->identities_[2] = readFile(files.ocsp, response, mode);
        made->readOcsp(std::move(response));
    }
    return made;
}

Certificate::~Certificate() {
    X509_free(leaf_);
    EVP_PKEY_free(key_);
    openssl::freeChain(chain_);
}

void Certificate::readCertificates(std::string_view pem) {
    const openssl::Bio bio = openssl::reader(pem);
    chain_ = sk_X509_new_null();
    if (!bio || !chain_) throw std::bad_alloc();
    for (int count = 1;; ++count) {
        openssl::Certificate read(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
        if (!read) {
            if (!endOfPem()) {
                refuse(files_.certificate,
                       fmt::format("certificate {} of it is damaged: {}", count, openssl::lastError()));
            }
            break;
        }
        if (count > kMaxChain)
            refuse(files_.certificate, fmt::format("has more than {} certificates", kMaxChain));
        if (!leaf_) {
            leaf_ = read.release();
        } else if (sk_X509_push(chain_, read.get()) > 0) {
            (void)read.release();
        } else {
            throw std::bad_alloc();
        }
    }
    ERR_clear_error();
    if (!leaf_) refuse(files_.certificate, "has no certificate in PEM form (BEGIN CERTIFICATE)");
    subject_ = openssl::subjectOf(leaf_);
    sha256_ = openssl::sha256Of(leaf_);
    not_before_ = openssl::seconds(X509_get0_notBefore(leaf_));
    not_after_ = openssl::seconds(X509_get0_notAfter(leaf_));
}

void Certificate::readKey(std::string_view pem, const std::string& file) {
    if (pem.find("PRIVATE KEY-----") == std::string_view::npos) {
        refuse(file, "has no private key in PEM form (BEGIN PRIVATE KEY)");
    }
    const openssl::Bio bio = openssl::reader(pem);
    if (!bio) throw std::bad_alloc();
    bool asked = false;
    key_ = PEM_read_bio_PrivateKey(bio.get(), nullptr, noPassphrase, &asked);
    if (!key_) {
        if (asked) refuse(file, "the private key has a passphrase, which nobody is there to enter");
        refuse(file, "the private key is damaged: " + openssl::lastError());
    }
    key_type_ = EVP_PKEY_is_a(key_, "RSA")  ? "RSA"
                : EVP_PKEY_is_a(key_, "EC") ? "EC"
                                            : EVP_PKEY_get0_type_name(key_);
    if (X509_check_private_key(leaf_, key_) == 1) {
        ERR_clear_error();
        return;
    }
    for (int i = 0; i < sk_X509_num(chain_); ++i) {
        if (X509_check_private_key(sk_X509_value(chain_, i), key_) == 1) {
            refuse(files_.certificate,
                   fmt::format("the key in {} is for certificate {} of it: that one has to come first", file,
                               i + 2));
        }
    }
    ERR_clear_error();
    refuse(file, fmt::format("the private key is not the one of the certificate in {} ({})",
                             files_.certificate, subject_));
}

void Certificate::readNames() {
    bool alternatives = false;
    names_ = openssl::hostNamesOf(leaf_, alternatives);
    // RFC 6125 6.4.4: the common name is looked at only where there are no alternatives.
    if (!alternatives) {
        const std::string name = openssl::commonNameOf(leaf_);
        if (isAscii(name) && name.find('.') != std::string::npos && name.find(' ') == std::string::npos) {
            names_.push_back(lowerCase(name));
            warnings_.push_back(files_.certificate +
                                ": names its host in the subject alone, which clients no longer look at");
        }
    }
    // RFC 5280 4.2.1.12.
    if (!(X509_get_extended_key_usage(leaf_) & (XKU_SSL_SERVER | XKU_ANYEKU))) {
        warnings_.push_back(files_.certificate +
                            ": is not for servers (extended key usage), and clients refuse it");
    }
    if (names_.empty()) {
        warnings_.push_back(files_.certificate +
                            ": is for no host name, and presented only to clients that ask for none");
    }
}

void Certificate::checkChain() {
    const X509* below = leaf_;
    for (int i = 0; i < sk_X509_num(chain_); ++i) {
        X509* above = sk_X509_value(chain_, i);
        if (X509_check_issued(above, const_cast<X509*>(below)) != X509_V_OK) {
            warnings_.push_back(fmt::format("{}: certificate {} of it ({}) did not issue the one before it",
                                            files_.certificate, i + 2, openssl::subjectOf(above)));
            return;
        }
        below = above;
    }
    const bool self_signed = X509_check_issued(leaf_, leaf_) == X509_V_OK;
    if (sk_X509_num(chain_) == 0 && !self_signed) {
        warnings_.push_back(files_.certificate +
                            ": has no chain behind the certificate; many clients cannot verify it so");
    }
    ERR_clear_error();
}

// What OpenSSL would refuse later: keys that its security level calls too small, digests that it calls too weak.
void Certificate::checkUse() const {
    const openssl::Context scratch(SSL_CTX_new(TLS_method()));
    if (!scratch) throw std::bad_alloc();
    if (SSL_CTX_use_cert_and_key(scratch.get(), leaf_, key_, chain_, 1) != 1) {
        refuse(files_.certificate, "cannot be used: " + openssl::lastError());
    }
}

void Certificate::readOcsp(std::string der) {
    std::tie(ocsp_from_, ocsp_until_) = ocspPeriod(files_.ocsp, der, leaf_);
    ocsp_ = std::move(der);
    ERR_clear_error();
}

std::string_view Certificate::ocspResponse(UnixSeconds now) const noexcept {
    return ocsp_from_ <= now && now < ocsp_until_ ? std::string_view(ocsp_) : std::string_view();
}

std::vector<std::string> Certificate::warnings(UnixSeconds now) const {
    std::vector<std::string> all = warnings_;
    if (!ocsp_.empty() && ocspResponse(now).empty()) {
        all.push_back(files_.ocsp + ": is not for this time, and not stapled");
    }
    if (now >= not_after_) {
        all.push_back(files_.certificate + ": has expired at " + formatUtc(not_after_));
    } else if (now < not_before_) {
        all.push_back(files_.certificate + ": is not valid before " + formatUtc(not_before_));
    }
    return all;
}

}  // namespace mailgate
