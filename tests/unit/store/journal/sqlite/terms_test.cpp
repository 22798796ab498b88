// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/terms.h"

#include "store/journal/sqlite/schema.h"
#include "tests/support/journal_sample.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

namespace mailgate::store::journal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// One segment's terms, stored and asked.
class JournalTermsTest : public testing::Test {
  protected:
    JournalTermsTest() { migrate(database_, true); }

    void store() {
        storeTerms(database_, "term_page", kSegment, terms_.take());
        storeTerms(database_, "address_page", kSegment, addresses_.take());
    }
    std::vector<std::uint16_t> rows(const TermRange& term) {
        return TermReader(database_).rows(kSegment, term);
    }

    static constexpr std::int64_t kSegment = 3;
    TemporaryFolder folder_;
    sqlite::Database database_{folder_.file("journal.db"), {}};
    TermCollector terms_, addresses_;
};

TEST_F(JournalTermsTest, ATextIsFoundInAnyCaseAndOnlyAsItsKind) {
    terms_.text(TermKind::User, 7, "Alice");
    terms_.text(TermKind::User, 9, "bob");
    terms_.sender(8, "Alice@Example.org");
    terms_.recipient(8, "carol@example.net");
    store();
    EXPECT_THAT(rows(textTerm(TermKind::User, "aLICE")), ElementsAre(7));
    EXPECT_THAT(rows(textTerm(TermKind::MailId, "alice")), IsEmpty());
    EXPECT_THAT(rows(textTerm(TermKind::Sender, "alice@example.org")), ElementsAre(8));
    EXPECT_THAT(rows(textTerm(TermKind::SenderDomain, "EXAMPLE.org")), ElementsAre(8));
    EXPECT_THAT(rows(textTerm(TermKind::RecipientDomain, "example.net")), ElementsAre(8));
    EXPECT_THAT(rows(textTerm(TermKind::Recipient, "alice@example.org")), IsEmpty());
}

TEST_F(JournalTermsTest, ANetworkIsARangeAndAFullAddressIsAskedOfItsOwnTable) {
    for (const std::uint16_t row : {1, 2, 3}) {
        const AddressBytes client = test::sampleV4(0xC6336400u + row);
        terms_.maskedClient(row, networkAround(client, 120));
        addresses_.fullClient(row, client);
    }
    addresses_.fullClient(4, test::sampleV6(5, 9));
    terms_.maskedClient(4, networkAround(test::sampleV6(5, 9), 48));
    store();
    EXPECT_THAT(rows(clientTerms(network("198.51.100.0/24"))), ElementsAre(1, 2, 3));
    EXPECT_THAT(rows(clientTerms(network("198.51.0.0/16"))), ElementsAre(1, 2, 3));
    EXPECT_THAT(rows(clientTerms(network("198.51.100.2/31"))), ElementsAre(2, 3));
    EXPECT_THAT(rows(clientTerms(network("198.51.100.3"))), ElementsAre(3));
    EXPECT_THAT(rows(clientTerms(network("198.51.101.0/24"))), IsEmpty());
    EXPECT_THAT(rows(clientTerms(network("2001:db8:5::9"))), ElementsAre(4));
    EXPECT_THAT(rows(clientTerms(network("2001:db8::/32"))), ElementsAre(4));
}

TEST_F(JournalTermsTest, WhatHasFewValuesIsKnownByTheBlock) {
    terms_.verdict(300, false);
    for (std::uint16_t row = 0; row < 600; ++row)
        terms_.verdict(row, true);
    store();
    const auto denied = rows(verdictTerm(false));
    ASSERT_THAT(denied, SizeIs(256));
    EXPECT_EQ(denied.front(), 256);
    EXPECT_EQ(denied.back(), 511);
}

TEST_F(JournalTermsTest, MoreTermsThanAPageTakesAreAllFound) {
    for (std::uint16_t row = 0; row < 5'000; ++row) {
        terms_.started(row, 1'000'000 + 16 * row);
        if (row % 1'000 == 0) terms_.failedLogin(row);
    }
    store();
    EXPECT_THAT(rows(startedTerms(0, 2'000'000)), SizeIs(5'000));
    EXPECT_THAT(rows(startedTerms(1'000'000 + 16 * 700, 1'000'000 + 16 * 702)), ElementsAre(700, 701, 702));
    EXPECT_THAT(rows(startedTerms(0, 999'000)), IsEmpty());
    EXPECT_THAT(rows(failedLoginTerm()), ElementsAre(0, 1'000, 2'000, 3'000, 4'000));
    EXPECT_THAT(TermReader(database_).rows(kSegment + 1, failedLoginTerm()), IsEmpty());
}

// As one whose addresses an older version had masked.
TEST_F(JournalTermsTest, ASegmentMayHaveNoTerms) {
    store();
    EXPECT_THAT(rows(clientTerms(network("198.51.100.7"))), IsEmpty());
    EXPECT_THAT(rows(failedLoginTerm()), IsEmpty());
}

}  // namespace
}  // namespace mailgate::store::journal
