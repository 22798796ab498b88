// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/sources.h"

#include "gateway/base/clock.h"
#include "gateway/config/load.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace mailgate::config {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SourcesTest : public testing::Test {
  protected:
    SourcesTest() {
        fs::create_directory(folder_.file("conf.d"));
        write("mailgate.toml",
              "include = \"conf.d/*.toml\"\n[[listener]]\nname = \"mx\"\nprotocol = \"smtp\"\n"
              "address = \"127.0.0.1:2525\"\nupstream = \"mx\"\n");
        write("conf.d/mx.toml",
              "[[upstream]]\nname = \"mx\"\n[[upstream.server]]\nname = \"mx1\"\naddress = "
              "\"127.0.0.1:25\"\n");
        sources_ = loadConfig(folder_.file("mailgate.toml")).sources;
    }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(folder_.file(name)) << text;
    }
    void add(const std::string& name, const std::string& text) const {
        std::ofstream(folder_.file(name), std::ios::app) << text;
    }
    std::string changed() const {
        const auto change = sources_.change();
        return change ? fs::relative(change->file, folder_.path()).string() : "";
    }

    TemporaryFolder folder_;
    Sources sources_;
};

TEST_F(SourcesTest, AreThoseThatWereReadUntilSomebodyChangesOne) {
    EXPECT_EQ(changed(), "");
    const std::int64_t before = unixMillis();
    add("conf.d/mx.toml", "# x\n");
    EXPECT_EQ(changed(), "conf.d/mx.toml");
    EXPECT_NEAR(static_cast<double>(sources_.change()->at_ms), static_cast<double>(before), 60'000);
    EXPECT_EQ(sources_.change()->failure, "");
    add("mailgate.toml", "# y\n");
    EXPECT_EQ(changed(), "mailgate.toml") << "the main one first";
}

TEST_F(SourcesTest, AreTheSameWhereAFileWasOnlyTouched) {
    const fs::path file = folder_.file("mailgate.toml");
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
    EXPECT_EQ(changed(), "");
    fs::copy_file(file, folder_.file("copy"));
    fs::rename(folder_.file("copy"), file);
    EXPECT_EQ(changed(), "");
}

TEST_F(SourcesTest, AreReadAgainOnlyWhereTheyMayHaveBeenWritten) {
    const fs::path file = folder_.file("mailgate.toml");
    const auto isOther = [&] {
        Sources sources;
        // Other content: whoever reads the file finds that it has changed.
        sources.read(file, [](const fs::path&) { return "what it was"; });
        return sources.change().has_value();
    };
    const std::int64_t written = unixMillis();
    write("mailgate.toml", "what it is");
    EXPECT_TRUE(isOther()) << "it may have been written twice in a step of the clock";
    while (unixMillis() < written + 500)
        std::this_thread::yield();
    EXPECT_FALSE(isOther());
}

TEST_F(SourcesTest, WaitForNoPipeInAFilesPlace) {
    const std::string file = folder_.file("conf.d/mx.toml");
    fs::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    EXPECT_EQ(changed(), "conf.d/mx.toml");
    EXPECT_THAT(sources_.change()->failure, HasSubstr("no regular file"));
}

TEST_F(SourcesTest, HaveChangedWhereAFileIsNewOrGone) {
    write("conf.d/README", "no part of it\n");
    EXPECT_EQ(changed(), "");
    write("conf.d/z.toml", "");
    EXPECT_EQ(changed(), "conf.d/z.toml");
    fs::remove(folder_.file("conf.d/z.toml"));
    EXPECT_EQ(changed(), "");
    fs::remove(folder_.file("conf.d/mx.toml"));
    EXPECT_EQ(changed(), "conf.d/mx.toml");
    EXPECT_EQ(sources_.change()->at_ms, 0);
    EXPECT_EQ(sources_.change()->failure, "was removed");
}

TEST_F(SourcesTest, AnOlderFileThatWasMovedHereCameNow) {
    write("older", "# older\n");
    fs::last_write_time(folder_.file("older"), fs::file_time_type::clock::now() - std::chrono::hours(48));
    fs::rename(folder_.file("older"), folder_.file("mailgate.toml"));
    EXPECT_EQ(changed(), "mailgate.toml");
    EXPECT_NEAR(static_cast<double>(sources_.change()->at_ms), static_cast<double>(unixMillis()), 60'000);
}

}  // namespace
}  // namespace mailgate::config
