// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/sasl.h"

#include "protocols/stream/session_facts.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

struct NameCase {
    const char* mechanism;
    const char* response;  ///< base64
    const char* want;
};

class SaslName : public ::testing::TestWithParam<NameCase> {};

TEST_P(SaslName, IsReadFromTheFirstResponse) {
    SaslExchange exchange;
    exchange.start(GetParam().mechanism);
    EXPECT_TRUE(exchange.active());
    EXPECT_EQ(exchange.initial(GetParam().response), GetParam().want) << GetParam().mechanism;
    EXPECT_EQ(exchange.named(), *GetParam().want != '\0');
}

INSTANTIATE_TEST_SUITE_P(
    Mechanisms, SaslName,
    ::testing::Values(
        NameCase{"PLAIN", "AGFsaWNlAHdvbmRlcmxhbmQ=", "alice"},      // \0alice\0wonderland
        NameCase{"plain", "cm9vdABhbGljZQB3b25kZXJsYW5k", "alice"},  // root\0alice\0wonderland
        NameCase{"PLAIN", "AGFsaWNl", ""},                           // \0alice
        NameCase{"PLAIN", "AHdvbmRlcmxhbmQA", ""},                   // \0wonderland\0: a password for a name
        NameCase{"PLAIN", "AGFsaWNlAHdvbm*=", "alice"},              // what follows the name is not decoded
        NameCase{"LOGIN", "YWxpY2U=", "alice"}, NameCase{"LOGIN", "YWxp!2U=", ""},
        NameCase{"CRAM-MD5", "YWxpY2UgMDEyMzQ1Njc4OWFiY2RlZg==", "alice"},       // alice 0123456789abcdef
        NameCase{"SCRAM-SHA-256", "bixhPXJvb3Qsbj1hPTJDYj0zRGMscj14", "a,b=c"},  // n,a=root,n=a=2Cb=3Dc,r=x
        NameCase{"SCRAM-SHA-1", "biwsbj1hbGljZQ==", ""},                         // n,,n=alice
        NameCase{"XOAUTH2", "dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=", "alice"},
        NameCase{"OAUTHBEARER", "bixhPWFsaWNlLAFhdXRoPUJlYXJlciB4AQE=", "alice"},
        NameCase{"OAUTHBEARER", "biwsAWF1dGg9QmVhcmVyIHgBAQ==", ""},  // n,,\1auth=Bearer x
        NameCase{"GSSAPI", "YWxpY2U=", ""}, NameCase{"PLAIN", "", ""}, NameCase{"PLAIN", "====", ""}));

TEST(SaslExchange, TakesTheNameFromTheFirstResponseAlone) {
    SaslExchange exchange;
    exchange.start("LOGIN");
    exchange.prompt();
    EXPECT_TRUE(exchange.prompted());
    EXPECT_EQ(exchange.respond("YWxpY2U="), "alice");
    EXPECT_FALSE(exchange.prompted());
    exchange.prompt();
    EXPECT_EQ(exchange.respond("d29uZGVybGFuZA=="), "") << "the password";
    EXPECT_TRUE(exchange.tried());
    exchange.end();
    EXPECT_FALSE(exchange.active());
}

TEST(SaslExchange, ThatIsCalledOffWasNotTried) {
    SaslExchange exchange;
    exchange.start("LOGIN");
    EXPECT_FALSE(exchange.tried());
    exchange.respond("YWxpY2U=");
    EXPECT_EQ(exchange.respond("*"), "");
    EXPECT_FALSE(exchange.tried());
    exchange.start("PLAIN");
    exchange.initial("AGFsaWNlAHg=");
    EXPECT_TRUE(exchange.tried()) << "another exchange knows nothing of the last one";
}

TEST(SaslExchange, BoundsTheName) {
    SaslExchange exchange;
    exchange.start("LOGIN");
    std::string response;
    for (int times = 0; times < 1000; ++times)
        response += "YWFh";  // aaa
    EXPECT_EQ(exchange.initial(response), std::string(kMaxNameBytes, 'a'));
    exchange.start("XOAUTH2");
    EXPECT_EQ(exchange.initial(response), "");
}

TEST(SaslInitialName, IsThatOfTheResponseInTheCommand) {
    EXPECT_EQ(initialName("PLAIN", "AGFsaWNlAHdvbmRlcmxhbmQ="), "alice");
    EXPECT_EQ(initialName("LOGIN", "YWxpY2U="), "alice");
    EXPECT_EQ(initialName("PLAIN", ""), "");
    EXPECT_EQ(initialName("X-OWN", "YWxpY2U="), "");
}

}  // namespace
}  // namespace mailgate
