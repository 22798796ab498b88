// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_keys.h"

#include <gtest/gtest.h>

#include <array>

namespace mailgate {
namespace {

class TicketKeysTest : public ::testing::Test {
  protected:
    TicketKey current() { return *keys_.current(); }
    void expectFound(const TicketKey& key, bool previous) {
        const auto found = keys_.find(key.name);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->previous, previous);
        EXPECT_EQ(found->key.cipher, key.cipher);
        EXPECT_EQ(found->key.mac, key.mac);
    }
    void expectGone(const TicketKey& key) { EXPECT_FALSE(keys_.find(key.name)); }

    UnixSeconds time_ = 1'800'000'000;
    TicketKeys keys_{[this] { return time_; }};
};

TEST_F(TicketKeysTest, AKeyIsRandom) {
    const TicketKey key = current(), other = *TicketKeys([this] { return time_; }).current();
    EXPECT_NE(key.name, TicketKey().name);
    EXPECT_NE(key.cipher, TicketKey().cipher);
    EXPECT_NE(key.mac, TicketKey().mac);
    EXPECT_NE(key.cipher, key.mac) << "one must not be known from the other";
    EXPECT_NE(key.name, other.name);
    EXPECT_NE(key.cipher, other.cipher);
    EXPECT_NE(key.mac, other.mac);
}

TEST_F(TicketKeysTest, AKeySealsForItsLifetimeAndOpensForAnother) {
    const TicketKey first = current();
    time_ += TicketKeys::kLifetime - 1;
    EXPECT_EQ(current().name, first.name);
    expectFound(first, false);
    time_ += 1;
    const TicketKey second = current();
    EXPECT_NE(second.name, first.name);
    expectFound(second, false);
    expectFound(first, true);
    time_ += TicketKeys::kLifetime;
    expectFound(second, true);
    expectGone(first);
}

TEST_F(TicketKeysTest, AKeyThatNobodyAskedForInTimeIsNoPreviousOne) {
    const TicketKey first = current();
    time_ += 2 * TicketKeys::kLifetime;
    expectGone(first);
    EXPECT_NE(current().name, first.name);
}

TEST_F(TicketKeysTest, AClockThatIsSetBackMakesNewKeys) {
    const TicketKey first = current();
    time_ -= 1;
    expectGone(first);
    const TicketKey second = current();
    EXPECT_NE(second.name, first.name);
    expectFound(second, false);
}

TEST_F(TicketKeysTest, ANameThatNoKeyHasFindsNone) {
    std::array<unsigned char, 16> name{};
    EXPECT_FALSE(keys_.find(name)) << "nor a previous key that is not there yet";
    name = current().name;
    name.back() ^= 1;
    EXPECT_FALSE(keys_.find(name));
}

TEST_F(TicketKeysTest, ASharedKeySealsInItsTimeAndOpensForTwoMore) {
    constexpr UnixSeconds kTime = TicketKeys::kLifetime;
    const TicketKey own = current(), now = *TicketKey::random(), next = *TicketKey::random();
    EXPECT_FALSE(keys_.sharedUntil());
    const UnixSeconds begin = time_ - 5;
    keys_.share({{begin, now}, {begin + kTime, next}});
    EXPECT_EQ(keys_.sharedUntil(), begin + 2 * kTime);
    EXPECT_EQ(current().name, now.name);
    EXPECT_EQ(current().mac, now.mac);
    expectFound(now, false);
    expectFound(next, true);
    expectFound(own, true);
    time_ = begin + kTime;
    EXPECT_EQ(current().name, next.name);
    expectFound(now, true);
    time_ = begin + 2 * kTime - 1;
    EXPECT_EQ(current().name, next.name);
    time_ = begin + 3 * kTime - 1;
    expectFound(now, true);
    time_ += 1;
    expectGone(now);
}

TEST_F(TicketKeysTest, WhereTheSharedKeysEndTheOwnOnesSeal) {
    const TicketKey shared = *TicketKey::random();
    keys_.share({{time_, shared}});
    time_ += TicketKeys::kLifetime;
    EXPECT_FALSE(keys_.sharedUntil());
    const TicketKey own = current();
    EXPECT_NE(own.name, shared.name);
    expectFound(own, false);
    expectFound(shared, true);
    keys_.share({});
    expectGone(shared);
    expectFound(own, false);
}

TEST_F(TicketKeysTest, WhileSharedKeysSealNoneIsMadeAndOldOnesAreForgotten) {
    const TicketKey own = current();
    std::vector<SharedTicketKey> shared;
    for (int period = 0; period < 5; ++period)
        shared.push_back({time_ + period * TicketKeys::kLifetime, *TicketKey::random()});
    keys_.share(shared);
    EXPECT_EQ(keys_.size(), 6u);
    time_ += TicketKeys::kLifetime;
    EXPECT_EQ(current().name, shared[1].key.name);
    expectFound(own, true);
    time_ += TicketKeys::kLifetime;
    expectGone(own);
    EXPECT_EQ(keys_.size(), 5u);
    time_ += TicketKeys::kLifetime;
    EXPECT_EQ(current().name, shared[3].key.name);
    EXPECT_EQ(keys_.size(), 4u);
    time_ += 2 * TicketKeys::kLifetime;
    EXPECT_NE(current().name, own.name);
    EXPECT_EQ(keys_.size(), 3u) << "the last two of the fleet's and one of its own";
}

TEST_F(TicketKeysTest, ASharedKeyThatIsFarFromNowIsNone) {
    const TicketKey shared = *TicketKey::random();
    keys_.share({{time_ + TicketKeys::kLifetime + 1, shared}});
    expectGone(shared);
    EXPECT_NE(current().name, shared.name);
}

}  // namespace
}  // namespace mailgate
