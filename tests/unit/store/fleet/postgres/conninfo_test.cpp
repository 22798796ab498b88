// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/conninfo.h"

#include "store/fleet/postgres/connection.h"
#include "store/store_error.h"

#include <gmock/gmock.h>

namespace mailgate::store::postgres {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Conninfo, AServerElsewhereHasToProveWhoItIs) {
    for (const char* url : {"postgresql://mailgate@db.example.net/mailgate", "postgres://10.0.0.5/mailgate",
                            "postgresql://127.0.0.1,db.example.net/mailgate",
                            "postgresql://db.example.net/mailgate?hostaddr=10.0.0.5"})
        EXPECT_EQ(parseUrl(url).option("sslmode"), "verify-full") << url;
}

TEST(Conninfo, OneOnThisMachineNeedNot) {
    for (const char* url :
         {"postgresql://127.0.0.1/mailgate", "postgresql://[::1]:5433/mailgate", "postgresql:///mailgate",
          "postgresql://localhost/mailgate", "postgresql://%2Frun%2Fpostgresql/mailgate",
          "postgresql:///mailgate?host=/run/postgresql"})
        EXPECT_EQ(parseUrl(url).option("sslmode"), "") << url;
}

TEST(Conninfo, WhatTheUrlSaysCounts) {
    EXPECT_EQ(parseUrl("postgresql://db.example.net/mailgate?sslmode=require").option("sslmode"), "require");
    const Conninfo own =
        parseUrl("postgresql://db.example.net/m?sslrootcert=/etc/ca.pem&application_name=gw");
    EXPECT_EQ(own.option("sslrootcert"), "/etc/ca.pem");
    EXPECT_EQ(own.option("application_name"), "gw");
}

TEST(Conninfo, SeveralServersAreTriedInTheirOrder) {
    const Conninfo info = parseUrl("postgresql://mailgate@db1.example.net:5433,db2.example.net/mailgate");
    ASSERT_EQ(info.hosts.size(), 2u);
    EXPECT_EQ(info.hosts[0].name, "db1.example.net");
    EXPECT_EQ(info.hosts[0].port, "5433");
    EXPECT_EQ(info.hosts[1].name, "db2.example.net");
    EXPECT_EQ(info.shown, "postgresql://mailgate@db1.example.net:5433,db2.example.net/mailgate");
}

TEST(Conninfo, ThePasswordIsNotShown) {
    const Conninfo info = parseUrl("postgresql://mailgate:s3cret%40%2F@db.example.net/mailgate");
    EXPECT_EQ(info.password, "s3cret@/");
    EXPECT_EQ(info.shown, "postgresql://mailgate@db.example.net/mailgate");
    EXPECT_EQ(info.withoutPassword("no s3cret@/ and s3cret@/"), "no *** and ***");
}

TEST(Conninfo, APasswordThatIsInAnyTextIsNotCutOut) {
    EXPECT_EQ(parseUrl("postgresql://mailgate:127@db/mailgate").withoutPassword("host 127.0.0.1"),
              "host 127.0.0.1");
}

TEST(Conninfo, NeitherIsAUrlThatCannotBeRead) {
    for (const char* url :
         {"", "sqlite:s3cret", "postgresql://mailgate:s3cret@[db/mailgate", "postgresql://s3cret%zz/",
          "postgresql://db/mailgate?s3cret=1", "postgresql://mailgate:a@s3cret@db.example.net/mailgate",
          "postgresql://mailgate:a@b,s3cret@db/mailgate", "postgresql://mailgate:@s3cret@db/mailgate",
          "host=db password=s3cret", "postgresql://mailgate:s3cret/x@127.0.0.1/mailgate",
          "postgresql://db/mailgate%20password=s3cret"}) {
        try {
            parseUrl(url);
            FAIL() << url << " was read";
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::BadInput);
            EXPECT_THAT(error.what(), Not(HasSubstr("s3cret")));
            EXPECT_THAT(error.what(), HasSubstr("postgresql://USER@HOST/DATABASE"));
        }
    }
}

TEST(CopyField, IsOneFieldOfOneLine) {
    EXPECT_EQ(copyField("a\tb\nc\\d\re"), "a\\tb\\nc\\\\d\\re");
    EXPECT_EQ(copyField(std::optional<std::int64_t>()), "\\N");
    EXPECT_EQ(copyField(std::optional<std::int64_t>(-7)), "-7");
}

}  // namespace
}  // namespace mailgate::store::postgres
