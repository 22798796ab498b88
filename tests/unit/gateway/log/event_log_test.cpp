// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/event_log.h"

#include "gateway/config/load.h"
#include "tests/support/reference.h"
#include "tests/support/syslog_socket.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

std::vector<std::string> linesOf(const fs::path& file) {
    std::ifstream stream(file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/// Awaits a condition that another thread brings about.
testing::AssertionResult eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline)
            return testing::AssertionFailure() << "not in 20 seconds";
        std::this_thread::sleep_for(1ms);
    }
    return testing::AssertionSuccess();
}

class EventLogTest : public testing::Test {
  protected:
    EventLogTest() {
        std::string name = fs::temp_directory_path() / "mailgate-log-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        folder_ = name;
        file_ = folder_ / "gw.log";
    }
    ~EventLogTest() override { fs::remove_all(folder_); }

    LogConfig config() const { return {LogFormat::Json, "file:" + file_.string(), LogLevel::Information}; }

    static void write(EventLog& log, std::string_view text, LogLevel level = LogLevel::Information) {
        LogLine line = log.line(level, "test");
        line.text("text", text);
        log.write(line);
    }

    fs::path folder_;
    fs::path file_;
};

TEST_F(EventLogTest, ALoneLineIsWrittenWithoutFurtherAdo) {
    EventLog log(config());
    write(log, "first");
    EXPECT_TRUE(eventually([&] { return linesOf(file_).size() == 1; }));
    EXPECT_THAT(readAll(file_), EndsWith("\"text\":\"first\"}\n"));
}

TEST_F(EventLogTest, WhatIsQueuedIsWrittenBeforeTheEndAndAppended) {
    std::ofstream(file_) << "before\n";
    {
        EventLog log(config());
        for (int i = 0; i < 1'000; ++i)
            write(log, std::to_string(i));
    }
    const auto lines = linesOf(file_);
    ASSERT_EQ(lines.size(), 1'001u);
    EXPECT_EQ(lines[0], "before");
    for (int i = 0; i < 1'000; ++i)
        EXPECT_THAT(lines[static_cast<std::size_t>(i) + 1],
                    EndsWith("\"text\":\"" + std::to_string(i) + "\"}"));
}

TEST_F(EventLogTest, LevelsBelowTheConfiguredOneAreNotWritten) {
    {
        EventLog log(config());
        EXPECT_FALSE(log.enabled(LogLevel::Debug));
        write(log, "quiet", LogLevel::Debug);
        write(log, "loud", LogLevel::Warning);
    }
    ASSERT_EQ(linesOf(file_).size(), 1u);
    EXPECT_THAT(readAll(file_), HasSubstr("loud"));
}

TEST_F(EventLogTest, LinesOfManyThreadsStayWhole) {
    constexpr int kThreads = 4;
    constexpr int kLines = 2'000;
    {
        EventLog log(config());
        std::vector<std::thread> threads;
        for (int thread = 0; thread < kThreads; ++thread) {
            threads.emplace_back([&log, thread] {
                for (int i = 0; i < kLines; ++i)
                    write(log, std::to_string(thread * kLines + i));
            });
        }
        for (std::thread& thread : threads)
            thread.join();
        EXPECT_EQ(log.lost(), 0u);
    }
    std::set<std::string> texts;
    for (const std::string& line : linesOf(file_)) {
        EXPECT_THAT(line, StartsWith("{\"time\":\""));
        const std::size_t at = line.find("\"text\":");
        ASSERT_NE(at, std::string::npos);
        texts.insert(line.substr(at));
    }
    EXPECT_EQ(texts.size(), std::size_t{kThreads} * kLines);
}

TEST_F(EventLogTest, ReopeningFollowsTheNameAfterRotation) {
    EventLog log(config());
    write(log, "old");
    ASSERT_TRUE(eventually([&] { return linesOf(file_).size() == 1; }));
    fs::rename(file_, folder_ / "gw.log.1");
    log.reopen();
    ASSERT_TRUE(eventually([&] { return fs::exists(file_); }));
    write(log, "new");
    EXPECT_TRUE(eventually([&] { return linesOf(file_).size() == 1; }));
    EXPECT_THAT(readAll(folder_ / "gw.log.1"), HasSubstr("old"));
    EXPECT_THAT(readAll(file_), HasSubstr("new"));
}

TEST_F(EventLogTest, AFileThatCannotBeReopenedLeavesTheOldOneInUseAndSaysSo) {
    EventLog log(config());
    fs::rename(file_, folder_ / "gw.log.1");
    fs::create_directory(file_);
    log.reopen();
    ASSERT_TRUE(eventually([&] { return linesOf(folder_ / "gw.log.1").size() == 1; }));
    write(log, "after");
    ASSERT_TRUE(eventually([&] { return linesOf(folder_ / "gw.log.1").size() == 2; }));
    const auto lines = linesOf(folder_ / "gw.log.1");
    EXPECT_THAT(lines[0], HasSubstr("\"event\":\"log.failed\",\"level\":\"error\""));
    EXPECT_THAT(lines[0], HasSubstr("Is a directory"));
    EXPECT_THAT(lines[1], HasSubstr("after"));
    const EventLog::Trouble trouble = log.trouble();
    EXPECT_THAT(trouble.what, StartsWith("cannot be opened again: Is a directory"));
    EXPECT_GT(trouble.since_ms, 0);
    fs::remove(file_);
    log.reopen();
    EXPECT_TRUE(eventually([&] { return log.trouble().what.empty(); }));
}

TEST_F(EventLogTest, AFullDiskDropsWhatDoesNotFitInMemoryAndSaysHowMuchAfterwards) {
    fs::create_symlink("/dev/full", file_);
    const std::string text(16'000, 'x');
    testing::internal::CaptureStderr();
    std::uint64_t written = 0;
    std::uint64_t lost = 0;
    {
        EventLog log(config());
        while (log.lost() < 3) {
            write(log, text);
            ++written;
            ASSERT_LT(written * text.size(), 2 * kMaxQueuedLogBytes);
        }
        lost = log.lost();
        // The memory may be full before the writer has tried once.
        EXPECT_TRUE(eventually(
            [&] { return log.trouble().what.starts_with("cannot be written: No space left on device"); }));
        EXPECT_GT(log.trouble().since_ms, 0);
        fs::remove(file_);
        log.reopen();
        ASSERT_TRUE(eventually([&] { return readAll(file_).find("log.lost") != std::string::npos; }));
        EXPECT_EQ(log.trouble().what, "");
    }
    const std::string told = testing::internal::GetCapturedStderr();
    EXPECT_THAT(told, HasSubstr("cannot be written: No space left on device"));
    EXPECT_THAT(told, HasSubstr("can be written again; " + std::to_string(lost) + " lines were lost"));
    EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), 2);
    std::uint64_t kept = 0;
    for (const std::string& line : linesOf(file_)) {
        EXPECT_THAT(line, EndsWith("}"));
        if (line.find("log.lost") == std::string::npos)
            ++kept;
        else
            EXPECT_THAT(line, HasSubstr("\"level\":\"error\",\"lines\":" + std::to_string(lost) + "}"));
    }
    EXPECT_EQ(kept + lost, written);
}

TEST_F(EventLogTest, LinesThatNeverCouldBeWrittenAreToldAtTheEnd) {
    fs::create_symlink("/dev/full", file_);
    testing::internal::CaptureStderr();
    {
        EventLog log(config());
        write(log, "a");
        write(log, "b");
    }
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("2 lines could not be written"));
}

TEST_F(EventLogTest, StandardErrorIsATarget) {
    testing::internal::CaptureStderr();
    {
        EventLog log({LogFormat::Logfmt, "stderr", LogLevel::Information});
        write(log, "hello");
    }
    EXPECT_THAT(testing::internal::GetCapturedStderr(), EndsWith("event=test text=hello\n"));
}

TEST_F(EventLogTest, APipeThatNobodyReadsBlocksNobody) {
    ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
    const int reader = ::open(file_.c_str(), O_RDONLY | O_NONBLOCK);
    ASSERT_GE(reader, 0);
    testing::internal::CaptureStderr();
    {
        EventLog log(config());
        const std::string text(16'000, 'x');
        while (log.lost() == 0)
            write(log, text);
        EXPECT_TRUE(eventually([&] { return log.trouble().what.starts_with("is not taken by its target"); }));
    }
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("did not accept the last lines in time"));
    ::close(reader);  // lets the writer's thread go: the pipe is broken
}

TEST_F(EventLogTest, SignalsAreLeftToTheOtherThreads) {
    sigset_t before;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
    const EventLog log(config());
    sigset_t after;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
    EXPECT_EQ(::sigismember(&before, SIGTERM), ::sigismember(&after, SIGTERM));
    // Every thread but this one blocks SIGTERM.
    std::size_t blocking = 0;
    for (const auto& task : fs::directory_iterator("/proc/self/task")) {
        const std::string status = readAll(task.path() / "status");
        const std::size_t at = status.find("SigBlk:\t");
        ASSERT_NE(at, std::string::npos);
        const auto mask = std::stoull(status.substr(at + 8, 16), nullptr, 16);
        if ((mask >> (SIGTERM - 1) & 1) != 0) ++blocking;
    }
    EXPECT_GE(blocking, 1u);
}

TEST_F(EventLogTest, TheLongestLineReachesSyslogWhole) {
    const SyslogSocket daemon(folder_ / "log");
    EventLog log({LogFormat::Json, "syslog:" + (folder_ / "log").string(), LogLevel::Information});
    LogLine line = log.line(LogLevel::Information, "test");
    for (int i = 0; i < 40; ++i)
        line.text(fmt::format("key{}", i), std::string(1'000, 'x'));
    log.write(line);
    const std::string message = daemon.receive();
    EXPECT_GT(message.size(), kMaxLogLineBytes * 9 / 10);
    EXPECT_THAT(message, EndsWith("\"truncated\":true}"));
}

TEST_F(EventLogTest, NothingIsLostWhileTheSyslogDaemonRestarts) {
    auto daemon = std::make_unique<SyslogSocket>(folder_ / "log");
    testing::internal::CaptureStderr();
    {
        EventLog log({LogFormat::Logfmt, "syslog:" + (folder_ / "log").string(), LogLevel::Information});
        write(log, "before");
        EXPECT_THAT(daemon->receive(), EndsWith("text=before"));
        daemon.reset();
        write(log, "meanwhile");
        daemon = std::make_unique<SyslogSocket>(folder_ / "log");
        write(log, "after");
        EXPECT_THAT(daemon->receive(), EndsWith("text=meanwhile"));
        EXPECT_THAT(daemon->receive(), EndsWith("text=after"));
        EXPECT_EQ(log.lost(), 0u);
    }
    testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace mailgate
