// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/openssl.h"

#include "tests/support/certificates.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::openssl {
namespace {

/// One whose subject has these parts, in this order.
Certificate subject(const std::vector<std::pair<const char*, std::string>>& parts) {
    Certificate made(X509_new());
    for (const auto& [kind, value] : parts)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), kind, MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(value.data()),
                                   static_cast<int>(value.size()), -1, 0);
    return made;
}

TEST(OpenSslErrors, AreToldOnceAndForgotten) {
    ERR_clear_error();
    ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
    ERR_raise(ERR_LIB_PEM, PEM_R_BAD_END_LINE);
    EXPECT_EQ(lastError(), "bad end line");
    EXPECT_EQ(ERR_peek_error(), 0u);
    ERR_raise(ERR_LIB_USER, 4711);
    EXPECT_TRUE(lastError().starts_with("error ")) << "one that has no words";
}

TEST(OpenSslReader, ReadsBytesWhereTheyAre) {
    const std::string_view bytes("a\0b", 3);
    const Bio bio = reader(bytes);
    ASSERT_TRUE(bio);
    char read[8];
    EXPECT_EQ(BIO_read(bio.get(), read, sizeof read), 3);
    EXPECT_EQ(std::string_view(read, 3), bytes);
    EXPECT_LE(BIO_read(reader("").get(), read, sizeof read), 0);
}

TEST(SubjectOf, IsOneBoundedLineWhateverTheIssuerSigned) {
    EXPECT_EQ(subjectOf(subject({{"O", "Example, Inc."}, {"CN", "mx"}}).get()), "CN=mx,O=Example\\, Inc.");
    EXPECT_EQ(subjectOf(subject({}).get()), "");
    const std::string hostile = subjectOf(subject({{"CN", "a\r\nb\x1b[2J\xc3\xa4"}}).get());
    EXPECT_TRUE(hostile.starts_with("CN=a")) << hostile;
    for (const char character : hostile)
        EXPECT_TRUE(character >= 0x20 && character < 0x7f) << hostile;
    std::vector<std::pair<const char*, std::string>> many;
    for (int i = 0; i < 40; ++i)
        many.emplace_back("OU", std::string(60, 'x'));
    EXPECT_LT(subjectOf(subject(many).get()).size(), 300u);
}

TEST(CommonNameOf, IsTheLastOneOrNothing) {
    EXPECT_EQ(commonNameOf(subject({{"CN", "first"}, {"O", "Example"}, {"CN", "last"}}).get()), "last");
    EXPECT_EQ(commonNameOf(subject({{"CN", "J\xc3\xbcrgen"}}).get()), "J\xc3\xbcrgen");
    EXPECT_EQ(commonNameOf(subject({{"O", "Example"}}).get()), "");
    EXPECT_EQ(commonNameOf(subject({}).get()), "");
}

TEST(CommonNameOf, IsNothingWhereItIsNotFitForALine) {
    EXPECT_EQ(commonNameOf(subject({{"CN", "alice\r\nX-Spam: no"}}).get()), "");
    EXPECT_EQ(commonNameOf(subject({{"CN", std::string("alice\0.example", 14)}}).get()), "");
    EXPECT_EQ(commonNameOf(subject({{"CN", "good"}, {"CN", "b\x7f"}}).get()), "") << "and no other one";
}

TEST(Sha256Of, IsOfTheDerForm) {
    const test::CertificateAuthority authority("Test CA");
    const test::Issued one = authority.issue({}), other = authority.issue({});
    const std::string digest = sha256Of(one.certificate.get());
    EXPECT_EQ(digest.size(), 64u);
    EXPECT_EQ(digest.find_first_not_of("0123456789abcdef"), std::string::npos);
    const std::string pem = one.certificatePem();
    const Certificate copy(PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr));
    EXPECT_EQ(sha256Of(copy.get()), digest);
    EXPECT_NE(sha256Of(other.certificate.get()), digest);
}

TEST(Seconds, AreOfTheEpoch) {
    const std::unique_ptr<ASN1_TIME, Deleter<ASN1_TIME_free>> time(ASN1_TIME_new());
    for (const auto& [text, want] : {std::pair{"19700101000000Z", std::int64_t{0}},
                                     {"20261126072505Z", std::int64_t{1'795'677'905}},
                                     {"20991231235959Z", std::int64_t{4'102'444'799}}}) {
        ASSERT_EQ(ASN1_TIME_set_string(time.get(), text), 1) << text;
        EXPECT_EQ(seconds(time.get()), want) << text;
    }
    ASSERT_EQ(ASN1_STRING_set(time.get(), "no time", -1), 1);
    EXPECT_EQ(seconds(time.get()), 0);
}

}  // namespace
}  // namespace mailgate::openssl
