// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/server_failure.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace mailgate {
namespace {

TEST(ServerFailure, TellsWhyAConnectionWasNotMade) {
    EXPECT_EQ(connectFailure(ECONNREFUSED), ServerFailure::ConnectRefused);
    EXPECT_EQ(connectFailure(ETIMEDOUT), ServerFailure::ConnectTimeout);
    EXPECT_EQ(connectFailure(EHOSTUNREACH), ServerFailure::HostUnreachable);
    EXPECT_EQ(connectFailure(ENETUNREACH), ServerFailure::NetworkUnreachable);
    EXPECT_EQ(connectFailure(ECONNRESET), ServerFailure::ConnectReset);
    EXPECT_EQ(connectFailure(EADDRNOTAVAIL), ServerFailure::NoLocalPort);
    EXPECT_EQ(connectFailure(EPERM), ServerFailure::ConnectFailed);
}

TEST(ServerFailure, TellsWhyTlsWasNotSpoken) {
    using Reason = TlsFailure::Reason;
    EXPECT_EQ(handshakeFailure({Reason::CertificateExpired}), ServerFailure::CertificateExpired);
    EXPECT_EQ(handshakeFailure({Reason::WrongName}), ServerFailure::CertificateForOthers);
    EXPECT_EQ(handshakeFailure({Reason::UnknownCa}), ServerFailure::CertificateUntrusted);
    EXPECT_EQ(handshakeFailure({Reason::Timeout}), ServerFailure::NoHandshake);
    EXPECT_EQ(handshakeFailure({Reason::NotTls}), ServerFailure::NotTls);
    EXPECT_EQ(handshakeFailure({Reason::ConnectionLost}), ServerFailure::ClosedInHandshake);
    EXPECT_EQ(handshakeFailure({Reason::Alert, 40}), ServerFailure::HandshakeFailed);
}

TEST(ServerFailure, CountsWhoeverTheClientIsOnlyWhereNobodyWasReached) {
    EXPECT_EQ(countsOf(ServerFailure::ConnectRefused), FailureCounts::Always);
    EXPECT_EQ(countsOf(ServerFailure::NoGreeting), FailureCounts::WhereUnchecked);
    EXPECT_EQ(countsOf(ServerFailure::Foreign), FailureCounts::WhereUnchecked);
    EXPECT_EQ(countsOf(ServerFailure::CertificateExpired), FailureCounts::Always) << "so it is for everybody";
    EXPECT_EQ(countsOf(ServerFailure::NoLocalPort), FailureCounts::Never) << "the gateway's own want";
}

TEST(ServerFailure, KnowsAnAnswerFromSilence) {
    EXPECT_FALSE(answered(ServerFailure::ConnectTimeout));
    EXPECT_FALSE(answered(ServerFailure::NoGreeting));
    EXPECT_FALSE(answered(ServerFailure::NoHandshake));
    EXPECT_TRUE(answered(ServerFailure::CertificateExpired));
    for (const ServerFailure ended : {ServerFailure::ClosedWithoutGreeting,
                                      ServerFailure::ResetWithoutGreeting, ServerFailure::ClosedInHandshake})
        EXPECT_FALSE(answered(ended)) << toString(ended);
    EXPECT_TRUE(answered(ServerFailure::ClosedInGreeting));
    EXPECT_TRUE(answered(ServerFailure::NotTls));
    EXPECT_TRUE(answered(ServerFailure::SystemNotAccepting));
}

}  // namespace
}  // namespace mailgate
