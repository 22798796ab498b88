// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate.h"

#include "gateway/tls/error.h"
#include "tests/support/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class CertificateTest : public ::testing::Test {
  protected:
    static std::string refusal(const CertificateFiles& files) {
        try {
            Certificate::load(files);
        } catch (const TlsError& error) {
            return error.what();
        }
        return "";
    }
    const std::string& authorityPem() {
        if (authority_pem_.empty()) authority_pem_ = files_.authority.pem();
        return authority_pem_;
    }

    TlsFiles files_;
    std::string authority_pem_;
    UnixSeconds now_ = std::time(nullptr);
};

TEST_F(CertificateTest, ReadsWhatTheToolsLeave) {
    const Issued rsa = files_.authority.issue(
        {.names = {"MX.example.net", "*.example.org"}, .common_name = "mx", .rsa = true});
    const std::string chain = files_.write("fullchain.pem", rsa.certificatePem() + authorityPem(), 0644);
    const std::string key = files_.write("privkey.pem", rsa.keyPem());
    for (const CertificateFiles& files :
         {CertificateFiles{chain, key, {}},
          {files_.write("combined.pem", rsa.keyPem() + rsa.certificatePem() + authorityPem()), {}, {}},
          {files_.write("with-text.pem",
                        "Bag Attributes\n  friendlyName: mx\n" + rsa.certificatePem() + authorityPem()),
           key,
           {}}}) {
        const auto read = Certificate::load(files);
        EXPECT_THAT(read->names(), ElementsAre("mx.example.net", "*.example.org"));
        EXPECT_EQ(read->subject(), "CN=mx");
        EXPECT_EQ(read->keyType(), "RSA");
        EXPECT_EQ(read->sha256().size(), 64u);
        EXPECT_NEAR(static_cast<double>(read->notAfter() - now_), 86'400, 60);
        EXPECT_TRUE(read->validAt(now_));
        EXPECT_THAT(read->warnings(now_), IsEmpty());
    }
    const auto ec = files_.certificate({{"mx.example.net"}});
    EXPECT_EQ(ec->keyType(), "EC");
}

TEST_F(CertificateTest, NamesTheFileAndTheCause) {
    const Issued one = files_.authority.issue({{"mx.example.net"}}),
                 other = files_.authority.issue({{"mx.example.net"}});
    const std::string chain = files_.write("chain.pem", one.certificatePem() + authorityPem());
    const std::string key = files_.write("key.pem", one.keyPem());
    const std::string gone = files_.path("gone.pem");
    EXPECT_EQ(refusal({gone, key, {}}), gone + ": cannot be read: No such file or directory");
    EXPECT_EQ(refusal({chain, gone, {}}), gone + ": cannot be read: No such file or directory");
    const std::string folder = std::filesystem::path(chain).parent_path();
    EXPECT_EQ(refusal({folder, key, {}}), folder + ": is not a file");
    const std::string pipe = files_.path("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(refusal({pipe, key, {}}), pipe + ": is not a file");
    const std::string large = files_.write("large.pem", std::string((1 << 20) + 1, ' '));
    EXPECT_EQ(refusal({large, key, {}}), large + ": is larger than 1 MiB");
    const std::string empty = files_.write("empty.pem", "");
    EXPECT_EQ(refusal({empty, key, {}}), empty + ": has no certificate in PEM form (BEGIN CERTIFICATE)");
    EXPECT_EQ(refusal({chain, empty, {}}), empty + ": has no private key in PEM form (BEGIN PRIVATE KEY)");
    EXPECT_EQ(refusal({chain, {}, {}}), chain + ": has no private key in PEM form (BEGIN PRIVATE KEY)");

    std::string damaged = one.certificatePem() + authorityPem();
    damaged.replace(one.certificatePem().size() + 60, 4, "????");
    damaged = files_.write("damaged.pem", damaged);
    EXPECT_THAT(refusal({damaged, key, {}}), StartsWith(damaged + ": certificate 2 of it is damaged: "));
    std::string half = one.keyPem();
    half = files_.write("half.pem", half.substr(0, half.size() / 2));
    EXPECT_THAT(refusal({chain, half, {}}), StartsWith(half + ": "));

    const std::string wrong = files_.write("wrong.pem", other.keyPem());
    EXPECT_EQ(refusal({chain, wrong, {}}),
              wrong + ": the private key is not the one of the certificate in " + chain + " (CN=test)");
    const std::string turned = files_.write("turned.pem", authorityPem() + one.certificatePem());
    EXPECT_EQ(refusal({turned, key, {}}),
              turned + ": the key in " + key + " is for certificate 2 of it: that one has to come first");
    const std::string locked = files_.write("locked.pem", one.encryptedKeyPem());
    EXPECT_EQ(refusal({chain, locked, {}}),
              locked + ": the private key has a passphrase, which nobody is there to enter");
}

TEST_F(CertificateTest, RefusesAKeyThatEverybodyMayRead) {
    const Issued issued = files_.authority.issue({{"mx.example.net"}});
    const std::string chain = files_.write("chain.pem", issued.certificatePem() + authorityPem(), 0644);
    for (const unsigned mode : {0400u, 0600u, 0640u}) {
        EXPECT_EQ(refusal({chain, files_.write("key.pem", issued.keyPem(), mode), {}}), "") << mode;
    }
    for (const auto& [mode, digits] :
         {std::pair{0644u, "0644"}, {0604u, "0604"}, {0602u, "0602"}, {0660u, "0660"}}) {
        const std::string key = files_.write("open.pem", issued.keyPem(), mode);
        EXPECT_EQ(refusal({chain, key, {}}),
                  key + ": holds a private key and its mode is " + digits +
                      ": none but its owner may write to it, and others than owner and group "
                      "may not read it (chmod 0640)");
        EXPECT_THAT(
            refusal({files_.write("both.pem", issued.certificatePem() + issued.keyPem(), mode), {}, {}}),
            HasSubstr("its mode is"));
    }
}

TEST_F(CertificateTest, WarnsOfWhatWillTroubleClients) {
    const auto warningsOf = [&](const std::string& pem, const Issued& issued) {
        const std::string file = files_.write("warned.pem", pem + issued.keyPem());
        auto warnings = Certificate::load({file, {}, {}})->warnings(now_);
        for (std::string& warning : warnings) {
            EXPECT_THAT(warning, StartsWith(file + ": "));
            warning.erase(0, file.size() + 2);
        }
        return warnings;
    };
    const Issued good = files_.authority.issue({{"mx.example.net"}});
    EXPECT_THAT(warningsOf(good.certificatePem(), good),
                ElementsAre("has no chain behind the certificate; many clients cannot verify it so"));
    const CertificateAuthority others("Others");
    EXPECT_THAT(warningsOf(good.certificatePem() + others.pem(), good),
                ElementsAre("certificate 2 of it (CN=Others) did not issue the one before it"));
    const Issued late = files_.authority.issue({.names = {"mx.example.net"}, .from = -7200, .until = -3600});
    EXPECT_THAT(warningsOf(late.certificatePem() + authorityPem(), late),
                ElementsAre(StartsWith("has expired at 20")));
    const Issued early = files_.authority.issue({.names = {"mx.example.net"}, .from = 3600});
    EXPECT_THAT(warningsOf(early.certificatePem() + authorityPem(), early),
                ElementsAre(StartsWith("is not valid before 20")));
    const Issued old = files_.authority.issue({.common_name = "mx.example.net"});
    EXPECT_THAT(warningsOf(old.certificatePem() + authorityPem(), old),
                ElementsAre("names its host in the subject alone, which clients no longer look at"));
    const Issued clients = files_.authority.issue({.names = {"mx.example.net"}, .usage = "clientAuth"});
    EXPECT_THAT(warningsOf(clients.certificatePem() + authorityPem(), clients),
                ElementsAre("is not for servers (extended key usage), and clients refuse it"));
    const Issued both =
        files_.authority.issue({.names = {"mx.example.net"}, .usage = "clientAuth,serverAuth"});
    EXPECT_THAT(warningsOf(both.certificatePem() + authorityPem(), both), IsEmpty());
    const Issued nameless = files_.authority.issue({.common_name = "a person"});
    EXPECT_THAT(warningsOf(nameless.certificatePem() + authorityPem(), nameless),
                ElementsAre("is for no host name, and presented only to clients that ask for none"));
}

TEST_F(CertificateTest, StaplesOnlyWhatIsAboutIt) {
    const Issued issued = files_.authority.issue({{"mx.example.net"}}), other = files_.authority.issue({});
    CertificateFiles named = files_.combined(issued);
    named.ocsp = files_.write("good.der", files_.authority.ocspResponse(issued));
    const auto read = Certificate::load(named);
    EXPECT_FALSE(read->ocspResponse(now_).empty());
    EXPECT_TRUE(read->ocspResponse(now_ + 7200).empty());
    EXPECT_THAT(read->warnings(now_ + 7200),
                ElementsAre(named.ocsp + ": is not for this time, and not stapled"));
    EXPECT_THAT(read->warnings(read->notAfter()).back(), StartsWith(named.certificate + ": has expired at "))
        << "what keeps a renewed one from use";
    named.ocsp = files_.write("other.der", files_.authority.ocspResponse(other));
    EXPECT_EQ(refusal(named), named.ocsp + ": the OCSP response is about another certificate");
    named.ocsp = files_.write("text.der", "no response");
    EXPECT_EQ(refusal(named), named.ocsp + ": is no OCSP response in DER form");
}

}  // namespace
}  // namespace mailgate::test
