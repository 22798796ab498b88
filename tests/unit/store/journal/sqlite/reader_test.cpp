// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/reader.h"

#include "store/journal/journal.h"
#include "store/journal/mask.h"
#include "store/store_error.h"
#include "tests/support/journal_sample.h"
#include "tests/unit/store/journal/sqlite/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>
#include <memory>
#include <set>

namespace mailgate::store {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kPatience = 60s;
constexpr std::uint64_t kSessions = 36'000;
constexpr std::size_t kMany = 1'000;
// Counting goes no further than the question: beyond some of each segment's rows there is nothing new to see.
constexpr std::size_t kManyMore = 20'000;

std::int64_t nowMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Thirty-six thousand sessions, two sealed segments and an open one, one in ten refused, one each 100 ms; a few that stand out.
JournalSession sample(std::uint64_t number, std::int64_t begin_ms) {
    const std::int64_t ended = begin_ms + static_cast<std::int64_t>(number) * 100;
    if (number % 10 == 3) {
        JournalSession refused = test::sampleRefusal(number, ended);
        refused.allowed = number % 1'000 == 3;  // no server was up
        return refused;
    }
    JournalSession session = test::sampleSession(number, ended);
    if (number % 5'000 == 0) {
        session.listener = session.protocol = "imap";
        session.user = number % 10'000 == 0 ? "Alice@example.org" : "bob";
        session.authenticated = number % 10'000 == 0;
        session.mail.clear();
        session.mail_count = 0;
        session.upstream = "dovecot";
        session.server = "mx1";
    }
    constexpr const char* kTls[] = {"", "starttls", "implicit", "passthrough", "balancer"};
    if (number % 1'009 < std::size(kTls)) session.tls = kTls[number % 1'009];
    if (number % 4'001 == 2) session.would_refuse = {"access", "bare_lf"};
    if (number % 9'001 == 0) session.balancer = test::sampleV6(1, 1);
    if (number % 20'011 == 7) session.client = test::sampleV4(0xC6336407);
    if (!session.mail.empty())
        session.mail.front().message_id = fmt::format(
            "{}@{}", number, number % 997 == 5 ? clientNetwork(session).toString() : "partner.example");
    if (number % 211 == 1 && !session.mail.empty()) {
        JournalMail& mail = session.mail.front();
        mail.accepted = false;
        constexpr std::uint64_t kCases = 4;
        // Refused as a message, abandoned, refused in some recipients and as a message in the same words, in all recipients.
        const std::uint64_t which = number % kCases;
        if (which != 0) mail.reply = which == 1 ? "" : "550 5.1.1 no";
        if (which > 1)
            mail.refused = {{"carol@example.net", "550 5.1.1 no"}, {"dave@example.net", "550 5.1.1 no more"}};
        mail.refused_count = static_cast<std::uint32_t>(mail.refused.size());
        if (which == 3) mail.recipients.clear();
        mail.recipient_count = static_cast<std::uint32_t>(mail.recipients.size());
    }
    if (number % 7'001 == 1 && !session.mail.empty()) {
        session.mail.push_back(session.mail.front());
        session.mail.back().from = "";
        session.mail.back().recipients = {"Postmaster@example.com", "\"a b\"@example.com"};
        session.mail_count = 2;
    }
    return session;
}

/// One journal for all tests: they only ask.
class JournalReaderTest : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = std::make_unique<TemporaryFolder>();
        begin_ms_ = nowMillis() - static_cast<std::int64_t>(kSessions) * 100;
        JournalOptions options;
        options.url = url();
        options.max_queued = kSessions;
        Journal journal(options, openSqlite, {});
        journal.start();
        for (std::uint64_t number = 0; number < kSessions; ++number) {
            sessions_.push_back(sample(number, begin_ms_));
            ASSERT_TRUE(journal.record(sample(number, begin_ms_)));
        }
        ASSERT_TRUE(journal.flush(kPatience));
    }
    static void TearDownTestSuite() {
        sessions_.clear();
        folder_.reset();
    }
    static std::string url() { return "sqlite:" + folder_->file("journal.db"); }

    using Predicate = std::function<bool(const JournalSession&)>;
    /// The filter finds exactly what looking at every session finds, in order (the newest of many).
    void expectFinds(const JournalFilter& filter, const Predicate& predicate) {
        std::vector<std::string> expected;
        for (const JournalSession& session : sessions_)
            if (predicate(session)) expected.push_back(session.id);
        journal::Reader query(url());
        ASSERT_FALSE(expected.empty()) << "the sample has nothing for this filter";
        EXPECT_EQ(query.count(filter, kManyMore), std::min(expected.size(), kManyMore));
        if (expected.size() > kMany)
            expected.erase(expected.begin(), expected.end() - static_cast<std::ptrdiff_t>(kMany));
        EXPECT_EQ(ids(query.newest(filter, kMany)), expected);
        EXPECT_EQ(query.count(filter, 1), 1u);
        const std::size_t few = std::min<std::size_t>(expected.size(), 3);
        expected.erase(expected.begin(), expected.end() - static_cast<std::ptrdiff_t>(few));
        EXPECT_EQ(ids(query.newest(filter, few)), expected);
    }
    static std::vector<std::string> ids(const std::vector<JournalSession>& sessions) {
        std::vector<std::string> ids;
        for (const JournalSession& session : sessions)
            ids.push_back(session.id);
        return ids;
    }
    static bool anyMail(const JournalSession& session,
                        const std::function<bool(const JournalMail&)>& predicate) {
        return std::any_of(session.mail.begin(), session.mail.end(), predicate);
    }

    static inline std::unique_ptr<TemporaryFolder> folder_;
    static inline std::vector<JournalSession> sessions_;
    static inline std::int64_t begin_ms_ = 0;
};

TEST_F(JournalReaderTest, WithoutAFilterFindsEverything) {
    expectFinds({}, [](const JournalSession&) { return true; });
    EXPECT_THAT(journal::Reader(url()).newest({}, 0), IsEmpty());
}

TEST_F(JournalReaderTest, FindsClientsByAddressAndNetwork) {
    for (const char* text : {"198.51.100.7", "198.51.100.0/24", "11.0.0.0/9", "11.0.0.0/28", "0.0.0.0/0",
                             "2001:db8::/33", "2001:db8:800::/40", "2001:db8:101::/64", "::/0"}) {
        SCOPED_TRACE(text);
        JournalFilter filter;
        filter.client = network(text);
        expectFinds(filter,
                    [&](const JournalSession& session) { return filter.client->contains(session.client); });
    }
    JournalFilter host;
    host.client = Network{sessions_[9].client, 128};
    ASSERT_FALSE(host.client->isV4());
    expectFinds(host, [](const JournalSession& session) { return session.client == sessions_[9].client; });
}

TEST_F(JournalReaderTest, FindsSenders) {
    const std::string sender = sessions_[30'001].mail.front().from;
    const std::string domain = sender.substr(sender.find('@'));
    JournalFilter filter;
    filter.from = sender;
    expectFinds(filter, [&](const JournalSession& session) {
        return anyMail(session, [&](const JournalMail& mail) { return mail.from == sender; });
    });
    filter.from = domain;
    expectFinds(filter, [&](const JournalSession& session) {
        return anyMail(session, [&](const JournalMail& mail) { return mail.from.ends_with(domain); });
    });
    filter.from = "";
    expectFinds(filter, [](const JournalSession& session) {
        return anyMail(session, [](const JournalMail& mail) { return mail.from.empty(); });
    });
}

TEST_F(JournalReaderTest, FindsEveryRecipientInAnyCase) {
    const auto hasExampleCom = [](const JournalSession& session) {
        return anyMail(session, [](const JournalMail& mail) { return mail.recipients.size() == 2; });
    };
    JournalFilter filter;
    for (const char* to : {"POSTMASTER@EXAMPLE.COM", "\"a b\"@example.com", "@Example.com"}) {
        SCOPED_TRACE(to);
        filter.to = to;
        expectFinds(filter, hasExampleCom);
    }
}

TEST_F(JournalReaderTest, SenderAndRecipientMustBeOfOneMail) {
    JournalFilter filter;
    filter.to = "postmaster@example.com";
    filter.from = "";
    expectFinds(filter, [](const JournalSession& session) { return session.mail.size() == 2; });
    filter.from = sessions_[7'002].mail.front().from;  // its first mail's, to somebody else
    ASSERT_THAT(sessions_[7'002].mail, SizeIs(2));
    EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty());
}

TEST_F(JournalReaderTest, FindsAQueueId) {
    JournalFilter filter;
    filter.queue_id = std::string(sessions_[17'321].mail.front().queue_id);
    expectFinds(filter, [](const JournalSession& session) { return session.id == sessions_[17'321].id; });
    std::transform(filter.queue_id->begin(), filter.queue_id->end(), filter.queue_id->begin(),
                   [](unsigned char c) { return std::tolower(c); });
    EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty()) << "case matters in Postfix' long ids";
}

TEST_F(JournalReaderTest, FindsUsersListenersServersBalancersAndVerdicts) {
    JournalFilter user;
    user.user = "alice@EXAMPLE.org";
    expectFinds(user, [](const JournalSession& session) { return session.user == "Alice@example.org"; });
    JournalFilter listener;
    listener.listener = "imap";
    expectFinds(listener, [](const JournalSession& session) { return session.listener == "imap"; });
    JournalFilter server;
    server.server = "mx1";
    expectFinds(server, [](const JournalSession& session) { return session.server == "mx1"; });
    server.server = "dovecot/mx1";
    expectFinds(server, [](const JournalSession& session) { return session.upstream == "dovecot"; });
    for (const char* text : {"10.0.0.9", "10.0.0.0/8", "2001:db8:1::/48"}) {
        SCOPED_TRACE(text);
        JournalFilter balancer;
        balancer.balancer = network(text);
        expectFinds(balancer, [&](const JournalSession& session) {
            return balancer.balancer->contains(*session.balancer);
        });
    }
    JournalFilter verdict;
    verdict.allowed = false;
    expectFinds(verdict, [](const JournalSession& session) { return !session.allowed; });
    verdict.allowed = true;
    verdict.refused_only = true;
    expectFinds(verdict, [](const JournalSession& session) { return session.allowed && session.refused(); });
    JournalFilter refused;
    refused.refused_only = true;
    expectFinds(refused, [](const JournalSession& session) { return session.refused(); });
}

TEST_F(JournalReaderTest, FindsWhatElseARecordSays) {
    const auto found = [&](std::optional<std::string> JournalFilter::*asked, const char* value,
                           std::string JournalSession::*field, std::string_view has) {
        SCOPED_TRACE(value);
        JournalFilter filter;
        filter.*asked = value;
        expectFinds(filter, [&](const JournalSession& session) { return session.*field == has; });
    };
    found(&JournalFilter::protocol, "IMAP", &JournalSession::protocol, "imap");
    found(&JournalFilter::rule, "11.0.0.0/8", &JournalSession::rule, "11.0.0.0/8");
    found(&JournalFilter::rule, "", &JournalSession::rule, "");
    for (const char* tls : {"", "starttls", "implicit", "passthrough", "balancer"})
        found(&JournalFilter::tls, tls, &JournalSession::tls, tls);
    found(&JournalFilter::end, "client_quit", &JournalSession::end, "client_quit");
    const std::string helo = sessions_[4'321].helo;
    found(&JournalFilter::helo, helo.c_str(), &JournalSession::helo, helo);
    JournalFilter domain;
    domain.helo = ".Partner.example";
    expectFinds(domain,
                [](const JournalSession& session) { return session.helo.ends_with(".partner.example"); });
    for (const char* nothing : {".artner.example", "partner.example", ".mail1.partner.example"}) {
        domain.helo = nothing;
        EXPECT_EQ(journal::Reader(url()).count(domain, 1), 0u) << nothing;
    }
}

TEST_F(JournalReaderTest, FindsReplies) {
    JournalFilter filter;
    filter.reply = "queued AS " + sessions_[17'321].mail.front().queue_id;
    expectFinds(filter, [](const JournalSession& session) { return session.id == sessions_[17'321].id; });
    filter.from = "somebody@else.example";
    EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty()) << "of one mail";
}

TEST_F(JournalReaderTest, FindsFailedLogins) {
    JournalFilter filter;
    filter.failed_login = true;
    expectFinds(filter, [](const JournalSession& session) { return session.user == "bob"; });
    filter.user = "Alice@example.org";
    EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty());
}

TEST_F(JournalReaderTest, FindsWhatWouldHaveBeenRefusedAndFollowsItFromTheBeginningOfATime) {
    JournalFilter filter;
    filter.would_refuse = true;
    expectFinds(filter, [](const JournalSession& session) { return !session.would_refuse.empty(); });
    filter.since_ms = begin_ms_ + 3'100'000;  // not in the first segment
    journal::Reader query(url());
    std::vector<std::string> expected, found;
    for (const JournalSession& session : sessions_)
        if (!session.would_refuse.empty() && session.endedMs() >= *filter.since_ms)
            expected.push_back(session.id);
    journal::Position position;
    for (std::string before = "-"; before != position.text;) {
        before = position.text;
        for (const JournalSession& session : query.after(filter, position, 1'000)) {
            found.push_back(session.id);
            EXPECT_THAT(session.would_refuse, ElementsAre("access", "bare_lf"));
            EXPECT_THAT(session.mail, testing::Not(IsEmpty()));
        }
    }
    EXPECT_EQ(found, expected);
    EXPECT_THAT(found, testing::Not(IsEmpty()));
    EXPECT_EQ(position.text, query.end().text);
}

TEST_F(JournalReaderTest, FindsATimeRangeAndCombinesFilters) {
    JournalFilter filter;
    filter.since_ms = begin_ms_ + 2'500'000;
    filter.until_ms = begin_ms_ + 3'400'000;
    const auto inside = [&](const JournalSession& session) {
        return session.endedMs() >= *filter.since_ms && session.started_ms <= *filter.until_ms;
    };
    expectFinds(filter, inside);
    filter.server = "postfix/mx2";
    filter.client = network("11.0.0.0/8");
    expectFinds(filter, [&](const JournalSession& session) {
        return inside(session) && session.server == "mx2" && filter.client->contains(session.client);
    });
    filter.user = "nobody";
    EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty());
}

TEST_F(JournalReaderTest, FindsAMailByItsMessageId) {
    for (const std::uint64_t number : {17'321, 5, 5 + 997 * 30}) {
        JournalFilter filter;
        filter.message_id = sessions_[number].mail.front().message_id;
        EXPECT_THAT(ids(journal::Reader(url()).newest(filter, 10)), ElementsAre(sessions_[number].id))
            << *filter.message_id;
        filter.message_id->front() = 'x';
        EXPECT_THAT(journal::Reader(url()).newest(filter, 10), IsEmpty());
    }
    JournalFilter filter;
    filter.message_id = "17321@PARTNER.example";
    EXPECT_EQ(journal::Reader(url()).count(filter, 10), 1u) << "in whatever case";
}

TEST_F(JournalReaderTest, FindsASessionByTheBeginningOfItsId) {
    journal::Reader query(url());
    for (const std::uint64_t number :
         {std::uint64_t{0}, std::uint64_t{17'321}, std::uint64_t{33'773}, kSessions - 1}) {
        const JournalSession& session = sessions_[number];
        EXPECT_THAT(ids(query.withId(session.id, 2)), ElementsAre(session.id));
    }
    const std::string& id = sessions_[17'321].id;
    std::string lower = id.substr(0, 10);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    const auto found = ids(query.withId(lower, 100));
    EXPECT_THAT(found, testing::Contains(id));
    for (const std::string& each : found)
        EXPECT_EQ(each.substr(0, 10), id.substr(0, 10));
    EXPECT_THAT(query.withId("0", 2), SizeIs(2)) << "ambiguous";
    EXPECT_THAT(query.withId("7ZZZZZZZZZ", 2), IsEmpty());
    for (const char* no_id : {"", "U", "%", "01JD4M-", "0000000000000000000000000000000000000000"})
        EXPECT_THAT(query.withId(no_id, 2), IsEmpty()) << no_id;
}

TEST_F(JournalReaderTest, LooksNoFurtherWhereThatIsNotWantedAnyMore) {
    struct Enough {};
    int looks = 0;
    journal::Reader reader(url(), [&] {
        if (++looks == 2) throw Enough();
    });
    JournalFilter filter;
    filter.helo = "nobody.example";
    EXPECT_THROW(reader.newest(filter, 1), Enough);
    EXPECT_THAT(journal::Reader(url(), [&] { ++looks; }).newest(filter, 1), IsEmpty());
    EXPECT_GT(looks, 10);
}

TEST_F(JournalReaderTest, SumsUpWhoIsBusy) {
    journal::Reader query(url());
    const auto all = query.top(test::during(begin_ms_ - 1'000, nowMillis(), 3));
    EXPECT_EQ(all.sessions, kSessions);
    EXPECT_EQ(all.refused, 3'600u);
    EXPECT_EQ(all.failed_logins, 4u);
    EXPECT_THAT(all.of(SumsOf::Clients), SizeIs(3));
    ASSERT_THAT(all.of(SumsOf::Users), SizeIs(2));
    EXPECT_EQ(all.of(SumsOf::Users)[0].name, "Alice@example.org");
    EXPECT_EQ(all.of(SumsOf::Users)[0].sessions, 4u);
    EXPECT_EQ(all.of(SumsOf::Users)[0].failed_logins, 0u);
    EXPECT_EQ(all.of(SumsOf::Users)[1].name, "bob");
    ASSERT_FALSE(all.of(SumsOf::Senders).empty());
    EXPECT_GE(all.of(SumsOf::Senders)[0].sessions, all.of(SumsOf::Senders)[1].sessions);

    const auto refused = query.top(test::during(begin_ms_ - 1'000, nowMillis(), 3, SumsBy::Refused));
    ASSERT_THAT(refused.of(SumsOf::Clients), SizeIs(3));
    EXPECT_GT(refused.of(SumsOf::Clients)[0].refused + refused.of(SumsOf::Clients)[0].mails_refused, 0u);
    EXPECT_THAT(refused.of(SumsOf::Users), IsEmpty());
    const auto failed = query.top(test::during(begin_ms_ - 1'000, nowMillis(), 3, SumsBy::FailedLogins));
    ASSERT_THAT(failed.of(SumsOf::Users), SizeIs(1));
    EXPECT_EQ(failed.of(SumsOf::Users)[0].failed_logins, 4u);
    EXPECT_EQ(query.top(test::during(begin_ms_ - 2'000, begin_ms_ - 1'000, 3, SumsBy::Bytes)).sessions, 0u);
}

/// What looking at each session finds, of any of them.
template <typename Names>
std::map<std::string, std::uint64_t> counted(const std::vector<JournalSession>& sessions, Names names) {
    std::map<std::string, std::uint64_t> counts;
    for (const JournalSession& session : sessions)
        for (const std::string& name : names(session))
            ++counts[name];
    return counts;
}

TEST_F(JournalReaderTest, SumsUpByWhatIsAskedFor) {
    using Names = std::set<std::string>;
    const auto expectSessions = [&](SumsOf what, const auto& names) {
        JournalTopQuery query = test::during(begin_ms_ - 1'000, nowMillis(), kSessions);
        query.of = {what};
        const JournalTop top = journal::Reader(url()).top(query);
        std::map<std::string, std::uint64_t> found;
        for (const JournalSums& sums : top.of(what))
            found[sums.name] = sums.sessions;
        EXPECT_EQ(found, counted(sessions_, names)) << static_cast<int>(what);
        EXPECT_THAT(top.of(what == SumsOf::Clients ? SumsOf::Users : SumsOf::Clients), IsEmpty());
    };
    expectSessions(SumsOf::Networks, [](const JournalSession& session) {
        return Names{journal::masked({session.client, 128}).toString()};
    });
    expectSessions(SumsOf::Ends, [](const JournalSession& session) {
        return Names{(session.refused() ? "refused: " : "") + session.end};
    });
    expectSessions(SumsOf::Helos, [](const JournalSession& session) {
        return session.helo.empty() ? Names() : Names{session.helo};
    });
    expectSessions(SumsOf::Recipients, [](const JournalSession& session) {
        Names names;
        for (const JournalMail& mail : session.mail) {
            names.insert(mail.recipients.begin(), mail.recipients.end());
            for (const JournalRefusal& refusal : mail.refused)
                names.insert(refusal.to);
        }
        return names;
    });
}

TEST_F(JournalReaderTest, SumsUpOneClientOrListener) {
    JournalTopQuery query = test::during(begin_ms_ - 1'000, nowMillis());
    query.listener = "IMAP";
    EXPECT_EQ(journal::Reader(url()).top(query).sessions, 8u);
    query.client = Network{sessions_[5'000].client, 128};
    const JournalTop top = journal::Reader(url()).top(query);
    ASSERT_THAT(top.of(SumsOf::Clients), SizeIs(1));
    EXPECT_EQ(top.of(SumsOf::Clients)[0].name, query.client->toString());
    EXPECT_THAT(top.of(SumsOf::Senders), IsEmpty());
}

bool wasAbandoned(const JournalMail& mail) {
    return !mail.accepted && mail.reply.empty();
}
bool wasRefused(const JournalMail& mail) {
    return !mail.accepted && !wasAbandoned(mail);
}

/// By looking at each session, with maps.
TEST_F(JournalReaderTest, SumsAreThoseOfTheSessions) {
    const std::int64_t since = begin_ms_ + 2'500'000, until = begin_ms_ + 3'500'000;
    std::map<std::string, std::array<std::uint64_t, 7>> clients, senders;
    std::uint64_t sessions = 0;
    for (const JournalSession& session : sessions_) {
        if (session.endedMs() < since || session.started_ms > until) continue;
        ++sessions;
        auto& sums = clients[clientNetwork(session).toString()];
        const auto mails_refused =
            static_cast<std::uint64_t>(std::ranges::count_if(session.mail, wasRefused));
        const auto abandoned = static_cast<std::uint64_t>(std::ranges::count_if(session.mail, wasAbandoned));
        const std::array<std::uint64_t, 7> own{1,
                                               session.refused(),
                                               session.authenticated == false,
                                               session.mail_count - abandoned,
                                               session.bytes_in,
                                               session.bytes_out,
                                               mails_refused};
        std::transform(sums.begin(), sums.end(), own.begin(), sums.begin(), std::plus<>());
        std::set<std::string> seen;
        for (const JournalMail& mail : session.mail) {
            auto& of_sender = senders[mail.from];
            of_sender[0] += seen.insert(mail.from).second;
            of_sender[3] += wasAbandoned(mail) ? 0 : 1;
            of_sender[4] += mail.size;
            of_sender[6] += wasRefused(mail) ? 1 : 0;
        }
    }
    const auto top = journal::Reader(url()).top(test::during(since, until, kSessions));
    EXPECT_EQ(top.sessions, sessions);
    const auto expectSums = [](const std::vector<JournalSums>& found, const auto& expected) {
        ASSERT_EQ(found.size(), expected.size());
        for (const JournalSums& sums : found)
            EXPECT_EQ((std::array{sums.sessions, sums.refused, sums.failed_logins, sums.mails, sums.bytes_in,
                                  sums.bytes_out, sums.mails_refused}),
                      expected.at(sums.name))
                << sums.name;
    };
    expectSums(top.of(SumsOf::Clients), clients);
    expectSums(top.of(SumsOf::Senders), senders);
}

TEST_F(JournalReaderTest, FollowsWhatIsWrittenMeanwhile) {
    const std::string path = folder_->file("followed.db");
    JournalOptions options;
    options.url = "sqlite:" + path;
    Journal journal(options, openSqlite, {});
    journal.start();
    ASSERT_TRUE(journal.record(sample(1, begin_ms_)));
    ASSERT_TRUE(journal.flush(kPatience));
    journal::Reader query(options.url);
    auto position = query.end();
    EXPECT_THAT(query.after({}, position, 10'000), IsEmpty());
    JournalFilter refused;
    refused.refused_only = true;
    auto other_position = position;
    for (std::uint64_t number = 2; number < kSessions; ++number)
        ASSERT_TRUE(journal.record(sample(number, begin_ms_)));
    ASSERT_TRUE(journal.flush(kPatience));

    std::vector<std::string> seen;
    for (auto more = query.after({}, position, 10'000); !more.empty();
         more = query.after({}, position, 10'000))
        for (const JournalSession& session : more)
            seen.push_back(session.id);
    std::sort(seen.begin(), seen.end());
    std::vector<std::string> expected;
    for (std::uint64_t number = 2; number < kSessions; ++number)
        expected.push_back(sessions_[number].id);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(seen, expected);
    EXPECT_THAT(query.after(refused, other_position, 1), SizeIs(1));
    EXPECT_THAT(query.after({}, position, 10'000), IsEmpty());
}

TEST(JournalReaderOpen, SaysSoWhenThereIsNoJournal) {
    EXPECT_THROW(journal::Reader("sqlite:/nonexistent/journal.db"), StoreError);
    EXPECT_THROW(journal::Reader("postgresql://x"), StoreError);
}

}  // namespace
}  // namespace mailgate::store
