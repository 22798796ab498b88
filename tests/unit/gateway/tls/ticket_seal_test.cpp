// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_seal.h"

#include "gateway/tls/error.h"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace mailgate {
namespace {

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";

TEST(TicketSealTest, OpensWhatItHasSealedForTheSamePurpose) {
    const TicketSeal seal(kSecret), other("another secret of the same length");
    const TicketKey key = *TicketKey::random();
    const std::string sealed = *seal.seal(key, "fleet f1, 7");
    const auto opened = TicketSeal(kSecret).open(sealed, "fleet f1, 7");
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->name, key.name);
    EXPECT_EQ(opened->cipher, key.cipher);
    EXPECT_EQ(opened->mac, key.mac);
    EXPECT_FALSE(seal.open(sealed, "fleet f1, 8")) << "a row that was moved to another time";
    EXPECT_FALSE(other.open(sealed, "fleet f1, 7"));
    EXPECT_NE(seal.id(), other.id());
    EXPECT_EQ(seal.id(), TicketSeal(kSecret).id());
    EXPECT_NE(*seal.seal(key, "fleet f1, 7"), sealed) << "each time with a nonce of its own";
}

TEST(TicketSealTest, RefusesWhatWasAltered) {
    const TicketSeal seal(kSecret);
    const std::string sealed = *seal.seal(*TicketKey::random(), "x");
    for (std::size_t at = 0; at < sealed.size(); ++at) {
        std::string altered = sealed;
        altered[at] = altered[at] == '0' ? '1' : '0';
        EXPECT_FALSE(seal.open(altered, "x")) << at;
    }
    for (const std::string& wrong : {std::string(), sealed + "00", sealed.substr(2), sealed.substr(1),
                                     std::string(sealed.size(), 'g'), std::string(sealed.size(), '\0')})
        EXPECT_FALSE(seal.open(wrong, "x"));
}

TEST(TicketSealTest, NothingOfAKeyOrOfTheSecretIsInIt) {
    TicketKey key;
    key.name.fill('N');
    key.cipher.fill('C');
    key.mac.fill('M');
    const TicketSeal seal(kSecret);
    const std::string sealed = *seal.seal(key, "x");
    EXPECT_THAT(sealed, testing::MatchesRegex("[0-9a-f]{216}"));
    for (const char* bytes : {"4e4e4e4e4e4e", "434343434343", "4d4d4d4d4d4d", "303132333435"})
        EXPECT_THAT(sealed, testing::Not(testing::HasSubstr(bytes)));
    EXPECT_THAT(seal.id(), testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_EQ(sealed.find(seal.id()), std::string::npos);
}

class TicketSecretTest : public testing::Test {
  protected:
    ~TicketSecretTest() override { std::filesystem::remove(file_); }
    void write(std::string_view secret, mode_t mode = 0600) {
        std::ofstream(file_, std::ios::trunc) << secret;
        ::chmod(file_.c_str(), mode);
    }
    std::string refusal() {
        try {
            TicketSeal::fromFile(file_);
        } catch (const TlsError& error) {
            return error.what();
        }
        return "";
    }
    const std::string file_ = testing::TempDir() + "ticket-secret-" + std::to_string(::getpid());
};

TEST_F(TicketSecretTest, IsReadWithoutTheEndOfItsLine) {
    write(std::string(kSecret) + "\r\n", 0640);
    EXPECT_EQ(TicketSeal::fromFile(file_).id(), TicketSeal(kSecret).id());
}

TEST_F(TicketSecretTest, OthersMayNotReadIt) {
    for (const mode_t mode : {0644, 0602, 0660, 0641}) {
        write(kSecret, mode);
        EXPECT_THAT(refusal(), testing::HasSubstr("nobody but its owner")) << mode;
    }
}

TEST_F(TicketSecretTest, IsLongEnough) {
    write(kSecret.substr(1));
    EXPECT_THAT(refusal(), testing::HasSubstr("expected 32 to 4096 bytes of a secret, found 31"));
    write("\n\n");
    EXPECT_THAT(refusal(), testing::HasSubstr("found 0"));
    write(std::string(5'000, 'x'));
    EXPECT_THAT(refusal(), testing::HasSubstr("found 5000"));
    std::filesystem::remove(file_);
    EXPECT_THAT(refusal(), testing::HasSubstr(file_));
}

}  // namespace
}  // namespace mailgate
