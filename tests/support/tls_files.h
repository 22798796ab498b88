// SPDX-License-Identifier: Apache-2.0
/// \file  Certificates of a test's own, in files of a folder of its own.
#pragma once

#include "gateway/tls/certificate.h"
#include "tests/support/certificates.h"
#include "tests/support/temporary_folder.h"

#include <memory>
#include <string>

namespace mailgate::test {

class TlsFiles {
  public:
    CertificateAuthority authority{"Test CA"};

    std::string write(const std::string& name, const std::string& content, unsigned mode = 0600) {
        const std::string file = folder_.file(name);
        writeFile(file, content, mode);
        return file;
    }
    /// Certificate, then key, in one file.
    CertificateFiles combined(const Issued& issued) {
        return {write(std::to_string(++count_) + ".pem",
                      issued.certificatePem() + authority.pem() + issued.keyPem()),
                {},
                {}};
    }
    std::shared_ptr<const Certificate> certificate(const Wanted& wanted) {
        return Certificate::load(combined(authority.issue(wanted)));
    }
    std::string path(const std::string& name) const { return folder_.file(name); }

  private:
    TemporaryFolder folder_;
    int count_ = 0;
};

}  // namespace mailgate::test
