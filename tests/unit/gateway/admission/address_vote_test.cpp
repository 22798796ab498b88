// SPDX-License-Identifier: Apache-2.0
#include "gateway/admission/address_vote.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string_view>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

using Result = AddressVote::Result;

IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    IpAddress address;
    address.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d};
    return address;
}

const IpAddress kPrivate = v4(10, 20, 30, 40);

IpAddress stranger(unsigned number) {
    return v4(198, 51, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number));
}

TEST(AddressVote, TellsAfterItsVotesAndBeginsAnew) {
    AddressVote vote;
    for (int round = 0; round < 3; ++round) {
        for (std::uint32_t number = 1; number < AddressVote::kVotes; ++number)
            ASSERT_EQ(vote.add(kPrivate), Result::Open);
        EXPECT_EQ(vote.add(kPrivate), Result::OneAddress);
    }
    for (std::uint32_t number = 1; number < AddressVote::kVotes; ++number)
        ASSERT_EQ(vote.add(stranger(number)), Result::Open);
    EXPECT_EQ(vote.add(stranger(0)), Result::ManyAddresses);
}

TEST(AddressVote, ABusyPublicClientIsNobodysLoss) {
    AddressVote vote;
    Result result = Result::Open;
    for (std::uint32_t number = 0; number < AddressVote::kVotes; ++number)
        result = vote.add(stranger(1));
    EXPECT_EQ(result, Result::ManyAddresses);
}

TEST(AddressVote, NamesTheAddressThoughAnotherHasTheLastVote) {
    AddressVote vote;
    for (std::uint32_t number = 1; number < AddressVote::kVotes; ++number)
        vote.add(kPrivate);
    EXPECT_EQ(vote.add(stranger(1)), Result::Open);
    EXPECT_EQ(vote.add(kPrivate), Result::OneAddress);
}

TEST(AddressVote, HalfOfAllIsNoMajority) {
    AddressVote vote;
    for (std::uint32_t number = 0; number < 10 * AddressVote::kVotes; ++number)
        EXPECT_NE(vote.add(number % 2 == 0 ? kPrivate : stranger(number)), Result::OneAddress);
}

TEST(AddressVote, WorkersCountTogether) {
    constexpr int kWorkers = 8;
    constexpr std::uint32_t kEach = 1'000;
    AddressVote vote;
    std::atomic<std::uint32_t> told{0};
    std::vector<std::thread> workers;
    for (int worker = 0; worker < kWorkers; ++worker)
        workers.emplace_back([&] {
            for (std::uint32_t number = 0; number < kEach; ++number)
                if (vote.add(kPrivate) == Result::OneAddress) ++told;
        });
    for (std::thread& worker : workers)
        worker.join();
    EXPECT_EQ(told, kWorkers * kEach / AddressVote::kVotes) << "each vote counts once";
}

}  // namespace
}  // namespace mailgate
