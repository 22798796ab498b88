// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/acting_user.h"
#include "gateway/admin/client.h"
#include "gateway/base/clock.h"
#include "gateway/base/descriptor.h"
#include "gateway/cli/access_rehearsal.h"
#include "gateway/cli/access_text.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/interrupts.h"
#include "gateway/cli/journal_question.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/screen_text.h"
#include "gateway/cli/site.h"
#include "gateway/cli/table.h"
#include "gateway/daemon/preflight.h"
#include "gateway/daemon/site.h"
#include "gateway/log/escape.h"
#include "gateway/names/dns.h"
#include "gateway/names/keeper.h"
#include "protocols/dialogue/refusal_wording.h"
#include "protocols/values/network_range.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/sharing.h"
#include "store/rules/import_export.h"
#include "store/rules/new_name.h"
#include "store/rules/service.h"
#include "store/rules/upkeep.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <system_error>
#include <utility>

namespace mailgate::cli {

namespace {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

constexpr std::size_t kMaxShown = 100;  ///< of rules that go

/// What the command line may hold; each subcommand fills its part.
struct Arguments {
    std::vector<std::string> networks;
    std::vector<std::string> listeners;
    // Absent: not given, and what a rule has stays.
    std::optional<std::string> expires;
    std::optional<std::string> note;
    std::optional<std::string> client_sessions;
    std::optional<std::string> client_rate;
    std::optional<std::string> program;
    std::optional<std::string> set;
    std::optional<std::string> owner;
    std::optional<std::string> ticket;
    std::optional<std::string> reply;
    std::optional<std::string> note_contains;
    std::optional<std::string> unused, expiring, expired_for;
    std::optional<std::string> since, until, by;
    std::optional<std::string> inside;
    std::optional<std::size_t> limit;
    std::string name;
    std::string file;
    std::string format;
    std::string verdict;
    std::vector<std::string> ignored_columns;
    std::string old_name, new_name;
    bool force = false;
    bool cut = false;
    bool replace = false;
    bool all_sets = false;
    bool yes = false;
    bool quiet = false;  ///< of what goes on as before
    bool dry_run = false;
    bool compares = false;  ///< a list with what is there
    std::optional<std::int64_t> change;
    bool here = false;  ///< of a fleet's gateway: rules of its own
    bool expired = false;
    bool overlapping = false;
    bool shadowed = false;
    bool json = false;
    ViewOptions view;
};

constexpr const char* kInterruptedLater =
    "interrupted when the change had been made (mailgate access history shows it)";

[[noreturn]] void usageError(std::string message) {
    throw CLI::ValidationError(std::move(message));
}

/// "auto, mailgate, plain, ..."
std::string importFormatNames() {
    std::string names;
    for (const store::ImportFormat format : store::kImportFormats)
        names.append(names.empty() ? "" : ", ").append(toString(format));
    return names;
}

/// What is going on in that step of an import.
std::string_view wordsOf(store::Progress::Step step) {
    using Step = store::Progress::Step;
    switch (step) {
        case Step::Read:
            return "reading lines";
        case Step::Match:
            return "comparing lines";
        case Step::Judge:
            return "judging rules";
        case Step::Compare:
            return "comparing rules";
        case Step::Sort:
            return "sorting rules";
        case Step::Write:
            return "writing rules";
        case Step::Finish:
            break;
    }
    return "finishing";
}

UnixSeconds now() {
    return std::time(nullptr);
}

/// What may have been meant by a word that is no network; empty: nothing is known of that.
std::string hintOn(const std::string& text) {
    if (const std::string range = rangeMeant(text); !range.empty())
        return fmt::format(" (did you mean {}?)", range);
    return store::nameMeant(text);
}

/// Ranges and masks are several networks, perhaps.
std::vector<Network> networksIn(const std::string& text) {
    if (text.find_first_of(", \t\n") != std::string::npos)
        usageError(fmt::format("\"{}\": each network is a word of its own, without commas", printable(text)));
    auto parsed = parseNetworks(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) usageError(error->message + hintOn(text));
    return std::move(std::get<std::vector<Network>>(parsed));
}

Network parsedNetwork(const std::string& text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) usageError(std::move(error->message));
    return std::get<Network>(parsed);
}

using NameParser = std::variant<std::string, NetworkError>(std::string_view text);

std::string parsedName(const std::string& text, NameParser parse) {
    auto parsed = parse(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) usageError(std::move(error->message));
    return std::move(std::get<std::string>(parsed));
}

/// 255.255.255.0, which is no client's address.
bool isMask(const std::string& text) {
    constexpr std::string_view kBegins = "255.";
    const auto mask = IpAddress::parseV4(text);
    return mask && text.starts_with(kBegins);
}

/// For each text what it is goes to the one or the other.
void parseSubjects(const std::vector<std::string>& texts, NameParser parse_name,
                   std::vector<Network>& networks, std::vector<std::string>& names) {
    for (std::size_t at = 0; at < texts.size(); ++at) {
        const std::string& text = texts[at];
        if (store::isRuleName(text)) {
            names.push_back(parsedName(text, parse_name));
            continue;
        }
        if (at > 0 && isMask(text))
            usageError(fmt::format("{0} is a mask: did you mean {1}/{0}, with a slash?", text,
                                   printable(texts[at - 1])));
        for (const Network& network : networksIn(text))
            networks.push_back(network);
    }
}

/// "none": what the listener says.
std::optional<std::uint32_t> parsedLimit(std::string_view option, const std::string& text) {
    if (text == "none") return std::nullopt;
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number > store::kMaxClientLimit)
        usageError(fmt::format("{}: \"{}\" is neither \"none\" nor a number from 0 to {}", option,
                               printable(text), store::kMaxClientLimit));
    return number;
}

store::RuleReply parsedReply(const std::string& text) {
    const auto reply = store::ruleReplyOf(text);
    if (!reply)
        usageError(fmt::format("--reply: \"{}\" is not one of temporary, note, temporary,note and default",
                               printable(text)));
    return *reply;
}

/// "never": for good.
std::optional<UnixSeconds> parsedExpiry(const std::string& text) {
    if (text == "never") return std::nullopt;
    const std::int64_t time = timeArgument("--expires", text, TimeMeans::Expiry, Zone::Local);
    if (time <= unixMillis()) usageError(fmt::format("--expires: {} is in the past", printable(text)));
    return (time + 999) / 1'000;  // not earlier than was asked for
}

/// "never": no default.
std::optional<std::int64_t> parsedLifetime(const std::string& text) {
    if (text == "never") return std::nullopt;
    const std::int64_t seconds = spanArgument("--expires", text);
    if (seconds == 0) usageError("--expires: the duration is 0");
    return seconds;
}

std::optional<std::int64_t> parsedSpan(const std::string& option, const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    return spanArgument(option, *text);
}

/// A rule is named by its number or by its network.
void addNamed(const std::string& text, rules::RuleSelection& selection) {
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size() && id > 0)
        selection.ids.push_back(id);
    else
        parseSubjects({text}, store::parseRuleName, selection.networks, selection.names);
}

rules::RuleSelection selectionOf(const Arguments& arguments) {
    rules::RuleSelection selection{
        .listeners = arguments.listeners, .set = arguments.set, .note_contains = arguments.note_contains};
    selection.expired_for = parsedSpan("--expired-for", arguments.expired_for);
    for (const std::string& text : arguments.networks)
        addNamed(text, selection);
    return selection;
}

/// Rules of one network may be in several sets, of which one was meant, or all.
bool inSeveralSets(std::span<const AccessRule> rules) {
    return std::any_of(rules.begin(), rules.end(),
                       [&](const AccessRule& rule) { return rule.set != rules.front().set; });
}

/// Asks at a terminal; elsewhere the answer is no.
bool confirmed(const std::string& question) {
    if (::isatty(STDIN_FILENO) == 0) return false;
    fmt::print(stderr, "{} [y/N] ", question);
    const int answer = std::getchar();
    return answer == 'y' || answer == 'Y';
}

rules::Edit editOf(const Arguments& arguments) {
    rules::Edit edit{.note = arguments.note};
    edit.owner = arguments.owner;
    edit.ticket = arguments.ticket;
    if (arguments.reply) edit.reply = parsedReply(*arguments.reply);
    if (arguments.expires) edit.expires_at = parsedExpiry(*arguments.expires);
    if (arguments.client_sessions)
        edit.sessions = parsedLimit("--client-sessions", *arguments.client_sessions);
    if (arguments.client_rate) edit.per_minute = parsedLimit("--client-rate", *arguments.client_rate);
    return edit;
}

/// The user that the gateway is to run as, else who has the folder.
std::pair<uid_t, gid_t> ownerOf(const Config& config, const std::filesystem::path& folder) {
    if (!config.user.empty())
        if (const passwd* user = ::getpwnam(config.user.c_str())) return {user->pw_uid, user->pw_gid};
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) return {0, 0};
    return {status.st_uid, status.st_gid};
}

/// A database that root makes before the first start has to be the gateway's, which could not open it otherwise. SQLite
/// gives the files beside it to whom the database belongs.
void makeOwnedDatabase(const Config& config) {
    if (::geteuid() != 0) return;
    const std::filesystem::path path = config.store_url.substr(config.store_url.find(':') + 1);
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640));
    if (file.get() < 0) return;  // it is there, or the store says why it cannot be made
    const auto [user, group] = ownerOf(config, path.parent_path());
    if (::fchown(file.get(), user, group) != 0)
        fmt::print(stderr, "warning: {}: cannot be given to {}: {}\n", path.string(), config.user,
                   std::strerror(errno));
}

/// Whoever waits for what it is asked sees that: one for each question.
struct AskedService : rules::Service {
    Progress progress;
};

/// A subcommand's run: configuration and, when asked for, the store.
class Access {
  public:
    Access(Context& context, const Arguments& arguments)
        : context_(context),
          arguments_(arguments),
          needed_(neededConfig(context)),
          config_(needed_.config),
          site_(siteOf(config_)) {}

    void put(Verdict verdict);
    void remove();
    void listSets();
    void showSet();
    void defineSet();
    void removeSet();
    std::int64_t changeToUndo();
    std::optional<std::int64_t> ownChangeToUndo();
    void tellOfReturned(const RuleStore::UndoResult& result);
    void undo();
    void diff();
    void report();
    void list();
    void test();
    void importFile();
    void exportRules();
    void renameListener();
    void history();
    /// Of rows that were left out because they cannot be read: the gateway takes no rules with them.
    void reportBadRows() {
        if (changed_) reportGateway();
        for (const auto& [id, what] : bad_rows_)
            warn(what);
        if (use_ == RuleStore::Use::Read && !bad_rows_.empty())
            warn(
                "a running gateway keeps the rules that it has until this is mended: what it does may "
                "differ");
        if (changed_ && !bad_rows_.empty())
            fail(
                "a running gateway keeps the rules that it has until this is mended: the change is not in "
                "force");
    }

  private:
    /// What only reads, or does so as if, writes nothing.
    RuleStore& store() {
        if (store_) return *store_;
        if (const auto lost = lostStore(config_))
            throw store::StoreError(store::StoreError::Kind::Open, *lost);
        const bool reads = arguments_.dry_run && use_ == RuleStore::Use::Administer;
        const bool writes = !reads && use_ == RuleStore::Use::Administer;
        const bool shared = writes && !arguments_.here;
        Progress progress("opening the rules");
        if (writes) {
            requireSound();
            makeOwnedDatabase(config_);
        }
        store_ =
            store::openSharedRules(config_.store_url, shared ? config_.fleet.url : "", config_.name,
                                   {.use = reads ? RuleStore::Use::Read : use_,
                                    .upgrade = {.begins = [&] { progress.begin("upgrading the rules", 0); },
                                                .commits = Interrupts::hold,
                                                .done = [this] { upgraded(); }}},
                                   printOverruled);
        store_->watch({.begins = Interrupts::hold, .done = [this] {
                           made_ = true;
                           Interrupts::release(kInterruptedLater);
                       }});
        return *store_;
    }
    void upgraded() {
        upgraded_ = true;
        Interrupts::release(kInterruptedUpgraded);
    }
    /// What the sqlite3 shell had made here, and the change has met otherwise in the fleet.
    static void printOverruled(const std::vector<store::Applied::Lost>& lost) {
        constexpr std::size_t kMost = 10;
        const Progress::Pause pause;
        const auto text = [](const std::string& line) {
            return line.empty() ? "nothing" : fmt::format("\"{}\"", printable(line, std::string::npos));
        };
        for (std::size_t at = 0; at < std::min(lost.size(), kMost); ++at)
            fmt::print(stderr, "the fleet was first: rule {}: here was {}, in the fleet is {} now\n",
                       lost[at].rule_id, text(lost[at].here), text(lost[at].fleet));
        if (lost.size() > kMost)
            fmt::print(stderr, "the fleet was first: and {} more (mailgate access history)\n",
                       lost.size() - kMost);
    }
    /// What is written to a damaged file is not in force, and may be lost with it. All of it is looked at only where the
    /// gateway that runs cannot read it.
    void requireSound() {
        before_ = runningGateway(config_);
        const auto& status = before_->status;
        if (status && failsToReadRules(*status) && !otherStore(*status, config_))
            store::requireSound(config_.store_url);
    }
    void onlyRead() { use_ = RuleStore::Use::Read; }
    void fail(const std::string& message) { failAt("mailgate", message); }
    /// `place`: in a list that was to be imported.
    void failAt(std::string_view place, const std::string& message) {
        const Progress::Pause pause;
        fmt::print(stderr, "{}: {}\n", place, message);
        context_.exit_code = kRefusedOrNotFound;
    }

    AskedService service() {
        const bool reads = use_ != RuleStore::Use::Administer || arguments_.dry_run || made_;
        return {untoldService(), Progress(reads ? "reading the rules" : "changing the rules")};
    }
    /// For what has a line of its own.
    rules::Service untoldService() {
        return {[this]() -> RuleStore& { return store(); }, site_, author(), now(),
                [this](const RuleStore::BadRow& row) { bad_rows_.emplace(row.id, row.what); }};
    }

    /// A change in steps: others wait for the middle one alone, also where it is rehearsed.
    struct Steps {
        std::function<bool()> judge{};  ///< false: it is not to be made, and why has been said
        std::function<void()> work;
        std::function<void()> then{};  ///< unless it has failed
    };
    /// Makes a change, or says what it would be.
    void perform(const Steps& steps, RuleStore::Rehearsal rehearsal = RuleStore::Rehearsal::Brief);
    std::optional<ConcernedSessions> concernedSessions(const RehearsedChange& change, std::string& unknown);
    /// Of lines; a program gets them all.
    std::size_t mostShown() const noexcept {
        return arguments_.json ? std::numeric_limits<std::size_t>::max() : kMaxShown;
    }
    /// Of what has been done: nothing where it has not.
    template <typename... Values>
    void tell(fmt::format_string<Values...> sentence, Values&&... values) const {
        if (!arguments_.dry_run) remark(sentence, std::forward<Values>(values)...);
    }
    /// Of what is so, done or not. Programs get an object instead.
    template <typename... Values>
    void remark(fmt::format_string<Values...> sentence, Values&&... values) const {
        if (arguments_.json || is_silent_) return;
        const Progress::Pause pause;
        fmt::print(sentence, std::forward<Values>(values)...);
    }

    std::string author() const;
    [[noreturn]] void failUnknown(const std::string& listener) const;
    void requireConfigured(const std::vector<std::string>& names);
    void acceptRunning(const std::vector<std::string>& names);
    std::string nearSet(const std::string& name);
    void lookUpServers();
    void requireKnown();
    void requireSet(const std::optional<std::string>& name);
    bool asksFleet();
    void warn(const std::string& warning) const {
        const Progress::Pause pause;
        fmt::print(stderr, "warning: {}\n", warning);
    }
    /// What is long to make, perhaps.
    template <typename Make>
    void printJson(const Make& make) const {
        std::fputs(withProgress("making JSON", make).c_str(), stdout);
    }
    void requireOwn() const;
    void warnOfUnknownListeners();
    void warnOfClosed(const std::vector<std::string>& listeners) const;
    void reportRefusal(const rules::Refusal& refusal);
    void report(const rules::UnknownListener& refusal) { failUnknown(refusal.name); }
    void report(const rules::InvalidSet& refusal) {
        usageError(
            fmt::format("\"{}\" is not a set's name: expected up to 64 letters, digits, '.', '-' or '_'",
                        printable(refusal.name)));
    }
    void report(const rules::InvalidTag& refusal) {
        usageError(fmt::format("{}: {}", refusal.option, refusal.why));
    }
    void report(const rules::InvalidNote& refusal) { usageError(fmt::format("--note: {}", refusal.why)); }
    void report(const rules::ExpiryPast&) {
        usageError("--expires: " + *arguments_.expires + " is in the past");
    }
    void report(const rules::LimitsOnDeny&) {
        usageError("--client-sessions and --client-rate are for allow rules");
    }
    void report(const rules::ReplyOnAllow&) { usageError("--reply is for deny rules"); }
    void report(const rules::Hazardous& refusal);
    void report(const rules::TooMuchTogether& refusal) {
        fail(dangerOf(refusal) + std::string(kNothingDone));
    }
    void report(const rules::NothingLeft&);
    void report(const rules::MostRemoved& refusal) {
        failAt(arguments_.file, dangerOf(refusal) + std::string(kNothingDone));
    }
    void report(const rules::UnreadableList& refusal);
    void report(const rules::StillConfigured& refusal);
    void report(const rules::InTheWay& refusal);
    void reportPut(const rules::PutOutcome& outcome);
    bool mayBe(const std::optional<rules::Refusal>& refusal);
    const AccessRule* planned(const rules::PutOutcome& outcome, std::int64_t id) const;
    void renameRules();
    void warnOfRunningName() const;
    void removeSelected(const rules::RuleSelection& selection);
    void importText(const std::string& text);
    void reportIdle(const rules::Notes<rules::Idle>& idle) const;
    void warnOfForce(const rules::Refusal& refusal) const;
    std::variant<rules::ImportOutcome, rules::Refusal> imported(const std::string& text);
    void reportImport(const rules::ImportOutcome& outcome) const;
    void reportPut(const RuleStore::EditResult& result) const;
    void resolveNames(const rules::PutOutcome& put);
    void cutSessions(const rules::PutOutcome& put);
    void reportMissing(const rules::Selected& selected);
    void reportMissing(const Network& missing);
    bool mayRemove(std::span<const AccessRule> rules);
    bool removeRules(const rules::Selected& selected, const std::optional<std::string>& set = {});
    void warnOfOlderRules(const Poco::JSON::Object& status);
    void warnOfMonitors(const std::vector<std::string>& listeners) const;
    void warnOfUnshownNotes(const std::vector<std::string>& listeners) const;
    void reportGateway();
    void reportDecision(const rules::Decision& decision) const;
    std::string tableOf(const std::vector<AccessRule>& rules, const rules::NameStates& names) const;
    std::optional<std::string> readFile();
    std::vector<std::string> namesMeant(const std::string& text);
    bool isStrange(const std::vector<std::string>& names, const std::string& text);
    void addClients(const std::string& text, std::vector<AddressBytes>& clients);
    store::ImportOptions importOptions() const;

    Context& context_;
    const Arguments& arguments_;
    NeededConfig needed_;
    const Config& config_;
    rules::Site site_;
    RuleStore::Use use_ = RuleStore::Use::Administer;
    std::unique_ptr<RuleStore> store_;
    std::map<std::int64_t, std::string> bad_rows_;  ///< that were met
    std::optional<RunningGateway> before_;          ///< as it was before the change
    bool upgraded_ = false;                         ///< the database was
    bool made_ = false;                             ///< the change was
    bool changed_ = false;                          ///< the rules were, as was asked
    bool is_silent_ = false;                        ///< nothing has happened that was to be told of
    bool asked_fleet_ = false;
    std::optional<std::size_t> ended_;  ///< sessions; none: nobody asked for that
};

void Access::perform(const Steps& steps, RuleStore::Rehearsal rehearsal) {
    requireSite(needed_);
    const auto then = [&] {
        if (steps.then && context_.exit_code == kDone) steps.then();
    };
    if (!arguments_.dry_run) {
        const Interrupts interrupts(upgraded_ ? kInterruptedUpgraded : kInterrupted);
        if (steps.judge && !steps.judge()) return;
        steps.work();
        then();
        changed_ = context_.exit_code == kDone;
        if (arguments_.json && context_.exit_code == kDone)
            printJson([&] { return lastChangeAsJson(store(), ended_); });
        return;
    }
    if (steps.judge && !steps.judge()) return;
    const auto rehearsed = withProgress("comparing the rules", [&] {
        return rehearse(store(), site_, now(), mostShown(), steps.work, rehearsal);
    });
    then();
    if (context_.exit_code != kDone) return;  // nothing would have been changed, and why has been said
    std::string unknown;
    const auto concerned = concernedSessions(rehearsed, unknown);
    if (arguments_.json) {
        std::fputs(rehearsalAsJson(rehearsed, concerned ? &*concerned : nullptr).c_str(), stdout);
        if (!unknown.empty()) warn(unknown);
        return;
    }
    std::fputs(textOf(rehearsed).c_str(), stdout);
    if (!unknown.empty())
        fmt::print("{}\n", unknown);
    else if (!rehearsed.networks.empty())
        std::fputs(textOf(*concerned).c_str(), stdout);
}

/// Without the journal the rest is still worth knowing: then `unknown` says why there are none.
std::optional<ConcernedSessions> Access::concernedSessions(const RehearsedChange& change,
                                                           std::string& unknown) {
    constexpr std::int64_t kWeekMs = std::int64_t{7} * 24 * 60 * 60 * 1'000;
    if (change.networks.empty()) return ConcernedSessions{};
    try {
        const AskedJournal journal = openJournal(config_, {.here = true}, {});
        return withProgress("reading the journal", [&] {
            return concernedBy(change, *journal, unixMillis() - kWeekMs, mostShown());
        });
    } catch (const store::StoreError& error) {
        unknown = fmt::format("which sessions it would concern is not known: {}", error.what());
        return std::nullopt;
    }
}

/// For the audit trail.
std::string Access::author() const {
    if (!arguments_.program) return admin::actingUser();
    if (arguments_.program->empty()) usageError("--program: the name is empty");
    if (!store::noteError(*arguments_.program).empty())
        usageError("--program: the name is too long or contains control characters");
    return store::programName(*arguments_.program);
}

void Access::failUnknown(const std::string& listener) const {
    usageError(fmt::format("no listener is named \"{}\": {} has {}", printable(listener),
                           needed_.broken ? "the running gateway" : config_.file,
                           fmt::join(listenerNames(config_), ", ")));
}

void Access::requireConfigured(const std::vector<std::string>& names) {
    if (names.empty()) return;
    requireSite(needed_);
    if (service().unknown(names)) acceptRunning(names);
    if (const auto unknown = service().unknown(names)) failUnknown(unknown->name);
}

/// A listener that was renamed in the file is there until the reload, and so are those who attack it.
void Access::acceptRunning(const std::vector<std::string>& names) {
    const auto status = runningGateway(config_).status;
    if (!status || otherFile(*status, config_) || otherStore(*status, config_)) return;
    Config running;
    if (!takeSite(running, *status)) return;
    const auto known = listenerNames(config_);
    for (ListenerConfig& listener : running.listeners) {
        const bool meant = std::find(names.begin(), names.end(), listener.name) != names.end();
        if (!meant || std::find(known.begin(), known.end(), listener.name) != known.end()) continue;
        warn(fmt::format(
            "only the running gateway has the listener {}: {} has none of that name, and with the "
            "next reload its rules decide nothing (mailgate access rename-listener)",
            listener.name, config_.file));
        needed_.config.listeners.push_back(std::move(listener));
    }
    site_ = siteOf(config_);
}

/// For rules that may be ones which deny the site's own servers: these may have host names.
void Access::lookUpServers() {
    cli::lookUpServers(needed_.config);
    site_ = siteOf(config_);
}

/// The rules of a listener that is gone can be listed and removed.
void Access::requireKnown() {
    if (!needed_.has_site) return;  // then none of the rules is what matches
    if (const auto unknown = service().unknownToRules(arguments_.listeners)) failUnknown(unknown->name);
}

/// A gateway that is behind its fleet does not say of what it is to change that there is no such thing. False: nothing has come
/// by that.
bool Access::asksFleet() {
    const bool changes = use_ == RuleStore::Use::Administer && !arguments_.dry_run && !arguments_.here;
    if (config_.fleet.url.empty() || !changes || std::exchange(asked_fleet_, true)) return false;
    store().together([] {});  // which brings the rules up to date first
    return true;
}

/// An unknown set is a typing error, not one without rules.
void Access::requireSet(const std::optional<std::string>& name) {
    if (!service().unknownSet(name) || (asksFleet() && !service().unknownSet(name))) return;
    std::vector<std::string> names;
    for (const rules::SetSummary& set : service().sets())
        names.push_back(set.name);
    usageError(fmt::format("no set is named \"{}\": there {} {}", printable(*name),
                           names.size() == 1 ? "is" : "are", fmt::join(names, ", ")));
}

/// Rules of this gateway alone are in a set of theirs, and none is forgotten.
void Access::requireOwn() const {
    if (config_.fleet.url.empty())
        usageError("--here is for gateways of a fleet: all rules are of this gateway alone");
    if (arguments_.set && *arguments_.set != store::kHereSet)
        usageError(fmt::format("--here puts rules into the set \"{}\", and cannot be combined with --set {}",
                               store::kHereSet, printable(*arguments_.set)));
}

void Access::warnOfUnknownListeners() {
    if (!needed_.has_site) return;
    const auto listeners =
        withProgress("reading the rules", [&] { return store().ruleListeners(unixMillis() / 1'000); });
    for (const std::string& warning : unknownListenerWarnings(config_, listeners))
        warn(warning);
}

void Access::warnOfClosed(const std::vector<std::string>& listeners) const {
    const std::vector<std::string> refusing = allowlists(config_);  // one that monitors refuses nobody
    for (const std::string& listener : listeners)
        if (std::find(refusing.begin(), refusing.end(), listener) != refusing.end())
            warn(fmt::format(
                "listener \"{}\" has access = \"allowlist\" and no allow rule lets anybody in: it "
                "refuses every client",
                listener));
}

void Access::reportRefusal(const rules::Refusal& refusal) {
    std::visit([this](const auto& kind) { report(kind); }, refusal);
}

void Access::report(const rules::Hazardous& refusal) {
    failAt(refusal.line == 0 ? "mailgate" : fmt::format("{}:{}", arguments_.file, refusal.line),
           dangerOf(refusal) + std::string(kNothingDone));
}

void Access::report(const rules::NothingLeft&) {
    failAt(arguments_.file,
           arguments_.replace
               ? "contains no rules, so --replace would remove them all; use --force to do it anyway"
               : "contains no rules: what should have written them may have failed; use --force if none is "
                 "right");
}

void Access::report(const rules::UnreadableList& refusal) {
    for (const store::ImportError& error : refusal.errors)
        failAt(error.line == 0     ? arguments_.file
               : error.column == 0 ? fmt::format("{}:{}", arguments_.file, error.line)
                                   : fmt::format("{}:{}:{}", arguments_.file, error.line, error.column),
               error.message);
    fail(refusal.errors.size() < store::kMaxImportErrors
             ? "nothing was imported"
             : fmt::format("nothing was imported, and no more was read after {} errors",
                           refusal.errors.size()));
}

void Access::report(const rules::StillConfigured& refusal) {
    usageError(fmt::format(
        "{} has a listener \"{}\": only the rules of a listener that no longer exists can be moved",
        config_.file, printable(refusal.listener)));
}

void Access::report(const rules::InTheWay& refusal) {
    for (const AccessRule& rule : refusal.rules)
        fail(fmt::format("conflict: {}", sentenceOf(rule)));
    fail("nothing was changed: first remove either these rules or those of the old name");
}

void Access::reportPut(const RuleStore::EditResult& result) const {
    const auto sentence = sentenceOf(result.rule);
    switch (result.kind) {
        case RuleStore::PutKind::Added:
            tell("added {}\n", sentence);
            if (result.expired)
                tell("note: rule {}, in whose place it is, had expired at {}{}\n", result.expired->id,
                     timeText(*result.expired->expires_at * 1'000, Zone::Local),
                     result.rule.expires_at ? "" : "; this one does not expire");
            return;
        case RuleStore::PutKind::Changed:
            tell("changed {}\n", sentence);
            if (result.taken_over) tell("note: {}\n", takeOverNote(result));
            return;
        case RuleStore::PutKind::Unchanged:
            tell("unchanged {}\n", sentence);
            return;
        case RuleStore::PutKind::Kept:
            remark("left unchanged, not a rule of {}: {}\n", printable(*arguments_.program), sentence);
            return;
    }
}

void Access::put(Verdict verdict) {
    requireConfigured(arguments_.listeners);
    rules::PutRequest request{
        .verdict = verdict, .listeners = arguments_.listeners, .edit = editOf(arguments_)};
    if (arguments_.set) request.set = *arguments_.set;
    if (arguments_.here) {
        requireOwn();
        if (!request.edit.expires_at || !*request.edit.expires_at)
            usageError("--here needs --expires, such as --expires 12h: nobody else knows of the rule");
        request.set = store::kHereSet;
    }
    parseSubjects(arguments_.networks, store::parseNewRuleName, request.networks, request.names);
    if (arguments_.cut && !request.names.empty())
        usageError("--cut is for networks: what a name stands for may change");
    request.insist = arguments_.force;
    if (verdict == Verdict::Deny || !request.names.empty()) lookUpServers();
    rules::PutOutcome outcome;
    const std::string near = arguments_.set ? nearSet(*arguments_.set) : "";
    perform({.judge = [&] { return mayBe(service().judge(request)); },
             .work = [&] { outcome = service().putJudged(request); },
             .then = [&] { reportPut(outcome); }});
    if (!near.empty() && !outcome.rules.empty())
        remark("note: set {} is new (there is {})\n", printable(*arguments_.set), near);
    if (arguments_.dry_run && !request.names.empty())
        remark("names are not asked in a dry run: whom a name that has no rule yet concerns is not known\n");
    if (arguments_.dry_run) return;
    resolveNames(outcome);
    warnOfClosed(service().closedBy(outcome));
    warnOfMonitors(arguments_.listeners);
    const auto hasNote = [](const RuleStore::EditResult& result) { return result.rule.reply.shows_note; };
    if (std::any_of(outcome.rules.begin(), outcome.rules.end(), hasNote))
        warnOfUnshownNotes(arguments_.listeners);
}

/// A set that there is, of which this may be a misspelling; empty: it is one itself, or none is near.
std::string Access::nearSet(const std::string& name) {
    std::vector<std::string> names{std::string(store::kManualSet)};
    for (const rules::SetSummary& set : service().sets())
        names.push_back(set.name);
    if (std::find(names.begin(), names.end(), name) != names.end()) return {};
    const auto same = std::find_if(names.begin(), names.end(),
                                   [&](const std::string& one) { return equalsIgnoreCase(one, name); });
    if (same != names.end()) return *same;
    const std::string question = didYouMean(names, name);  // ": did you mean "partners"?"
    const std::size_t begin = question.find('"');
    return question.empty() ? question : question.substr(begin + 1, question.rfind('"') - begin - 1);
}

/// In a dry run, the rule of that number where it would be a new one; null: it is there.
const AccessRule* Access::planned(const rules::PutOutcome& outcome, std::int64_t id) const {
    if (!arguments_.dry_run) return nullptr;
    const auto found = std::find_if(outcome.rules.begin(), outcome.rules.end(), [&](const auto& result) {
        return result.kind == RuleStore::PutKind::Added && result.rule.id == id;
    });
    return found == outcome.rules.end() ? nullptr : &found->rule;
}

/// False: it has said why not.
bool Access::mayBe(const std::optional<rules::Refusal>& refusal) {
    if (refusal) reportRefusal(*refusal);
    return !refusal;
}

void Access::reportPut(const rules::PutOutcome& outcome) {
    for (const RuleStore::EditResult& result : outcome.rules)
        reportPut(result);
    const auto overlaps = service().overlaps(outcome);
    for (const rules::Overlap& overlap : overlaps.first)
        remark("note: {}\n", sentenceOf(overlap, planned(outcome, overlap.rule_id)));
    if (overlaps.more > 0) remark("note: and {} more\n", grouped(overlaps.more));
    if (arguments_.cut && !arguments_.dry_run) cutSessions(outcome);
}

/// The running gateway would do it within a second; but who makes a rule wants to see what becomes of it.
void Access::resolveNames(const rules::PutOutcome& put) {
    for (const RuleStore::EditResult& result : put.rules) {
        const AccessRule& rule = result.rule;
        if (rule.name.empty() || result.kind == RuleStore::PutKind::Kept) continue;
        // Name servers may be slow, and the rule is there.
        std::fflush(stdout);
        const auto states = service().names();
        const auto before = states.find(rule.id);
        const auto resolved = names::resolveRule(
            store(), rule, before == states.end() ? store::NameState() : before->second,
            [this](const AccessRule& one, const names::NameAnswer& answer) {
                return names::objectionTo(one, answer, site_);
            },
            names::queryDnsOnce, now());
        const auto sentence = sentenceOf(rule, resolved.state, now());
        if (resolved.state.error.empty())
            remark("note: {}\n", sentence);
        else
            warn(sentence);
        for (const std::string& term : resolved.ignored)
            warn(fmt::format("ignored in its SPF records: {}", term));
        for (const std::string& warning : names::warningsOf(resolved.state.networks, site_))
            warn(fmt::format("{}: {}", rule.name, warning));
    }
}

/// Sessions already admitted stay, unless the running gateway is asked to end them: those that the rules deny now.
void Access::cutSessions(const rules::PutOutcome& put) {
    const admin::Client gateway(config_.admin.socket);
    const std::int64_t version = store().version();
    std::size_t ended = 0;
    for (const rules::Cut& cut : put.cuts) {
        Poco::JSON::Object order;
        order.set("network", cut.network.toString());
        Poco::JSON::Array listeners;
        if (!cut.listener.empty()) listeners.add(cut.listener);
        order.set("listeners", listeners);
        order.set("rules_version", version);
        ended += gateway.post("/v1/cut", order)->optValue<std::size_t>("cut", 0);
    }
    remark("{} ended\n", counted(ended, "session"));
    ended_ = ended;
}

void Access::reportMissing(const Network& missing) {
    if (arguments_.program) {
        // Somebody may have made the rule their own meanwhile, which is no failure of the program's.
        remark("{} has no rule for {}: nothing was removed\n", printable(*arguments_.program),
               missing.toString());
        return;
    }
    std::string scope = arguments_.set ? " in set " + *arguments_.set : "";
    if (!arguments_.listeners.empty())
        scope += fmt::format(" that names {}", fmt::join(arguments_.listeners, " or "));
    fail(fmt::format("there is no rule for {}{}: nothing was removed", missing.toString(), scope));
    const auto near_misses = service().nearMisses(missing);
    for (const rules::NearMiss& near : near_misses.first)
        fmt::print(stderr, "note: {}\n", sentenceOf(near));
    if (near_misses.more > 0) fmt::print(stderr, "note: and {} more\n", grouped(near_misses.more));
}

void Access::reportMissing(const rules::Selected& selected) {
    for (const Network& missing : selected.missing)
        reportMissing(missing);
    for (const std::string& name : selected.missing_names)
        fail(fmt::format("there is no rule for {}: nothing was removed", name));
    for (const std::int64_t id : selected.missing_ids)
        fail(fmt::format("there is no rule {}{}: nothing was removed", id,
                         arguments_.set ? " in set " + *arguments_.set : ""));
}

/// What was not named one by one is shown before it goes.
bool Access::mayRemove(std::span<const AccessRule> rules) {
    if (arguments_.yes || arguments_.dry_run) return true;
    for (const AccessRule& rule : rules.first(std::min(rules.size(), kMaxShown)))
        remark("to be removed: {}\n", sentenceOf(rule));
    if (rules.size() > kMaxShown) remark("and {} more\n", grouped(rules.size() - kMaxShown));
    std::fflush(stdout);
    if (confirmed(fmt::format("remove {}?", counted(rules.size(), "rule")))) return true;
    if (::isatty(STDIN_FILENO) != 0) {
        fail("nothing was removed");
        return false;
    }
    fail(fmt::format("nothing was removed: use --yes to remove {}{}", counted(rules.size(), "rule"),
                     arguments_.networks.empty() ? "" : ", or --set for those of one set"));
    return false;
}

bool Access::removeRules(const rules::Selected& selected, const std::optional<std::string>& set) {
    const auto result = service().remove(selected, set);
    for (const std::int64_t id : result.missing)
        fail(fmt::format("rule {} is gone meanwhile: nothing was removed", id));
    for (std::size_t at = 0; at < std::min(result.removed.size(), kMaxShown); ++at)
        tell("removed {}\n", sentenceOf(result.removed[at]));
    if (result.removed.size() > kMaxShown)
        tell("and {} more: see mailgate access history\n", grouped(result.removed.size() - kMaxShown));
    for (const std::int64_t id : result.unreadable)
        tell("removed rule {}, which could not be read\n", id);
    warnOfClosed(service().closedBy(result));
    return result.missing.empty();
}

void Access::remove() {
    auto selection = selectionOf(arguments_);
    if (arguments_.here) {
        requireOwn();
        selection.set = store::kHereSet;
    }
    if (arguments_.networks.empty() && !selection.set && !selection.note_contains && !selection.expired_for)
        usageError("say which rules: networks, numbers of rules, --set, --note-contains or --expired-for");
    // Every note contains it: a script's variable that is not set must not select all rules.
    if (selection.note_contains && selection.note_contains->empty())
        usageError("--note-contains is empty: it would select every rule");
    requireKnown();
    // A program's set may have no rule left.
    if (!arguments_.program) requireSet(arguments_.set);
    perform({.work = [&] { removeSelected(selection); }});
}

bool isMissing(const rules::Selected& selected) {
    return !selected.missing.empty() || !selected.missing_names.empty() || !selected.missing_ids.empty();
}

void Access::removeSelected(const rules::RuleSelection& selection) {
    const bool named = !selection.networks.empty() || !selection.names.empty() || !selection.ids.empty();
    auto selected = service().select(selection);
    if ((isMissing(selected) || selected.rules.empty()) && asksFleet())
        selected = service().select(selection);
    if (isMissing(selected)) return reportMissing(selected);
    const bool none = selected.rules.empty() && selected.unreadable.empty();
    // Housekeeping is done where there is nothing to do.
    if (none && selection.expired_for) {
        if (!arguments_.quiet) tell("no rule has been expired for so long: nothing was removed\n");
        return;
    }
    if (none) return fail("there is no such rule: nothing was removed");
    const bool by_subject = !selection.networks.empty() || !selection.names.empty();
    const bool clear = by_subject ? !inSeveralSets(selected.rules) : named;
    if (clear || mayRemove(selected.rules)) removeRules(selected);
}

void Access::listSets() {
    onlyRead();
    const auto sets = service().sets();
    if (arguments_.json)
        std::fputs(setsAsJson(sets).c_str(), stdout);
    else
        print(setsAsTable(sets, arguments_.view.style(), arguments_.view.times()), arguments_.view);
}

void Access::showSet() {
    onlyRead();
    requireSet(arguments_.name);
    const auto sets = service().sets();
    const auto set = std::find_if(sets.begin(), sets.end(),
                                  [&](const rules::SetSummary& one) { return one.name == arguments_.name; });
    const auto rules = service().select({.set = arguments_.name}).rules;
    const auto names = service().names();
    if (arguments_.json) {
        printJson([&] { return setAsJson(*set, rules, names); });
        return;
    }
    print(sentenceOf(set->name, rules.size(), set->defaults) + '\n' + tableOf(rules, names), arguments_.view);
}

void Access::defineSet() {
    std::optional<std::optional<std::int64_t>> expires_after;
    if (arguments_.expires) expires_after = parsedLifetime(*arguments_.expires);
    perform({.work = [&] {
        const auto answer = service().defineSet(arguments_.name, arguments_.note, expires_after);
        if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
        const auto counts = store().ruleSets();
        const auto rules = counts.find(arguments_.name);
        tell("{}\n", sentenceOf(arguments_.name, rules == counts.end() ? 0 : rules->second,
                                std::get<store::SetDefaults>(answer)));
    }});
}

void Access::removeSet() {
    requireSet(arguments_.name);
    perform({.work = [&] {
        const auto selected = service().select({.set = arguments_.name});
        if (!selected.rules.empty() && !mayRemove(selected.rules)) return;
        if (removeRules(selected, arguments_.name)) tell("removed set {}\n", arguments_.name);
    }});
}

std::string Access::tableOf(const std::vector<AccessRule>& rules, const rules::NameStates& names) const {
    return withProgress("making the table", [&] {
        return rulesAsTable(rules, arguments_.view.style(), arguments_.view.times(), names);
    });
}

/// What is only looked at is not a fleet's change, and its own last one is found by the name that the fleet knows.
std::int64_t Access::changeToUndo() {
    if (arguments_.change) return *arguments_.change;
    if (!arguments_.dry_run || config_.fleet.url.empty()) return service().lastChange();
    return std::max(store().lastChangeBy(author()),
                    store().lastChangeBy(store::actorAt(author(), config_.name)));
}

bool isOfHere(const RuleStore::AuditEntry& entry) {
    const auto rule = store::parseTrailRule(entry.after.empty() ? entry.before : entry.after);
    return entry.rule_id != 0 && rule && rule->set == store::kHereSet;
}

/// A change of rules of this gateway alone: the one that was named, or this author's last one. Nothing: there is none, which has
/// been said.
std::optional<std::int64_t> Access::ownChangeToUndo() {
    const std::int64_t named = arguments_.change.value_or(0);
    const std::set<std::string> authors{author(), store::actorAt(author(), config_.name)};
    std::map<std::int64_t, bool> own;  // by change: it is of such rules and no others
    store().forEachEntry(std::max<std::int64_t>(named - 1, 0), [&](const RuleStore::AuditEntry& entry) {
        if (named != 0 ? entry.change != named : !authors.contains(entry.who)) return;
        const auto at = own.try_emplace(entry.change, true).first;
        at->second = at->second && isOfHere(entry);
    });
    if (named != 0 && own.empty()) return named;
    const auto last =
        std::find_if(own.rbegin(), own.rend(), [](const auto& change) { return change.second; });
    if (last != own.rend()) return last->first;
    fail(named != 0 ? fmt::format("change {} is not one of rules of this gateway alone: without --here it is "
                                  "undone, once the fleet's database answers",
                                  named)
                    : fmt::format("{} has not changed any rules of this gateway alone", author()));
    return std::nullopt;
}

/// Whom a denial kept out, another rule may let in now.
void Access::tellOfReturned(const RuleStore::UndoResult& result) {
    for (const RuleStore::AuditEntry& entry :
         std::span(result.entries).first(std::min(result.entries.size(), kMaxShown))) {
        const auto gone = store::parseTrailRule(entry.before);
        if (!gone || gone->verdict != Verdict::Deny || !gone->name.empty()) continue;
        std::vector<std::string> listeners;
        if (!gone->listener.empty()) listeners.push_back(gone->listener);
        for (const rules::Decision& decision :
             service().test(std::vector<AddressBytes>{gone->network.address}, listeners))
            if (decision.allowed && decision.by && decision.by->network.contains(gone->network))
                remark("note: {} may enter listener {} again: {}\n", gone->network.toString(),
                       decision.listener, sentenceOf(*decision.by));
    }
}

void Access::undo() {
    using Kind = RuleStore::UndoResult::Kind;
    if (arguments_.here) requireOwn();
    lookUpServers();
    std::optional<std::int64_t> change;  // as it is judged, so it is taken back
    const auto judge = [&] {
        change = arguments_.here ? ownChangeToUndo() : changeToUndo();
        return change && mayBe(service().judgeUndo(*change, arguments_.force));
    };
    const auto work = [&] {
        const auto result = service().undoJudged(*change);
        const auto number = result.change;
        switch (result.kind) {
            case Kind::Done:
                tell("undid change {}:\n", number);
                for (const auto& entry : result.entries)
                    tell("{}\n", changeLine(entry));
                service().meetAll();
                tellOfReturned(result);
                return warnOfClosed(service().closedBy(result));
            case Kind::NotFound:
                return fail(arguments_.change ? fmt::format("there is no change {}", number)
                                              : fmt::format("{} has not changed anything", author()));
            case Kind::Unreadable:
                return fail(fmt::format(
                    "change {} cannot be undone: an earlier version of mailgate made it, it came by joining "
                    "a fleet or before that, it changed no rules, or one of them could not be read",
                    number));
            case Kind::Undone: {
                const RuleStore::AuditEntry& last = result.entries.back();
                return fail(fmt::format("change {} has been undone already, by {}, at {} (change {})", number,
                                        printable(last.who), timeText(last.at * 1'000, Zone::Local),
                                        last.change));
            }
            case Kind::LaterChanges:
                for (const auto& entry : result.entries)
                    fail(fmt::format("later change {} by {}: {}", entry.change, printable(entry.who),
                                     changeLine(entry)));
                return fail(fmt::format("change {} was not undone: undo the later changes first", number));
            case Kind::Renumbered:
                return fail(fmt::format(
                    "change {} was not undone: another rule has, or had, the number of one of its "
                    "rules: mailgate access remove NET (--here, where it is of this gateway "
                    "alone), or deny or allow it again",
                    number));
            case Kind::InTheWay:
                for (const AccessRule& rule : result.in_the_way)
                    fail(fmt::format("conflict: {}", sentenceOf(rule)));
                return fail(fmt::format("change {} was not undone: remove these rules first", number));
        }
    };
    perform({.judge = judge, .work = work});
}

/// Those of rules: "host:home.example.org" is one, "home.example.org" whatever rules say of it. None: it is no name, or
/// a network.
std::vector<std::string> Access::namesMeant(const std::string& text) {
    if (store::isRuleName(text)) return {parsedName(text, store::parseRuleName)};
    if (std::holds_alternative<Network>(parseNetwork(text))) return {};
    std::vector<std::string> names;
    for (const store::NamedRule& named : store().namedRules()) {
        const std::string& name = named.rule.name;
        if (equalsIgnoreCase(name.substr(name.find(':') + 1), text) &&
            std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(name);
    }
    return names;
}

/// What looks like a name is not told that it is no network.
bool Access::isStrange(const std::vector<std::string>& names, const std::string& text) {
    if (!names.empty() || hintOn(text).empty()) return false;
    fail(fmt::format("no rule is for {}", printable(text)));
    return true;
}

void Access::list() {
    onlyRead();
    requireKnown();
    requireSet(arguments_.set);
    const bool soon = arguments_.expiring == "soon";
    rules::ListFilter filter{
        .listeners = arguments_.listeners,
        .set = arguments_.set,
        .note_contains = arguments_.note_contains,
        .expired = arguments_.expired,
        .unused_for = parsedSpan("--unused", arguments_.unused),
        .expiring_within = soon ? std::nullopt : parsedSpan("--expiring", arguments_.expiring),
        .overlapping = arguments_.overlapping,
        .shadowed = arguments_.shadowed};
    const bool about_live =
        filter.unused_for || soon || filter.expiring_within || filter.overlapping || filter.shadowed;
    if (filter.expired && about_live)
        usageError("--expired cannot be combined with --unused, --expiring, --overlapping and --shadowed");
    if (!arguments_.networks.empty()) {
        filter.names = namesMeant(arguments_.networks.front());
        if (isStrange(filter.names, arguments_.networks.front())) return;
        if (filter.names.empty()) filter.covering = parsedNetwork(arguments_.networks.front());
    }
    std::optional<Network> inside;
    if (arguments_.inside) inside = parsedNetwork(*arguments_.inside);
    auto rules = service().list(filter);
    const auto ahead = std::chrono::duration_cast<std::chrono::seconds>(config_.rules.warn_expiry);
    std::erase_if(rules, [&](const AccessRule& rule) {
        return (inside && (!rule.name.empty() || !inside->contains(rule.network))) ||
               (soon && !store::expiresSoon(rule, now(), ahead.count()));
    });
    const bool all = !about_live && !inside && arguments_.networks.empty() && filter.listeners.empty() &&
                     !filter.set && !filter.note_contains;
    if (rules.empty())
        fail(arguments_.expired ? "no rule has expired" : all ? "there are no rules" : "no rule matches");
    const auto names = service().names();
    if (arguments_.json)
        printJson([&] { return rulesAsJson(rules, names); });
    else
        print(tableOf(rules, names), arguments_.view);
    for (const AccessRule& rule : rules)
        if (const auto state = names.find(rule.id); state != names.end() && !state->second.error.empty())
            warn(sentenceOf(rule, state->second, now()));
    warnOfUnknownListeners();
}

/// For an auditor: who may enter, also where no rule says so.
void Access::report() {
    onlyRead();
    requireSite(needed_);
    requireKnown();
    requireSet(arguments_.set);
    const auto rules = service().list({.listeners = arguments_.listeners, .set = arguments_.set});
    const auto names = service().names();
    if (arguments_.format == "json" || (arguments_.json && arguments_.format.empty()))
        printJson([&] { return reportAsJson(rules, site_, names); });
    else if (arguments_.format.empty() || arguments_.format == "csv")
        std::fputs(withProgress("making CSV", [&] { return rulesAsCsv(rules, site_, names); }).c_str(),
                   stdout);
    else
        usageError(fmt::format("--format: \"{}\" is neither csv nor json", printable(arguments_.format)));
}

void Access::reportDecision(const rules::Decision& decision) const {
    fmt::print("{} {} on {}: ", decision.allowed ? "allow" : "refuse",
               Network{decision.client, 128}.toString(), decision.listener);
    if (decision.by)
        fmt::print("by {}\n", sentenceOf(*decision.by));
    else
        fmt::print("no rule matches, and the listener's default is access = \"{}\"\n",
                   decision.allowed ? "open" : "allowlist");
    for (const AccessRule& rule : decision.others)
        fmt::print("  {} {}\n", store::isLive(rule, now()) ? "overrides" : "expired:", sentenceOf(rule));
}

/// Of a name that rules have what it stands for: of a network there its first address.
void Access::addClients(const std::string& text, std::vector<AddressBytes>& clients) {
    const auto names = namesMeant(text);
    if (isStrange(names, text)) return;
    if (names.empty()) {
        for (const Network& address : networksIn(text)) {
            if (address.prefix_length != 128)
                usageError(address.toString() + " is a network: test addresses");
            clients.push_back(address.address);
        }
        return;
    }
    for (const std::string& name : names) {
        std::vector<Network> networks;
        bool has_rule = false;
        for (const store::NamedRule& named : store().namedRules()) {
            if (named.rule.name != name) continue;
            has_rule = true;
            networks = named.state.networks;
        }
        if (!has_rule) return fail(fmt::format("no rule is for {}", name));
        if (networks.empty())
            return fail(fmt::format("{} stands for nothing yet (mailgate access list)", name));
        for (const Network& network : networks) {
            if (network.prefix_length != 128)
                fmt::print(stderr, "note: {} is {}, of which the first address is tested\n", name,
                           network.toString());
            clients.push_back(network.address);
        }
    }
}

void Access::test() {
    onlyRead();
    requireSite(needed_);
    requireConfigured(arguments_.listeners);
    std::vector<AddressBytes> clients;
    for (const std::string& text : arguments_.networks)
        addClients(text, clients);
    if (context_.exit_code != kDone) return;
    const auto decisions = service().test(clients, arguments_.listeners);
    for (const rules::Decision& decision : decisions)
        if (!decision.allowed) context_.exit_code = kRefusedOrNotFound;
    if (arguments_.json) {
        const auto names = service().names();
        std::fputs(decisionsAsJson(decisions, now(), names).c_str(), stdout);
    } else {
        for (const rules::Decision& decision : decisions)
            reportDecision(decision);
    }
    warnOfMonitors(arguments_.listeners);
    const auto status = runningGateway(config_).status;
    if (!status) return;
    if (const auto other = otherStore(*status, config_)) return warn(*other);
    for (const std::string& difference : otherListeners(*status, config_, arguments_.listeners))
        warn(difference);
    if (bad_rows_.empty()) warnOfOlderRules(*status);
}

/// Whom the rules refuse a listener that only monitors lets in.
void Access::warnOfMonitors(const std::vector<std::string>& listeners) const {
    for (const ListenerConfig& listener : config_.listeners)
        if (listener.mode == ListenerMode::Monitor &&
            (listeners.empty() ||
             std::find(listeners.begin(), listeners.end(), listener.name) != listeners.end()))
            fmt::print(
                stderr,
                "note: listener {} only monitors (mode = \"monitor\"): nobody is refused there, and whom "
                "the rules would refuse is recorded\n",
                listener.name);
}

/// A note is for clients only where a reply has a place for it.
void Access::warnOfUnshownNotes(const std::vector<std::string>& listeners) const {
    const auto shows = [&](const ListenerConfig& listener) {
        return showsRuleNote(listener.refusal_footer) &&
               (listeners.empty() ||
                std::find(listeners.begin(), listeners.end(), listener.name) != listeners.end());
    };
    if (std::none_of(config_.listeners.begin(), config_.listeners.end(), shows))
        fmt::print(stderr,
                   "note: clients do not see the note: no listener {}has a refusal_footer with $rule_note\n",
                   listeners.empty() ? "" : "of the rule ");
}

/// Where the running gateway cannot read what the store has: what it goes by.
std::optional<std::string> olderRules(const Poco::JSON::Object& status) {
    if (!failsToReadRules(status)) return std::nullopt;
    const Poco::JSON::Object::Ptr rules = status.getObject("rules");
    return fmt::format("the running gateway cannot read the rules, and keeps those of version {}",
                       rules->optValue<std::int64_t>("version", 0));
}

/// A change that the gateway which runs does not see, because it has another configuration than the file by now.
void Access::reportGateway() {
    // One that did not answer is not waited for again.
    const auto [status, silent, unknown] = before_ && !before_->status ? *before_ : runningGateway(config_);
    if (silent)
        warn(fmt::format(
            "the rules are stored, but the gateway on {} has not answered within {} seconds: whether "
            "they are in force is not known (mailgate status)",
            config_.admin.socket, kGatewayPatience.count()));
    if (!status) return;
    if (const auto other = config_.fleet.url.empty() ? otherStore(*status, config_) : std::nullopt)
        return fail(*other + ": the change is not in force (a new store.url is used after a restart)");
    if (const auto older = olderRules(*status))
        return fail(*older + ": the change is not in force before it can (mailgate status)");
    for (const std::string& name : arguments_.listeners)
        for (const std::string& difference : otherListeners(*status, config_, {name}))
            warn(difference);
}

void Access::warnOfOlderRules(const Poco::JSON::Object& status) {
    if (const auto older = olderRules(status))
        warn(fmt::format("{}: what it does may differ from what these of version {} say", *older,
                         store().version()));
}

/// A read that fails is not the list's end.
std::optional<std::string> Access::readFile() {
    const bool standard_input = arguments_.file == "-";
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(
        standard_input ? nullptr : std::fopen(arguments_.file.c_str(), "re"), std::fclose);
    std::FILE* const file = standard_input ? stdin : opened.get();
    std::string text;
    if (file != nullptr) {
        std::array<char, 65536> block;
        while (const std::size_t got = std::fread(block.data(), 1, block.size(), file))
            text.append(block.data(), got);
        if (std::ferror(file) == 0) return text;
    }
    failAt(arguments_.file, fmt::format("cannot be read: {}", std::strerror(errno)));
    return std::nullopt;
}

store::ImportOptions Access::importOptions() const {
    store::ImportOptions options;
    const auto format = store::importFormatOf(arguments_.format.empty() ? "auto" : arguments_.format);
    if (!format)
        usageError(fmt::format("--format: \"{}\" is not one of {}", printable(arguments_.format),
                               importFormatNames()));
    options.format = *format;
    options.set = arguments_.set;
    options.ignored_columns = arguments_.ignored_columns;
    options.local_time = [](std::string_view text) { return answers::calendarTime(text, Zone::Local); };
    if (!arguments_.verdict.empty()) {
        if (arguments_.verdict != "allow" && arguments_.verdict != "deny")
            usageError(
                fmt::format("--verdict: \"{}\" is neither allow nor deny", printable(arguments_.verdict)));
        options.verdict = arguments_.verdict == "allow" ? Verdict::Allow : Verdict::Deny;
    }
    std::error_code ignored;  // a file that is not there has been told of
    options.may_be_cut =
        arguments_.file == "-" || !std::filesystem::is_regular_file(arguments_.file, ignored);
    options.end_mark_required = options.may_be_cut && arguments_.replace;
    return options;
}

void Access::importFile() {
    if (arguments_.all_sets && (arguments_.set || !arguments_.replace))
        usageError("--all-sets is for --replace without --set");
    const auto text = readFile();
    if (!text) return;
    lookUpServers();
    perform({.work = [&] { importText(*text); }}, RuleStore::Rehearsal::Apart);
}

/// What the rules of the file would change, if they were all there is.
void Access::diff() {
    onlyRead();
    requireSite(needed_);
    if (arguments_.all_sets && arguments_.set) usageError("--all-sets cannot be combined with --set");
    const auto text = readFile();
    if (!text) return;
    lookUpServers();
    const auto change = withProgress("comparing the rules", [&] {
        return rehearse(
            store(), site_, now(), std::numeric_limits<std::size_t>::max(), [&] { importText(*text); },
            RuleStore::Rehearsal::Apart);
    });
    if (arguments_.json && context_.exit_code == kDone)
        std::fputs(changesAsJson({.dry_run = true,
                                  .added = change.added,
                                  .changed = change.changed,
                                  .removed = change.removed,
                                  .entries = change.entries})
                       .c_str(),
                   stdout);
    for (const RuleStore::AuditEntry& entry : change.entries)
        remark("{}\n", changeLine(entry));
    if (change.count() > 0) context_.exit_code = kRefusedOrNotFound;
}

/// In steps, each of which begins at nothing.
std::variant<rules::ImportOutcome, rules::Refusal> Access::imported(const std::string& text) {
    using Step = store::Progress::Step;
    Progress line("importing rules");
    std::optional<Step> current;
    const auto follow = [&](Step step, std::size_t done, std::size_t total) {
        if (current != step) line.begin(std::string(wordsOf(step)), total);
        current = step;
        line.at(done);
    };
    return untoldService().import({.text = text,
                                   .options = importOptions(),
                                   .listeners = arguments_.listeners,
                                   .replace = arguments_.replace,
                                   .all_sets = arguments_.all_sets,
                                   .insist = arguments_.force,
                                   .progress = store::Progress(follow)});
}

void Access::importText(const std::string& text) {
    const auto answer = imported(text);
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
    const auto& outcome = std::get<rules::ImportOutcome>(answer);
    if (arguments_.compares && outcome.insisted) warnOfForce(*outcome.insisted);
    is_silent_ = arguments_.quiet && outcome.added + outcome.changed + outcome.removals == 0;
    reportImport(outcome);
    if (!arguments_.compares) {
        reportIdle(service().withoutEffect(outcome));
        service().meetAll();
    }
    warnOfUnknownListeners();
    warnOfClosed(service().closedBy(outcome));
}

void Access::reportIdle(const rules::Notes<rules::Idle>& idle) const {
    for (const rules::Idle& one : idle.first)
        remark("note: {} {} has no effect, where this applies: {}\n", toString(one.rule.verdict),
               one.rule.network.toString(), sentenceOf(one.other));
    if (const std::size_t all = idle.first.size() + idle.more; all > 1)
        remark("note: {} of the list have no effect{}\n", counted(all, "rule"),
               idle.more > 0 ? fmt::format("; these are the first {}", idle.first.size()) : "");
}

/// What is compared is not refused.
void Access::warnOfForce(const rules::Refusal& refusal) const {
    std::string why =
        arguments_.replace ? "it contains no rules, and --replace would remove them all" : "it is empty";
    if (const auto* hazardous = std::get_if<rules::Hazardous>(&refusal))
        why = fmt::format("line {}: {}", hazardous->line, dangerOf(*hazardous));
    else if (const auto* together = std::get_if<rules::TooMuchTogether>(&refusal))
        why = dangerOf(*together);
    else if (const auto* most = std::get_if<rules::MostRemoved>(&refusal))
        why = dangerOf(*most);
    warn(fmt::format("{}: {}: access import would do this only with --force", arguments_.file, why));
}

void Access::reportImport(const rules::ImportOutcome& outcome) const {
    tell("imported {} ({}): {} allow, {} deny; {} added, {} changed, {} unchanged, {} removed\n",
         counted(outcome.allowing + outcome.denying, "rule"), toString(outcome.format),
         grouped(outcome.allowing), grouped(outcome.denying), grouped(outcome.added),
         grouped(outcome.changed), grouped(outcome.unchanged), grouped(outcome.removals));
    for (const store::ImportError& contradiction : outcome.contradictions)
        remark("note: {}:{}: {}\n", arguments_.file, contradiction.line, contradiction.message);
    if (const auto& bytes = outcome.not_utf8; bytes.count > 0)
        warn(fmt::format(
            "{}:{}: the note \"{}\"{} not UTF-8: such notes are kept byte by byte (iconv -f "
            "ISO-8859-1 -t UTF-8 converts a list of Latin-1)",
            arguments_.file, bytes.first, printable(bytes.what),
            bytes.count == 1   ? " is"
            : bytes.count == 2 ? " and that of another line are"
                               : fmt::format(" and those of {} more lines are", grouped(bytes.count - 1))));
    if (const auto& dunno = outcome.undecided; dunno.count > 0)
        remark(
            "note: {}:{}: DUNNO for {}{} has become {}: Postfix would ask its other restrictions, and a "
            "listener with "
            "an allowlist lets these clients in\n",
            arguments_.file, dunno.first, printable(dunno.what),
            dunno.count == 1   ? ""
            : dunno.count == 2 ? " and in another line"
                               : fmt::format(" and in {} more lines", grouped(dunno.count - 1)),
            dunno.count == 1 ? "an allow rule" : "allow rules");
    if (const auto& names = outcome.doubted_names; names.count > 0)
        warn(fmt::format("{}:{}: {}; that rule{} imported all the same, as an export has {}", arguments_.file,
                         names.first, names.what,
                         names.count == 1   ? " is"
                         : names.count == 2 ? " and another one are"
                                            : fmt::format(" and {} more are", grouped(names.count - 1)),
                         names.count == 1 ? "it" : "them"));
    if (outcome.expired > 0)
        remark("note: {} {} expired already\n", counted(outcome.expired, "rule"),
               outcome.expired == 1 ? "has" : "have");
    if (outcome.taken_over > 0)
        tell("note: {} of programs {} yours now, and the programs leave {} alone\n",
             counted(outcome.taken_over, "rule"), outcome.taken_over == 1 ? "is" : "are",
             outcome.taken_over == 1 ? "it" : "them");
    for (std::size_t at = 0; at < std::min(outcome.removed.size(), kMaxShown); ++at)
        tell("removed {}\n", plainLine(outcome.removed[at]));
    if (outcome.removals > kMaxShown)
        tell("and {} more: see mailgate access history\n", grouped(outcome.removals - kMaxShown));
    if (arguments_.quiet) return;
    for (const auto& [set, rules] : outcome.left_alone)
        tell("not touched: set {}, {}\n", escaped(set), counted(rules, "rule"));
}

void Access::exportRules() {
    std::size_t count = 0;
    use_ = RuleStore::Use::Rescue;
    const auto defaults = store().setDefaults();
    requireSet(arguments_.set);
    const Interrupts interrupts("interrupted: what was exported lacks rules, and its end mark");
    // On a terminal the rules themselves show how far it is.
    std::optional<Progress> progress;
    if (!standardOutput().terminal) progress.emplace("exporting rules");
    store().forEachRule([&](const AccessRule& rule) {
        if (progress) progress->advance();
        if (arguments_.set && rule.set != *arguments_.set) return;
        const auto set = defaults.find(rule.set);
        fmt::print("{}\n", exportLine(rule, set == defaults.end() ? store::SetDefaults{} : set->second));
        ++count;
    });
    progress.reset();
    fmt::print("{}\n", store::formatEnd(count));
    try {
        store().checkTrail();
    } catch (const store::StoreError& error) {
        warn(error.what());
    }
}

void Access::renameListener() {
    lookUpServers();
    perform({.work = [&] { renameRules(); }});
}

void Access::renameRules() {
    const auto answer = service().renameListener(arguments_.old_name, arguments_.new_name, arguments_.force);
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
    const std::size_t renamed = std::get<std::size_t>(answer);
    service().meetAll();
    if (renamed > 0) warnOfRunningName();
    if (renamed == 0)
        fail(fmt::format("no rule names the listener \"{}\"", printable(arguments_.old_name)));
    else
        tell("{} of listener {} now {} to listener {}\n", counted(renamed, "rule"), arguments_.old_name,
             renamed == 1 ? "belongs" : "belong", arguments_.new_name);
}

/// Until the reload, the listener has another name in the file alone.
void Access::warnOfRunningName() const {
    const auto status = runningGateway(config_).status;
    Config running;
    if (!status || otherStore(*status, config_) || !takeSite(running, *status)) return;
    const auto names = listenerNames(running);
    if (std::find(names.begin(), names.end(), arguments_.old_name) != names.end())
        warn(fmt::format(
            "the running gateway still has the listener {}, for which these rules do not decide any "
            "more: run mailgate reload at once, as an allowlist refuses clients until then",
            arguments_.old_name));
}

void Access::history() {
    onlyRead();
    std::optional<Network> about;
    std::vector<std::string> names;
    if (!arguments_.networks.empty()) {
        const std::string& text = arguments_.networks.front();
        if (store::isRuleName(text))
            names = {parsedName(text, store::parseRuleName)};
        else if (!store::nameMeant(text).empty())  // whose rules may be gone
            names = {"host:" + lowerCase(text), "spf:" + lowerCase(text)};
        else
            about = parsedNetwork(text);
    }
    const HistoryFilter filter{periodArgument(arguments_.since, arguments_.until, arguments_.view.zone()),
                               arguments_.by, arguments_.set};
    auto entries = withProgress("reading the history", [&] {
        auto all = names.empty() ? store().history(about) : store().historyOf(names);
        std::erase_if(all, [&](const RuleStore::AuditEntry& entry) { return !passes(entry, filter); });
        return all;
    });
    const bool narrowed =
        arguments_.since || arguments_.until || arguments_.by || arguments_.set || about || !names.empty();
    if (entries.empty()) fail(narrowed ? "no change that is recorded matches" : "no change is recorded");
    const std::size_t found = entries.size();
    if (arguments_.limit && *arguments_.limit < found)
        entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(*arguments_.limit));
    const bool cut = entries.size() < found;
    if (arguments_.json)
        std::fputs(historyAsJson(entries, cut ? std::optional(found) : std::nullopt).c_str(), stdout);
    else
        printWithNote(historyAsTable(entries, arguments_.view.style(), arguments_.view.times()),
                      cut ? fmt::format("the newest {} of {} entries; --limit N prints more",
                                        grouped(entries.size()), grouped(found))
                          : "",
                      arguments_.view);
}

/// Adds subcommands that share the context, each with arguments of its own.
class Commands {
  public:
    Commands(CLI::App& root, Context& context)
        : access_(*root.add_subcommand("access", "Manage the access rules: which networks may connect")),
          context_(context) {
        access_.require_subcommand(1);
    }

    struct Command {
        CLI::App& app;
        std::shared_ptr<Arguments> arguments;

        CLI::Option* networks(const std::string& name, const std::string& what) const {
            return app.add_option(name, arguments->networks, what);
        }
        void oneNetwork(const std::string& name, const std::string& what) const {
            networks(name, what)->expected(1);
        }
        void listeners(const std::string& what) const {
            app.add_option("--listener", arguments->listeners, what)->allow_extra_args(false)->delimiter(',');
        }
        /// An empty text is one that was given.
        CLI::Option* text(const std::string& name, std::optional<std::string> Arguments::*value,
                          const std::string& what) const {
            return app.add_option_function<std::string>(
                name,
                [arguments = arguments.get(), value](const std::string& given) { arguments->*value = given; },
                what);
        }
        CLI::Option* flag(const std::string& name, bool Arguments::*value, const std::string& what) const {
            return app.add_flag(name, (*arguments).*value, what);
        }
    };

    /// Under `parent`, or under access itself.
    template <typename Run>
    Command add(const std::string& name, const std::string& what, Run run, CLI::App* parent = nullptr) {
        Command command{*(parent == nullptr ? access_ : *parent).add_subcommand(name, what),
                        std::make_shared<Arguments>()};
        command.app.fallthrough();
        command.app.callback([&context = context_, arguments = command.arguments, run] {
            Access access(context, *arguments);
            run(access);
            access.reportBadRows();
        });
        return command;
    }

    CLI::App& group(const std::string& name, const std::string& what) {
        CLI::App& group = *access_.add_subcommand(name, what);
        group.require_subcommand(1);
        return group;
    }

  private:
    CLI::App& access_;
    Context& context_;
};

void addForceOption(const Commands::Command& command, const std::string& besides = "") {
    command.flag("--force", &Arguments::force,
                 "Do it even if that denies the site's own balancers or servers, or if all rules together "
                 "then cover half of the Internet or more" +
                     besides);
}

void addDryRunOption(const Commands::Command& command) {
    command.flag(
        "--dry-run", &Arguments::dry_run,
        "Change nothing: print which rules would change, and whom of the last week's clients that concerns");
}

/// Of every command that changes rules.
void addChangeOptions(const Commands::Command& command) {
    addDryRunOption(command);
    command.flag("--json", &Arguments::json, "Print JSON");
}

void addHereOption(const Commands::Command& command, const std::string& what) {
    command.flag("--here", &Arguments::here, what);
}

void addSetOption(const Commands::Command& command, const std::string& what) {
    command.text("--set", &Arguments::set, what);
}

void addProgramOption(const Commands::Command& command) {
    command.text("--program", &Arguments::program,
                 "Act as this program (such as fail2ban), which changes and removes only its own rules");
}

Commands::Command addPutCommand(Commands& commands, Verdict verdict, const std::string& what) {
    auto command = commands.add(std::string(toString(verdict)), what,
                                [verdict](Access& access) { access.put(verdict); });
    command
        .networks("NET",
                  "Addresses, networks (CIDR, or with a mask) or ranges (FIRST-LAST); or names: "
                  "host:NAME, spf:DOMAIN")
        ->required();
    command.listeners("Apply the rule to this listener only (may be repeated; default: all listeners)");
    command.text(
        "--expires", &Arguments::expires,
        "When the rule expires: after 30m, 12h, 7d, 2w, at a time such as \"2026-12-24 18:00\", or never "
        "(default)");
    command.text("--note", &Arguments::note, "A comment, stored with the rule");
    addSetOption(command, "The set of rules that it belongs to (default: manual)");
    command.text("--owner", &Arguments::owner, "Who is to be asked about the rule");
    command.text("--ticket", &Arguments::ticket, "Where the rule was asked for");
    addForceOption(command);
    addProgramOption(command);
    addHereOption(command,
                  "In a fleet: for this gateway alone, and without the fleet's database; needs --expires");
    addChangeOptions(command);
    command.app.footer("If the rule exists already, only what is given here is changed.");
    return command;
}

void addLimitOptions(const Commands::Command& allow) {
    allow.text("--client-sessions", &Arguments::client_sessions,
               "Concurrent sessions for each client, instead of the listener's limit; 0: unlimited, none: "
               "the listener's limit (default)");
    allow.text("--client-rate", &Arguments::client_rate,
               "New sessions per minute for each client; 0 and none likewise");
}

void addFileOptions(const Commands::Command& command) {
    command.app.add_option("FILE", command.arguments->file, "The file to import, - for standard input")
        ->required();
    command.app.add_option("--format", command.arguments->format,
                           "Format of the file: " + importFormatNames() + " (default: auto)");
    command.app.add_option("--verdict", command.arguments->verdict,
                           "allow or deny, for networks that the file lists without a verdict");
    command.app
        .add_option(
            "--ignore-columns", command.arguments->ignored_columns,
            "Columns of a CSV file that mean nothing here, by their names in its heading (may be repeated)")
        ->allow_extra_args(false)
        ->delimiter(',');
    command.listeners("What lines are for that name no listener (may be repeated; default: all listeners)");
    addSetOption(command, "The set of rules that all lines belong to (default: the line's set=, or manual)");
    command.flag("--all-sets", &Arguments::all_sets,
                 "When replacing, also remove the rules of sets that the file does not name");
}

void addFileCommands(Commands& commands) {
    const auto import = commands.add("import", "Import the rules of a file, all of them or none",
                                     [](Access& access) { access.importFile(); });
    addFileOptions(import);
    import.flag("--replace", &Arguments::replace,
                "Also remove the rules of the set (without --set: of each set that the file names) that are "
                "not in the file; input from a pipe must end with the end mark of access export");
    import.flag("--quiet", &Arguments::quiet,
                "Print nothing if nothing changes, and in no case the sets that are not touched");
    addForceOption(import,
                   "; with --all-sets also if most rules would be removed, or any by a list in the export's "
                   "format that has no end mark");
    addChangeOptions(import);
    const auto diff = commands.add(
        "diff", "Show what access import --replace would change; exit status 0: nothing, 1: something",
        [](Access& access) { access.diff(); });
    addFileOptions(diff);
    diff.flag("--json", &Arguments::json, "Print JSON");
    diff.arguments->replace = diff.arguments->force = diff.arguments->dry_run = true;
    diff.arguments->compares = true;
    const auto exported = commands.add("export", "Print all rules in the format that access import reads",
                                       [](Access& access) { access.exportRules(); });
    addSetOption(exported, "Only the rules of this set");
    const auto rename = commands.add("rename-listener",
                                     "Move the rules of a listener that no longer exists to another listener",
                                     [](Access& access) { access.renameListener(); });
    rename.app.add_option("OLD", rename.arguments->old_name, "The old name, still used in rules")->required();
    rename.app.add_option("NEW", rename.arguments->new_name, "The new name, as in the configuration")
        ->required();
    addForceOption(rename);
    addChangeOptions(rename);
}

void addSetCommands(Commands& commands) {
    CLI::App& sets =
        commands.group("set", "Manage sets of rules, such as those of a partner or of a program");
    const auto add = [&](const char* name, const char* what, void (Access::*run)()) {
        return commands.add(
            name, what, [run](Access& access) { (access.*run)(); }, &sets);
    };
    const auto name = [](const Commands::Command& command) {
        command.app.add_option("NAME", command.arguments->name, "The set")->required();
    };
    const auto list = add("list", "Print the sets", &Access::listSets);
    list.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(list.app, list.arguments->view, Prints::OneTable);
    const auto show = add("show", "Print a set and all its rules", &Access::showSet);
    name(show);
    show.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(show.app, show.arguments->view, Prints::OneTable);
    const auto define =
        add("define", "Set what new rules of a set get if nothing else is given", &Access::defineSet);
    name(define);
    define.text("--expires", &Arguments::expires,
                "How long they are in force: 30m, 1h30m, 7d, 2w, or never (no default)");
    define.text("--note", &Arguments::note, "The comment");
    addChangeOptions(define);
    const auto remove = add("remove", "Remove a set with all its rules", &Access::removeSet);
    name(remove);
    addChangeOptions(remove);
    remove.flag("--yes", &Arguments::yes, "Do not ask");
}

}  // namespace

void addAccessCommand(CLI::App& root, Context& context) {
    Commands commands(root, context);
    addLimitOptions(addPutCommand(commands, Verdict::Allow, "Allow networks"));
    const auto deny = addPutCommand(commands, Verdict::Deny, "Deny networks");
    deny.flag("--cut", &Arguments::cut,
              "Also end the current sessions that the rules now deny in these networks");
    deny.text("--reply", &Arguments::reply,
              "What such clients hear: temporary (try again later, SMTP 450 in place of 554), note (the "
              "rule's note, "
              "where the listener's refusal_footer has $rule_note), temporary,note, or default (neither)");
    const auto remove = commands.add("remove", "Remove rules", [](Access& access) { access.remove(); });
    remove.networks("NET|ID", "Networks or numbers of rules, exactly as access list shows them");
    remove.listeners("Only rules that name this listener (may be repeated)");
    addSetOption(remove, "Only rules of this set; without NET and ID all of them");
    remove.text("--note-contains", &Arguments::note_contains, "Only rules whose note contains this text");
    CLI::Option* const expired = remove.text("--expired-for", &Arguments::expired_for,
                                             "Only rules that expired so long ago (such as 30d)");
    remove.flag("--yes", &Arguments::yes,
                "Do not ask, even if rules are removed that were not named one by one");
    remove.flag("--quiet", &Arguments::quiet, "With --expired-for: print nothing if there are none")
        ->needs(expired);
    addProgramOption(remove);
    addHereOption(remove, "Only rules of this gateway alone, and without the fleet's database");
    addChangeOptions(remove);
    const auto list = commands.add("list", "Print the rules in force", [](Access& access) { access.list(); });
    list.oneNetwork("--match",
                    "Only rules that cover this address or network, or that are for this name (host:NAME, "
                    "spf:DOMAIN, or NAME)");
    list.text("--inside", &Arguments::inside, "Only rules for networks that lie in this one, or are it");
    list.listeners("Only rules that cover this listener (may be repeated)");
    addSetOption(list, "Only rules of this set");
    list.text("--note", &Arguments::note_contains, "Only rules whose note contains this text");
    list.text("--unused", &Arguments::unused, "Only rules that nobody has used for so long (such as 90d)");
    list.text(
        "--expiring", &Arguments::expiring,
        "Only rules that expire within this time (such as 7d), or of whose end there is a warning (soon)");
    list.flag("--overlapping", &Arguments::overlapping,
              "Only rules whose network is that of another rule, or lies in or around it");
    list.flag("--shadowed", &Arguments::shadowed,
              "Only rules that decide nothing, because others come first everywhere");
    list.flag("--expired", &Arguments::expired, "Print expired rules instead");
    list.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(list.app, list.arguments->view, Prints::OneTable);
    const auto test = commands.add(
        "test",
        "Show whether addresses are allowed, and by which rule; exit status 0: all are, 1: one is refused",
        [](Access& access) { access.test(); });
    test.networks("ADDR", "Client addresses, or names that rules are for")->required();
    test.listeners("Test this listener only (may be repeated; default: all listeners)");
    test.flag("--json", &Arguments::json, "Print JSON");
    addFileCommands(commands);
    addSetCommands(commands);
    const auto report =
        commands.add("report", "Print who may enter, why, since when and until when, for an audit",
                     [](Access& access) { access.report(); });
    report.app.add_option("--format", report.arguments->format, "csv (default) or json");
    report.flag("--json", &Arguments::json, "Print JSON, as --format json does");
    report.listeners("Only rules that cover this listener (may be repeated)");
    addSetOption(report, "Only rules of this set");
    const auto undo = commands.add("undo", "Take a change back, unless later changes stand on it",
                                   [](Access& access) { access.undo(); });
    undo.app.add_option("CHANGE", undo.arguments->change,
                        "Its number, as access history shows it (default: your last change)");
    addForceOption(undo);
    addHereOption(undo, "Only a change of rules of this gateway alone, and without the fleet's database");
    addChangeOptions(undo);
    const auto history = commands.add("history", "Print the audit trail: who changed what, and when",
                                      [](Access& access) { access.history(); });
    history.oneNetwork(
        "NET",
        "Only changes of rules that overlap this address or network, or whose name has stood for it; or of "
        "rules for this name (host:NAME, spf:DOMAIN, or NAME)");
    history.text("--since", &Arguments::since, kSinceHelp);
    history.text("--until", &Arguments::until, kUntilHelp);
    history.text("--by", &Arguments::by,
                 "Only changes by this author, wherever and however they acted: alice is also alice (sudo), "
                 "alice (console) and alice@gw2");
    addSetOption(history, "Only changes of this set: of its rules, and of what new ones get");
    history.app
        .add_option("--limit", history.arguments->limit,
                    "Print at most this many entries, the newest ones (default: all)")
        ->check(limitError);
    history.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(history.app, history.arguments->view, Prints::OneTable);
}

}  // namespace mailgate::cli
