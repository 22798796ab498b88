// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/mail_log.h"

#include <gtest/gtest.h>

namespace mailgate::smtp {
namespace {

class Kept final : public MailSink {
  public:
    void onMail(const MailTransaction& mail, std::uint32_t number) noexcept override {
        mails.push_back(mail);
        numbers.push_back(number);
    }
    std::vector<MailTransaction> mails;
    std::vector<std::uint32_t> numbers;
};

TEST(MailLog, WritesATransactionWhenItIsOver) {
    SessionFacts facts;
    MailLog log(facts, nullptr, false);
    log.senderAccepted("a@b.example");
    EXPECT_TRUE(log.open());
    EXPECT_EQ(log.sender(), "a@b.example");
    log.recipientAccepted("c@d.example");
    log.recipientRefused("e@f.example", "550 5.1.1 No such user");
    log.messageBegins();
    log.addBytes(100);
    log.finalReply(true, "250 2.0.0 Ok: queued as ABC");
    EXPECT_TRUE(log.taken());
    EXPECT_EQ(log.recipients(), 1U);
    EXPECT_TRUE(facts.transactions.empty());
    log.close();
    ASSERT_EQ(facts.transactions.size(), 1U);
    const MailTransaction& mail = facts.transactions[0];
    EXPECT_EQ(mail.from, "a@b.example");
    EXPECT_EQ(mail.recipients, std::vector<std::string>{"c@d.example"});
    ASSERT_EQ(mail.refused.size(), 1U);
    EXPECT_EQ(mail.refused[0].to, "e@f.example");
    EXPECT_EQ(mail.refused[0].reply, "550 5.1.1 No such user");
    EXPECT_EQ(mail.size, 100U);
    EXPECT_EQ(mail.reply, "250 2.0.0 Ok: queued as ABC");
    EXPECT_EQ(mail.queue_id, "ABC");
    EXPECT_TRUE(mail.accepted);
    EXPECT_FALSE(mail.truncated);
    EXPECT_FALSE(log.open());
    log.close();
    EXPECT_EQ(facts.transactions.size(), 1U);
}

/// As after STARTTLS: what came before was another log's.
TEST(MailLog, GoesOnWhereAnotherOneHasBegun) {
    SessionFacts facts;
    Kept kept;
    MailLog before(facts, &kept, false);
    for (int mails = 0; mails < 19; ++mails)
        before.senderRefused("a@b.example", "530 5.7.0 Must issue a STARTTLS command first");
    MailLog log(facts, &kept, false);
    log.senderAccepted("idle@b.example");
    log.close();
    ASSERT_EQ(facts.transactions.size(), 20U);
    log.senderAccepted("real@b.example");
    log.recipientRefused("c@d.example", "550 5.1.1 No such user");
    log.close();
    ASSERT_EQ(facts.transactions.size(), 20U);
    EXPECT_EQ(facts.transactions[19].from, "real@b.example")
        << "in the place of the one that came to nothing";
    EXPECT_EQ(facts.transaction_count, 20U);
    EXPECT_TRUE(kept.mails.empty());
}

TEST(MailLog, KeepsTheFirstRefusalOfATransactionWithoutAMessage) {
    SessionFacts facts;
    MailLog log(facts, nullptr, false);
    log.senderRefused("a@b.example", "550 No");
    log.senderAccepted("c@d.example");
    log.recipientRefused("e@f.example", "450 Later");
    log.refused("503 No recipients");
    log.close();
    ASSERT_EQ(facts.transactions.size(), 2U);
    EXPECT_EQ(facts.transactions[0].reply, "550 No");
    EXPECT_EQ(facts.transactions[1].reply, "450 Later");
    EXPECT_EQ(facts.transaction_count, 2U);
}

TEST(MailLog, KnowsWhatTheClientGaveUpFromWhatTheServerRefused) {
    SessionFacts facts;
    MailLog log(facts, nullptr, false);
    for (const char* data : {"", "451 No"}) {  // the words of the refused recipients, too
        log.senderAccepted("a@b.example");
        log.recipientRefused("c@d.example", "451 No");
        log.recipientAccepted("e@f.example");
        log.recipientRefused("g@h.example", "452 More");
        if (*data != '\0') log.refused(data);
        log.close();
    }
    ASSERT_EQ(facts.transactions.size(), 2U);
    EXPECT_EQ(facts.transactions[0].reply, "");
    EXPECT_EQ(facts.transactions[0].refused.size(), 2U);
    EXPECT_EQ(facts.transactions[1].reply, "451 No");
}

TEST(MailLog, TakesNoQueueIdFromARefusal) {
    SessionFacts facts;
    MailLog log(facts, nullptr, false);
    log.messageBegins();
    log.finalReply(false, "550 Ok: queued as FAKE");
    log.close();
    ASSERT_EQ(facts.transactions.size(), 1U);
    EXPECT_FALSE(facts.transactions[0].accepted);
    EXPECT_EQ(facts.transactions[0].queue_id, "");
}

TEST(MailLog, GivesEachLmtpRecipientItsReply) {
    SessionFacts facts;
    MailLog log(facts, nullptr, true);
    log.senderAccepted("");
    log.recipientAccepted("a@b.example");
    log.recipientAccepted("c@d.example");
    log.finalReply(false, "550 No");
    log.finalReply(true, "250 2.0.0 Ok");
    log.finalReply(true, "250 one too many");
    log.close();
    ASSERT_EQ(facts.transactions.size(), 1U);
    EXPECT_EQ(facts.transactions[0].replies, (std::vector<std::string>{"550 No", "250 2.0.0 Ok"}));
    EXPECT_TRUE(facts.transactions[0].accepted);
}

TEST(MailLog, GivesTheSinkWhatTheFactsHaveNoRoomFor) {
    SessionFacts facts;
    Kept sink;
    MailLog log(facts, &sink, false);
    for (std::size_t number = 1; number <= kMaxTransactionsKept + 2; ++number) {
        log.senderAccepted(std::to_string(number));
        log.recipientAccepted("a@b.example");
        log.close();
    }
    EXPECT_EQ(facts.transactions.size(), kMaxTransactionsKept);
    EXPECT_EQ(facts.transaction_count, kMaxTransactionsKept + 2);
    ASSERT_EQ(sink.mails.size(), 2U);
    EXPECT_EQ(sink.mails[0].from, "21");
    EXPECT_EQ(sink.numbers, (std::vector<std::uint32_t>{21, 22}));
}

TEST(MailLog, LetsATransactionThatCameToNothingGiveWay) {
    SessionFacts facts;
    MailLog log(facts, nullptr, false);
    for (std::size_t number = 1; number <= kMaxTransactionsKept + 1; ++number) {
        log.senderAccepted(std::to_string(number));
        if (number != 3) log.recipientAccepted("a@b.example");
        log.close();
    }
    ASSERT_EQ(facts.transactions.size(), kMaxTransactionsKept);
    EXPECT_EQ(facts.transactions[2].from, "4");
    EXPECT_EQ(facts.transactions.back().from, "21");
}

TEST(MailLog, CountsWhatCameToNothingWhileItHasAPlace) {
    SessionFacts facts;
    Kept sink;
    MailLog log(facts, &sink, false);
    const auto mail = [&](const std::string& from, bool idle) {
        log.senderAccepted(from);
        if (!idle) log.recipientAccepted("a@b.example");
        log.close();
    };
    for (std::size_t number = 1; number < kMaxTransactionsKept; ++number)
        mail("kept", false);
    mail("idle", true);
    EXPECT_EQ(facts.transaction_count, kMaxTransactionsKept);
    mail("in its place", false);
    EXPECT_EQ(facts.transaction_count, kMaxTransactionsKept);
    EXPECT_EQ(facts.transactions.back().from, "in its place");
    for (const bool idle : {true, false, true, true, false, true})
        mail("further", idle);
    EXPECT_EQ(facts.transaction_count, kMaxTransactionsKept + 2);
    EXPECT_EQ(sink.numbers, (std::vector<std::uint32_t>{21, 22}));
}

TEST(MailLog, BoundsTheRecipientsInBytes) {
    SessionFacts facts;
    Kept sink;
    MailLog log(facts, &sink, false);
    log.senderAccepted("a@b.example");
    for (int number = 0; number < 1000; ++number)
        log.recipientAccepted(std::string(300, 'r'));
    log.close();
    EXPECT_TRUE(facts.transactions.empty()) << "half of the room is the next transaction's";
    ASSERT_EQ(sink.mails.size(), 1U);
    const MailTransaction& mail = sink.mails[0];
    EXPECT_EQ(mail.recipient_count, 1000U);
    EXPECT_TRUE(mail.truncated);
    EXPECT_GT(mail.recipients.size(), 100U);
    EXPECT_LT(mail.recipients.size() * 300, kMaxFactBytes);

    const auto sendSixty = [&facts, &sink] {
        MailLog another(facts, &sink, false);
        another.senderAccepted("a@b.example");
        for (int number = 0; number < 60; ++number)
            another.recipientAccepted(std::string(300, 'r'));
        another.close();
    };
    sendSixty();
    EXPECT_EQ(facts.transactions.size(), 1U);
    sendSixty();
    EXPECT_EQ(facts.transactions.size(), 1U) << "what another one has kept takes the same room";
    EXPECT_EQ(sink.mails.size(), 2U);
}

}  // namespace
}  // namespace mailgate::smtp
