// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/snapshot.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

std::shared_ptr<const int> number(int value) {
    return std::make_shared<const int>(value);
}

TEST(Snapshot, HasNothingBeforeThereIsAValue) {
    EXPECT_EQ(Snapshot<int>().share(), nullptr);
}

TEST(Snapshot, GivesTheValueInForceAndReturnsTheOneBefore) {
    Snapshot<int> snapshot(number(1));
    const auto first = snapshot.share();
    const std::uint64_t version = snapshot.version();
    EXPECT_EQ(snapshot.swap(number(2)), first);
    EXPECT_NE(snapshot.version(), version);
    EXPECT_EQ(*Snapshot<int>::Reading(snapshot), 2);
    EXPECT_EQ(*first, 1) << "a share outlives the swap";
}

TEST(Snapshot, LetsGoOfAValueThatNobodyHasAnyMore) {
    Snapshot<int> snapshot(number(1));
    const std::weak_ptr<const int> first = snapshot.share();
    snapshot.swap(number(2));
    EXPECT_TRUE(first.expired());
}

TEST(Snapshot, WaitsForWhoReadsTheValueBefore) {
    Snapshot<int> snapshot(number(1));
    std::atomic<bool> swapped = false;
    std::thread swapper;
    {
        const Snapshot<int>::Reading reading(snapshot);
        swapper = std::thread([&] {
            snapshot.swap(number(2));
            swapped = true;
        });
        // The new value is in force for others at once, while this one is kept.
        while (*Snapshot<int>::Reading(snapshot) != 2)
            std::this_thread::yield();
        EXPECT_FALSE(swapped);
        EXPECT_EQ(*reading, 1);
    }
    swapper.join();
    EXPECT_TRUE(swapped);
}

TEST(Snapshot, ReadersSeeWholeValuesWhileItIsSwapped) {
    using Row = std::vector<int>;
    constexpr int kSwaps = 2'000, kReads = 20'000;
    Snapshot<Row> snapshot(std::make_shared<const Row>(16, 0));
    std::atomic<bool> done = false;
    std::atomic<int> reads = 0;
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] {
            CachedShare<Row> cached;
            while (!done) {
                const Snapshot<Row>::Reading row(snapshot);
                EXPECT_EQ(row->front(), row->back());
                const Row& share = cached.of(snapshot);
                EXPECT_EQ(share.front(), share.back());
                ++reads;
            }
        });
    }
    int swaps = 0;
    while (swaps < kSwaps || reads < kReads)
        snapshot.swap(std::make_shared<const Row>(16, ++swaps));
    done = true;
    for (std::thread& reader : readers)
        reader.join();
    EXPECT_EQ(snapshot.share()->front(), swaps);
}

TEST(CachedShare, IsRenewedWhenThereIsAnotherValue) {
    Snapshot<int> snapshot(number(1));
    CachedShare<int> cached;
    const int* first = &cached.of(snapshot);
    EXPECT_EQ(&cached.of(snapshot), first);
    snapshot.swap(number(2));
    EXPECT_EQ(cached.of(snapshot), 2);
}

}  // namespace
}  // namespace mailgate
