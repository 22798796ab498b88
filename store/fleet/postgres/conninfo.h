// SPDX-License-Identifier: Apache-2.0
/// \file  The URL of a fleet's database, as libpq takes it, and what is made of it. Internal to store/.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mailgate::store::postgres {

struct Conninfo {
    /// One of the servers that the URL names.
    struct Host {
        std::string name;     ///< empty: libpq's own default, a Unix socket
        std::string address;  ///< hostaddr; empty: what the name stands for
        std::string port;     ///< empty: libpq's default

        /// Nothing leaves this machine, and the URL says so itself: a Unix socket, or a loopback address.
        bool isHere() const;
        bool isSocket() const;
    };

    std::vector<std::pair<std::string, std::string>> options;  ///< all others, complete
    std::vector<Host> hosts;                                   ///< in the order of the URL
    std::string shown;                                         ///< the URL without a password, for people
    std::string password;                                      ///< must not be shown
    std::string role;                                          ///< as the URL has it; empty: libpq's default

    /// `text` without the password.
    std::string withoutPassword(std::string text) const;
    /// Where libpq looks for passwords; empty: nowhere.
    std::string passwordFile() const;
    /// The option of libpq; empty: it is not set.
    std::string option(const std::string& name) const;
};

/// Whether libpq leaves that file with passwords alone: it is there, and others may read it, or it is none.
bool isRefusedPasswordFile(const std::string& file);

/// "postgresql://USER@HOST/DATABASE" and libpq's further forms (PostgreSQL's manual, 34.1.1.2), with sslmode=verify-full where
/// the URL says nothing and the server is not on this machine, and then with Debian's certificate authorities where it names
/// no others; a client's certificate only where the URL names it. Throws StoreError(BadInput), without a word of the URL, which may be a password.
Conninfo parseUrl(const std::string& url);

/// Such a URL by its first word.
bool isUrl(const std::string& url) noexcept;

}  // namespace mailgate::store::postgres
