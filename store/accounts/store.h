// SPDX-License-Identifier: Apache-2.0
/// \file  The accounts and tokens where they are kept: in the database of the access rules, which openAccounts() opens.
///
/// Every change is on the disk when it is acknowledged. All functions throw StoreError. One thread at a time; processes may
/// share the database.
#pragma once

#include "store/accounts/account.h"
#include "store/store_error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

class AccountStore {
  public:
    AccountStore() = default;
    AccountStore(const AccountStore&) = delete;
    AccountStore& operator=(const AccountStore&) = delete;
    virtual ~AccountStore() = default;

    /// In the order of their names.
    virtual std::vector<Account> accounts() = 0;
    virtual std::optional<Account> account(std::string_view name) = 0;
    /// False: there is one of that name in whatever case, since nobody can tell them apart, and it stays as it is.
    virtual bool add(const Account& account) = 0;
    /// False: there is no such account.
    virtual bool setPassword(std::string_view name, std::string_view password, UnixSeconds now) = 0;
    /// Its tokens go too. False: there is no such account.
    virtual bool removeAccount(std::string_view name) = 0;

    /// In the order of their names; expired ones too.
    virtual std::vector<Token> tokens() = 0;
    /// With this digest of the secret; an expired one too.
    virtual std::optional<Token> tokenOf(std::string_view digest) = 0;
    enum class Added : std::uint8_t { Done, NameTaken, NoAccount };
    /// `digest`: what is kept of the secret.
    virtual Added add(const Token& token, std::string_view digest) = 0;
    /// False: there is no such token.
    virtual bool removeToken(std::string_view name) = 0;
};

}  // namespace mailgate::store
