// SPDX-License-Identifier: Apache-2.0
// What the journal costs and how fast it answers:
// `journal_bench [--sessions N] [--rate R] [--seconds S] [--folder DIR]`.
//
// First N sessions with one mail each, as fast as the writer takes them, then S seconds at R a second;
// processor time of all threads, once with the journal and once only making the sessions. Then every kind of
// question over the N sessions, in this process, the file in the page cache.

#include "store/backends/journal.h"
#include "store/journal/journal.h"
#include "tests/bench/journal/cpu_time.h"
#include "tests/support/journal_sample.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <thread>

namespace {

using namespace mailgate;
using namespace mailgate::store;
using bench::cpuSeconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kTemplates = 4'096;

double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::int64_t nowMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Sessions at the price of copying one: what differs from one to the next is overwritten in place.
class Source {
  public:
    Source() {
        for (std::uint64_t number = 0; number < kTemplates; ++number)
            templates_.push_back(test::sampleSession(number, 0));
    }
    JournalSession next(std::int64_t ended_ms) {
        JournalSession session = templates_[number_ % kTemplates];
        session.started_ms = ended_ms - session.duration_ms;
        session.id = test::sampleId(session.started_ms, number_);
        for (std::size_t digit = 0; digit < 8; ++digit) {
            const char hex = "0123456789ABCDEF"[number_ >> (4 * digit) & 15];
            session.mail.front().reply[session.mail.front().reply.size() - 1 - digit] = hex;
        }
        // A thousand addresses send most; the others are hardly seen twice.
        const auto spread = static_cast<std::uint32_t>(number_ * 2'654'435'761u);
        if (number_ % 4 != 0) {
            session.client = test::sampleV4(0x0B000000u + (spread & 0xFFFFFF));
            session.mail.front().from.replace(6, 1, 1, static_cast<char>('0' + spread % 10));
        }
        ++number_;
        return session;
    }

  private:
    std::vector<JournalSession> templates_;
    std::uint64_t number_ = 0;
};

struct Cost {
    double seconds = 0;
    double cpu_microseconds = 0;  ///< for each session
    std::size_t most_queued = 0;
};

Cost justMake(std::size_t count) {
    Source source;
    std::size_t kept = 0;
    const double cpu = cpuSeconds();
    const auto begin = Clock::now();
    for (std::size_t at = 0; at < count; ++at)
        kept += source.next(1'000).mail.size();
    if (kept != count) throw std::runtime_error("a session without its mail");
    return {since(begin), (cpuSeconds() - cpu) * 1e6 / static_cast<double>(count)};
}

constexpr std::int64_t kSpan = 20 * 3'600'000;

/// The ends lie evenly over the 20 hours after `from`.
Cost fill(Journal& journal, Source& source, std::size_t count, std::int64_t from) {
    const double cpu = cpuSeconds();
    const auto begin = Clock::now();
    for (std::size_t at = 0; at < count; ++at) {
        if (at % 1'024 == 0)
            while (journal.queued() > 50'000)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
        journal.record(
            source.next(from + kSpan * static_cast<std::int64_t>(at) / static_cast<std::int64_t>(count)));
    }
    if (!journal.flush(std::chrono::minutes(1))) throw std::runtime_error("the journal does not get done");
    return {since(begin), (cpuSeconds() - cpu) * 1e6 / static_cast<double>(count)};
}

Cost paced(Journal& journal, Source& source, std::size_t rate, std::size_t seconds) {
    std::size_t most_queued = 0;
    const double cpu = cpuSeconds();
    const auto begin = Clock::now();
    const std::size_t count = rate * seconds;
    for (std::size_t at = 0; at < count; ++at) {
        if (at % 64 == 0) {
            most_queued = std::max(most_queued, journal.queued());
            std::this_thread::sleep_until(
                begin + std::chrono::duration<double>(static_cast<double>(at) / static_cast<double>(rate)));
        }
        journal.record(source.next(nowMillis()));
    }
    if (!journal.flush(std::chrono::minutes(1))) throw std::runtime_error("the journal does not get done");
    return {since(begin), (cpuSeconds() - cpu) * 1e6 / static_cast<double>(count), most_queued};
}

void ask(const std::string& what, const std::function<std::size_t()>& question) {
    constexpr int kTimes = 5;
    std::vector<double> milliseconds;
    std::size_t rows = 0;
    for (int time = 0; time < kTimes; ++time) {
        const auto begin = Clock::now();
        rows = question();
        milliseconds.push_back(since(begin) * 1e3);
    }
    const double first = milliseconds.front();
    std::sort(milliseconds.begin(), milliseconds.end());
    fmt::print("| {:<42} | {:>5} | {:>9.1f} | {:>9.1f} |\n", what, rows, first, milliseconds[kTimes / 2]);
    std::fflush(stdout);
}

Network network(const std::string& text) {
    return std::get<Network>(parseNetwork(text));
}

/// When the first `count` of the first run's sessions had ended.
std::int64_t untilMillis(std::size_t sessions, std::size_t count, std::int64_t from) {
    return from +
           kSpan * static_cast<std::int64_t>(std::min(sessions, count)) / static_cast<std::int64_t>(sessions);
}

void askAll(const std::string& url, std::size_t sessions, std::int64_t from) {
    fmt::print(
        "\n| question (the last 100)                     |  rows |  first ms | median ms |\n"
        "|--------------------------------------------|-------|-----------|-----------|\n");
    const auto journal = journal::openSource(url);
    journal::Source& query = *journal;
    const auto filtered = [&](const std::string& what, auto set) {
        ask(what, [&] {
            JournalFilter filter;
            set(filter);
            return query.newest(filter, 100).size();
        });
    };
    const JournalSession some = [&] {
        JournalFilter filter;
        filter.until_ms = nowMillis() - 5 * 3'600'000;
        return query.newest(filter, 2).front();
    }();
    ask("open the journal", [&] { return journal::openSource(url)->end().text.empty() ? 0u : 1u; });
    filtered("no filter", [](auto&) {});
    filtered("one client", [&](auto& f) { f.client = Network{some.client, 128}; });
    filtered("a client that never came", [](auto& f) { f.client = network("198.51.100.7"); });
    filtered("a /24 of clients", [](auto& f) { f.client = network("11.1.2.0/24"); });
    filtered("an IPv6 /48 of clients", [](auto& f) { f.client = network("2001:db8:5::/48"); });
    filtered("one sender", [&](auto& f) { f.from = some.mail.front().from; });
    filtered("a sender's domain", [&](auto& f) {
        f.from = "@" + some.mail.front().from.substr(some.mail.front().from.find('@') + 1);
    });
    filtered("a sender that never wrote", [](auto& f) { f.from = "nobody@nowhere.example"; });
    filtered("one recipient", [&](auto& f) { f.to = some.mail.front().recipients.front(); });
    filtered("the recipients' common domain", [](auto& f) { f.to = "@example.net"; });
    filtered("one queue id", [&](auto& f) { f.queue_id = some.mail.front().queue_id; });
    filtered("a queue id that is not there", [](auto& f) { f.queue_id = "XXXXXXXXXX"; });
    filtered("a user that never was", [](auto& f) { f.user = "nobody"; });
    filtered("the busy listener", [](auto& f) { f.listener = "smtp"; });
    filtered("a listener without sessions", [](auto& f) { f.listener = "imap"; });
    filtered("a balancer", [](auto& f) { f.balancer = network("10.0.0.9"); });
    filtered("a server", [](auto& f) { f.server = "postfix/mx2"; });
    filtered("denied", [](auto& f) { f.allowed = false; });
    filtered("an hour ten hours ago", [](auto& f) {
        f.since_ms = nowMillis() - 10 * 3'600'000;
        f.until_ms = nowMillis() - 9 * 3'600'000;
    });
    filtered("one client in that hour", [&](auto& f) {
        f.client = Network{some.client, 128};
        f.since_ms = nowMillis() - 10 * 3'600'000;
        f.until_ms = nowMillis() - 9 * 3'600'000;
    });
    ask("one session by its id", [&] { return query.withId(some.id, 2).size(); });
    ask("one session by 14 letters of its id", [&] { return query.withId(some.id.substr(0, 14), 2).size(); });
    ask("top of the last hour", [&] {
        return query.top(test::during(nowMillis() - 3'600'000, nowMillis())).of(SumsOf::Clients).size();
    });
    const std::int64_t until = untilMillis(sessions, 700'000, from);
    std::uint64_t summed = 0;
    ask("top of 700,000 sessions", [&] {
        const JournalTop top = query.top(test::during(0, until));
        summed = top.sessions;
        return top.of(SumsOf::Clients).size();
    });
    fmt::print("\nthe last line adds up {} sessions\n", summed);
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t sessions = 1'000'000;
    std::size_t rate = 20'000, seconds = 10;
    std::string folder = std::filesystem::temp_directory_path().string();
    CLI::App app("What the journal costs and how fast it answers");
    app.add_option("--sessions", sessions, "To be written and asked (10000000 takes 5 GB)");
    app.add_option("--rate", rate, "Sessions a second in the second run");
    app.add_option("--seconds", seconds, "How long that lasts");
    app.add_option("--folder", folder, "Where the journal is made");
    CLI11_PARSE(app, argc, argv);

    std::string made = folder + "/journal_bench.XXXXXX";
    if (mkdtemp(made.data()) == nullptr) throw std::runtime_error("cannot make a folder in " + folder);
    const std::string url = "sqlite:" + made + "/journal.db";
    JournalOptions options;
    options.url = url;
    options.max_bytes = std::uint64_t{100} << 30;
    const std::int64_t from = nowMillis() - kSpan;
    std::uint64_t written = 0, lost = 0, bytes = 0;
    Cost filled, steady;
    const Cost making = justMake(std::min<std::size_t>(sessions, 1'000'000));
    {
        Source source;
        Journal journal(options, journal::openSink,
                        {[](const std::string& what) { fmt::print(stderr, "{}\n", what); }, {}});
        journal.start();
        filled = fill(journal, source, sessions, from);
        steady = paced(journal, source, rate, seconds);
        written = journal.written();
        lost = journal.lost();
    }
    bytes = std::filesystem::file_size(made + "/journal.db");
    fmt::print(
        "| run                     | sessions/s | CPU µs a session | without making it |\n"
        "|-------------------------|------------|------------------|-------------------|\n"
        "| making the records only | {:>10.0f} | {:>16.2f} |                   |\n"
        "| as fast as it goes      | {:>10.0f} | {:>16.2f} | {:>17.2f} |\n"
        "| at a steady rate        | {:>10.0f} | {:>16.2f} | {:>17.2f} |\n\n"
        "{} sessions written, {} lost, {} bytes a session; at the steady rate {} waited at the most\n",
        1e6 / making.cpu_microseconds, making.cpu_microseconds,
        static_cast<double>(sessions) / filled.seconds, filled.cpu_microseconds,
        filled.cpu_microseconds - making.cpu_microseconds,
        static_cast<double>(rate * seconds) / steady.seconds, steady.cpu_microseconds,
        steady.cpu_microseconds - making.cpu_microseconds, written, lost, bytes / written,
        steady.most_queued);
    askAll(url, sessions, from);
    std::filesystem::remove_all(made);
}
