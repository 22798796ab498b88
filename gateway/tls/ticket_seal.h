// SPDX-License-Identifier: Apache-2.0
/// \file  Seals the ticket keys that gateways share, so that the place where they meet cannot read them: with what each
/// gateway has in a file, and that place never has.
#pragma once

#include "gateway/tls/ticket_keys.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

class TicketSeal {
  public:
    static constexpr std::size_t kShortestSecret = 32, kLongestSecret = 4'096;

    /// Throws TlsError: the file cannot be read, its mode lets others read or change it, or there is no secret in it.
    static TicketSeal fromFile(const std::string& file);
    /// Throws TlsError when OpenSSL fails.
    explicit TicketSeal(std::string_view secret);
    ~TicketSeal();  ///< overwrites what it was made of
    TicketSeal(const TicketSeal&) = default;
    TicketSeal& operator=(const TicketSeal&) = delete;

    /// Says which secret it is, to those who have it too, and nothing of it: 32 hexadecimal digits.
    const std::string& id() const noexcept { return id_; }

    /// Text of ASCII, which open() opens with the same secret and `purpose`. Nothing: the system gives no random bytes.
    std::optional<std::string> seal(const TicketKey& key, std::string_view purpose) const;
    /// Nothing: it was sealed otherwise, or altered.
    std::optional<TicketKey> open(std::string_view sealed, std::string_view purpose) const;

  private:
    std::array<unsigned char, 32> key_;
    std::string id_;
};

}  // namespace mailgate
