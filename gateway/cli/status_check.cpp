// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/status_check.h"

#include "gateway/answers/rules_text.h"
#include "gateway/base/clock.h"
#include "gateway/cli/fleet_text.h"
#include "gateway/cli/json_fields.h"
#include "gateway/cli/table.h"
#include "gateway/cli/time_text.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

struct Finding {
    CheckState state;
    std::string text;
};

std::optional<std::optional<unsigned>> parsePart(std::string_view text) {
    if (text.empty()) return std::optional<unsigned>();
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

CheckState atLeast(double value, const Threshold& threshold) {
    if (threshold.critical && value >= *threshold.critical) return CheckState::Critical;
    return threshold.warning && value >= *threshold.warning ? CheckState::Warning : CheckState::Ok;
}

CheckState atMost(std::int64_t value, const Threshold& threshold) {
    const auto reached = [value](const std::optional<unsigned>& limit) {
        return limit && value <= static_cast<std::int64_t>(*limit);
    };
    if (reached(threshold.critical)) return CheckState::Critical;
    return reached(threshold.warning) ? CheckState::Warning : CheckState::Ok;
}

/// "80 % of 50000" in the unit of the value, as perfdata has its limits.
std::string share(const std::optional<unsigned>& percent, std::uint64_t whole) {
    return percent ? fmt::to_string(whole / 100 * *percent + whole % 100 * *percent / 100) : "";
}

std::string waiting(std::uint64_t records) {
    return fmt::format("{} {}", counted(records, "record"), records == 1 ? "waits" : "wait");
}

/// In the largest unit of which there are two.
std::string roughly(std::int64_t seconds) {
    for (const std::int64_t unit : {86'400, 3'600, 60})
        if (seconds >= 2 * unit) return answers::durationText(seconds - seconds % unit);
    return answers::durationText(seconds);
}

/// As perfdata has them.
std::string seconds(std::string_view name, std::int64_t value, const Threshold& limit) {
    const auto text = [](const std::optional<unsigned>& part) { return part ? fmt::to_string(*part) : ""; };
    return fmt::format("{}={}s;{};{};0", name, value, text(limit.warning), text(limit.critical));
}

std::string_view wordFor(CheckState state) {
    constexpr std::string_view kWords[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    return kWords[static_cast<std::size_t>(state)];
}

/// What follows a bar is for programs, and of a semicolon Nagios makes a colon. Several lines, as of a configuration's errors, are one.
std::string forNagios(std::string_view text) {
    std::string line;
    for (std::size_t end = 0; !text.empty(); text.remove_prefix(std::min(end + 1, text.size()))) {
        end = std::min(text.find('\n'), text.size());
        line += (line.empty() ? "" : ", ") + answers::plainLine(text.substr(0, end));
    }
    std::replace(line.begin(), line.end(), '|', '/');
    std::replace(line.begin(), line.end(), ';', ',');
    return line;
}

/// "MAILGATE WARNING - server down, 12 of 100 sessions | ...": the worst first; `sound`: what is said where there is nothing.
CheckResult resultOf(std::vector<Finding> findings, const std::string& sound, std::string_view performance) {
    std::stable_sort(findings.begin(), findings.end(),
                     [](const Finding& a, const Finding& b) { return a.state > b.state; });
    CheckResult result;
    if (!findings.empty()) result.state = findings.front().state;
    std::string text;
    for (const Finding& finding : findings)
        text += (text.empty() ? "" : ", ") + finding.text;
    if (text.empty()) text = sound;
    result.line = fmt::format("MAILGATE {} - {} |{}", wordFor(result.state), forNagios(text), performance);
    return result;
}

class Check {
  public:
    Check(const Object& status, const CheckLimits& limits) : status_(status), limits_(limits) {}

    CheckResult run() {
        checkServers();
        checkDrained();
        checkListeners();
        checkGateway();
        checkSessions();
        checkJournal();
        if (const std::string failure = textOf(status_, "log_failure"); !failure.empty())
            found(CheckState::Warning, "the log " + failure);
        checkCertificates();
        const std::string drained = drained_ == 0 ? "" : fmt::format(", {} drained", drained_);
        return resultOf(std::move(findings_),
                        fmt::format("{}, {} of {} servers up{}, {} sessions", listeners_, up_, servers_,
                                    drained, grouped(numberOf(status_, "live"))),
                        performance_);
    }

  private:
    void found(CheckState state, std::string text) {
        if (state != CheckState::Ok) findings_.push_back({state, std::move(text)});
    }
    void measured(std::string_view sample) { performance_ += fmt::format(" {}", sample); }

    void checkServers() {
        forEachOf(status_, "servers", [&](const Object& server) {
            ++servers_;
            if (textOf(server, "admin_state") == "drain") ++drained_;
            if (isSet(server, "healthy")) {
                ++up_;
                return;
            }
            const std::string reason = textOf(server, "reason");
            found(CheckState::Warning,
                  fmt::format("server {}/{} is down{}{}", textOf(server, "upstream"),
                              textOf(server, "server"), reason.empty() ? "" : ": ", reason));
        });
        measured(fmt::format("servers_down={};;;0;{}", servers_ - up_, servers_));
        measured(fmt::format("servers_drained={};;;0;{}", drained_, servers_));
    }

    /// One that was forgotten: how many there are is in order.
    void checkDrained() {
        std::set<std::string> seen;  // a server may have several addresses
        std::int64_t longest = 0;
        forEachOf(status_, "servers", [&](const Object& server) {
            const std::string name = textOf(server, "upstream") + "/" + textOf(server, "server");
            const auto since = parseUtc(textOf(server, "drained_since"));
            if (!since || !seen.insert(name).second) return;
            const std::int64_t seconds = std::max<std::int64_t>(unixMillis() / 1'000 - *since, 0);
            longest = std::max(longest, seconds);
            if (!limits_.drained || seconds < *limits_.drained) return;
            const std::string by = textOf(server, "drained_by");
            found(CheckState::Warning, fmt::format("server {} has been drained for {}{}{}", name,
                                                   roughly(seconds), by.empty() ? "" : " by ", by));
        });
        measured(fmt::format("drained_longest={}s;{};;0", longest,
                             limits_.drained ? fmt::to_string(*limits_.drained) : ""));
    }

    void checkListeners() {
        std::size_t count = 0;
        forEachOf(status_, "listeners", [&](const Object& listener) {
            ++count;
            const std::string name = textOf(listener, "name");
            if (!listener.optValue("available", true))
                found(CheckState::Critical, fmt::format("listener {} has no server", name));
            if (isSet(listener, "closed"))
                found(CheckState::Warning,
                      fmt::format("listener {} refuses every client: the access rules let in nobody", name));
            if (isSet(listener, "paused"))
                found(CheckState::Critical, fmt::format("listener {} accepts no connections", name));
        });
        listeners_ = fmt::format("{} listener{}", count, count == 1 ? "" : "s");
    }

    void checkGateway() {
        if (isSet(status_, "draining")) found(CheckState::Warning, "the gateway is stopping");
        if (isSet(status_, "last_reload_failed")) found(CheckState::Warning, "the last reload failed");
        if (const Object::Ptr change = status_.getObject("config_change"))
            if (const std::string error = firstError(*change); !error.empty())
                found(CheckState::Warning,
                      fmt::format("a reload would fail, and perhaps a restart: {}", error));
        forEachOf(status_, "tls_files", [&](const Object& files) {
            if (const std::string failure = textOf(files, "failure"); !failure.empty())
                found(CheckState::Warning, fmt::format("the changed TLS files of {} are not in use: {}",
                                                       userOfTls(files), failure));
        });
        const Object::Ptr rules = status_.getObject("rules");
        if (rules && isSet(*rules, "store_failed"))
            found(CheckState::Critical,
                  "the access rules cannot be read, those read before stay in force (the log's access.failed "
                  "says why)");
        if (rules) checkRules(*rules);
        const Object::Ptr fleet = status_.getObject("fleet");
        if (fleet && !isSet(*fleet, "connected") && !textOf(*fleet, "failure").empty())
            found(CheckState::Warning,
                  fmt::format("the fleet's rules may be others by now, {} s old: {}",
                              static_cast<std::int64_t>(fleet->optValue<double>("lag_seconds", 0)),
                              textOf(*fleet, "failure")));
        for (std::string& trouble : standingTroubles(fleet, Times(Zone::Local)))
            found(CheckState::Warning, std::move(trouble));
        if (const Object::Ptr journal = fleet ? fleet->getObject("journal") : nullptr)
            checkFleetJournal(*journal);
        if (rules) measured(fmt::format("rules={};;;0", numberOf(*rules, "count")));
        if (const Array::Ptr alarms = status_.getArray("address_alarms"))
            for (unsigned i = 0; i < alarms->size(); ++i)
                found(CheckState::Warning, fmt::format("listener {} may have lost its clients' addresses",
                                                       alarms->getElement<std::string>(i)));
    }

    void checkRules(const Object& rules) {
        const Object::Ptr idle = rules.getObject("without_listener");
        for (const auto& name : idle ? idle->getNames() : Object::NameList()) {
            const std::uint64_t count = numberOf(*idle, name);
            found(CheckState::Warning,
                  fmt::format("{} {} listener {}, which there is not", counted(count, "access rule"),
                              count == 1 ? "names" : "name", name));
        }
    }

    void checkFleetJournal(const Object& journal) {
        const auto lag = static_cast<std::int64_t>(journal.optValue<double>("lag_seconds", 0));
        measured(seconds("fleet_journal_lag", lag, limits_.journal_lag));
        const std::string failure = textOf(journal, "failure");
        found(atLeast(static_cast<double>(lag), limits_.journal_lag),
              fmt::format("the journal has not been whole in the fleet's database for {} s, {} behind{}{}",
                          lag, counted(numberOf(journal, "behind"), "record"), failure.empty() ? "" : ": ",
                          failure));
    }

    void checkSessions() {
        const std::uint64_t live = numberOf(status_, "live"), most = numberOf(status_, "max_sessions");
        measured(fmt::format("sessions={};{};{};0;{}", live, share(limits_.sessions.warning, most),
                             share(limits_.sessions.critical, most), most));
        const double percent = most == 0 ? 0 : 100 * static_cast<double>(live) / static_cast<double>(most);
        found(atLeast(percent, limits_.sessions),
              fmt::format("{} of {} sessions", grouped(live), grouped(most)));
    }

    void checkJournal() {
        const Object::Ptr journal = status_.getObject("journal");
        const std::uint64_t most = journal ? numberOf(*journal, "max_bytes") : 0;
        if (most == 0) return;
        if (const std::string failure = textOf(*journal, "failure"); !failure.empty())
            found(CheckState::Warning, fmt::format("the journal cannot be written, {} in memory: {}",
                                                   waiting(numberOf(*journal, "queued")), failure));
        const std::uint64_t bytes = numberOf(*journal, "bytes");
        measured(fmt::format("journal={}B;{};{};0;{}", bytes, share(limits_.journal.warning, most),
                             share(limits_.journal.critical, most), most));
        measured(fmt::format("journal_lost={}c", numberOf(*journal, "lost")));
        const double percent = 100 * static_cast<double>(bytes) / static_cast<double>(most);
        found(atLeast(percent, limits_.journal),
              fmt::format("the journal has {:.0f} % of its max_size: old sessions are deleted for room",
                          percent));
    }

    void checkCertificates() {
        std::optional<std::int64_t> least;
        const auto add = [&](const Object& owner, const char* key, const std::string& whose) {
            if (owner.get(key).isEmpty()) return;
            const auto days = owner.getValue<std::int64_t>(key);
            least = least ? std::min(*least, days) : days;
            found(atMost(days, limits_.certificates),
                  days < 0 ? fmt::format("the certificate of {} has expired", whose)
                           : fmt::format("the certificate of {} expires in {} day{}", whose, days,
                                         days == 1 ? "" : "s"));
        };
        forEachOf(status_, "certificates", [&](const Object& certificate) {
            add(certificate, "days_left", "listener " + textOf(certificate, "listener"));
        });
        forEachOf(status_, "servers", [&](const Object& server) {
            add(server, "certificate_days_left",
                fmt::format("server {}/{}", textOf(server, "upstream"), textOf(server, "server")));
        });
        const auto limit = [](const std::optional<unsigned>& days) {
            return days ? fmt::format("{}:", *days + 1) : "";  // at least that many are in order
        };
        if (least)
            measured(fmt::format("certificate_days={};{};{}", *least, limit(limits_.certificates.warning),
                                 limit(limits_.certificates.critical)));
    }

    const Object& status_;
    const CheckLimits& limits_;
    std::vector<Finding> findings_;
    std::string performance_, listeners_;
    std::size_t servers_ = 0, up_ = 0, drained_ = 0;
};

}  // namespace

std::optional<Threshold> parseThreshold(std::string_view text) {
    const std::size_t comma = text.find(',');
    const auto warning = parsePart(text.substr(0, comma));
    const auto critical = parsePart(comma == std::string_view::npos ? "" : text.substr(comma + 1));
    if (!warning || !critical) return std::nullopt;
    return Threshold{*warning, *critical};
}

std::string userOfTls(const Object& files) {
    const std::string kind = textOf(files, "used_by");
    return kind == "console" ? "the console" : fmt::format("{} {}", kind, textOf(files, "name"));
}

std::string firstError(const Object& change) {
    const std::string errors = textOf(change, "refused");
    return errors.substr(0, errors.find('\n'));
}

CheckResult checkStatus(const Object& status, const CheckLimits& limits) {
    return Check(status, limits).run();
}

CheckResult checkFleet(const answers::FleetView& view, std::string_view unanswered,
                       const FleetLimits& limits) {
    if (!unanswered.empty()) return checkFailed(CheckState::Critical, unanswered);
    std::vector<Finding> findings;
    const auto found = [&](CheckState state, std::string text) {
        if (state != CheckState::Ok) findings.push_back({state, std::move(text)});
    };
    std::int64_t most_silent = 0, longest_lag = 0, latest_journal = 0;
    for (const store::Member& member : view.members) {
        most_silent = std::max(most_silent, member.silent_secs);
        longest_lag = std::max(longest_lag, member.behind_secs);
        found(atLeast(static_cast<double>(member.silent_secs), limits.silent),
              fmt::format("{} was last heard of {} s ago", member.name, member.silent_secs));
        found(atLeast(static_cast<double>(member.behind_secs), limits.lag),
              fmt::format(
                  "{} has not applied {} of the rules for {} s", member.name,
                  counted(static_cast<std::size_t>(answers::changesBehind(view, member.position)), "change"),
                  member.behind_secs));
        const std::int64_t journal = member.journal_secs.value_or(0);
        latest_journal = std::max(latest_journal, journal);
        found(atLeast(static_cast<double>(journal), limits.journal_lag),
              fmt::format("the journal of {} has not come for {} s", member.name, journal));
        if (member.damaged)
            found(CheckState::Warning,
                  fmt::format("the database has a row of {} that no gateway writes", member.name));
        if (answers::changesAhead(view, member.position) > 0)
            found(CheckState::Critical,
                  fmt::format("{} has a version of the rules that the database does not have", member.name));
    }
    if (!view.failure.empty())
        found(view.here ? CheckState::Critical : CheckState::Warning,
              fmt::format("{}: {}", view.self, view.failure));
    if (view.differences && view.differences->changed > 0)
        found(CheckState::Warning, fmt::format("{} of the fleet's {} not on {} as the fleet has {}",
                                               counted(view.differences->changed, "rule"),
                                               view.differences->changed == 1 ? "is" : "are", view.self,
                                               view.differences->changed == 1 ? "it" : "them"));
    return resultOf(
        std::move(findings),
        fmt::format("{}, rules version {}", counted(view.members.size(), "gateway"), view.fleet.version),
        fmt::format(" gateways={};;;0 {} {} {}", view.members.size(),
                    seconds("silent", most_silent, limits.silent), seconds("lag", longest_lag, limits.lag),
                    seconds("journal_lag", latest_journal, limits.journal_lag)));
}

CheckResult checkFailed(CheckState state, std::string_view why) {
    return {state, fmt::format("MAILGATE {} - {}", wordFor(state), forNagios(why))};
}

}  // namespace mailgate::cli
