// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/rejection_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace mailgate {
namespace {

const IpAddress kClient = *IpAddress::parse("198.51.100.7");
constexpr auto kLogged = RejectionLog::kRejectionsLogged;
constexpr auto kRecorded = RejectionLog::kRefusalsRecorded;

class RejectionLogTest : public testing::Test {
  protected:
    /// How many of so many rejections have a line.
    unsigned reject(unsigned count, Rejection rejection = Rejection::NoHeader) {
        unsigned logged = 0;
        for (unsigned i = 0; i < count; ++i)
            logged += log_.mayLog(kClient, rejection, now_, suppressed_);
        return logged;
    }
    /// How many of so many refusals have a record of their own; the first of the others has one that stands for all.
    unsigned refuse(unsigned count, Refusal refusal = Refusal::Rule, store::ListenerIndex listener = 0) {
        unsigned own = 0;
        for (unsigned i = 0; i < count; ++i) {
            auto* const kept = log_.repeated(kClient, listener, refusal, now_);
            if (!kept)
                ++own;
            else if (!*kept)
                *kept = std::make_unique<store::JournalSession>();
        }
        return own;
    }

    Millis now_ = 1'000'000;
    std::uint32_t suppressed_ = 0;
    std::vector<store::JournalSession> recorded_;
    RejectionLog log_{[this](store::JournalSession&& record) { recorded_.push_back(std::move(record)); }, 1};
};

TEST_F(RejectionLogTest, ThinsFailedHandshakesByReasonAndApartFromRejections) {
    const auto fail = [this](TlsFailure::Reason reason, unsigned count) {
        unsigned logged = 0;
        for (unsigned i = 0; i < count; ++i)
            logged += log_.mayLog(kClient, TlsFailure{reason}, now_, suppressed_);
        return logged;
    };
    EXPECT_EQ(fail(TlsFailure::Reason::NotTls, kLogged.each + 3), kLogged.each);
    EXPECT_EQ(fail(TlsFailure::Reason::Timeout, 1), 1U);
    EXPECT_EQ(reject(1), 1U);
    EXPECT_EQ(suppressed_, 0U);
    log_.sweep(now_ + kLogged.window_ms);
    now_ += kLogged.window_ms;
    EXPECT_EQ(fail(TlsFailure::Reason::NotTls, 1), 1U);
    EXPECT_EQ(suppressed_, 3U);
}

TEST_F(RejectionLogTest, LogsAFewRejectionsAndTellsTheNextLineOfTheOthers) {
    EXPECT_EQ(reject(kLogged.each + 5), kLogged.each);
    EXPECT_EQ(suppressed_, 0U);
    now_ += kLogged.window_ms;
    EXPECT_EQ(reject(1), 1U);
    EXPECT_EQ(suppressed_, 5U);
    EXPECT_EQ(reject(1), 1U);
    EXPECT_EQ(suppressed_, 0U) << "they are told once";
}

TEST_F(RejectionLogTest, CountsEachReasonByItself) {
    EXPECT_EQ(reject(kLogged.each), kLogged.each);
    EXPECT_EQ(reject(1), 0U);
    EXPECT_EQ(reject(1, Rejection::UntrustedPeer), 1U);
}

TEST_F(RejectionLogTest, RemembersWhatWasSweptForTheNextLine) {
    reject(kLogged.each + 2);
    EXPECT_TRUE(log_.used());
    log_.sweep(now_ + kLogged.window_ms);
    EXPECT_FALSE(log_.used());
    EXPECT_EQ(reject(1), 1U);
    EXPECT_EQ(suppressed_, 2U);
}

TEST_F(RejectionLogTest, RecordsAFewRefusalsAndTheOthersTogether) {
    EXPECT_EQ(refuse(kRecorded.each + 7), kRecorded.each);
    EXPECT_TRUE(recorded_.empty()) << "their time is not over";
    log_.sweep(now_ + kRecorded.window_ms - 1);
    EXPECT_TRUE(recorded_.empty());
    log_.sweep(now_ + kRecorded.window_ms);
    ASSERT_EQ(recorded_.size(), 1U);
    EXPECT_EQ(recorded_[0].repeated, 7U);
}

TEST_F(RejectionLogTest, RecordsThoseOfOneWindowBeforeTheNextBegins) {
    refuse(kRecorded.each + 7);
    now_ += kRecorded.window_ms;
    EXPECT_EQ(refuse(1), 1U);
    ASSERT_EQ(recorded_.size(), 1U);
    EXPECT_EQ(recorded_[0].repeated, 7U);
}

TEST_F(RejectionLogTest, KeepsListenersAndReasonsApart) {
    EXPECT_EQ(refuse(kRecorded.each + 1), kRecorded.each);
    EXPECT_EQ(refuse(1, Refusal::TooMany), 1U);
    EXPECT_EQ(refuse(1, Refusal::Rule, 1), 1U);
}

TEST_F(RejectionLogTest, RecordsNothingWhereNothingWasKept) {
    refuse(kRecorded.each);
    log_.sweep(now_ + kRecorded.window_ms);
    EXPECT_TRUE(recorded_.empty());
    EXPECT_FALSE(log_.used());
}

}  // namespace
}  // namespace mailgate
