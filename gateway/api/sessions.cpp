// SPDX-License-Identifier: Apache-2.0
// Sessions: those under way, and those that the journal has.
#include "gateway/admin/json.h"
#include "gateway/answers/asked_gateways.h"
#include "gateway/answers/journal.h"
#include "gateway/answers/mask.h"
#include "gateway/answers/meanings.h"
#include "gateway/answers/rules_text.h"
#include "gateway/answers/time_text.h"
#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/api/values.h"
#include "gateway/base/clock.h"
#include "gateway/log/escape.h"
#include "protocols/values/protocol.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/journal/filter.h"

#include <Poco/JSON/Object.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace mailgate::api {

namespace {

using store::JournalFilter;
using store::JournalMail;
using store::JournalSession;
namespace journal = store::journal;

constexpr std::size_t kUsualSessions = 50, kMostSessions = 500;
constexpr std::size_t kListedMails = 3, kListedRecipients = 5;  ///< of a session, and of a mail, in a list
constexpr std::string_view kTlsWords[] = {"starttls", "implicit", "passthrough", "balancer", "none"};
constexpr std::size_t kDeepest = 20'000;  ///< sessions that are looked at for one page

std::int64_t timeValue(const char* name, const std::string& text, answers::TimeMeans means) {
    const auto time = answers::parseTime(text, unixMillis(), means, answers::Zone::Utc);
    if (const auto* error = std::get_if<answers::TimeError>(&time))
        throw invalid(name, fmt::format("{} {}", inQuotes(text), error->why));
    return std::get<std::int64_t>(time);
}

/// As the command line takes none: it would ask for sessions without one.
std::optional<std::string> someText(QueryValues& query, const char* name) {
    auto text = query.text(name);
    if (text && text->empty()) throw invalid(name, "is empty");
    return text;
}

/// One of those that there are.
template <typename Words>
std::optional<std::string> wordOf(QueryValues& query, const char* name, const Words& words) {
    auto text = query.text(name);
    if (text && std::ranges::find(words, *text) == std::end(words))
        throw invalid(name,
                      fmt::format("expected one of {}, found {}", fmt::join(words, ", "), inQuotes(*text)));
    return text;
}

/// An empty one is the null sender.
std::optional<std::string> addressOf(QueryValues& query, const char* name) {
    const auto text = query.text(name);
    if (!text) return std::nullopt;
    if (*text == "@") throw invalid(name, "expected an address, @domain, or <>");
    return answers::envelopeAddress(*text);
}

void requireKnownNames(const Call& call, const JournalFilter& filter, journal::Source* source) {
    if (const auto unknown = answers::unknownName(*call.config, filter, source))
        throw invalid(std::string(unknown->what),
                      fmt::format("none is named {}: there are {}", inQuotes(unknown->name),
                                  fmt::join(unknown->names, ", ")));
}

/// What can be asked of sessions under way as well; the names are those of the options of `mailgate sessions`.
JournalFilter liveFilterOf(QueryValues& query) {
    JournalFilter filter;
    filter.client = query.network("client");
    filter.balancer = query.network("balancer");
    filter.from = addressOf(query, "from");
    filter.user = someText(query, "user");
    filter.listener = someText(query, "listener");
    filter.server = someText(query, "server");
    filter.protocol = wordOf(query, "protocol", kProtocolWords);
    filter.helo = someText(query, "helo");
    filter.tls = wordOf(query, "tls", kTlsWords);
    if (filter.tls == "none") filter.tls = "";
    if (const auto since = query.text("since"))
        filter.since_ms = timeValue("since", *since, answers::TimeMeans::Beginning);
    if (const auto until = query.text("until"))
        filter.until_ms = timeValue("until", *until, answers::TimeMeans::End);
    return filter;
}

JournalFilter filterOf(QueryValues& query) {
    JournalFilter filter = liveFilterOf(query);
    filter.to = addressOf(query, "to");
    filter.refused_to = addressOf(query, "refused_recipient");
    filter.queue_id = someText(query, "queue_id");
    if (const auto id = someText(query, "message_id")) filter.message_id = answers::messageId(*id);
    filter.reply = someText(query, "reply");
    filter.end = wordOf(query, "end", answers::endNames());
    if (const auto rule = query.text("rule"))
        filter.rule = *rule == "default" ? "" : networkValue("rule", *rule).toString();
    if (const auto verdict = query.text("verdict")) {
        if (*verdict != "allow" && *verdict != "deny") throw invalid("verdict", "expected allow or deny");
        filter.allowed = *verdict == "allow";
    }
    filter.refused_only = query.flag("refused");
    filter.would_refuse = query.flag("would_refuse");
    filter.failed_login = query.flag("failed_logins");
    return filter;
}

bool tellsAddress(const JournalFilter& filter) {
    for (auto member : {&JournalFilter::from, &JournalFilter::to, &JournalFilter::refused_to,
                        &JournalFilter::message_id, &JournalFilter::user})
        if (filter.*member && answers::tellsAddress(*(filter.*member))) return true;
    return filter.helo && answers::tellsAddressOfHelo(*filter.helo);
}

/// Who sees masked addresses cannot find out the whole one by asking for it.
void mask(JournalFilter& filter) {
    if (filter.rule || filter.reply)
        throw Problem(403, "role", "rule and reply need the role operator: they tell whole addresses");
    if (tellsAddress(filter))
        throw Problem(403, "role",
                      "what has an address in it needs the role operator: client addresses are masked");
    if (filter.client) filter.client = answers::maskedNetwork(*filter.client);
}

// ---- sessions that are over

/// Where a page ends: the session, and when it ended, in case it is not there any more.
struct Cursor {
    std::int64_t ended_ms = 0;
    std::string id;
};

std::optional<Cursor> cursorOf(QueryValues& query) {
    const auto text = query.text("cursor");
    if (!text) return std::nullopt;
    Cursor cursor;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), cursor.ended_ms);
    if (error != std::errc() || end == text->data() + text->size() || *end != '-')
        throw invalid("cursor", "expected one that an earlier answer has given");
    cursor.id = text->substr(static_cast<std::size_t>(end + 1 - text->data()));
    return cursor;
}

struct Page {
    std::vector<JournalSession> sessions;  ///< the newest first
    std::optional<Cursor> next;
};

/// Those that ended before the cursor's, the newest first.
std::vector<JournalSession> olderThan(std::vector<JournalSession> found,
                                      const std::optional<Cursor>& cursor) {
    std::reverse(found.begin(), found.end());
    if (!cursor) return found;
    const auto at = std::ranges::find(found, cursor->id, &JournalSession::id);
    if (at != found.end()) {
        found.erase(found.begin(), at + 1);
        return found;
    }
    std::erase_if(found, [&](const JournalSession& one) { return one.endedMs() >= cursor->ended_ms; });
    return found;
}

/// Whatever ended before the cursor's session had begun before that, which leaves few others to skip.
Page pageOf(journal::Source& source, JournalFilter filter, const std::optional<Cursor>& cursor,
            std::size_t limit) {
    if (cursor)
        filter.until_ms = filter.until_ms ? std::min(*filter.until_ms, cursor->ended_ms) : cursor->ended_ms;
    Page page;
    for (std::size_t wanted = limit + 1;; wanted *= 4) {
        wanted = std::min(wanted, kDeepest);
        auto found = source.newest(filter, wanted);
        const bool is_all = found.size() < wanted;
        page.sessions = olderThan(std::move(found), cursor);
        if (page.sessions.size() > limit) break;
        if (is_all) return page;
        if (wanted == kDeepest)
            throw Problem(400, "too_deep",
                          "so many sessions go on at the time of the cursor: ask for a period");
    }
    page.sessions.resize(limit);
    page.next = Cursor{page.sessions.back().endedMs(), page.sessions.back().id};
    return page;
}

/// The lines of a session, each an object.
std::vector<std::string> objectsOf(const Call& call, const JournalSession& session) {
    const std::string lines =
        answers::sessionAsJson(call.masks() ? answers::maskedSession(session) : session);
    std::vector<std::string> objects;
    for (std::size_t from = 0; from < lines.size();) {
        const std::size_t end = lines.find('\n', from);
        objects.push_back(lines.substr(from, end - from));
        from = end + 1;
    }
    return objects;
}

void keepFirst(std::vector<JournalMail>& mails, const JournalFilter& filter) {
    std::size_t wanted = 0;
    for (const JournalMail& mail : mails)
        wanted += journal::passes(mail, filter) ? 1 : 0;
    std::size_t others = kListedMails - std::min(wanted, kListedMails), left = kListedMails;
    std::erase_if(mails, [&](const JournalMail& mail) {
        const bool is_wanted = journal::passes(mail, filter);
        if (left == 0 || (!is_wanted && others == 0)) return true;
        if (!is_wanted) --others;
        --left;
        return false;
    });
}

void keepFirst(JournalMail& mail) {
    const auto keep = [](auto& texts) {
        if (texts.size() > kListedRecipients) texts.resize(kListedRecipients);
    };
    mail.recipient_count = std::max(mail.recipient_count, static_cast<std::uint32_t>(mail.recipients.size()));
    mail.refused_count = std::max(mail.refused_count, static_cast<std::uint32_t>(mail.refused.size()));
    mail.truncated = mail.truncated || mail.recipients.size() > kListedRecipients ||
                     mail.refused.size() > kListedRecipients;
    keep(mail.recipients);
    keep(mail.refused);
    keep(mail.replies);
}

/// What a list has of a session: as many of its mails as tell what it was, first of all such as were asked for, and how many there are.
/// A session may have thousands, with hundreds of recipients each.
std::vector<std::string> listedObjectsOf(const Call& call, JournalSession session,
                                         const JournalFilter& filter) {
    const std::size_t mails = session.mail.size();
    if (mails > kListedMails) {
        session.mail_count = std::max(session.mail_count, static_cast<std::uint32_t>(mails));
        keepFirst(session.mail, filter);
    }
    for (JournalMail& mail : session.mail)
        keepFirst(mail);
    auto objects = objectsOf(call, session);
    // A record of mails alone has no place of its own for their number.
    if (mails > kListedMails && session.kind == store::JournalKind::Mail)
        objects.front().insert(objects.front().rfind('}'), fmt::format(R"(,"mail_count":{})", mails));
    return objects;
}

std::string arrayOf(const Call& call, std::vector<JournalSession> sessions, const JournalFilter& filter) {
    std::string array;
    for (JournalSession& session : sessions)
        for (const std::string& object : listedObjectsOf(call, std::move(session), filter))
            array += (array.empty() ? "" : ",\n") + object;
    return "[" + array + "]";
}

std::unique_ptr<journal::Source> openJournal(const Call& call) {
    if (!call.config->journal.enabled)
        throw Problem(404, "no_journal", "the journal is off: journal.enabled = false");
    return journal::openSource(call.config->journal.url, [&call] { call.requireAsker(); });
}

/// All else may have to look at the whole journal.
bool isOfAll(const Request& request) {
    return std::ranges::all_of(request.query, [](const auto& value) { return value.first == "limit"; });
}

// ---- those of a fleet

/// Whose journals are asked.
struct Whose {
    bool is_fleet = false;  ///< else this gateway's own
    std::string gateway{};  ///< of the fleet the only one; empty: all
};

Whose whoseOf(const Call& call, QueryValues& query) {
    const auto all = query.text("gateways");
    const auto one = someText(query, "gateway");
    if (!all && !one) return {};
    if (all && one) throw invalid("gateway", "cannot be combined with gateways");
    if (all && *all != "all") throw invalid("gateways", "expected all");
    if (call.config->fleet.url.empty())
        throw Problem(404, "no_fleet", "this gateway is in no fleet: url in [fleet] names its database");
    return {true, one.value_or("")};
}

struct Asked {
    bool is_fleet = false;         ///< else this gateway's own journal
    std::shared_ptr<void> turn{};  ///< null: none is needed
    std::unique_ptr<journal::Source> source;
    std::vector<store::ShippedJournal> gateways{};
};

constexpr const char* kOwnInstead = "without gateway and gateways this gateway's own are asked for";

/// One question at a time, and a bounded one: it has a thread of few, and the gateways bring their journals to the same database.
Asked openFleetJournal(const Call& call, const Whose& whose, const JournalFilter& filter) {
    constexpr std::chrono::seconds kAll{5};
    Asked asked{
        .is_fleet = true, .turn = call.turnAt(call.turns.fleet, "asks the fleet's database"), .source = {}};
    const auto until = std::chrono::steady_clock::now() + kAll;
    const auto open = [&](const std::string& gateway) {
        return store::openFleetJournal(call.config->fleet.url,
                                       {.gateway = gateway, .answer = kAll, .until = until});
    };
    auto journals = open(whose.gateway);
    asked.gateways = journals->gateways();
    if (asked.gateways.empty() && !whose.gateway.empty()) {
        const auto all = open("")->gateways();
        throw invalid("gateway",
                      fmt::format("the fleet's database has no journal of {}{}{}", inQuotes(whose.gateway),
                                  all.empty() ? "" : ": it has ", answers::namesOf(all)));
    }
    if (asked.gateways.empty())
        throw Problem(
            404, "no_journal",
            fmt::format("no gateway has brought its journal to the fleet's database yet: {}", kOwnInstead));
    answers::keepMissedOf(asked.gateways, filter.since_ms, filter.until_ms);
    asked.source = std::move(journals);
    return asked;
}

/// Members of a document, a comma in front; nothing where no fleet was asked.
std::string askedAsJson(const Asked& asked) {
    if (!asked.is_fleet) return {};
    return fmt::format(R"(,"gateways":{},"said":{})", answers::askedAsJson(asked.gateways),
                       answers::jsonText(answers::askedText(asked.gateways)));
}

/// Makes the answer of the journals that are asked.
template <typename Answer>
Response answerOf(const Call& call, const Whose& whose, const JournalFilter& filter, Answer answer) {
    if (!whose.is_fleet) {
        auto turn = isOfAll(call.request) ? nullptr : call.turnAt(call.turns.lengthy, "takes long");
        return answer(Asked{.turn = std::move(turn), .source = openJournal(call)});
    }
    try {
        return answer(openFleetJournal(call, whose, filter));
    } catch (const store::StoreError& error) {
        throw Problem(503, "fleet_unavailable",
                      call.isToldOfErrors() ? fmt::format("{}: {}", error.what(), kOwnInstead)
                                            : fmt::format("the fleet's database cannot be used, and {}: {}",
                                                          kToldToAdmins, kOwnInstead));
    }
}

void narrow(JournalFilter& filter, const answers::Meaning& meaning) {
    const JournalFilter& wanted = meaning.filter;
    if (wanted.client) filter.client = wanted.client;
    if (wanted.balancer) filter.balancer = wanted.balancer;
    for (auto member : {&JournalFilter::from, &JournalFilter::to, &JournalFilter::message_id,
                        &JournalFilter::user, &JournalFilter::queue_id, &JournalFilter::helo})
        if (wanted.*member) filter.*member = wanted.*member;
}

bool hasAny(journal::Source& source, const JournalFilter& filter, const answers::Meaning& meaning) {
    if (!meaning.session_id.empty()) return !source.withId(meaning.session_id, 1).empty();
    return !source.newest(filter, 1).empty();
}

std::string nextOf(const Page& page) {
    return page.next ? fmt::format("\"{}-{}\"", page.next->ended_ms, escaped(page.next->id)) : "null";
}

std::string meaningAsJson(const answers::Meaning& meaning) {
    return fmt::format(R"({{"name":"{}","words":"{}"}})", meaning.name, meaning.words);
}

/// What is looked for, whatever it may mean.
struct Text {
    std::string asked;
    std::optional<std::string> as{};  ///< what to take it for
};

Response found(const Call& call, const Asked& asked, const JournalFilter& filter, const Text& text,
               std::size_t limit, const std::optional<Cursor>& cursor) {
    journal::Source& source = *asked.source;
    std::optional<answers::Meaning> taken;
    JournalFilter taken_filter;
    std::string also;
    for (const answers::Meaning& meaning : answers::meaningsOf(text.asked)) {
        call.requireAsker();
        if (meaning.isSlowFor(asked.is_fleet) && (taken || !also.empty()) && text.as != meaning.name)
            continue;
        JournalFilter narrowed = filter;
        narrow(narrowed, meaning);
        if (call.masks()) {
            if (tellsAddress(narrowed)) continue;
            mask(narrowed);
        }
        if (!hasAny(source, narrowed, meaning)) continue;
        if (!taken && (!text.as || *text.as == meaning.name)) {
            taken = meaning;
            taken_filter = narrowed;
        } else {
            also += (also.empty() ? "" : ",") + meaningAsJson(meaning);
        }
    }
    Page page;
    if (taken && !taken->session_id.empty())
        page.sessions = source.withId(taken->session_id, limit);
    else if (taken)
        page = pageOf(source, taken_filter, cursor, limit);
    const std::string next = nextOf(page);
    return jsonResponse(
        fmt::format("{{\"asked\":\"{}\",\"meaning\":{},\"also\":[{}],\"sessions\":{},\"next\":{}{}}}",
                    escaped(text.asked), taken ? meaningAsJson(*taken) : "null", also,
                    arrayOf(call, std::move(page.sessions), taken_filter), next, askedAsJson(asked)));
}

// ---- sessions under way

/// As the filter knows sessions.
JournalSession recordOf(const LiveSession& session, std::int64_t now_ms) {
    JournalSession record;
    record.started_ms = session.started_ms;
    record.duration_ms = now_ms - record.started_ms;
    if (session.client) record.client = session.client->address.bytes;
    if (session.balancer) record.balancer = session.balancer->bytes;
    record.listener = session.listener;
    record.protocol = session.protocol;
    record.upstream = session.upstream;
    record.server = session.server;
    record.helo = session.helo;
    record.user = session.user;
    record.tls = session.tls;
    record.mail.emplace_back().from = session.from;
    return record;
}

std::string liveAsJson(const Call& call, const LiveSession& session) {
    Poco::JSON::Object object = admin::toJson(session);
    if (call.masks() && session.client) {
        const AddressBytes& client = session.client->address.bytes;
        object.set("client", answers::maskedNetwork(Network{client, 128}).toString());
        object.set("client_port", Poco::Dynamic::Var());
        if (!session.helo.empty()) object.set("helo", answers::maskedText(session.helo, client));
        if (!session.user.empty()) object.set("user", answers::maskedText(session.user, client));
        if (!session.from.empty()) object.set("from", answers::maskedText(session.from, client));
    }
    return visibleJson(admin::toText(object));
}

LiveSessions liveThatPass(const Call& call, const JournalFilter& filter) {
    const std::int64_t now = unixMillis();
    std::vector<LiveSession> sessions = call.parts.control.sessions();
    std::erase_if(sessions, [&](const LiveSession& session) {
        const JournalSession record = recordOf(session, now);
        return !journal::passes(record, filter) || !journal::hasWantedMail(record, filter);
    });
    return {sessions.size(), std::move(sessions)};
}

}  // namespace

Response sessions(const Call& call) {
    QueryValues query(call.request);
    JournalFilter filter = filterOf(query);
    const std::size_t limit = query.limit(kUsualSessions, kMostSessions);
    const auto cursor = cursorOf(query);
    const Whose whose = whoseOf(call, query);
    const auto text = query.text("q");
    const auto as = text ? query.text("as") : std::nullopt;
    query.rejectOthers();
    return answerOf(call, whose, filter, [&](const Asked& asked) {
        requireKnownNames(call, filter, asked.source.get());
        if (text) return found(call, asked, filter, {*text, as}, limit, cursor);
        if (call.masks()) mask(filter);
        Page page = pageOf(*asked.source, filter, cursor, limit);
        const std::string next = nextOf(page);
        return jsonResponse(fmt::format("{{\"sessions\":{},\"next\":{}{}}}",
                                        arrayOf(call, std::move(page.sessions), filter), next,
                                        askedAsJson(asked)));
    });
}

Response liveSessions(const Call& call) {
    QueryValues query(call.request);
    JournalFilter filter = liveFilterOf(query);
    const std::size_t limit = query.limit(kMostSessions, kDeepest);
    query.rejectOthers();
    requireKnownNames(call, filter, nullptr);
    if (call.masks()) mask(filter);
    // Browsers ask for all, again and again, and show the newest.
    LiveSessions live =
        isOfAll(call.request) ? call.parts.control.newestSessions(limit) : liveThatPass(call, filter);
    std::ranges::sort(live.sessions, [](const LiveSession& one, const LiveSession& other) {
        return std::tie(one.started_ms, one.id) > std::tie(other.started_ms, other.id);
    });
    std::string array;
    for (std::size_t at = 0; at < std::min(live.sessions.size(), limit); ++at)
        array += (at == 0 ? "" : ",\n") + liveAsJson(call, live.sessions[at]);
    return jsonResponse(fmt::format("{{\"found\":{},\"sessions\":[{}]}}", live.found, array));
}

namespace {

/// Of a day that ended just now. Summing up reads all of it: however many ask, one does it, once a minute at most, and so seldom
/// that it takes half a percent of the time; others get the sums from before, as far as there are any.
class DaySums {
  public:
    std::string asJson(const Call& call) {
        const std::unique_lock summing(summing_, std::try_to_lock);
        if (summing && isOld(call)) sum(call);
        const std::lock_guard lock(mutex_);
        if (until_ms_ == 0 || url_ != call.config->journal.url)
            throw Problem(503, "busy", "the sessions of the day are being counted: try again");
        return fmt::format(R"({{"since":"{}","until":"{}","sessions":{},"refused":{},"failed_logins":{}}})",
                           formatUtc((until_ms_ - kDayMs) / 1'000), formatUtc(until_ms_ / 1'000),
                           sums_.sessions, sums_.refused, sums_.failed_logins);
    }

  private:
    static constexpr std::int64_t kDayMs = std::int64_t{24} * 60 * 60 * 1'000, kKeptMs = 60'000;

    bool isOld(const Call& call) {
        const std::lock_guard lock(mutex_);
        const std::int64_t now = unixMillis();
        return url_ != call.config->journal.url || now < until_ms_ || now >= kept_until_ms_;
    }

    void sum(const Call& call) {
        constexpr std::int64_t kShare = 200;
        const std::int64_t begun = unixMillis();
        auto sums = openJournal(call)->top(
            {.client = {}, .listener = {}, .since_ms = begun - kDayMs, .until_ms = begun, .of = {}});
        const std::int64_t done = unixMillis();
        const std::lock_guard lock(mutex_);
        sums_ = std::move(sums);
        url_ = call.config->journal.url;
        until_ms_ = begun;
        kept_until_ms_ = done + std::max((done - begun) * kShare, kKeptMs);
    }

    std::mutex summing_;  ///< whose time it takes
    std::mutex mutex_;    ///< all that follows
    std::string url_;
    std::int64_t until_ms_ = 0, kept_until_ms_ = 0;
    store::JournalTop sums_;
};

}  // namespace

Response daySessions(const Call& call) {
    static DaySums sums;
    QueryValues(call.request).rejectOthers();
    if (!call.config->journal.enabled)
        throw Problem(404, "no_journal", "the journal is off: journal.enabled = false");
    return jsonResponse(sums.asJson(call));
}

Response session(const Call& call) {
    QueryValues query(call.request);
    const Whose whose = whoseOf(call, query);
    query.rejectOthers();
    const std::string& id = call.request.path[1];
    // One that is there is not among what is missing.
    JournalFilter of_no_time;
    of_no_time.since_ms = 1;
    of_no_time.until_ms = 0;
    return answerOf(call, whose, of_no_time, [&](const Asked& asked) {
        const auto found = asked.source->withId(id, 2);
        if (found.empty())
            throw Problem(404, "no_session",
                          fmt::format("no session in the {} has the id {}",
                                      whose.is_fleet ? "fleet's journals" : "journal", inQuotes(id)));
        if (found.size() > 1)
            throw Problem(409, "not_unique",
                          fmt::format("{} is not unique: several ids begin with it, such as {} and {}",
                                      inQuotes(id), found[0].id, found[1].id));
        std::string array;
        for (const std::string& object : objectsOf(call, found.front()))
            array += (array.empty() ? "" : ",\n") + object;
        return jsonResponse(fmt::format("{{\"sessions\":[{}]{}}}", array, askedAsJson(asked)));
    });
}

Response endSession(const Call& call) {
    rejectValues(call.request);
    const std::string& id = call.request.path[1];
    admin::Outcome outcome;
    outcome.ok = call.parts.control.kill(id);
    if (!outcome.ok)
        outcome.message = fmt::format("there is no session under way with the id {}", inQuotes(id));
    logOrder(call, "kill", id, outcome);
    if (!outcome.ok) throw Problem(404, "no_session", outcome.message);
    return jsonResponse(fmt::format(R"({{"session":"{}","ended":true}})", escaped(id)));
}

}  // namespace mailgate::api
