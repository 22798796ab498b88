// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/secret.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace mailgate::credentials {
namespace {

TEST(Secret, IsAnotherEachTime) {
    std::set<std::string> secrets;
    for (int i = 0; i < 100; ++i) {
        const std::string secret = newSecret();
        EXPECT_EQ(secret.size(), 43u);
        EXPECT_EQ(
            secret.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            std::string::npos);
        secrets.insert(secret);
    }
    EXPECT_EQ(secrets.size(), 100u);
}

// FIPS 180-4's example.
TEST(Secret, IsKeptAsItsSha256) {
    EXPECT_EQ(digestOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace mailgate::credentials
