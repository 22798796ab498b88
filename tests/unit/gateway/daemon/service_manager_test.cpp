// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/service_manager.h"

#include "tests/support/temporary_folder.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>

namespace mailgate {
namespace {

/// Where it hears what services say.
Descriptor boundTo(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    if (name.front() == '@') address.sun_path[0] = '\0';
    Descriptor bound(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), size), 0) << name;
    return bound;
}

std::string heardBy(const Descriptor& manager) {
    char words[100];
    const ssize_t size = ::recv(manager.get(), words, sizeof words, 0);
    return size < 0 ? "" : std::string(words, static_cast<std::size_t>(size));
}

class ServiceManagerTest : public testing::Test {
  protected:
    ServiceManager asStartedBy(const std::string& name) {
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
        return ServiceManager();
    }
    ~ServiceManagerTest() override { ::unsetenv("NOTIFY_SOCKET"); }

    TemporaryFolder folder_;
    const std::string path_ = folder_.file("notify"), abstract_ = "@mailgate" + path_;
};

TEST_F(ServiceManagerTest, HearsOfAServiceThatHasNoDescriptorLeft) {
    for (const std::string& name : {path_, abstract_}) {
        const Descriptor manager = boundTo(name);
        const ServiceManager told = asStartedBy(name);
        rlimit before{};
        ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
        const rlimit none{0, before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
        const int more = ::dup(manager.get()), error = errno;
        told.tell("WATCHDOG=1\nSTATUS=2 sessions");
        ::setrlimit(RLIMIT_NOFILE, &before);
        EXPECT_EQ(more, -1);
        EXPECT_EQ(error, EMFILE);
        EXPECT_EQ(heardBy(manager), "WATCHDOG=1\nSTATUS=2 sessions") << name;
    }
}

TEST_F(ServiceManagerTest, IsToldOnAfterItHasBegunAnew) {
    Descriptor manager = boundTo(path_);
    const ServiceManager told = asStartedBy(path_);
    ::unlink(path_.c_str());
    manager = Descriptor();
    told.tell("WATCHDOG=1");
    manager = boundTo(path_);
    told.tell("WATCHDOG=1");
    EXPECT_EQ(heardBy(manager), "WATCHDOG=1");
    EXPECT_EQ(heardBy(manager), "") << "once";
}

}  // namespace
}  // namespace mailgate
