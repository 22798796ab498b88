// SPDX-License-Identifier: Apache-2.0
#include "store/journal/filter.h"

#include "tests/support/journal_sample.h"
#include "tests/support/networks.h"

#include <gtest/gtest.h>

#include <functional>

namespace mailgate::store::journal {
namespace {

/// Whether a filter with this member set lets the sample through.
bool lets(const JournalSession& session, const std::function<void(JournalFilter&)>& ask) {
    JournalFilter filter;
    ask(filter);
    return passes(session, filter) && hasWantedMail(session, filter);
}

class JournalFilterTest : public ::testing::Test {
  protected:
    JournalFilterTest() {
        session_.client = address("192.0.2.7");
        session_.server = "mx1";
        session_.upstream = "postfix";
        session_.helo = "mail.partner.example";
        session_.mail.resize(1);
        session_.mail[0].message_id = "1@Partner.example";
        session_.mail[0].reply = "250 2.0.0 Ok: queued as ABC";
    }

    JournalSession session_ = test::sampleSession(1, 1'000'000);
};

TEST_F(JournalFilterTest, NothingThatIsAskedForLetsAllThrough) {
    EXPECT_TRUE(lets(session_, [](JournalFilter&) {}));
}

TEST_F(JournalFilterTest, WhatIsAskedForHasToHold) {
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.client = network("192.0.2.0/24"); }));
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) { ask.client = network("192.0.3.0/24"); }));
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.server = "mx1"; }));
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.server = "postfix/MX1"; }));
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) { ask.server = "dovecot/mx1"; }));
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.helo = ".partner.example"; }));
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) { ask.helo = ".mail.partner.example"; }));
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) { ask.since_ms = 10'000'000; }));
}

TEST_F(JournalFilterTest, WhatIsAskedOfMailHasToHoldForOneOfThem) {
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.message_id = "1@partner.example"; }));
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) { ask.message_id = "1@partner"; }));
    EXPECT_TRUE(lets(session_, [](JournalFilter& ask) { ask.reply = "queued AS"; }));
    session_.mail.emplace_back().message_id = "2@partner.example";
    EXPECT_FALSE(lets(session_, [](JournalFilter& ask) {
        ask.message_id = "2@partner.example";
        ask.reply = "queued as";
    }));
}

TEST_F(JournalFilterTest, OfARefusedClientTheReplyIsWhatItWasTold) {
    JournalSession refused = test::sampleRefusal(2, 1'000'000);
    refused.reply = "554 5.7.1 not allowed";
    EXPECT_TRUE(lets(refused, [](JournalFilter& ask) { ask.reply = "NOT allowed"; }));
    EXPECT_FALSE(lets(refused, [](JournalFilter& ask) { ask.reply = "queued"; }));
}

}  // namespace
}  // namespace mailgate::store::journal
