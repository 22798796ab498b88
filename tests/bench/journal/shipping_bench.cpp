// SPDX-License-Identifier: Apache-2.0
// How fast journals come to the database of a fleet, and at what cost: `shipping_bench --url URL --gateway NAME [--sessions N]`.
//
// A journal of N sessions with one mail each is made in a file; then the shipper takes it to the database, as in a gateway.
// The tables must be there (mailgate fleet migrate). Two at a time, of two names, are two gateways.

#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/fleet/shipper.h"
#include "tests/bench/journal/cpu_time.h"
#include "tests/support/journal_sample.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <thread>

namespace {

using namespace mailgate;
using namespace mailgate::store;
using bench::cpuSeconds;
using Clock = std::chrono::steady_clock;

/// They end at the same pace up to now, each gateway's with ids of its own.
void fill(const std::string& url, const std::string& gateway, std::size_t sessions) {
    JournalOptions options;
    options.url = url;
    options.max_bytes = std::uint64_t{100} << 30;
    const auto sink = journal::openSink(options);
    const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
    const std::uint64_t first = std::hash<std::string>{}(gateway)&0xFFFFFFF00000000;
    constexpr std::size_t kAtOnce = 2'000;
    std::vector<JournalSession> batch;
    for (std::size_t at = 0; at < sessions; ++at) {
        const std::uint64_t number = first + at;
        JournalSession session =
            test::sampleSession(number, now - static_cast<std::int64_t>(sessions - at) / 10);
        session.mail.front().message_id =
            fmt::format("{:x}.{}@partner{}.example", number * 2'654'435'761u, at, number % 20'000);
        batch.push_back(std::move(session));
        if (batch.size() == kAtOnce || at + 1 == sessions) {
            sink->append(batch);
            batch.clear();
        }
    }
}

int run(int argc, char** argv) {
    std::string url, gateway = "mx-1";
    std::size_t sessions = 200'000;
    JournalShipper::Options options;
    CLI::App app("How fast journals come to the database of a fleet");
    app.add_option("--url", url, "Of the fleet's database")->required();
    app.add_option("--gateway", gateway, "Whose journal it is");
    app.add_option("--sessions", sessions, "With one mail each");
    app.add_option("--records", options.most_records, "At most in a transaction");
    CLI11_PARSE(app, argc, argv);

    const TemporaryFolder folder;
    const std::string file = "sqlite:" + folder.file("journal.db");
    fill(file, gateway, sessions);
    const JournalOwner owner{.gateway = gateway,
                             .process = fmt::format("{}", Clock::now().time_since_epoch().count()),
                             .keep_days = 90,
                             .keep_refused_days = 14};
    std::string fleet = openSharedJournal(url, owner)->fleet();
    JournalShipper shipper(
        openSharedJournal(url, owner), owner, folder.file("lineage"),
        [&] { return journal::openSpool(file, false); }, [&] { return fleet; }, {},
        {.lost = [](const std::string& why) { fmt::print(stderr, "{}\n", why); }});
    const double cpu = cpuSeconds();
    const auto began = Clock::now();
    shipper.start();
    while (shipper.status().shipped < sessions)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    const double used = cpuSeconds() - cpu;
    shipper.stop();
    fmt::print("{}: {} sessions in {:.1f} s, {:.0f} a second; {:.1f} us of processor time each\n", gateway,
               sessions, seconds, static_cast<double>(sessions) / seconds,
               used * 1e6 / static_cast<double>(sessions));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        fmt::print(stderr, "{}\n", error.what());
        return 1;
    }
}
