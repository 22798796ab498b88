// SPDX-License-Identifier: Apache-2.0
#include "gateway/admission/client_table.h"

#include "protocols/values/address.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

using Verdict = ClientTable::Verdict;
using Limits = ClientTable::Limits;
using Ticket = ClientTable::Ticket;

constexpr Millis kMinute = 60'000;

Network client(std::string_view address, unsigned prefix = 128) {
    return networkAround(IpAddress::parse(address)->bytes, prefix);
}

TEST(ClientTable, CountsSessionsUntilTheyEnd) {
    ClientTable table(100);
    constexpr Limits kTwo{.sessions = 2};
    Ticket first, second, third;
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kTwo, 0, first), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kTwo, 0, second), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kTwo, 0, third), Verdict::TooManySessions);
    second = Ticket();
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kTwo, 0, third), Verdict::Admitted);
}

TEST(ClientTable, TellsClientsAndListenersApart) {
    ClientTable table(100);
    constexpr Limits kOne{.sessions = 1};
    std::vector<Ticket> tickets(5);
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kOne, 0, tickets[0]), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("192.0.2.2"), "smtp", kOne, 0, tickets[1]), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("192.0.2.1"), "imap", kOne, 0, tickets[2]), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("2001:db8::1", 64), "smtp", kOne, 0, tickets[3]), Verdict::Admitted);
    EXPECT_EQ(table.admit(client("2001:db8::ffff", 64), "smtp", kOne, 0, tickets[4]),
              Verdict::TooManySessions);
    EXPECT_EQ(table.admit(client("2001:db8:0:1::1", 64), "smtp", kOne, 0, tickets[4]), Verdict::Admitted);
}

TEST(ClientTable, LetsAMinutesWorthInAtOnceAndThenOneByOne) {
    ClientTable table(100);
    constexpr Limits kThreeAMinute{.per_minute = 3};
    const auto arrive = [&](Millis at) {
        Ticket ticket;
        return table.admit(client("192.0.2.1"), "smtp", kThreeAMinute, at, ticket);
    };
    for (int session = 0; session < 3; ++session)
        EXPECT_EQ(arrive(5), Verdict::Admitted);
    EXPECT_EQ(arrive(5), Verdict::TooFast);
    EXPECT_EQ(arrive(5 + kMinute / 3 - 1), Verdict::TooFast);
    EXPECT_EQ(arrive(5 + kMinute / 3), Verdict::Admitted);
    EXPECT_EQ(arrive(5 + kMinute / 3), Verdict::TooFast);
    EXPECT_EQ(arrive(10 * kMinute), Verdict::Admitted) << "who was turned away pays nothing for it";
}

// Whoever owns a /32 of IPv6 has four billion /64s.
TEST(ClientTable, KeepsThoseThatHaveSessionsWhateverElseComes) {
    ClientTable table(100);
    constexpr Limits kOne{.sessions = 1, .per_minute = 1};
    Ticket kept;
    ASSERT_EQ(table.admit(client("192.0.2.1"), "smtp", kOne, 0, kept), Verdict::Admitted);
    Network attacker = client("2001:db8::", 64);
    for (unsigned number = 0; number < 1'000'000; ++number) {
        attacker.address[4] = static_cast<std::uint8_t>(number >> 16);
        attacker.address[5] = static_cast<std::uint8_t>(number >> 8);
        attacker.address[6] = static_cast<std::uint8_t>(number);
        Ticket passing;
        ASSERT_EQ(table.admit(attacker, "smtp", kOne, 1, passing), Verdict::Admitted);
    }
    Ticket another;
    EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kOne, 2, another), Verdict::TooManySessions);
}

TEST(ClientTable, CountsOnceWhateverThreadAsks) {
    ClientTable table(1'000);
    constexpr Limits kLimits{.sessions = 10};
    std::atomic<int> admitted{0};
    std::atomic<int> most{0};
    std::vector<std::thread> workers;
    for (int worker = 0; worker < 4; ++worker) {
        workers.emplace_back([&] {
            for (int turn = 0; turn < 2'000; ++turn) {
                Ticket ticket;
                if (table.admit(client("192.0.2.1"), "smtp", kLimits, 0, ticket) != Verdict::Admitted)
                    continue;
                const int now = ++admitted;
                if (int seen = most; now > seen) most.compare_exchange_strong(seen, now);
                --admitted;
            }
        });
    }
    for (std::thread& worker : workers)
        worker.join();
    EXPECT_LE(most, 10);
    std::vector<Ticket> tickets(10);
    for (Ticket& ticket : tickets)
        EXPECT_EQ(table.admit(client("192.0.2.1"), "smtp", kLimits, 0, ticket), Verdict::Admitted);
}

}  // namespace
}  // namespace mailgate
