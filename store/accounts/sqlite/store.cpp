// SPDX-License-Identifier: Apache-2.0
#include "store/accounts/sqlite/store.h"

#include "store/rules/sqlite/schema.h"
#include "store/sqlite/database.h"

#include <functional>
#include <utility>

namespace mailgate::store::sqlite {

namespace {

constexpr std::string_view kAccountColumns = "name, role, password, password_at, created_at, created_by";
constexpr std::string_view kTokenColumns = "name, role, account, created_at, created_by, expires_at";

std::string select(std::string_view columns, std::string_view from) {
    return std::string("SELECT ").append(columns).append(" FROM ").append(from);
}

Role roleIn(const RawStatement& row, int column) {
    if (const auto role = roleOf(row.text(column))) return *role;
    throw StoreError(StoreError::Kind::BadRow, "an account or token of the console has a role that is none");
}

Account accountIn(const RawStatement& row) {
    Account account;
    account.name = row.text(0);
    account.role = roleIn(row, 1);
    account.password = row.text(2);
    account.password_at = row.number(3);
    account.created_at = row.number(4);
    account.created_by = row.text(5);
    return account;
}

Token tokenIn(const RawStatement& row) {
    Token token;
    token.name = row.text(0);
    token.role = roleIn(row, 1);
    token.account = row.text(2);
    token.created_at = row.number(3);
    token.created_by = row.text(4);
    if (!row.isNull(5)) token.expires_at = row.number(5);
    return token;
}

class SqliteAccountStore final : public AccountStore {
  public:
    SqliteAccountStore(const std::string& path, bool create) : database_(path, {.create = create}) {
        schema::migrate(database_, create);
    }

    std::vector<Account> accounts() override {
        std::vector<Account> accounts;
        RawStatement rows(database_, select(kAccountColumns, "console_account ORDER BY name"));
        while (rows.step())
            accounts.push_back(accountIn(rows));
        return accounts;
    }

    std::optional<Account> account(std::string_view name) override {
        RawStatement row(database_, select(kAccountColumns, "console_account WHERE name = ?"));
        row.bind(1, name);
        if (!row.step()) return std::nullopt;
        return accountIn(row);
    }

    bool add(const Account& account) override {
        bool added = false;
        database_.transaction([&] {
            RawStatement taken(database_, "SELECT 1 FROM console_account WHERE name = ? COLLATE NOCASE");
            taken.bind(1, account.name);
            if (taken.step()) return;
            RawStatement insert(database_, "INSERT INTO console_account VALUES (?, ?, ?, ?, ?, ?)");
            insert.bind(1, account.name);
            insert.bind(2, toString(account.role));
            insert.bind(3, account.password);
            insert.bind(4, account.password_at);
            insert.bind(5, account.created_at);
            insert.bind(6, account.created_by);
            insert.step();
            added = true;
        });
        return added;
    }

    bool setPassword(std::string_view name, std::string_view password, UnixSeconds now) override {
        return changes([&] {
            RawStatement update(database_,
                                "UPDATE console_account SET password = ?, password_at = ? WHERE name = ?");
            update.bind(1, password);
            update.bind(2, now);
            update.bind(3, name);
            update.step();
        });
    }

    bool removeAccount(std::string_view name) override {
        bool removed = false;
        database_.transaction([&] {
            if (!account(name)) return;  // the tokens that are nobody's are not those of ""
            runWith("DELETE FROM console_token WHERE account = ?", name);
            runWith("DELETE FROM console_account WHERE name = ?", name);
            removed = true;
        });
        return removed;
    }

    std::vector<Token> tokens() override {
        std::vector<Token> tokens;
        RawStatement rows(database_, select(kTokenColumns, "console_token ORDER BY name"));
        while (rows.step())
            tokens.push_back(tokenIn(rows));
        return tokens;
    }

    std::optional<Token> tokenOf(std::string_view digest) override {
        RawStatement row(database_, select(kTokenColumns, "console_token WHERE secret = ?"));
        row.bind(1, digest);
        if (!row.step()) return std::nullopt;
        return tokenIn(row);
    }

    Added add(const Token& token, std::string_view digest) override {
        auto result = Added::Done;
        database_.transaction([&] {
            if (!token.account.empty() && !account(token.account)) {
                result = Added::NoAccount;
                return;
            }
            if (isThere("SELECT 1 FROM console_token WHERE name = ?", token.name)) {
                result = Added::NameTaken;
                return;
            }
            RawStatement insert(database_, "INSERT INTO console_token VALUES (?, ?, ?, ?, ?, ?, ?)");
            insert.bind(1, token.name);
            insert.bind(2, toString(token.role));
            insert.bind(3, token.account);
            insert.bind(4, digest);
            insert.bind(5, token.created_at);
            insert.bind(6, token.created_by);
            if (token.expires_at)
                insert.bind(7, *token.expires_at);
            else
                insert.bindNull(7);
            insert.step();
        });
        return result;
    }

    bool removeToken(std::string_view name) override {
        return changes([&] { runWith("DELETE FROM console_token WHERE name = ?", name); });
    }

  private:
    bool isThere(std::string_view query, std::string_view name) {
        RawStatement row(database_, query);
        row.bind(1, name);
        return row.step();
    }

    void runWith(std::string_view statement, std::string_view name) {
        RawStatement run(database_, statement);
        run.bind(1, name);
        run.step();
    }

    /// Whether the last statement of `work` has changed a row.
    bool changes(const std::function<void()>& work) {
        bool changed = false;
        database_.transaction([&] {
            work();
            changed = database_.number("SELECT changes()") > 0;
        });
        return changed;
    }

    Database database_;
};

}  // namespace

std::unique_ptr<AccountStore> openAccounts(const std::string& path, bool create) {
    return std::make_unique<SqliteAccountStore>(path, create);
}

}  // namespace mailgate::store::sqlite
