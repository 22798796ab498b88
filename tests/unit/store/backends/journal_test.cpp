// SPDX-License-Identifier: Apache-2.0
#include "store/backends/journal.h"

#include "store/store_error.h"
#include "tests/support/journal_sample.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace mailgate::store::journal {
namespace {

std::string whyNot(const std::string& url) {
    JournalOptions options;
    options.url = url;
    std::string sink, source;
    try {
        openSink(options);
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::BadInput) << url;
        sink = error.what();
    }
    try {
        openSource(url);
    } catch (const StoreError& error) {
        source = error.what();
    }
    EXPECT_EQ(sink, source);
    return sink;
}

TEST(JournalBackends, AFileOfSqlite) {
    const TemporaryFolder folder;
    JournalOptions options;
    options.url = "sqlite:" + folder.file("journal.db");
    const std::array sessions{test::sampleSession(1, 1'795'000'000'000)};
    openSink(options)->append(sessions);
    EXPECT_THAT(openSource(options.url)->newest({}, 10), testing::SizeIs(1));
}

TEST(JournalBackends, OtherUrlsAreToldWhichThereAre) {
    EXPECT_EQ(whyNot("postgresql://db/x"), "\"postgresql://db/x\": the URL of a journal is sqlite:PATH");
    EXPECT_EQ(whyNot("/var/lib/journal.db"), "\"/var/lib/journal.db\": the URL of a journal is sqlite:PATH");
    EXPECT_EQ(whyNot(""), "\"\": the URL of a journal is sqlite:PATH");
    EXPECT_NE(whyNot("sqlite:"), "");
}

}  // namespace
}  // namespace mailgate::store::journal
