// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/unix_listener.h"

#include "gateway/base/descriptor.h"
#include "gateway/io/listen_error.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace mailgate::admin {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class UnixListenerTest : public testing::Test {
  protected:
    std::string whyNot(const std::string& path) const {
        try {
            const UnixListener listener(path);
        } catch (const ListenError& error) {
            return error.what();
        }
        return {};
    }
    /// A file whose process is gone.
    void leaveStale() const {
        const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, path_.size());
        ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }

    const TemporaryFolder folder_;
    const std::string path_ = folder_.file("mailgate.sock");
};

TEST_F(UnixListenerTest, TheFileHasItsModeWhateverTheUmask) {
    const mode_t before = ::umask(0777);
    const UnixListener listener(path_);
    ::umask(before);
    struct stat status {};
    ASSERT_EQ(::lstat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660U);
}

TEST_F(UnixListenerTest, ReplacesWhatAGatewayLeftBehindAndRemovesItsOwn) {
    leaveStale();
    { const UnixListener listener(path_); }
    EXPECT_FALSE(fs::exists(path_));
}

TEST_F(UnixListenerTest, LeavesAloneWhatIsNotItsOwn) {
    {
        const UnixListener listener(path_);
        EXPECT_THAT(whyNot(path_), HasSubstr("another gateway answers there"));
        EXPECT_TRUE(fs::exists(path_));
        fs::remove(path_);
        leaveStale();
    }
    EXPECT_TRUE(fs::exists(path_)) << "another process has replaced it";
    const std::string file = folder_.file("notes");
    std::ofstream(file) << "mine";
    EXPECT_THAT(whyNot(file), HasSubstr("not a socket"));
    EXPECT_EQ(fs::file_size(file), 4U);
    EXPECT_THAT(whyNot(folder_.file(std::string(120, 'x'))), HasSubstr("too long"));
}

TEST_F(UnixListenerTest, KnowsItsPeer) {
    UnixListener listener(path_);
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const Descriptor one(ends[0]), other(ends[1]);
    const Peer peer(one.get());
    EXPECT_EQ(peer.uid, ::geteuid());
    const passwd* entry = ::getpwuid(::geteuid());
    EXPECT_EQ(peer.user(), entry ? entry->pw_name : "uid " + std::to_string(::geteuid()));
    EXPECT_TRUE(peer.mayUse(one.get(), path_));
}

}  // namespace
}  // namespace mailgate::admin
