// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/unix_listener.h"

#include "gateway/admin/acting_user.h"
#include "gateway/base/descriptor.h"
#include "gateway/io/listen_error.h"

#include <Poco/Net/ServerSocketImpl.h>
#include <fmt/format.h>

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace mailgate::admin {
namespace {

constexpr mode_t kMode = 0660;

[[noreturn]] void fail(const std::string& path, std::string_view what) {
    throw ListenError(fmt::format("admin.socket {}: {}", path, what));
}

[[noreturn]] void failWithErrno(const std::string& path, std::string_view doing) {
    fail(path, fmt::format("cannot {}: {}", doing, std::strerror(errno)));
}

sockaddr_un addressOf(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) fail(path, "the path is too long for a Unix socket");
    path.copy(address.sun_path, path.size());
    return address;
}

int makeSocket(const std::string& path, int flags) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) failWithErrno(path, "create a socket");
    return fd;
}

/// Removes the file that a gateway left behind which did not end in order.
void removeStale(const std::string& path, const sockaddr_un& address) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return;
    if (!S_ISSOCK(status.st_mode)) fail(path, "there is a file of that name, but it is not a socket");
    const Descriptor probe(makeSocket(path, SOCK_NONBLOCK));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
        errno == EAGAIN)  // its queue is full, so somebody has one
        fail(path, "another gateway answers there: is mailgate already running?");
    if (errno != ECONNREFUSED) failWithErrno(path, "find out whether another gateway answers there");
    if (::unlink(path.c_str()) != 0)
        failWithErrno(path, "remove the socket that an earlier gateway left behind");
}

/// Poco binds and listens in ways of its own and has none to take over a socket.
class AdoptedSocket : public Poco::Net::ServerSocket {
  public:
    explicit AdoptedSocket(int fd) : Poco::Net::ServerSocket(new Impl(fd), true) {}

  private:
    class Impl : public Poco::Net::ServerSocketImpl {
      public:
        explicit Impl(int fd) { reset(fd); }
    };
};

Poco::Net::ServerSocket listenOn(const std::string& path) {
    const sockaddr_un address = addressOf(path);
    removeStale(path, address);
    AdoptedSocket socket(makeSocket(path, 0));
    const int fd = socket.impl()->sockfd();
    // The file gets the socket's own mode: it is never open to more users, not even until the chmod, which
    // gives back what the umask took.
    if (::fchmod(fd, kMode) != 0 ||
        ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::chmod(path.c_str(), kMode) != 0 || ::listen(fd, SOMAXCONN) != 0)
        failWithErrno(path, "listen");
    return socket;
}

std::vector<gid_t> supplementaryGroups(int fd) {
    std::vector<gid_t> groups(64);
    for (;;) {
        auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        const bool complete = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0;
        if (!complete && errno != ERANGE) return {};
        groups.resize(bytes / sizeof(gid_t));
        if (complete) return groups;
    }
}

}  // namespace

UnixListener::UnixListener(std::string path) : path_(std::move(path)), socket_(listenOn(path_)) {
    struct stat status {};
    if (::lstat(path_.c_str(), &status) != 0) failWithErrno(path_, "examine the new socket");
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

UnixListener::~UnixListener() {
    struct stat status {};
    const bool ours =
        ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
    if (ours) ::unlink(path_.c_str());
    socket_.close();
}

Peer::Peer(int fd) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        throw std::system_error(errno, std::system_category(), "SO_PEERCRED");
    uid = credentials.uid;
    gid_ = credentials.gid;
}

std::string Peer::user() const {
    return userName(uid);
}

bool Peer::mayUse(int fd, const std::string& socket_path) const {
    if (uid == 0 || uid == ::geteuid()) return true;
    struct stat status {};
    if (::lstat(socket_path.c_str(), &status) != 0) return false;
    if (gid_ == status.st_gid) return true;
    const std::vector<gid_t> groups = supplementaryGroups(fd);
    return std::ranges::find(groups, status.st_gid) != groups.end();
}

}  // namespace mailgate::admin
