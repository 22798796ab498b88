// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_context.h"

#include "gateway/tls/error.h"
#include "tests/support/tls_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

class ServerContextTest : public ::testing::Test {
  protected:
    std::shared_ptr<const TlsServerContext> build(const TlsServerOptions& options = {}) {
        return TlsServerContext::build(options, certificates_, tickets_);
    }
    std::string refusal(const TlsServerOptions& options) {
        try {
            build(options);
        } catch (const TlsError& error) {
            return error.what();
        }
        return "";
    }
    TlsServerOptions asking(ClientCertificates how, const CertificateAuthority& authority) {
        TlsServerOptions options;
        options.client_certificates = how;
        options.client_ca = files_.write("clients.pem", authority.pem());
        return options;
    }

    TlsFiles files_;
    std::shared_ptr<TicketKeys> tickets_ = std::make_shared<TicketKeys>([] { return std::time(nullptr); });
    TlsServerContext::Certificates certificates_{files_.certificate({{"first.example"}, "first"})};
};

/// The subjects of those that are for `name`.
std::vector<std::string> subjectsFor(const TlsServerContext& context, std::string_view name) {
    std::vector<std::string> subjects;
    for (const auto& certificate : context.certificatesFor(name))
        subjects.push_back(certificate->subject());
    return subjects;
}

TEST_F(ServerContextTest, AnExactNameComesBeforeAWildcardAndTheFirstIsForTheRest) {
    certificates_.push_back(files_.certificate({{"*.example.net"}, "wildcard"}));
    certificates_.push_back(files_.certificate({{"MX.example.net"}, "exact"}));
    const auto context = build();
    for (const char* name : {"mx.example.net", "MX.EXAMPLE.NET", "mx.example.net."})
        EXPECT_THAT(subjectsFor(*context, name), ElementsAre("CN=exact")) << name;
    EXPECT_THAT(subjectsFor(*context, "imap.example.net"), ElementsAre("CN=wildcard"));
    for (const std::string& name :
         {std::string("example.net"), std::string(".example.net"), std::string("a.b.example.net"),
          std::string(), std::string("."), std::string("net"), std::string("elsewhere.example"),
          std::string("mx.example.net.."), std::string("mx.example.net\0", 15),
          std::string(300, 'x') + ".example.net"})
        EXPECT_THAT(subjectsFor(*context, name), ElementsAre("CN=first")) << name;
}

TEST_F(ServerContextTest, OneOfEachKindOfKeyIsForAName) {
    certificates_ = {files_.certificate({{"mx.example.net"}, "ec"}),
                     files_.certificate({{"mx.example.net"}, "a second"}),
                     files_.certificate({.names = {"*.example.net"}, .common_name = "rsa", .rsa = true})};
    const auto context = build();
    EXPECT_THAT(subjectsFor(*context, "mx.example.net"), ElementsAre("CN=ec", "CN=rsa"));
    EXPECT_THAT(subjectsFor(*context, "imap.example.net"), ElementsAre("CN=rsa"));
    EXPECT_THAT(subjectsFor(*context, ""), ElementsAre("CN=ec", "CN=rsa"))
        << "those that share a name with the first";
}

TEST_F(ServerContextTest, NeedsACertificate) {
    certificates_.clear();
    EXPECT_EQ(refusal({}), "certificates: at least one is needed");
}

TEST_F(ServerContextTest, NeedsToKnowWhoIssuesClientsCertificates) {
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Required;
    EXPECT_EQ(refusal(options), "client_ca: is needed to verify the certificates of clients");
    options.client_ca = files_.path("gone.pem");
    EXPECT_EQ(refusal(options), options.client_ca + ": cannot be read: No such file or directory");
    options.client_ca = files_.write("text.pem", "text");
    EXPECT_THAT(refusal(options),
                StartsWith(options.client_ca + ": has no certificates to verify clients with: "));
    options.client_certificates = ClientCertificates::Off;
    EXPECT_EQ(refusal(options), "") << "nobody is asked";
}

TEST_F(ServerContextTest, RefusesWhatTheOptionsOfBothRolesRefuse) {
    TlsServerOptions options;
    options.ciphers = "NO-SUCH-CIPHER";
    EXPECT_EQ(refusal(options), "ciphers: OpenSSL knows no NO-SUCH-CIPHER");
}

TEST_F(ServerContextTest, TellsClientsWhoseCertificatesItTakes) {
    const CertificateAuthority clients("Clients");
    TlsConnection connection(build(asking(ClientCertificates::Optional, clients)));
    ASSERT_EQ(connection.handshake().state, kDone);
    const STACK_OF(X509_NAME)* names = SSL_get_client_CA_list(connection.client.ssl());
    ASSERT_EQ(sk_X509_NAME_num(names), 1);
    EXPECT_EQ(
        X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(clients.self().certificate.get())),
        0);
}

// A session that is resumed brings the verdict on the client's certificate along.
TEST_F(ServerContextTest, ATicketIsGoodOnlyWhereTheSameClientsAreBelieved) {
    const CertificateAuthority theirs("Clients"), others("Others");
    std::shared_ptr<SSL_SESSION> session;
    const auto resumes = [&](const TlsServerOptions& options) {
        TlsConnection connection(build(options));
        if (session) SSL_set_session(connection.client.ssl(), session.get());
        EXPECT_EQ(connection.handshake().state, kDone);
        connection.client.reads();
        session.reset(SSL_get1_session(connection.client.ssl()), SSL_SESSION_free);
        return connection.server->facts().resumed;
    };
    const TlsServerOptions options = asking(ClientCertificates::Optional, theirs);
    EXPECT_FALSE(resumes(options));
    EXPECT_TRUE(resumes(options));
    EXPECT_FALSE(resumes(asking(ClientCertificates::Optional, others)))
        << "another authority in the same file";
    EXPECT_FALSE(resumes({})) << "where nobody is asked";
}

// Each resumption brings the next ticket, so that the verdict of the first handshake would hold for ever.
TEST_F(ServerContextTest, ATicketDoesNotOutliveTheClientsCertificate) {
    const CertificateAuthority clients("Clients");
    const Issued identity = clients.issue({.common_name = "relay", .until = 7200});
    UnixSeconds now = std::time(nullptr);
    tickets_ = std::make_shared<TicketKeys>([&] { return now; });
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (const ClientCertificates how : {ClientCertificates::Optional, ClientCertificates::Required}) {
            const auto server = build(asking(how, clients));
            std::shared_ptr<SSL_SESSION> session;
            const auto resumes = [&] {
                TlsConnection connection(server, TlsPeer::clientContext([&](SSL_CTX* client) {
                                             SSL_CTX_set_max_proto_version(client, version);
                                             SSL_CTX_use_cert_and_key(client, identity.certificate.get(),
                                                                      identity.key.get(), nullptr, 1);
                                         }));
                if (session) SSL_set_session(connection.client.ssl(), session.get());
                EXPECT_EQ(connection.handshake().state, kDone);
                connection.client.reads();
                session.reset(SSL_get1_session(connection.client.ssl()), SSL_SESSION_free);
                return connection.server->facts().resumed;
            };
            now = std::time(nullptr);
            EXPECT_FALSE(resumes());
            EXPECT_TRUE(resumes());
            now += 7100;
            EXPECT_TRUE(resumes());
            now += 200;
            EXPECT_FALSE(resumes()) << "by the clock of the tickets";
        }
    }
}

}  // namespace
}  // namespace mailgate::test
