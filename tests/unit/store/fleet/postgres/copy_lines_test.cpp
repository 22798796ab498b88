// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/copy_lines.h"

#include "store/fleet/postgres/journal_rows.h"
#include "tests/support/filled_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace mailgate::store::postgres {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

std::vector<std::string> columnsOf(const std::string& line) {
    std::vector<std::string> columns;
    std::istringstream in(line);
    for (std::string column; std::getline(in, column, '\t');)
        columns.push_back(column);
    return columns;
}

/// COPY's escapes, back.
std::string unescapedColumn(const std::string& column) {
    std::string text;
    for (std::size_t at = 0; at < column.size(); ++at) {
        if (column[at] != '\\') {
            text += column[at];
            continue;
        }
        const char what = column.at(++at);
        text += what == 't' ? '\t' : what == 'n' ? '\n' : what == 'r' ? '\r' : what;
    }
    return text;
}

TEST(CopyLines, HaveAsManyColumnsAsTheyName) {
    const auto session = test::filledRecord<JournalSession>();
    std::string rows, mails;
    appendLines(rows, mails, 3, 17, 86'400'000, session);
    const auto names = [](const std::string& list) { return std::count(list.begin(), list.end(), ',') + 1; };
    EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 1);
    EXPECT_EQ(std::count(rows.begin(), rows.end(), '\t') + 1, names(sessionColumns()));
    ASSERT_FALSE(session.mail.empty());
    const auto lines = std::count(mails.begin(), mails.end(), '\n');
    EXPECT_EQ(lines, static_cast<std::ptrdiff_t>(session.mail.size()));
    EXPECT_EQ(std::count(mails.begin(), mails.end(), '\t'), lines * (names(mailColumns()) - 1));
    EXPECT_THAT(columnsOf(rows).front(), "3");
    EXPECT_THAT(rows, testing::StartsWith("3\t17\t86400000\t"));
}

TEST(CopyLines, EndInWhatRowsAreSearchedBy) {
    JournalSession session;
    session.user =
        "Alice@B\xC3\xBC"
        "cher.example";
    session.failed_users = {"BOB"};
    session.mail.emplace_back().from = "Carol@Example.org";
    session.mail.back().recipients = {"Dave@Example.net"};
    session.mail.back().refused = {{"eve@example.net", "550 no"}};
    std::string rows, mails;
    appendLines(rows, mails, 1, 1, 0, session);
    EXPECT_THAT(rows, EndsWith("\talice@xn--bcher-kva.example\t{\"bob\"}\n"));
    EXPECT_THAT(
        mails,
        EndsWith("\texample.org@carol\t{\"@example.net\",\"dave@example.net\",\"eve@example.net\"}\n"));
}

TEST(CopyLines, NothingInATextEndsAColumnOrAnItem) {
    const std::string hard = "a\tb\nc\rd\\e\"f{,}\\x";
    JournalSession session;
    session.helo = hard;
    session.failed_users = {hard, "", "NULL"};
    std::string rows, mails;
    appendLines(rows, mails, 1, 1, 0, session);
    EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 1);
    const auto columns = columnsOf(rows.substr(0, rows.size() - 1));
    EXPECT_EQ(std::count_if(columns.begin(), columns.end(),
                            [&](const std::string& one) { return unescapedColumn(one) == hard; }),
              1);
    EXPECT_THAT(arrayItems(unescapedColumn(columns.back())), ElementsAre(hard, "", "null"));
}

TEST(CopyLines, ATimeThatIsNotKeptIsTheNearestThatIs) {
    JournalSession session;
    session.started_ms = 5'000;
    session.duration_ms = 1'000;
    EXPECT_EQ(keptAt(session, {0, 10'000}), 6'000);
    EXPECT_EQ(keptAt(session, {7'000, 10'000}), 7'000);
    EXPECT_EQ(keptAt(session, {0, 6'000}), 5'999);
}

}  // namespace
}  // namespace mailgate::store::postgres
