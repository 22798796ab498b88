// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/log_target.h"

#include "gateway/base/config_error.h"
#include "gateway/base/descriptor.h"
#include "tests/support/reference.h"
#include "tests/support/syslog_socket.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace mailgate {
namespace {

using testing::MatchesRegex;
namespace fs = std::filesystem;

class LogTargetTest : public testing::Test {
  protected:
    static std::unique_ptr<LogTarget> open(const char* kind, const std::string& path) {
        return openLogTarget(std::string(kind) + ":" + path);
    }
    static std::string whyNot(const std::string& target) {
        try {
            openLogTarget(target);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "";
    }
    mode_t modeOf(const std::string& file) const {
        struct stat status {};
        EXPECT_EQ(::stat(file.c_str(), &status), 0);
        return status.st_mode & 07777;
    }

    const TemporaryFolder folder_;
    const std::string file_ = folder_.file("gw.log");
    const LogBatch batch_{"one\ntwo\nthree\n", {LogLevel::Information, LogLevel::Critical, LogLevel::Debug}};
};

TEST_F(LogTargetTest, AFileGetsWhatIsLeftOfABatchBehindWhatItHas) {
    std::ofstream(file_) << "before\n";
    std::size_t from = 4;
    EXPECT_FALSE(open("file", file_)->write(batch_, from));
    EXPECT_EQ(from, batch_.text.size());
    EXPECT_EQ(readAll(file_), "before\ntwo\nthree\n");
}

TEST_F(LogTargetTest, AFileIsForItsOwnerAndGroupAndOneThatIsThereKeepsItsMode) {
    for (const mode_t umask : {0, 0777}) {
        const mode_t before = ::umask(umask);
        open("file", file_);
        ::umask(before);
        EXPECT_EQ(modeOf(file_), 0640u);
        fs::remove(file_);
    }
    std::ofstream(file_).close();
    fs::permissions(file_, fs::perms(0604));
    open("file", file_);
    EXPECT_EQ(modeOf(file_), 0604u);
}

TEST_F(LogTargetTest, AnErrorLeavesTheRestForLater) {
    fs::create_symlink("/dev/full", file_);
    const auto target = open("file", file_);
    std::size_t from = 4;
    EXPECT_EQ(target->write(batch_, from), std::errc::no_space_on_device);
    EXPECT_EQ(from, 4u);
    fs::remove(file_);
    EXPECT_TRUE(target->reopen().reopened);
    EXPECT_FALSE(target->write(batch_, from));
    EXPECT_EQ(readAll(file_), "two\nthree\n");
}

TEST_F(LogTargetTest, AFileThatCannotBeReopenedStaysInUse) {
    const auto target = open("file", file_);
    const std::string rotated = folder_.file("gw.log.1");
    fs::rename(file_, rotated);
    fs::create_directory(file_);
    const LogTarget::Reopened again = target->reopen();
    EXPECT_FALSE(again.reopened);
    EXPECT_EQ(again.error, std::errc::is_a_directory);
    std::size_t from = 0;
    EXPECT_FALSE(target->write(batch_, from));
    EXPECT_EQ(readAll(rotated), batch_.text);
    const LogTarget::Reopened none = openLogTarget("stderr")->reopen();
    EXPECT_FALSE(none.reopened || none.error) << "nothing to do is no error";
}

TEST_F(LogTargetTest, WhatCannotBeOpenedIsAConfigurationError) {
    const std::string file = folder_.file("none/gw.log"), socket = folder_.file("log");
    EXPECT_EQ(whyNot("file:" + file), "log.target: cannot open " + file + ": No such file or directory");
    EXPECT_EQ(whyNot("syslog:" + socket),
              "log.target: cannot open " + socket + ": No such file or directory");
    for (const std::string target : {"elsewhere", "", "file:", "syslog:", "FILE:/tmp/x"})
        EXPECT_EQ(whyNot(target), "log.target: unknown target " + target);
}

TEST_F(LogTargetTest, SyslogGetsADatagramALineWithItsLevel) {
    const std::string socket = folder_.file("log");
    const SyslogSocket daemon(socket);
    const auto target = open("syslog", socket);
    std::size_t from = 0;
    EXPECT_FALSE(target->write(batch_, from));
    EXPECT_EQ(from, batch_.text.size());
    const std::string time = "[A-Z][a-z][a-z] [ 1-3][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]";
    const std::string tag = " mailgate\\[" + std::to_string(::getpid()) + "\\]: ";
    // Facility mail is 2: RFC 3164 4.1.1.
    EXPECT_THAT(daemon.receive(), MatchesRegex("<22>" + time + tag + "one"));
    EXPECT_THAT(daemon.receive(), MatchesRegex("<18>" + time + tag + "two"));
    EXPECT_THAT(daemon.receive(), MatchesRegex("<23>" + time + tag + "three"));
}

/// Writes to `descriptor` for standard error, which is systemd's stream if JOURNAL_STREAM says `stream`; empty: says that it is.
class AsStandardError {
  public:
    explicit AsStandardError(int descriptor, const std::string& stream = "") {
        ::dup2(descriptor, STDERR_FILENO);
        struct stat status {};
        ::fstat(STDERR_FILENO, &status);
        const std::string inode = stream.empty() ? std::to_string(status.st_ino) : stream;
        ::setenv("JOURNAL_STREAM", (std::to_string(status.st_dev) + ":" + inode).c_str(), 1);
    }
    ~AsStandardError() {
        ::unsetenv("JOURNAL_STREAM");
        ::dup2(before_, STDERR_FILENO);
        ::close(before_);
    }
    AsStandardError(const AsStandardError&) = delete;
    AsStandardError& operator=(const AsStandardError&) = delete;

  private:
    const int before_ = ::dup(STDERR_FILENO);
};

TEST_F(LogTargetTest, SystemdsJournalGetsTheLevelBeforeEachLine) {
    const auto writtenWith = [&](const std::string& stream) {
        const Descriptor file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        const AsStandardError error(file.get(), stream);
        std::size_t from = 4;
        EXPECT_FALSE(openLogTarget("stderr")->write(batch_, from));
        EXPECT_EQ(from, batch_.text.size());
        return readAll(file_);
    };
    EXPECT_EQ(writtenWith(""), "<2>two\n<7>three\n");
    EXPECT_EQ(writtenWith("1"), "two\nthree\n") << "another's stream";
}

TEST_F(LogTargetTest, WhatIsNoLogLineHasALevelInSystemdsJournalToo) {
    const Descriptor file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const std::string errors = "a.toml:1:2: one\na.toml:3:4: two\n";
    {
        const AsStandardError error(file.get());
        EXPECT_EQ(forStandardError(LogLevel::Error, errors), "<3>a.toml:1:2: one\n<3>a.toml:3:4: two\n");
        EXPECT_EQ(forStandardError(LogLevel::Warning, "x\n\ny"), "<4>x\n<4>\n<4>y");
        tellStandardError("file:/x", "cannot be written");
    }
    EXPECT_EQ(readAll(file_), "<3>mailgate: log file:/x: cannot be written\n");
    EXPECT_EQ(forStandardError(LogLevel::Error, errors), errors);
}

TEST_F(LogTargetTest, TheFileOfATargetIsItsPath) {
    EXPECT_EQ(logFileOf("file:/var/log/x"), "/var/log/x");
    for (const char* other : {"stderr", "syslog:/dev/log", "file:", "FILE:/x"})
        EXPECT_EQ(logFileOf(other), "");
}

TEST_F(LogTargetTest, WhatSystemdsJournalHasTakenIsWritten) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
    const Descriptor out(ends[0]), in(ends[1]);
    ::fcntl(in.get(), F_SETPIPE_SZ, 4096);
    std::string taken, expected;
    const auto take = [&] {
        std::array<char, 8192> bytes{};
        for (ssize_t read = 0; (read = ::read(out.get(), bytes.data(), bytes.size())) > 0;)
            taken.append(bytes.data(), static_cast<std::size_t>(read));
    };
    LogBatch batch;
    for (const std::size_t length : {1'000u, 3'000u, 20'000u, 10u}) {
        const std::string line = std::string(length, 'x') + '\n';
        batch.text += line;
        batch.levels.push_back(LogLevel::Warning);
        expected += "<4>" + line;
    }
    const AsStandardError error(in.get());
    auto target = openLogTarget("stderr");
    std::size_t from = 0;
    for (int left = 20; from < batch.text.size() && left > 0; --left) {
        const std::size_t before = from;
        const auto why = target->write(batch, from);
        take();
        EXPECT_GT(from, before);
        if (from == batch.text.size()) break;
        EXPECT_EQ(why, std::errc::resource_unavailable_try_again);
        target = openLogTarget("stderr");  // all that it knows of what is written is `from`
    }
    EXPECT_EQ(taken, expected);
}

TEST_F(LogTargetTest, SyslogTakesUpWhereItsDaemonWentAway) {
    const std::string socket = folder_.file("log");
    auto daemon = std::make_unique<SyslogSocket>(socket);
    const auto target = open("syslog", socket);
    daemon.reset();
    std::size_t from = 4;  // behind the first line
    EXPECT_TRUE(target->write(batch_, from));
    EXPECT_EQ(from, 4u);
    daemon = std::make_unique<SyslogSocket>(socket);
    EXPECT_FALSE(target->write(batch_, from));
    EXPECT_THAT(daemon->receive(), MatchesRegex("<18>.*: two")) << "with its own level";
    EXPECT_THAT(daemon->receive(), MatchesRegex("<23>.*: three"));
}

TEST_F(LogTargetTest, AClearedBatchGivesTheMemoryOfABurstBack) {
    LogBatch batch;
    batch.text.assign(std::size_t{3} << 20, 'x');
    batch.levels.assign(std::size_t{3} << 20, LogLevel::Debug);
    batch.clear();
    EXPECT_TRUE(batch.text.empty() && batch.levels.empty());
    EXPECT_LE(batch.text.capacity(), std::size_t{1} << 20);
    EXPECT_LE(batch.levels.capacity(), std::size_t{1} << 20);
}

TEST_F(LogTargetTest, StandardErrorIsToldWhatIsWrong) {
    testing::internal::CaptureStderr();
    tellStandardError("file:/x", "cannot be written");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "mailgate: log file:/x: cannot be written\n");
}

}  // namespace
}  // namespace mailgate
