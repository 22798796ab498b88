// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/authorities.h"

#include "gateway/tls/error.h"
#include "gateway/tls/openssl.h"
#include "tests/support/tls_files.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <string>

namespace mailgate::test {
namespace {

class AuthoritiesTest : public ::testing::Test {
  protected:
    /// How many `file` gives; or why none.
    std::string trusted(const std::string& file) {
        const openssl::Context context(SSL_CTX_new(TLS_method()));
        try {
            trustAuthorities(file, "servers", context.get());
        } catch (const TlsError& error) {
            return error.what();
        }
        const openssl::Chain all(X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(context.get())));
        return std::to_string(sk_X509_num(all.get()));
    }

    TlsFiles files_;
};

TEST_F(AuthoritiesTest, TakesAllThatAFileHas) {
    const std::string one = files_.authority.pem(), another = CertificateAuthority("Others").pem();
    EXPECT_EQ(trusted(files_.write("ca.pem", one)), "1");
    EXPECT_EQ(trusted(files_.write("ca.pem", "# text\n" + one + "more text\n" + another + one)), "2");
}

TEST_F(AuthoritiesTest, SaysWhatIsWrongWithAFile) {
    const std::string gone = files_.path("gone.pem");
    EXPECT_EQ(trusted(gone), gone + ": cannot be read: No such file or directory");
    const std::string pipe = files_.path("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(trusted(pipe), pipe + ": is not a file") << "and nobody waits for a writer";
    for (const std::string& content :
         {std::string(), std::string("text"), files_.authority.self().keyPem()}) {
        const std::string file = files_.write("none.pem", content);
        EXPECT_EQ(
            trusted(file),
            file + ": has no certificates to verify servers with: none in PEM form (BEGIN CERTIFICATE)");
    }
    std::string damaged = files_.authority.pem() + CertificateAuthority("Others").pem();
    damaged.erase(damaged.size() - 60, 10);
    const std::string file = files_.write("damaged.pem", damaged);
    EXPECT_TRUE(trusted(file).starts_with(file + ": has no certificates to verify servers with: "));
}

TEST_F(AuthoritiesTest, SettlesOnceWhoeverWroteItIsDone) {
    const std::string file = files_.write("ca.pem", files_.authority.pem());
    AuthoritiesWatcher watcher(file);
    EXPECT_FALSE(watcher.settled());
    files_.write("ca.pem", files_.authority.pem() + CertificateAuthority("Others").pem());
    EXPECT_FALSE(watcher.settled()) << "it may still be written";
    EXPECT_TRUE(watcher.settled());
    EXPECT_FALSE(watcher.settled()) << "told of once";
    EXPECT_FALSE(watcher.handled(watcher.now()));
    std::filesystem::remove(file);
    EXPECT_TRUE(watcher.handled(watcher.now())) << "somebody has looked before it settled";
    EXPECT_FALSE(watcher.settled());
    EXPECT_FALSE(watcher.settled());
    AuthoritiesWatcher none("");
    EXPECT_FALSE(none.settled());
}

}  // namespace
}  // namespace mailgate::test
