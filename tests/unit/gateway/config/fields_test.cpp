// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/fields.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>
#include <vector>

namespace mailgate::config {
namespace {

using testing::HasSubstr;

/// A row's struct after its key was read, alone in its table, and what was wrong.
template <typename Struct>
struct AfterReading {
    Struct value;
    std::string errors;
};

template <typename Struct>
AfterReading<Struct> readRow(const Field<Struct>& row, const std::string& lines) {
    const toml::table root = toml::parse(lines);
    const Config config;
    Problems problems("f");
    Names names;
    Reading reading{problems, config, "/srv/mailgate", &names, {}};
    TableReader table(&root, "t", {1, 1}, problems);
    AfterReading<Struct> after;
    // Else what TLS is used with would be ignored.
    if constexpr (std::is_same_v<Struct, ListenerConfig>) {
        after.value.protocol = Protocol::Smtp;
        if (row.key != "tls") after.value.tls = ListenerTls::Implicit;
    }
    if constexpr (std::is_same_v<Struct, UpstreamConfig>) {
        if (row.key != "tls") after.value.tls = UpstreamTls::Implicit;
    }
    row.kind.read(reading, table, row.key, after.value);
    after.errors = problems.errorText();
    return after;
}

template <typename Visit>
void forEachTable(Visit visit) {
    forEachSection([&](std::string_view path, const auto& rows, auto) { visit(path, rows); });
    visit("listener", listenerFields());
    visit("upstream", upstreamFields());
    visit("upstream.server", serverFields());
}

TEST(Fields, WhatARowShowsAsItsDefaultIsReadAsThat) {
    std::size_t shown = 0;
    forEachTable([&]<typename Struct>(std::string_view path, const Fields<Struct>& rows) {
        for (const Field<Struct>& row : rows) {
            if (!row.kind.show || !row.without.empty()) continue;
            const std::string line = fmt::format("{} = {}", row.key, row.kind.show(Struct{}));
            const auto given = readRow(row, line);
            EXPECT_EQ(given.errors, "") << path << ": " << line;
            EXPECT_TRUE(row.kind.equal(given.value, readRow(row, "").value)) << path << ": " << line;
            ++shown;
        }
    });
    EXPECT_GT(shown, 30u);
}

TEST(Fields, ARangeHasTheEndsThatTheReferenceTells) {
    std::size_t ranges = 0;
    forEachTable([&]<typename Struct>(std::string_view path, const Fields<Struct>& rows) {
        for (const Field<Struct>& row : rows) {
            const std::size_t to = row.kind.type.find(" to ");
            const bool of_numbers = to != std::string::npos && (row.kind.type.ends_with(" bytes") ||
                                                                std::isdigit(row.kind.type.back()) != 0);
            if (!of_numbers) continue;
            const long low = std::stol(row.kind.type), high = std::stol(row.kind.type.substr(to + 4));
            for (const long inside : {low, high})
                EXPECT_EQ(readRow(row, fmt::format("{} = {}", row.key, inside)).errors, "") << path;
            for (const long outside : {low - 1, high + 1})
                EXPECT_THAT(readRow(row, fmt::format("{} = {}", row.key, outside)).errors,
                            HasSubstr(fmt::format("from {} to {}", low, high)))
                    << path;
            ++ranges;
        }
    });
    EXPECT_GT(ranges, 8u);
}

TEST(Fields, EveryWordOfAChoiceIsTakenAndNoOther) {
    std::size_t choices = 0;
    forEachTable([&]<typename Struct>(std::string_view path, const Fields<Struct>& rows) {
        for (const Field<Struct>& row : rows) {
            // "`one`, `two`": the others stand for something, or are beside a text of any kind.
            const std::string_view type = row.kind.type;
            if (!type.starts_with('`') || !type.ends_with('`') || type.find(':') != type.npos) continue;
            std::vector<Struct> values;
            for (std::size_t at = 1, end; at != 0; at = row.kind.type.find('`', end + 1) + 1) {
                end = row.kind.type.find('`', at);
                const std::string lines =
                    fmt::format("{} = \"{}\"", row.key, row.kind.type.substr(at, end - at));
                const auto after = readRow(row, lines);
                // That one is not for every listener.
                EXPECT_TRUE(after.errors.empty() || row.key == "bare_lf") << path << ": " << after.errors;
                for (const Struct& other : values)
                    EXPECT_FALSE(row.kind.equal(after.value, other)) << path << ": " << lines;
                values.push_back(after.value);
            }
            EXPECT_THAT(readRow(row, fmt::format("{} = \"nonsense\"", row.key)).errors,
                        HasSubstr("found \"nonsense\""))
                << path << '.' << row.key;
            ++choices;
        }
    });
    EXPECT_GT(choices, 8u);
}

TEST(Fields, NoServerHangsUpSoonerThanItsProtocolPromises) {
    const auto idle = [](std::string_view protocol, std::string_view value) {
        for (const Field<Timeouts>& row : idleFields()) {
            if (row.key == protocol) return readRow(row, fmt::format("{} = \"{}\"", protocol, value)).errors;
        }
        return std::string("no such row");
    };
    EXPECT_EQ(idle("smtp", "5m"), "");
    EXPECT_THAT(idle("smtp", "299s"), HasSubstr("expected at least 5m, found 299s: RFC 5321"));
    EXPECT_THAT(idle("lmtp", "1m"), HasSubstr("at least 5m, found 1m: RFC 5321"));
    EXPECT_THAT(idle("imap", "29m"), HasSubstr("at least 30m, found 29m: RFC 9051"));
    EXPECT_THAT(idle("sieve", "29m"), HasSubstr("at least 30m, found 29m: RFC 5804"));
    EXPECT_THAT(idle("pop3", "9m"), HasSubstr("at least 10m, found 9m: RFC 1939"));
    EXPECT_EQ(idle("tcp", "1ms"), "");
    EXPECT_THAT(idle("tcp", "0s"), HasSubstr("expected a duration from 1ms to 7d"));
}

TEST(Fields, AKeyIsOnceInItsTableAndOneThatIsNeededSaysSo) {
    std::set<std::string> paths;
    forEachTable([&](std::string_view path, const auto& rows) {
        EXPECT_TRUE(paths.insert(std::string(path)).second);
        const std::size_t dot = path.rfind('.');
        EXPECT_TRUE(dot == path.npos || paths.contains(std::string(path.substr(0, dot))))
            << path << ": before those inside of it";
        std::set<std::string_view> keys;
        for (const auto& row : rows) {
            EXPECT_TRUE(keys.insert(row.key).second) << path << '.' << row.key;
            EXPECT_TRUE(row.missing.empty() || row.without == "needed") << path << '.' << row.key;
            // Else nothing shows what holds without it.
            EXPECT_TRUE(row.kind.show || !row.without.empty()) << path << '.' << row.key;
        }
    });
    EXPECT_EQ(paths.size(), describeTables().size());
}

}  // namespace
}  // namespace mailgate::config
