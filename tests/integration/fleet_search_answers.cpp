// SPDX-License-Identifier: Apache-2.0
// The journals of a fleet in PostgreSQL answer as one in SQLite that has the same records: random records, random questions.
// MAILGATE_FLEET_URL names the database, whose tables are there; test_fleet_search.py starts it.
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "tests/support/filled_record.h"
#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <random>

namespace mailgate::store {
namespace {

constexpr std::size_t kSessions = 1'500;
constexpr std::array<const char*, 2> kGateways{"mx-1", "mx \"2\"\\"};
constexpr std::size_t kAll = 100'000;

std::string url() {
    const char* const url = std::getenv("MAILGATE_FLEET_URL");
    if (url == nullptr) throw std::runtime_error("MAILGATE_FLEET_URL is not set");
    return url;
}

class Dice {
  public:
    explicit Dice(unsigned seed) : engine_(seed) {}

    std::size_t below(std::size_t end) {
        return std::uniform_int_distribution<std::size_t>(0, end - 1)(engine_);
    }
    bool one(std::size_t in) { return below(in) == 0; }
    template <typename Items>
    auto of(const Items& items) {
        return *std::next(std::begin(items), static_cast<std::ptrdiff_t>(below(std::size(items))));
    }
    /// In another case, now and then.
    std::string text(const std::vector<std::string>& texts) {
        std::string text = of(texts);
        if (one(4))
            for (char& character : text)
                if (character >= 'a' && character <= 'z' && one(2))
                    character = static_cast<char>(character - 0x20);
        return text;
    }

  private:
    std::mt19937 engine_;
};

const std::vector<std::string> kAddresses{"",
                                          "alice@partner.example",
                                          "bob@partner.example",
                                          "alice@partner.example.net",
                                          "carol@b\xC3\xBC"
                                          "cher.example",
                                          "carol@xn--bcher-kva.example",
                                          "\"a, b\\\"{}\"@partner.example",
                                          "alice",
                                          "100%_@example.net",
                                          std::string(900, 'x') + "@long.example"};
const std::vector<std::string> kDomains{"@partner.example",
                                        "@b\xC3\xBC"
                                        "cher.example",
                                        "@example.net",
                                        "@artner.example",
                                        "@long.example",
                                        "@"};
const std::vector<std::string> kMessageIds{"1@partner.example", "2'{}\"@partner.example",
                                           "3@b\xC3\xBC"
                                           "cher.example",
                                           "3@xn--bcher-kva.example"};
const std::vector<std::string> kUsers{"alice", "bob@example.net", "J\xC3\xBCrgen", "null", "root", "o'brien"};
const std::vector<std::string> kHelos{"",
                                      "mail.partner.example",
                                      "MAIL.partner.example",
                                      "partner.example",
                                      "[192.0.2.1]",
                                      "mail.b\xC3\xBC"
                                      "cher.example",
                                      "mail.xn--bcher-kva.example"};
const std::vector<std::string> kReplies{"250 2.0.0 Ok", "550 5.1.1 <bob>: no 100%", "451 try_again \\ later",
                                        "554 5.7.1 not 'allowed'; -- here", ""};
const std::vector<std::string> kReplyParts{"5.1.1",   "100%", "y_a", "\\", "%", "NOT 'allowed'; --",
                                           "2.0.0 ok"};
const std::vector<std::string> kIds{"6E955A72018", "6e955a72018", "4Zabc", ""};
const std::vector<std::string> kListeners{"smtp", "imaps", "M\xC3\xBCnchen"};
const std::vector<std::string> kServers{"mx1", "mx2", "postfix/mx1", "Postfix/MX2", "dovecot/mx1"};
const std::vector<std::string> kEnds{"client_quit", "server_closed", "access", "no_server"};
const std::vector<std::string> kNetworks{"192.0.2.1",     "192.0.2.0/24",  "192.0.2.128/25", "198.51.100.7",
                                         "2001:db8::/32", "2001:db8:1::5", "0.0.0.0/0",      "::/0"};

AddressBytes address(Dice& dice) {
    const auto host = static_cast<std::uint32_t>(dice.below(6) * 50 + 1);
    if (dice.one(4))
        return test::sampleV6(static_cast<std::uint16_t>(dice.below(3)),
                              static_cast<std::uint16_t>(host % 7));
    return test::sampleV4((dice.one(3) ? 0xC6336400u : 0xC0000200u) + host);
}

JournalMail mail(Dice& dice) {
    JournalMail mail;
    mail.from = dice.text(kAddresses);
    for (std::size_t left = dice.below(3); left > 0; --left)
        mail.recipients.push_back(dice.text(kAddresses) + "x");
    if (dice.one(3)) mail.recipients = {"bob@partner.example", "alice@example.net"};
    if (dice.one(4))
        mail.refused = {{"carol@example.net", dice.of(kReplies) + "!"}, {"bob@partner.example", "550 no"}};
    mail.recipient_count = static_cast<std::uint32_t>(mail.recipients.size());
    mail.refused_count = static_cast<std::uint32_t>(mail.refused.size());
    mail.size = dice.below(100'000);
    // Without a message the first refusal stands in for the final reply.
    mail.reply = mail.refused.empty() || dice.one(2) ? dice.of(kReplies) : mail.refused.front().reply;
    mail.queue_id = dice.of(kIds);
    if (dice.one(2)) mail.message_id = dice.text(kMessageIds);
    if (dice.one(5) && mail.recipients.size() > 1) mail.replies = {"250 ok", dice.of(kReplies) + "!"};
    mail.accepted = !dice.one(5);
    return mail;
}

JournalSession session(Dice& dice, std::uint64_t number, std::int64_t ended_ms) {
    JournalSession session;
    session.kind = dice.one(6) ? JournalKind::Refused : JournalKind::Session;
    session.duration_ms = static_cast<std::int64_t>(dice.below(600'000));
    session.started_ms = ended_ms - session.duration_ms;
    session.id = test::sampleId(session.started_ms, number);
    session.listener = dice.text(kListeners);
    session.protocol = dice.one(3) ? "imap" : "smtp";
    session.client = address(dice);
    session.client_port = static_cast<std::uint16_t>(1'024 + dice.below(60'000));
    if (!dice.one(4)) session.balancer = address(dice);
    session.destination = test::sampleV4(0xCB00710Au);
    session.destination_port = 25;
    session.allowed = !dice.one(5);
    if (dice.one(2)) session.rule = dice.of(std::array{"192.0.2.0/24", "198.51.100.7", "2001:db8::/32"});
    session.tls = dice.of(std::array{"", "starttls", "implicit"});
    session.end = kEnds[dice.below(2) + (session.refused() ? 2 : 0)];
    if (dice.one(7)) session.would_refuse = {"access", "bare_lf"};
    session.bytes_in = dice.below(10'000);
    session.bytes_out = dice.below(10'000);
    if (dice.one(5)) session.balancer_told = {{"authority", "a=b%41,\"c\""}};
    if (session.refused()) {
        session.reply = dice.of(kReplies) + "!";
        session.repeated = static_cast<std::uint32_t>(dice.one(8) ? dice.below(300) : 0);
        return session;
    }
    session.upstream = dice.one(2) ? "postfix" : "dovecot";
    session.server = dice.one(2) ? "mx1" : "MX2";
    session.helo = dice.of(kHelos);
    if (dice.one(3)) {
        session.user = dice.text(kUsers);
        if (!dice.one(4)) session.authenticated = !dice.one(2);
    }
    if (dice.one(6)) session.failed_users = {dice.text(kUsers), "second, \"one\""};
    session.failed_logins =
        static_cast<std::uint32_t>(session.failed_users.size()) + (session.authenticated == false ? 1 : 0);
    for (std::size_t left = dice.below(4); left > 0; --left)
        session.mail.push_back(mail(dice));
    session.mail_count = static_cast<std::uint32_t>(session.mail.size());
    return session;
}

/// A mail that did not wait for the session's end; its session may have no record of its own.
JournalSession furtherMail(Dice& dice, JournalSession& session, std::uint32_t number) {
    JournalSession record = session;
    record.kind = JournalKind::Mail;
    record.duration_ms = session.duration_ms / 2;
    record.end.clear();
    record.mail = {mail(dice)};
    record.mail.front().number = number;
    record.mail_count = number;
    session.mail_count = number;
    return record;
}

/// Twice the same records: of each gateway where the fleet's journals are, and of all of them in a file.
class FleetJournalAnswers : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = std::make_unique<TemporaryFolder>();
        Dice dice(4'711);
        const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count();
        std::array<std::vector<JournalSession>, kGateways.size()> of_gateway;
        std::vector<JournalSession> all;
        for (std::uint64_t number = 0; number < kSessions; ++number) {
            const std::size_t gateway = dice.below(kGateways.size());
            // Two days and a half, some of each.
            JournalSession one = session(dice, number,
                                         now - static_cast<std::int64_t>((kSessions - number) * 144'000) +
                                             static_cast<std::int64_t>(number));
            ids_.push_back(one.id);
            std::vector<JournalSession> records;
            const bool divided = one.mail.size() > 2 && dice.one(3);
            for (std::uint32_t more = divided ? 2 : 0; more > 0; --more)
                records.push_back(furtherMail(dice, one, one.mail_count + 1));
            if (!divided || !dice.one(3)) records.push_back(one);
            for (const JournalSession& record : records) {
                of_gateway[gateway].push_back(record);
                all.push_back(record);
            }
        }
        write("all", all);
        for (std::size_t at = 0; at < kGateways.size(); ++at) {
            write(fmt::format("gateway{}", at), of_gateway[at]);
            ship(kGateways[at], of_gateway[at]);
        }
        first_ms_ = now - static_cast<std::int64_t>(kSessions * 144'000);
        last_ms_ = now;
    }
    static void TearDownTestSuite() { folder_.reset(); }

    static std::string file(const std::string& name) { return "sqlite:" + folder_->file(name + ".db"); }
    static void write(const std::string& name, const std::vector<JournalSession>& records) {
        JournalOptions options;
        options.url = file(name);
        journal::openSink(options)->append(records);
    }
    static void ship(const std::string& gateway, const std::vector<JournalSession>& records) {
        const auto shared = openSharedJournal(
            url(), {.gateway = gateway, .process = "test", .keep_days = 90, .keep_refused_days = 14});
        shared->fleet();  // which tells it the day
        const auto journal = shared->create(1, "", std::nullopt);
        ASSERT_TRUE(shared->claim(std::nullopt, {"test"}));
        std::int64_t key = 0;
        for (const JournalSession& record : records)
            shared->add(journal.id, ++key, record);
        SharedJournal::Progress progress{.journal = journal.id, .from = "", .to = "1", .current = true};
        if (gateway == "mx-1")
            progress.missed = {{.piece = 7, .records = {3, true, 86'400'000, 172'800'000}}};
        ASSERT_TRUE(shared->commit(progress));
    }

    std::optional<std::string> maybe(std::size_t in, const std::vector<std::string>& texts) {
        if (!dice_.one(in)) return std::nullopt;
        return dice_.text(texts);
    }
    JournalFilter filter() {
        JournalFilter filter;
        if (dice_.one(6)) filter.client = network(dice_.of(kNetworks));
        if (dice_.one(15)) filter.balancer = network(dice_.of(kNetworks));
        filter.from = maybe(6, dice_.one(2) ? kDomains : kAddresses);
        filter.to =
            maybe(6, dice_.one(2) ? kDomains
                                  : std::vector<std::string>{"bob@partner.example", "carol@example.net"});
        filter.refused_to = maybe(12, {"bob@partner.example", "@example.net"});
        filter.reply = maybe(12, kReplyParts);
        filter.message_id = maybe(8, kMessageIds);
        filter.user = maybe(8, kUsers);
        if (dice_.one(12)) filter.queue_id = dice_.of(kIds);
        if (filter.queue_id == "") filter.queue_id = "none";
        filter.listener = maybe(10, kListeners);
        filter.protocol = maybe(15, {"smtp", "imap"});
        filter.helo = maybe(10, {"mail.partner.example", ".partner.example",
                                 ".b\xC3\xBC"
                                 "cher.example",
                                 ".xn--bcher-kva.example",
                                 "mail.b\xC3\x9C"
                                 "cher.example"});
        filter.end = maybe(12, kEnds);
        if (dice_.one(15)) filter.rule = dice_.of(std::array{"", "192.0.2.0/24", "198.51.100.7"});
        if (dice_.one(15)) filter.tls = dice_.of(std::array{"", "starttls", "implicit"});
        filter.server = maybe(10, kServers);
        if (dice_.one(15)) filter.allowed = dice_.one(2);
        filter.refused_only = dice_.one(15);
        filter.would_refuse = dice_.one(15);
        filter.failed_login = dice_.one(15);
        if (dice_.one(4)) filter.since_ms = someTime();
        if (dice_.one(4)) filter.until_ms = someTime();
        return filter;
    }
    std::int64_t someTime() {
        return first_ms_ +
               static_cast<std::int64_t>(dice_.below(static_cast<std::size_t>(last_ms_ - first_ms_)));
    }

    static std::string idsOf(const std::vector<JournalSession>& sessions) {
        std::vector<std::string> ids;
        for (const JournalSession& session : sessions)
            ids.push_back(fmt::format("{}:{}", session.id, session.mail.size()));
        return fmt::format("{}", fmt::join(ids, " "));
    }
    /// But for the gateway, which a file does not know.
    static std::string differencesOf(std::vector<JournalSession> here, std::vector<JournalSession> there) {
        if (idsOf(here) != idsOf(there)) return fmt::format("{}\ninstead of\n{}", idsOf(there), idsOf(here));
        for (std::size_t at = 0; at < here.size(); ++at) {
            there[at].gateway.clear();
            const std::string names = test::differences(here[at], there[at]);
            if (!names.empty()) return fmt::format("{}: {}", here[at].id, names);
            if (here[at].kind != there[at].kind) return here[at].id + ": kind";
        }
        return {};
    }

    static inline std::unique_ptr<TemporaryFolder> folder_;
    static inline std::vector<std::string> ids_;
    static inline std::int64_t first_ms_ = 0, last_ms_ = 0;

    Dice dice_{42};
};

std::string textOf(const JournalFilter& filter) {
    std::string text;
    const auto add = [&](const char* name, const std::optional<std::string>& value) {
        if (value) text += fmt::format(" {}='{}'", name, *value);
    };
    if (filter.client) text += " client=" + filter.client->toString();
    if (filter.balancer) text += " balancer=" + filter.balancer->toString();
    add("from", filter.from);
    add("to", filter.to);
    add("refused_to", filter.refused_to);
    add("reply", filter.reply);
    add("message_id", filter.message_id);
    add("user", filter.user);
    add("queue_id", filter.queue_id);
    add("listener", filter.listener);
    add("protocol", filter.protocol);
    add("helo", filter.helo);
    add("end", filter.end);
    add("rule", filter.rule);
    add("tls", filter.tls);
    add("server", filter.server);
    if (filter.allowed) text += *filter.allowed ? " allowed" : " denied";
    if (filter.refused_only) text += " refused";
    if (filter.would_refuse) text += " would_refuse";
    if (filter.failed_login) text += " failed_login";
    if (filter.since_ms) text += fmt::format(" since={}", *filter.since_ms);
    if (filter.until_ms) text += fmt::format(" until={}", *filter.until_ms);
    return text;
}

TEST_F(FleetJournalAnswers, TheSameSessionsForAnyFilter) {
    const auto here = journal::openSource(file("all"));
    const auto there = openFleetJournal(url(), {});
    std::size_t found = 0;
    for (int round = 0; round < 150; ++round) {
        const JournalFilter asked = round == 0 ? JournalFilter{} : filter();
        SCOPED_TRACE(textOf(asked));
        const std::size_t limit = dice_.one(3) ? kAll : 1 + dice_.below(30);
        const auto expected = here->newest(asked, limit);
        ASSERT_EQ(differencesOf(expected, there->newest(asked, limit)), "") << "limit " << limit;
        const std::size_t at_most = 1 + dice_.below(round == 0 ? kAll : 200);
        ASSERT_EQ(here->count(asked, at_most), there->count(asked, at_most)) << "at most " << at_most;
        found += expected.empty() ? 0 : 1;
    }
    EXPECT_GT(found, 50u) << "the filters are for something that is there";
}

// Which are counted without a look at the records.
TEST_F(FleetJournalAnswers, AsManyForOneConditionAlone) {
    std::vector<JournalFilter> filters(1);
    const auto add = [&](auto set) { set(filters.emplace_back()); };
    for (const auto& texts : {kAddresses, kDomains})
        for (const std::string& text : texts) {
            add([&](JournalFilter& filter) { filter.from = text; });
            add([&](JournalFilter& filter) { filter.to = text; });
            add([&](JournalFilter& filter) { filter.refused_to = text; });
        }
    for (const std::string& id : kIds)
        if (!id.empty()) add([&](JournalFilter& filter) { filter.queue_id = id; });
    for (const std::string& user : kUsers)
        add([&](JournalFilter& filter) { filter.user = user; });
    for (const std::string& client : kNetworks) {
        add([&](JournalFilter& filter) { filter.client = network(client); });
        add([&](JournalFilter& filter) { filter.balancer = network(client); });
    }
    for (const std::string& end : kEnds)
        add([&](JournalFilter& filter) { filter.end = end; });
    add([&](JournalFilter& filter) { filter.failed_login = true; });
    add([&](JournalFilter& filter) { filter.refused_only = true; });
    add([&](JournalFilter& filter) { filter.since_ms = filter.until_ms = someTime(); });
    const auto here = journal::openSource(file("all"));
    const auto there = openFleetJournal(url(), {});
    for (const JournalFilter& asked : filters) {
        SCOPED_TRACE(textOf(asked));
        const std::size_t all = here->count(asked, kAll);
        EXPECT_EQ(there->count(asked, kAll), all);
        EXPECT_EQ(there->count(asked, 3), std::min<std::size_t>(all, 3));
    }
}

TEST_F(FleetJournalAnswers, EachSaysWhoseItIsAndOneGatewayCanBeAsked) {
    std::map<std::string, std::size_t> counts;
    for (const JournalSession& session : openFleetJournal(url(), {})->newest({}, kAll))
        ++counts[session.gateway];
    ASSERT_EQ(counts.size(), kGateways.size());
    for (std::size_t at = 0; at < kGateways.size(); ++at) {
        SCOPED_TRACE(kGateways[at]);
        const auto here = journal::openSource(file(fmt::format("gateway{}", at)));
        const auto there = openFleetJournal(url(), {.gateway = kGateways[at]});
        EXPECT_EQ(here->newest({}, kAll).size(), counts[kGateways[at]]);
        EXPECT_EQ(differencesOf(here->newest({}, kAll), there->newest({}, kAll)), "");
        JournalFilter from;
        from.from = "@partner.example";
        EXPECT_EQ(differencesOf(here->newest(from, kAll), there->newest(from, kAll)), "");
        ASSERT_EQ(there->gateways().size(), 1u);
        EXPECT_EQ(there->gateways().front().gateway, kGateways[at]);
        EXPECT_TRUE(there->gateways().front().age_secs);
        JournalTopQuery query;
        query.until_ms = last_ms_;
        query.limit = 5;
        EXPECT_EQ(here->top(query).sessions, there->top(query).sessions);
    }
    EXPECT_TRUE(openFleetJournal(url(), {.gateway = "mx-3"})->newest({}, kAll).empty());
}

TEST_F(FleetJournalAnswers, TheSameSessionsByTheirIds) {
    const auto here = journal::openSource(file("all"));
    const auto there = openFleetJournal(url(), {});
    for (int round = 0; round < 40; ++round) {
        std::string prefix = dice_.of(ids_).substr(0, dice_.one(2) ? 26 : 4 + dice_.below(20));
        if (dice_.one(2))
            std::ranges::transform(prefix, prefix.begin(),
                                   [](unsigned char one) { return std::tolower(one); });
        SCOPED_TRACE(prefix);
        if (prefix.size() > 12) {
            ASSERT_EQ(differencesOf(here->withId(prefix, 2), there->withId(prefix, 2)), "");
        } else {
            ASSERT_EQ(here->withId(prefix, 2).size(), there->withId(prefix, 2).size());
        }
    }
    for (const char* none : {"", "'; --", "\xFF", "8", "01M\\"})
        EXPECT_TRUE(there->withId(none, 2).empty()) << none;
}

/// All that comes after the beginning, in pieces.
std::vector<JournalSession> followed(journal::Source& source, const JournalFilter& filter,
                                     std::size_t at_once) {
    std::vector<JournalSession> all;
    journal::Position position;
    std::string before;
    do {
        before = position.text;
        for (JournalSession& session : source.after(filter, position, at_once))
            all.push_back(std::move(session));
    } while (position.text != before);
    std::ranges::stable_sort(all, {}, &JournalSession::endedMs);
    return all;
}

TEST_F(FleetJournalAnswers, TheSameSessionsWhenItIsFollowed) {
    const auto here = journal::openSource(file("all"));
    const auto there = openFleetJournal(url(), {});
    for (int round = 0; round < 12; ++round) {
        const JournalFilter asked = round == 0 ? JournalFilter{} : filter();
        SCOPED_TRACE(textOf(asked));
        ASSERT_EQ(differencesOf(followed(*here, asked, 500), followed(*there, asked, 500)), "");
    }
    journal::Position end = there->end();
    EXPECT_TRUE(there->after({}, end, kAll).empty());
}

TEST_F(FleetJournalAnswers, AreAllThereInTimeOrNoneIs) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    const auto there = openFleetJournal(url(), {.until = until, .instead = "this instead"});
    std::string told;
    while (told.empty())
        try {
            there->newest({}, 1);
        } catch (const StoreError& error) {
            told = error.what();
        }
    EXPECT_GE(std::chrono::steady_clock::now(), until);
    EXPECT_NE(told.find("(this instead)"), std::string::npos) << told;
}

std::string textOf(const JournalTop& top) {
    std::string text = fmt::format("{} {} {}\n", top.sessions, top.refused, top.failed_logins);
    for (const auto& sums : top.sums) {
        for (const JournalSums& one : sums)
            text += fmt::format("{}: {} {} {} {} {} {} {}\n", one.name, one.sessions, one.refused,
                                one.failed_logins, one.mails, one.mails_refused, one.bytes_in, one.bytes_out);
        text += "-\n";
    }
    return text;
}

TEST_F(FleetJournalAnswers, TheSameSums) {
    const auto here = journal::openSource(file("all"));
    const auto there = openFleetJournal(url(), {});
    for (int round = 0; round < 30; ++round) {
        JournalTopQuery query;
        query.since_ms = dice_.one(2) ? first_ms_ : someTime();
        query.until_ms = dice_.one(2) ? last_ms_ : someTime();
        if (dice_.one(3)) query.client = network(dice_.of(kNetworks));
        if (dice_.one(3)) query.listener = dice_.of(kListeners);
        query.of = {SumsOf::Clients, SumsOf::Networks, SumsOf::Senders, SumsOf::Recipients,
                    SumsOf::Users,   SumsOf::Helos,    SumsOf::Ends};
        query.by =
            dice_.of(std::array{SumsBy::Sessions, SumsBy::Bytes, SumsBy::Refused, SumsBy::FailedLogins});
        query.limit = 1 + dice_.below(20);
        ASSERT_EQ(textOf(here->top(query)), textOf(there->top(query))) << round;
    }
}

}  // namespace
}  // namespace mailgate::store
