// SPDX-License-Identifier: Apache-2.0
/// \file  A server's (or client's) certificate with its chain, its key and a stapled OCSP response, from PEM files.
///
/// The files are what certbot, acme.sh and lego leave: certificate and chain in one file and the key in
/// another, or all in one. They are read once and checked against each other; the result never changes and is
/// shared between threads.
#pragma once

#include "protocols/values/time.h"

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;
struct stack_st_X509;
struct x509_st;

namespace mailgate {

struct CertificateFiles {
    std::string certificate;  ///< PEM: the certificate itself, then those that lead from it to a root
    std::string key;          ///< PEM, without a passphrase; empty: in `certificate`
    std::string ocsp;         ///< DER, as `openssl ocsp -respout` writes it; empty: nothing is stapled

    friend bool operator==(const CertificateFiles&, const CertificateFiles&) = default;
};

/// Which file it was, and which of its states: of a symlink, what it leads to.
struct FileIdentity {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = -1;  ///< -1: not there
    std::int64_t changed_ns = 0;

    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
/// Of certificate, key and ocsp; of those not named, nothing.
using FileIdentities = std::array<FileIdentity, 3>;

/// A file of this room's, whole. Throws TlsError: it is not there, no file, or beyond any use (1 MiB).
std::string readTlsFile(const std::string& file);

/// As they are now.
FileIdentities identitiesOf(const CertificateFiles& files) noexcept;

class Certificate {
  public:
    /// Throws TlsError.
    static std::shared_ptr<const Certificate> load(const CertificateFiles& files);
    ~Certificate();
    Certificate(const Certificate&) = delete;
    Certificate& operator=(const Certificate&) = delete;

    const CertificateFiles& files() const noexcept { return files_; }
    /// Of the files when they were read.
    const FileIdentities& identities() const noexcept { return identities_; }

    /// Host names in lower case, "*." in front of those with a wildcard.
    const std::vector<std::string>& names() const noexcept { return names_; }
    const std::string& subject() const noexcept { return subject_; }
    const std::string& sha256() const noexcept { return sha256_; }
    UnixSeconds notBefore() const noexcept { return not_before_; }
    UnixSeconds notAfter() const noexcept { return not_after_; }
    bool validAt(UnixSeconds now) const noexcept { return not_before_ <= now && now < not_after_; }
    /// "RSA" or "EC" or …: of one of each kind in a set, the client's offer decides.
    std::string_view keyType() const noexcept { return key_type_; }

    /// What is not refused but will trouble clients: sentences that name the file; that it is not valid now comes last.
    std::vector<std::string> warnings(UnixSeconds now) const;

    /// DER; empty: there is none, or it was not made for this moment.
    std::string_view ocspResponse(UnixSeconds now) const noexcept;

    x509_st* leaf() const noexcept { return leaf_; }
    evp_pkey_st* key() const noexcept { return key_; }
    stack_st_X509* chain() const noexcept { return chain_; }

  private:
    Certificate() = default;
    void readCertificates(std::string_view pem);
    void readKey(std::string_view pem, const std::string& file);
    void readNames();
    void readOcsp(std::string der);
    void checkChain();
    void checkUse() const;

    CertificateFiles files_;
    FileIdentities identities_;
    std::vector<std::string> names_;
    std::vector<std::string> warnings_;
    std::string subject_, sha256_;
    std::string_view key_type_;
    std::string ocsp_;
    UnixSeconds ocsp_from_ = 0, ocsp_until_ = 0;
    UnixSeconds not_before_ = 0, not_after_ = 0;
    x509_st* leaf_ = nullptr;
    evp_pkey_st* key_ = nullptr;
    stack_st_X509* chain_ = nullptr;
};

}  // namespace mailgate
