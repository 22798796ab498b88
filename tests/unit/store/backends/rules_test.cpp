// SPDX-License-Identifier: Apache-2.0
#include "store/backends/rules.h"

#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

namespace mailgate::store {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(RuleBackends, AFileOfSqlite) {
    const TemporaryFolder folder;
    const std::string url = "sqlite:" + folder.file("rules.db");
    EXPECT_FALSE(examineDatabase(url));
    openRules(url)->put(std::vector<AccessRule>(1), "alice");
    EXPECT_TRUE(examineDatabase(url));
    EXPECT_EQ(openRules(url, {.use = RuleStore::Use::Serve})->load({})->size(), 1u);
}

TEST(RuleBackends, OtherUrlsAreToldWhichThereAre) {
    for (const char* url : {"", "sqlite:", "postgresql://db/mailgate", "/var/lib/mailgate/mailgate.db"}) {
        try {
            openRules(url);
            FAIL() << url << " was opened";
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::BadInput) << url;
            EXPECT_THAT(error.what(), AllOf(HasSubstr(url), HasSubstr("sqlite:PATH")));
        }
    }
}

}  // namespace
}  // namespace mailgate::store
