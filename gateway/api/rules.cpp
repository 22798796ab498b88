// SPDX-License-Identifier: Apache-2.0
// Access rules: what there is, what it means, and changes, which may be rehearsed.
#include "store/backends/rules.h"
#include "gateway/answers/fleet.h"
#include "gateway/answers/numbers.h"
#include "gateway/answers/rehearsal.h"
#include "gateway/answers/rules_text.h"
#include "gateway/answers/time_text.h"
#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/api/values.h"
#include "gateway/base/clock.h"
#include "gateway/credentials/secret.h"
#include "gateway/log/escape.h"
#include "protocols/values/network_range.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/rules/import_export.h"
#include "store/rules/new_name.h"
#include "store/rules/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::api {

namespace {

using store::AccessRule;
using store::RuleStore;

constexpr std::size_t kUsualRules = 100, kMostRules = 1'000;
constexpr std::size_t kMostEntries = 1'000;  ///< of a change, in an answer
constexpr std::size_t kMostAddresses = 200;  ///< to be tested: so many of IPv6 are in a target
constexpr std::size_t kMostSubjects =
    10'000;  ///< of rules to be added: a range of addresses may be hundreds of networks

/// Changes that the fleet's database holds up, or who else changes rules, must not keep the threads from everybody else.
Turns::Turn turnToChange(const Call& call) {
    constexpr std::chrono::seconds kPatience{1};
    if (call.config->fleet.url.empty()) return call.turnAt(call.turns.changes, "changes rules");
    auto turn = call.turns.changes.enter(call.request.who, kPatience);
    if (!turn)
        throw Problem(503, "fleet_busy",
                      "other changes of the rules are waiting for the fleet's database: nothing was "
                      "changed, try again in a moment");
    return turn;
}

/// Of what reads all rules, or the trail back as far as it takes: of as many as there may be that takes a moment.
Turns::Turn turnToRead(const Call& call) {
    return call.turnAt(call.turns.brief, "reads all rules");
}

/// Of what compares them with each other: of as many that takes seconds.
Turns::Turn turnToCompare(const Call& call) {
    return call.turnAt(call.turns.lengthy, "takes long");
}

/// What a change would do, which takes as long, and much memory.
Turns::Turn turnToJudge(const Call& call) {
    return call.turnAt(call.turns.judgements, "judges a change of rules");
}

/// The store and the service for one request.
class Rules {
  public:
    explicit Rules(const Call& call)
        : call_(call),
          site_(call.parts.site(*call.config)),
          now_(unixMillis() / 1'000),
          store_(store::openSharedRules(call.config->store_url, call.config->fleet.url, call.config->name,
                                        {.use = RuleStore::Use::Amend},
                                        [log = call.parts.log](const auto& lost) {
                                            if (log != nullptr) answers::logOverruled(*log, lost);
                                        })),
          service_([this]() -> RuleStore& { return *store_; }, site_, call.request.who.name, now_) {}
    Rules(const Rules&) = delete;
    Rules& operator=(const Rules&) = delete;

    RuleStore& store() noexcept { return *store_; }
    rules::Service& service() noexcept { return service_; }
    UnixSeconds now() const noexcept { return now_; }

    /// A change in steps.
    struct Order {
        /// Of what takes long to find out, as it is in all rules or in a long list: throws Problem where nothing is to be changed, and
        /// changes nothing. Others do not wait for it, but where they change rules again and again meanwhile.
        std::function<void()> judge{};
        /// Changes what was judged: no rule has changed since, but for a dry run.
        std::function<void()> work;
        /// After it. How many sessions it has ended.
        std::function<std::optional<std::size_t>()> then{};
    };
    /// Makes a change, or, with `dry_run`, says what it would be.
    Response perform(bool dry_run, int status, const Order& order,
                     RuleStore::Rehearsal rehearsal = RuleStore::Rehearsal::Brief);
    /// Likewise, of what is not about rules that somebody has read before: the dry run's ETag says what is to become what, and with that as
    /// If-Match the change is made as it was shown or not at all. `left_open`: what the request leaves open, once it is done; it is to be
    /// the same as well.
    Response performAsShown(bool dry_run, int status, Order order,
                            const std::function<std::string()>& left_open = {},
                            RuleStore::Rehearsal rehearsal = RuleStore::Rehearsal::Brief);

    /// Throws Problem unless it is there.
    AccessRule ruleOf(const std::string& text);

  private:
    void requireSound();
    void judge(const Order& order);
    bool carryOut(const Order& order, bool others_wait);
    std::string rehearsed(const std::function<void()>& change, RuleStore::Rehearsal how);
    std::string tagOfChanges(std::int64_t end_of_trail, const std::string& left_open);

    const Call& call_;
    const rules::Site site_;
    const UnixSeconds now_;
    const std::unique_ptr<RuleStore> store_;
    rules::Service service_;

    /// What tells that rules have been changed: of what the sqlite3 shell changes, and of what a fleet brings back, the trail may have no line.
    struct State {
        std::int64_t version = 0, end_of_trail = 0;
        friend bool operator==(const State&, const State&) = default;
    };
    State state() { return {store_->version(), store_->endOfTrail()}; }
    std::optional<State> judged_at_;  ///< nothing: it has not been judged yet
};

Response Rules::perform(bool dry_run, int status, const Order& order, RuleStore::Rehearsal rehearsal) {
    constexpr int kTries = 3;
    requireSound();
    const bool is_apart = dry_run && rehearsal == RuleStore::Rehearsal::Apart;  // nobody waits for a copy
    for (int left = order.judge && !is_apart ? kTries : 0;; --left) {
        Turns::Turn turn = dry_run || left > 0 ? turnToJudge(call_) : nullptr;
        if (left > 0) judge(order);
        bool is_done = false;
        const auto change = [&] { is_done = carryOut(order, left == 0); };
        if (dry_run) {
            std::string answer = rehearsed(change, rehearsal);
            if (is_done) return jsonResponse(std::move(answer));
            continue;
        }
        turn.reset();  // who has one waits for no other
        turn = turnToChange(call_);
        change();
        if (!is_done) continue;
        const auto ended = order.then ? order.then() : std::nullopt;
        return jsonResponse(answers::lastChangeAsJson(*store_, ended), status);
    }
}

/// What is written to a damaged file, or to one that is in the place of the rules in force, is not in force, and may be lost with it; nor is
/// it shown what that would do. All of it is looked at only where the gateway cannot read it.
void Rules::requireSound() {
    constexpr int kInternal = 500;
    constexpr std::string_view kNothing =
        "nothing was changed, and the rules that were read before stay in force: ";
    if (!call_.parts.control.rulesFailed()) return;
    const Turns::Turn turn = turnToJudge(call_);
    try {
        store::requireSound(call_.config->store_url);
    } catch (const store::StoreError& error) {
        if (error.kind() != store::StoreError::Kind::Damaged) throw;
        throw Problem(kInternal, "rules_damaged",
                      fmt::format("{}{}", kNothing,
                                  call_.isToldOfErrors()
                                      ? error.what()
                                      : fmt::format("their database is damaged ({})", kToldToAdmins)));
    }
    if (call_.parts.control.status().rules > 0 && store_->find({}).found == 0)
        throw Problem(
            kInternal, "rules_replaced",
            fmt::format("{}their database was deleted or replaced, and the one in its place has none of them",
                        kNothing));
}

void Rules::judge(const Order& order) {
    judged_at_ = state();
    order.judge();
    call_.requireAsker();
}

/// All of it is changed at once, if who asks is still there once it is its turn. Where others have changed rules since it was judged, it is
/// judged anew if `others_wait` for that; else the answer is false, and nothing was changed: but of a fleet's rules, what they have changed
/// is here then.
bool Rules::carryOut(const Order& order, bool others_wait) {
    bool is_done = false;
    store_->together([&] {
        call_.requireAsker();
        const bool is_judged = judged_at_ == state();
        if (!is_judged && !others_wait) return;
        if (!is_judged && order.judge) order.judge();
        order.work();
        is_done = true;
    });
    return is_done;
}

/// With the sessions of the last week that it would concern, where there is a journal.
std::string Rules::rehearsed(const std::function<void()>& change, RuleStore::Rehearsal how) {
    constexpr std::int64_t kWeekMs = std::int64_t{7} * 24 * 60 * 60 * 1'000;
    const auto rehearsal = answers::rehearse(*store_, site_, now_, kMostEntries, change, how);
    if (!call_.config->journal.enabled) return answers::rehearsalAsJson(rehearsal, nullptr);
    try {
        const auto concerned = answers::concernedBy(
            rehearsal,
            *store::journal::openSource(call_.config->journal.url, [this] { call_.requireAsker(); }),
            unixMillis() - kWeekMs, kMostEntries);
        return answers::rehearsalAsJson(rehearsal, &concerned);
    } catch (const store::StoreError&) {
        return answers::rehearsalAsJson(rehearsal, nullptr);
    }
}

AccessRule Rules::ruleOf(const std::string& text) {
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size() && text == fmt::to_string(id)) {
        const auto selected = service_.select({.ids = {id}});
        if (!selected.rules.empty()) return selected.rules.front();
    }
    throw Problem(404, "no_rule", fmt::format("there is no rule {}", inQuotes(text)));
}

// ---- two editors do not overwrite each other

/// Of what can be edited: that a rule was hit changes nothing.
std::string etagOf(const AccessRule& rule) {
    constexpr std::size_t kLength = 32;
    const std::string line = fmt::format("{} {} {} {}", rule.id, rule.created_at, rule.created_by,
                                         store::formatRule(rule, store::NoteForm::Utf8, {}));
    return fmt::format("\"{}\"", credentials::digestOf(line).substr(0, kLength));
}

/// RFC 9110 13.1.1. The tags are compared as a whole; none of ours is weak.
bool namesEtag(std::string_view header, std::string_view etag) {
    while (!header.empty()) {
        const std::size_t end = std::min(header.find(','), header.size());
        std::string_view one = header.substr(0, end);
        while (one.starts_with(' ') || one.starts_with('\t'))
            one.remove_prefix(1);
        while (one.ends_with(' ') || one.ends_with('\t'))
            one.remove_suffix(1);
        if (one == "*" || one == etag) return true;
        header.remove_prefix(std::min(end + 1, header.size()));
    }
    return false;
}

/// Of several, whatever their order.
std::string etagOf(std::vector<AccessRule> rules) {
    constexpr std::size_t kLength = 32;
    std::ranges::sort(rules, {}, &AccessRule::id);
    std::string tags;
    for (const AccessRule& rule : rules)
        tags += etagOf(rule);
    return fmt::format("\"{}\"", credentials::digestOf(tags).substr(0, kLength));
}

void requireUnchanged(const Call& call, const AccessRule& rule) {
    if (call.request.if_match.empty())
        throw Problem(
            428, "precondition_required",
            "If-Match with the rule's ETag is needed, so that nobody's change is overwritten unseen");
    if (!namesEtag(call.request.if_match, etagOf(rule)))
        throw Problem(412, "changed_meanwhile", fmt::format("rule {} was changed meanwhile", rule.id),
                      fmt::format("\"rule\":{}", answers::ruleAsJson(rule)));
}

Response withEtag(Response response, const std::string& etag) {
    response.headers.emplace_back("ETag", etag);
    return response;
}

/// Of what has been changed since the trail ended there: of rules that were there, how they were, and of others, where they belong. What
/// becomes of them the request says, and where it is silent their set, but for `left_open`; and a time in it may be "in 7 days".
std::string Rules::tagOfChanges(std::int64_t end_of_trail, const std::string& left_open) {
    constexpr std::size_t kLength = 32;
    std::string text = left_open;
    std::set<std::string, std::less<>> sets;
    store_->forEachEntry(end_of_trail, [&](const RuleStore::AuditEntry& entry) {
        std::string line = entry.before;
        if (const auto rule = store::parseTrailRule(entry.after)) {
            sets.insert(rule->set);
            if (entry.before.empty())
                line = fmt::format("+ {} {} {}", rule->network.toString(), rule->name, rule->listener);
        }
        text += credentials::digestOf(line).substr(0, kLength);
    });
    for (const auto& [set, gives] : store_->setDefaults())
        if (sets.contains(set))
            text += credentials::digestOf(
                        fmt::format("{} {} {}", set, gives.expires_after.value_or(0), gives.note))
                        .substr(0, kLength);
    return fmt::format("\"{}\"", credentials::digestOf(text).substr(0, kLength));
}

Response Rules::performAsShown(bool dry_run, int status, Order order,
                               const std::function<std::string()>& left_open,
                               RuleStore::Rehearsal rehearsal) {
    const std::string& wanted = call_.request.if_match;
    std::string tag;
    if (dry_run || !wanted.empty())
        order.work = [&, work = std::move(order.work)] {
            const std::int64_t end = store_->endOfTrail();
            work();
            tag = tagOfChanges(end, left_open ? left_open() : "");
            if (!dry_run && !namesEtag(wanted, tag))
                throw Problem(412, "changed_meanwhile",
                              "rules that this is about were changed meanwhile: nothing was done");
        };
    Response response = perform(dry_run, status, order, rehearsal);
    return dry_run ? withEtag(std::move(response), tag) : response;
}

// ---- values

UnixSeconds expiryOf(const std::string& text) {
    const auto time = answers::parseTime(text, unixMillis(), answers::TimeMeans::Expiry, answers::Zone::Utc);
    if (const auto* error = std::get_if<answers::TimeError>(&time))
        throw invalid("expires_at", fmt::format("{} {}", inQuotes(text), error->why));
    return (std::get<std::int64_t>(time) + 999) / 1'000;
}

std::optional<std::uint32_t> limitOf(BodyValues& body, const char* name) {
    const auto number = body.number(name);
    if (!number) return std::nullopt;
    if (*number < 0 || *number > store::kMaxClientLimit)
        throw invalid(name, fmt::format("expected a number from 0 to {}", store::kMaxClientLimit));
    return static_cast<std::uint32_t>(*number);
}

/// What is not there stays; null takes away.
rules::Edit editOf(BodyValues& body) {
    rules::Edit edit;
    const auto text = [&](const char* name) -> std::optional<std::string> {
        if (!body.has(name)) return std::nullopt;
        return body.text(name).value_or("");
    };
    edit.note = text("note");
    edit.owner = text("owner");
    edit.ticket = text("ticket");
    if (body.has("expires_at")) {
        const auto expiry = body.text("expires_at");
        edit.expires_at.emplace();
        if (expiry && *expiry != "never") *edit.expires_at = expiryOf(*expiry);
    }
    if (body.has("client_sessions")) edit.sessions = limitOf(body, "client_sessions");
    if (body.has("client_rate")) edit.per_minute = limitOf(body, "client_rate");
    if (body.has("reply")) {
        const auto reply = store::ruleReplyOf(body.text("reply").value_or("default"));
        if (!reply) throw invalid("reply", "expected temporary, note, temporary,note or default");
        edit.reply = *reply;
    }
    return edit;
}

/// A network (or a range, or one with a mask, which may be several), or a name such as host:mx.example.org.
void addSubject(const std::string& text, rules::PutRequest& request) {
    if (store::isRuleName(text)) {
        auto name = store::parseNewRuleName(text);
        if (const auto* error = std::get_if<NetworkError>(&name)) throw invalid("network", error->message);
        request.names.push_back(std::get<std::string>(std::move(name)));
        return;
    }
    const auto networks = parseNetworks(text);
    if (const auto* error = std::get_if<NetworkError>(&networks)) throw invalid("network", error->message);
    for (const Network& network : std::get<std::vector<Network>>(networks))
        request.networks.push_back(network);
}

store::Verdict verdictOf(BodyValues& body) {
    const std::string verdict = body.text("verdict").value_or("");
    if (verdict != "allow" && verdict != "deny") throw invalid("verdict", "expected \"allow\" or \"deny\"");
    return verdict == "allow" ? store::Verdict::Allow : store::Verdict::Deny;
}

rules::PutRequest putRequestOf(BodyValues& body) {
    rules::PutRequest request;
    request.verdict = verdictOf(body);
    auto subjects = body.texts("networks");
    if (auto one = body.text("network")) subjects.push_back(std::move(*one));
    if (subjects.empty()) throw invalid("network", "missing: expected a network, such as \"192.0.2.0/24\"");
    for (const std::string& subject : subjects) {
        addSubject(subject, request);
        if (request.networks.size() + request.names.size() > kMostSubjects)
            throw invalid("networks", fmt::format("are more than {}: import a list of them", kMostSubjects));
    }
    request.listeners = body.texts("listeners");
    if (auto one = body.text("listener")) request.listeners.push_back(std::move(*one));
    if (auto set = body.text("set")) request.set = std::move(*set);
    request.edit = editOf(body);
    request.insist = body.flag("force");
    return request;
}

template <typename Outcome>
Outcome outcomeOf(std::variant<Outcome, rules::Refusal> answer) {
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) throw problemOf(*refusal);
    return std::get<Outcome>(std::move(answer));
}

void requireNone(const std::optional<rules::Refusal>& refusal) {
    if (refusal) throw problemOf(*refusal);
}

/// Ends the sessions that the rules deny from now on.
std::size_t cutSessions(const Call& call, Rules& rules, const rules::PutOutcome& put) {
    const std::int64_t version = rules.store().version();
    std::size_t ended = 0;
    for (const rules::Cut& cut : put.cuts) {
        admin::Cut order{cut.network, {}, version};
        if (!cut.listener.empty()) order.listeners.push_back(cut.listener);
        ended += call.parts.control.cut(order).value_or(0);
    }
    return ended;
}

std::string withoutBraces(std::string object) {
    while (object.ends_with('\n'))
        object.pop_back();
    return object.substr(1, object.size() - 2);
}

}  // namespace

// ---- looking

Response rules(const Call& call) {
    QueryValues query(call.request);
    rules::ListFilter filter;
    filter.listeners = query.texts("listener");
    filter.set = query.text("set");
    filter.note_contains = query.text("note");
    filter.expired = query.flag("expired");
    filter.unused_for = query.span("unused");
    filter.expiring_within = query.span("expiring");
    filter.overlapping = query.flag("overlapping");
    filter.shadowed = query.flag("shadowed");
    filter.covering = query.network("match");
    const std::size_t limit = query.limit(kUsualRules, kMostRules);
    const std::int64_t after = query.number("cursor").value_or(0);
    query.rejectOthers();
    if (filter.expired &&
        (filter.unused_for || filter.expiring_within || filter.overlapping || filter.shadowed))
        throw invalid("expired", "cannot be combined with unused, expiring, overlapping and shadowed");

    // Else they are counted, and no more of them read than are shown.
    const auto may_be_gone = [&](const std::string& listener) {
        return std::ranges::none_of(call.config->listeners,
                                    [&](const auto& one) { return one.name == listener; });
    };
    const bool compares = filter.overlapping || filter.shadowed;
    const bool reads_all = filter.covering || filter.set || filter.note_contains || filter.unused_for ||
                           std::ranges::any_of(filter.listeners, may_be_gone);
    const auto turn = compares ? turnToCompare(call) : reads_all ? turnToRead(call) : nullptr;
    Rules access(call);
    if (access.service().unknownSet(filter.set))
        throw Problem(404, "no_set", fmt::format("no set is named {}", inQuotes(*filter.set)));
    if (const auto unknown = access.service().unknownToRules(filter.listeners))
        throw problemOf(rules::Refusal(*unknown));
    auto listed = access.service().list(filter, {after, limit + 1, call.parts.most_compared});
    if (listed.too_many > 0)
        throw Problem(
            409, "too_many",
            fmt::format("{} rules are in force, and no more than {} are compared here: mailgate access "
                        "list {} compares them all",
                        answers::grouped(listed.too_many), answers::grouped(call.parts.most_compared),
                        filter.shadowed ? "--shadowed" : "--overlapping"));
    auto& list = listed.rules;
    const bool is_more = list.size() > limit;
    if (is_more) list.resize(limit);
    const std::int64_t version = access.store().version();
    return withEtag(
        jsonResponse(fmt::format("{{\"version\":{},\"found\":{},\"next\":{},{}}}", version, listed.found,
                                 is_more ? fmt::format("\"{}\"", list.back().id) : "null",
                                 withoutBraces(answers::rulesAsJson(list, access.service().names())))),
        fmt::format("\"v{}\"", version));
}

Response rule(const Call& call) {
    QueryValues(call.request).rejectOthers();
    Rules access(call);
    const AccessRule found = access.ruleOf(call.request.path[1]);
    return withEtag(jsonResponse(answers::ruleAsJson(found, access.service().names())), etagOf(found));
}

Response testRules(const Call& call) {
    QueryValues query(call.request);
    std::vector<AddressBytes> clients;
    for (const std::string& text : query.texts("address")) {
        const Network network = networkValue("address", text);
        if (network.prefix_length != 128)
            throw invalid("address", fmt::format("{} is a network", inQuotes(text)));
        clients.push_back(network.address);
    }
    if (clients.empty()) throw invalid("address", "missing: expected an address");
    if (clients.size() > kMostAddresses) throw invalid("address", "is given too often");
    const auto listeners = query.texts("listener");
    query.rejectOthers();
    const auto turn = turnToRead(call);
    Rules access(call);
    if (const auto unknown = access.service().unknown(listeners)) throw problemOf(rules::Refusal(*unknown));
    return jsonResponse(answers::decisionsAsJson(access.service().test(clients, listeners), access.now(),
                                                 access.service().names()));
}

Response ruleHistory(const Call& call) {
    QueryValues query(call.request);
    RuleStore::WantedEntries wanted;
    if (const auto text = query.text("network"); text && store::isRuleName(*text)) {
        auto name = store::parseRuleName(*text);
        if (const auto* error = std::get_if<NetworkError>(&name)) throw invalid("network", error->message);
        wanted.names.push_back(std::get<std::string>(std::move(name)));
    } else {
        wanted.network = query.network("network");
    }
    const bool searches = wanted.network || !wanted.names.empty();
    const std::size_t limit = query.limit(kUsualRules, kMostRules);
    const auto before = query.number("cursor"), change = query.number("change");
    query.rejectOthers();
    const auto turn = searches || change ? turnToRead(call) : nullptr;
    wanted.change = change;
    wanted.before = before;
    wanted.limit = limit + 1;
    auto entries = Rules(call).store().newestEntries(wanted);
    const bool is_more = entries.size() > limit;
    if (is_more) entries.resize(limit);
    return jsonResponse(fmt::format("{{\"next\":{},{}}}",
                                    is_more ? fmt::format("\"{}\"", entries.back().id) : "null",
                                    withoutBraces(answers::historyAsJson(entries))));
}

Response ruleSets(const Call& call) {
    QueryValues(call.request).rejectOthers();
    const auto turn = turnToRead(call);
    return jsonResponse(answers::setsAsJson(Rules(call).service().sets()));
}

// ---- changing

Response addRules(const Call& call) {
    BodyValues body(call.request);
    const rules::PutRequest request = putRequestOf(body);
    const bool dry_run = body.flag("dry_run"), cut = body.flag("cut");
    body.rejectOthers();
    if (cut && !request.names.empty())
        throw invalid("cut", "is for networks: what a name stands for may change");
    Rules access(call);
    rules::PutOutcome put;
    const auto judge = [&] { requireNone(access.service().judge(request)); };
    const auto work = [&] { put = access.service().putJudged(request); };
    const auto then = [&]() -> std::optional<std::size_t> {
        return cut ? std::optional(cutSessions(call, access, put)) : std::nullopt;
    };
    return access.performAsShown(dry_run, 201, {.judge = judge, .work = work, .then = then});
}

Response editRule(const Call& call) {
    BodyValues body(call.request);
    rules::PutRequest request;
    request.edit = editOf(body);
    request.insist = body.flag("force");
    const bool dry_run = body.flag("dry_run");
    body.rejectOthers();
    Rules access(call);
    std::string etag;
    const auto judge = [&] {
        const AccessRule present = access.ruleOf(call.request.path[1]);
        requireUnchanged(call, present);
        if (!store::isLive(present, access.now()))
            throw Problem(409, "expired", "the rule has expired: add it anew");
        request.verdict = present.verdict;
        request.set = present.set;
        request.listeners.assign(present.listener.empty() ? 0 : 1, present.listener);
        request.networks.assign(present.name.empty() ? 1 : 0, present.network);
        request.names.assign(present.name.empty() ? 0 : 1, present.name);
        requireNone(access.service().judge(request));
    };
    const auto work = [&] {
        // A program's rule has another number when a person has changed it.
        const auto put = access.service().putJudged(request);
        etag = etagOf(access.ruleOf(fmt::to_string(put.rules.front().rule.id)));
    };
    Response response = access.perform(dry_run, 200, {.judge = judge, .work = work});
    return dry_run ? response : withEtag(std::move(response), etag);
}

Response removeRule(const Call& call) {
    QueryValues query(call.request);
    const bool dry_run = query.flag("dry_run");
    query.rejectOthers();
    rejectMembers(call.request);
    Rules access(call);
    const auto work = [&] {
        const AccessRule present = access.ruleOf(call.request.path[1]);
        requireUnchanged(call, present);
        access.service().remove({.rules = {present}});
    };
    return access.perform(dry_run, 200, {.work = work});
}

/// What was rehearsed, and nothing else: the rules as they were then, all of them.
Response removeRules(const Call& call) {
    BodyValues body(call.request);
    std::vector<std::int64_t> ids = body.numbers("ids");
    const bool dry_run = body.flag("dry_run");
    body.rejectOthers();
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (ids.empty()) throw invalid("ids", "missing: expected the numbers of rules");
    if (ids.size() > kMostRules) throw invalid("ids", fmt::format("are more than {}", kMostRules));
    if (!dry_run && call.request.if_match.empty())
        throw Problem(
            428, "precondition_required",
            "If-Match with the ETag that \"dry_run\" has answered is needed, so that nobody's change "
            "is lost unseen");
    Rules access(call);
    std::string etag;
    const auto work = [&] {
        const auto selected = access.service().select({.ids = ids});
        if (selected.rules.size() != ids.size())
            throw Problem(404, "no_rule", "some of the rules are not there any more: nothing was changed");
        etag = etagOf(selected.rules);
        if (!dry_run && !namesEtag(call.request.if_match, etag))
            throw Problem(412, "changed_meanwhile",
                          "some of the rules were changed meanwhile: nothing was removed");
        access.service().remove(selected);
    };
    Response response = access.perform(dry_run, 200, {.work = work});
    return dry_run ? withEtag(std::move(response), etag) : response;
}

Response importRules(const Call& call) {
    BodyValues body(call.request);
    const auto given = body.text("text");
    if (!given) throw invalid("text", "missing: expected the list, which may be empty");
    const std::string& text = *given;
    store::ImportOptions options;
    const std::string format = body.text("format").value_or("auto");
    const auto known = store::importFormatOf(format);
    if (!known) throw invalid("format", fmt::format("{} is no format of lists", inQuotes(format)));
    options.format = *known;
    options.set = body.text("set");
    options.local_time = [](std::string_view time) {
        return answers::calendarTime(time, answers::Zone::Utc);
    };
    if (body.has("verdict") && !body.isNull("verdict")) options.verdict = verdictOf(body);
    const bool replace = body.flag("replace"), all_sets = body.flag("all_sets"), insist = body.flag("force");
    const bool dry_run = body.flag("dry_run");
    body.rejectOthers();
    if (all_sets && (options.set || !replace))
        throw invalid("all_sets", "is for \"replace\" without \"set\"");
    const rules::ImportRequest request{
        .text = text, .options = options, .replace = replace, .all_sets = all_sets, .insist = insist};
    Rules access(call);
    std::optional<rules::Service::JudgedImport> list;
    const auto judge = [&] {
        list.reset();  // two of them would need twice the memory
        list = outcomeOf(access.service().judge(request));
    };
    const auto work = [&] { access.service().importJudged(request, *std::exchange(list, std::nullopt)); };
    return access.performAsShown(dry_run, 200, {.judge = judge, .work = work}, {},
                                 RuleStore::Rehearsal::Apart);
}

namespace {

/// Throws Problem unless it is. `as_shown`: it could be done when it was shown, so that what is in its way has come since.
void requireUndone(const Call& call, const RuleStore::UndoResult& result, bool by_number, bool as_shown) {
    using Kind = RuleStore::UndoResult::Kind;
    const auto since_shown = [&](const Problem& problem) {
        if (!as_shown) return problem;
        return Problem(412, "changed_meanwhile",
                       fmt::format("change {} was not undone: rules that it is about were changed meanwhile",
                                   result.change),
                       problem.members);
    };
    switch (result.kind) {
        case Kind::Done:
            return;
        case Kind::NotFound:
            throw Problem(404, "no_change",
                          by_number
                              ? fmt::format("there is no change {}", result.change)
                              : fmt::format("{} has not changed anything", inQuotes(call.request.who.name)));
        case Kind::Unreadable:
            throw Problem(
                409, "cannot_be_undone",
                fmt::format("change {} cannot be undone: an earlier version of mailgate made it, it "
                            "came by joining a fleet or before that, or it changed no rules",
                            result.change));
        case Kind::Undone: {
            const RuleStore::AuditEntry& last = result.entries.back();
            throw Problem(409, "undone_already",
                          fmt::format("change {} has been undone already, by {}, at {} (change {})",
                                      result.change, inQuotes(last.who), formatUtc(last.at), last.change),
                          withoutBraces(answers::historyAsJson(result.entries)));
        }
        case Kind::LaterChanges:
            throw since_shown(
                {409, "later_changes",
                 fmt::format("change {} was not undone: undo the later changes first", result.change),
                 withoutBraces(answers::historyAsJson(result.entries))});
        case Kind::Renumbered:
            throw since_shown(
                {409, "renumbered",
                 fmt::format("change {} was not undone: another rule has, or had, the number of one of its "
                             "rules: remove that by its network, or make it again",
                             result.change),
                 withoutBraces(answers::historyAsJson(result.entries))});
        case Kind::InTheWay:
            throw since_shown(problemOf(rules::Refusal(rules::InTheWay{result.in_the_way})));
    }
}

}  // namespace

Response undoChange(const Call& call) {
    BodyValues body(call.request);
    const auto named = body.number("change");
    const bool insist = body.flag("force"), dry_run = body.flag("dry_run");
    body.rejectOthers();
    Rules access(call);
    const bool as_shown = !dry_run && !call.request.if_match.empty();
    std::int64_t number = 0;  // of the last one, perhaps: it says what comes back
    const auto judge = [&] {
        number = named ? *named : access.service().lastChange();
        requireNone(access.service().judgeUndo(number, insist));
    };
    const auto work = [&] {
        requireUndone(call, access.service().undoJudged(number), named.has_value(), as_shown);
    };
    return access.performAsShown(dry_run, 200, {.judge = judge, .work = work},
                                 [&] { return fmt::to_string(number); });
}

}  // namespace mailgate::api
