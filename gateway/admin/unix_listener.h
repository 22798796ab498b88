// SPDX-License-Identifier: Apache-2.0
/// \file  The socket file: created with its final mode, replaced when stale, removed at the end.
#pragma once

#include <Poco/Net/ServerSocket.h>

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

namespace mailgate::admin {

class UnixListener {
  public:
    /// Listens on `path`, mode 0660. Throws ListenError.
    explicit UnixListener(std::string path);
    /// Closes, and removes the file unless another process has replaced it.
    ~UnixListener();
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;

    const std::string& path() const noexcept { return path_; }
    Poco::Net::ServerSocket& socket() noexcept { return socket_; }

  private:
    std::string path_;
    Poco::Net::ServerSocket socket_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

/// Who is at the other end of a connection to a Unix socket, as it was when the peer connected.
struct Peer {
    uid_t uid = 0;

    /// Throws std::system_error.
    explicit Peer(int fd);
    /// The name of the user, or "uid 1234" if there is none. May query the network (nsswitch.conf).
    std::string user() const;
    /// Whether the peer may use the socket. The file's mode lets only such peers connect; this check holds even if
    /// somebody has changed the mode.
    bool mayUse(int fd, const std::string& socket_path) const;

  private:
    gid_t gid_ = 0;
};

}  // namespace mailgate::admin
