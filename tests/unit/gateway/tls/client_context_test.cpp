// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_context.h"

#include "gateway/tls/error.h"
#include "tests/support/tls_connection.h"

#include <gtest/gtest.h>

#include <ctime>
#include <memory>
#include <string>

namespace mailgate::test {
namespace {

class ClientContextTest : public ::testing::Test {
  protected:
    std::string refusal(const TlsClientOptions& options) {
        try {
            TlsClientContext::build(options, nullptr);
        } catch (const TlsError& error) {
            return error.what();
        }
        return "";
    }
    TlsClientOptions trusting(const std::string& ca) {
        TlsClientOptions options;
        options.ca = ca;
        return options;
    }
    /// A handshake with the server, as with the one of that name; whether it went on with an earlier one.
    bool resumes(const TlsClientContext& context, const std::string& name) {
        TlsConnection connection(server_, std::shared_ptr<SSL_CTX>(context_, context.context()));
        context.resume(connection.client.ssl(), name);
        EXPECT_EQ(connection.handshake().state, kDone);
        connection.client.reads();  // tickets come behind the handshake
        return SSL_session_reused(connection.client.ssl()) == 1;
    }

    TlsFiles files_;
    std::shared_ptr<const TlsServerContext> server_ =
        TlsServerContext::build({}, {files_.certificate({{"mx.example.net"}})},
                                std::make_shared<TicketKeys>([] { return std::time(nullptr); }));
    std::shared_ptr<const TlsClientContext> context_ =
        TlsClientContext::build(trusting(files_.write("ca.pem", files_.authority.pem())), nullptr);
};

TEST_F(ClientContextTest, NeedsToKnowWhomToBelieve) {
    EXPECT_EQ(refusal({}), "") << "the system's";
    const std::string gone = files_.path("gone.pem");
    EXPECT_TRUE(refusal(trusting(gone)).starts_with(gone + ": cannot be read: "));
    const std::string text = files_.write("text.pem", "no certificate\n");
    EXPECT_TRUE(refusal(trusting(text)).starts_with(text + ": has no certificates to verify servers with: "));
    TlsClientOptions believing = trusting(gone);
    believing.verify = false;
    EXPECT_EQ(refusal(believing), "");
}

TEST_F(ClientContextTest, VerifiesUnlessItIsToldNotTo) {
    EXPECT_TRUE(context_->verifies());
    EXPECT_EQ(SSL_CTX_get_verify_mode(context_->context()), SSL_VERIFY_PEER);
    TlsClientOptions options;
    options.verify = false;
    const auto believing = TlsClientContext::build(options, nullptr);
    EXPECT_FALSE(believing->verifies());
    EXPECT_EQ(SSL_CTX_get_verify_mode(believing->context()), SSL_VERIFY_NONE);
}

TEST_F(ClientContextTest, RefusesWhatTheOptionsOfBothRolesRefuse) {
    TlsClientOptions options;
    options.groups = "P-257";
    EXPECT_EQ(refusal(options), "groups: OpenSSL knows no P-257");
}

TEST_F(ClientContextTest, HasTheCertificateThatServersMayAskFor) {
    EXPECT_EQ(SSL_CTX_get0_certificate(context_->context()), nullptr);
    const auto identity = files_.certificate({{"gate.example.net"}});
    const auto context = TlsClientContext::build({}, identity);
    EXPECT_EQ(SSL_CTX_get0_certificate(context->context()), identity->leaf());
}

TEST_F(ClientContextTest, GoesOnWithWhatTheSameServerHasAgreedTo) {
    EXPECT_FALSE(resumes(*context_, "mx.example.net"));
    EXPECT_TRUE(resumes(*context_, "mx.example.net"));
    EXPECT_TRUE(resumes(*context_, "mx.example.net")) << "and with the ticket that came with that";
    EXPECT_FALSE(resumes(*context_, "mx2.example.net")) << "it was verified for another name";
    const auto other = TlsClientContext::build(trusting(files_.path("ca.pem")), nullptr);
    EXPECT_FALSE(resumes(*other, "mx.example.net"));
}

TEST_F(ClientContextTest, KeepsNoMoreServersThanAnyConfigurationHas) {
    EXPECT_FALSE(resumes(*context_, "first.example"));
    TlsPeer scratch(std::shared_ptr<SSL_CTX>(context_, context_->context()));
    for (int i = 0; i < 2000; ++i)
        context_->resume(scratch.ssl(), std::to_string(i) + ".example");
    EXPECT_FALSE(resumes(*context_, "last.example"));
    EXPECT_FALSE(resumes(*context_, "last.example")) << "there is no room for it";
    EXPECT_TRUE(resumes(*context_, "first.example"));
}

}  // namespace
}  // namespace mailgate::test
