// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/password.h"

#include <gmock/gmock.h>

#include <string>

namespace mailgate::credentials {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kPassword = "correct horse battery";

TEST(Password, IsHashedWithYescryptAndASaltOfItsOwn) {
    const std::string one = hashPassword(kPassword), other = hashPassword(kPassword);
    EXPECT_THAT(one, StartsWith("$y$"));
    EXPECT_NE(one, other);
    EXPECT_TRUE(isPassword(kPassword, one));
    EXPECT_TRUE(isPassword(kPassword, other));
    EXPECT_FALSE(isPassword("correct horse batterx", one));
    EXPECT_FALSE(isPassword("", one));
}

TEST(Password, OfAHashThatIsNoneIsNobodys) {
    for (const char* hash : {"", "x", "*", "*0", "!", "$y$", "$y$j9T$"})
        EXPECT_FALSE(isPassword(kPassword, hash)) << hash;
}

// crypt(3) reads to the first NUL.
TEST(Password, EndsWhereItEnds) {
    const std::string hash = hashPassword(kPassword);
    EXPECT_FALSE(isPassword(kPassword + std::string(1, '\0') + "x", hash));
    EXPECT_FALSE(isPassword(std::string(1'000'000, 'x'), hash));
}

TEST(Password, IsOfSomeLength) {
    EXPECT_EQ(passwordError(kPassword), "");
    EXPECT_EQ(passwordError(std::string(kMinPassword, 'x')), "");
    EXPECT_THAT(passwordError(std::string(kMinPassword - 1, 'x')), HasSubstr("12 characters"));
    EXPECT_THAT(passwordError("éééééé"), HasSubstr("12 characters")) << "six of them";
    EXPECT_EQ(passwordError(std::string(kMaxPassword, 'x')), "");
    EXPECT_THAT(passwordError(std::string(kMaxPassword + 1, 'x')), HasSubstr("500 bytes"));
    EXPECT_THAT(passwordError(std::string(12, '\0')), HasSubstr("NUL"));
    EXPECT_TRUE(isPassword(std::string(kMaxPassword, 'x'), hashPassword(std::string(kMaxPassword, 'x'))));
}

}  // namespace
}  // namespace mailgate::credentials
