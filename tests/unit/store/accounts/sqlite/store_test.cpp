// SPDX-License-Identifier: Apache-2.0
#include "store/accounts/sqlite/store.h"

#include "store/rules/sqlite/schema.h"
#include "store/sqlite/database.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace mailgate::store::sqlite {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Accounts : public testing::Test {
  protected:
    static Account account(const std::string& name, Role role = Role::Operator) {
        Account account;
        account.name = name;
        account.role = role;
        account.password = "$y$" + name;
        account.password_at = 20;
        account.created_at = 10;
        account.created_by = "root";
        return account;
    }
    static Token token(const std::string& name, const std::string& whose = "") {
        Token token;
        token.name = name;
        token.role = Role::Viewer;
        token.account = whose;
        token.created_at = 10;
        token.created_by = "root";
        return token;
    }
    std::vector<std::string> names() {
        std::vector<std::string> names;
        for (const Account& one : store_->accounts())
            names.push_back(one.name);
        for (const Token& one : store_->tokens())
            names.push_back(one.name);
        return names;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<AccountStore> store_ = openAccounts(file_, true);
};

TEST_F(Accounts, AreThereForTheNextWhoOpensTheFile) {
    EXPECT_TRUE(store_->add(account("bob")));
    EXPECT_TRUE(store_->add(account("alice", Role::Admin)));
    EXPECT_THAT(names(), ElementsAre("alice", "bob"));
    const auto found = openAccounts(file_, false)->account("alice");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->role, Role::Admin);
    EXPECT_EQ(found->password, "$y$alice");
    EXPECT_EQ(found->password_at, 20);
    EXPECT_EQ(found->created_at, 10);
    EXPECT_EQ(found->created_by, "root");
    EXPECT_FALSE(store_->account("Alice"));
    EXPECT_FALSE(store_->account("' OR 1 --"));
}

TEST_F(Accounts, AFileThatIsGoneIsMadeAnewForWhoMayMakeItAlone) {
    const std::string gone = folder_.file("gone.db");
    EXPECT_THROW(openAccounts(gone, false), StoreError);
    EXPECT_FALSE(std::filesystem::exists(gone));
    EXPECT_THAT(openAccounts(gone, true)->accounts(), IsEmpty());
}

TEST_F(Accounts, ATakenNameStaysWhoseItIs) {
    EXPECT_TRUE(store_->add(account("alice")));
    Account second = account("alice", Role::Admin);
    second.password = "$y$other";
    EXPECT_FALSE(store_->add(second));
    EXPECT_FALSE(store_->add(account("ALICE"))) << "nobody could tell them apart";
    EXPECT_EQ(store_->account("alice")->role, Role::Operator);
    EXPECT_EQ(store_->account("alice")->password, "$y$alice");
}

TEST_F(Accounts, APasswordIsChangedOfOneAccountAlone) {
    store_->add(account("alice"));
    store_->add(account("bob"));
    EXPECT_TRUE(store_->setPassword("alice", "$y$new", 30));
    EXPECT_EQ(store_->account("alice")->password, "$y$new");
    EXPECT_EQ(store_->account("alice")->password_at, 30);
    EXPECT_EQ(store_->account("bob")->password, "$y$bob");
    EXPECT_FALSE(store_->setPassword("carol", "$y$new", 30));
}

TEST_F(Accounts, WhoGoesTakesTheTokensAlong) {
    store_->add(account("alice"));
    store_->add(account("bob"));
    EXPECT_EQ(store_->add(token("hers", "alice"), "d1"), AccountStore::Added::Done);
    EXPECT_EQ(store_->add(token("his", "bob"), "d2"), AccountStore::Added::Done);
    EXPECT_EQ(store_->add(token("nobodys"), "d3"), AccountStore::Added::Done);
    EXPECT_TRUE(store_->removeAccount("alice"));
    EXPECT_THAT(names(), ElementsAre("bob", "his", "nobodys"));
    EXPECT_FALSE(store_->tokenOf("d1"));
    EXPECT_FALSE(store_->removeAccount("alice"));
    EXPECT_FALSE(store_->removeAccount("")) << "which is whose tokens nobody has";
    EXPECT_THAT(names(), ElementsAre("bob", "his", "nobodys"));
}

TEST_F(Accounts, ATokenIsFoundByItsDigest) {
    Token wanted = token("ticketing");
    wanted.expires_at = 99;
    EXPECT_EQ(store_->add(wanted, "digest"), AccountStore::Added::Done);
    EXPECT_EQ(store_->add(token("ticketing"), "other"), AccountStore::Added::NameTaken);
    EXPECT_EQ(store_->add(token("x", "carol"), "other"), AccountStore::Added::NoAccount);
    const auto found = store_->tokenOf("digest");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->name, "ticketing");
    EXPECT_EQ(found->expires_at, 99);
    EXPECT_FALSE(store_->tokenOf("other"));
    EXPECT_FALSE(store_->tokenOf(""));
    EXPECT_TRUE(store_->removeToken("ticketing"));
    EXPECT_FALSE(store_->removeToken("ticketing"));
    EXPECT_THAT(names(), IsEmpty());
}

TEST_F(Accounts, ARoleThatIsNoneIsNoRole) {
    store_->add(account("alice"));
    Database(file_, {}).run("PRAGMA ignore_check_constraints = ON; UPDATE console_account SET role = 'root'");
    EXPECT_THROW(store_->account("alice"), StoreError);
}

TEST_F(Accounts, AreNoChangeOfTheRules) {
    store_->add(account("alice"));
    Database database(file_, {});
    EXPECT_EQ(database.number("SELECT rules_version FROM access_meta"), 1);
    EXPECT_NO_THROW(schema::checkTriggers(database));
}

}  // namespace
}  // namespace mailgate::store::sqlite
