// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/access_text.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"
#include "store/rules/import_export.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <pwd.h>
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
#include <memory>
#include <span>
#include <system_error>
#include <utility>

namespace mailgate::cli {

namespace {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

constexpr std::size_t kMaxNotes = 10;  ///< overlaps and near misses told; the rest is counted

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
    std::string file;
    std::string format = "auto";
    std::string verdict;
    std::string old_name, new_name;
    bool force = false;
    bool cut = false;
    bool replace = false;
    bool expired = false;
    bool json = false;
};

[[noreturn]] void usageError(std::string message) {
    throw CLI::ValidationError(std::move(message));
}

UnixSeconds now() {
    return std::time(nullptr);
}

std::string userName(uid_t user) {
    const passwd* entry = ::getpwuid(user);
    return entry == nullptr ? fmt::format("uid {}", user) : entry->pw_name;
}

/// The Unix user for the audit trail: who called sudo(8) rather than root.
std::string actingUser() {
    const char* sudo_user = ::getuid() == 0 ? std::getenv("SUDO_USER") : nullptr;
    return sudo_user == nullptr || *sudo_user == '\0' ? userName(::getuid())
                                                      : fmt::format("{} (sudo)", sudo_user);
}

std::vector<std::string> listenerNames(const Config& config) {
    std::vector<std::string> names;
    for (const ListenerConfig& listener : config.listeners)
        names.push_back(listener.name);
    return names;
}

Network parsedNetwork(const std::string& text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) usageError(std::move(error->message));
    return std::get<Network>(parsed);
}

std::vector<Network> parsedNetworks(const std::vector<std::string>& texts) {
    std::vector<Network> networks;
    for (const std::string& text : texts)
        networks.push_back(parsedNetwork(text));
    return networks;
}

bool holds(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
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

/// "never": for good.
std::optional<UnixSeconds> parsedExpiry(const std::string& text) {
    if (text == "never") return std::nullopt;
    const auto time = parseExpiry(text, now());
    if (!time)
        usageError(
            fmt::format("--expires: \"{}\" is neither a duration (30m, 12h, 7d), nor a time such as {}, "
                        "nor \"never\"",
                        printable(text), formatUtc(now())));
    if (*time <= now()) usageError("--expires: " + text + " is in the past");
    return time;
}

std::string checkedText(std::string_view option, const std::string& text) {
    if (const std::string error = store::noteError(text); !error.empty())
        usageError(fmt::format("{}: {}", option, error));
    return text;
}

/// What a line says of a rule changes, and the rest of it stays.
void addWhatIsSaid(AccessRule& rule, const AccessRule& line) {
    if (!line.note.empty()) rule.note = line.note;
    if (line.expires_at) rule.expires_at = line.expires_at;
    if (line.limits.sessions) rule.limits.sessions = line.limits.sessions;
    if (line.limits.per_minute) rule.limits.per_minute = line.limits.per_minute;
}

/// What the options say of a rule; the rest of it stays.
class RuleChange {
  public:
    explicit RuleChange(const Arguments& arguments) {
        if (arguments.note) note_ = checkedText("--note", *arguments.note);
        if (arguments.expires) expires_ = parsedExpiry(*arguments.expires);
        if (arguments.client_sessions)
            sessions_ = parsedLimit("--client-sessions", *arguments.client_sessions);
        if (arguments.client_rate) rate_ = parsedLimit("--client-rate", *arguments.client_rate);
    }

    void operator()(AccessRule& rule) const {
        if (note_) rule.note = *note_;
        if (expires_) rule.expires_at = *expires_;
        if (sessions_) rule.limits.sessions = *sessions_;
        if (rate_) rule.limits.per_minute = *rate_;
    }

  private:
    std::optional<std::string> note_;
    std::optional<std::optional<UnixSeconds>> expires_;
    std::optional<std::optional<std::uint32_t>> sessions_;
    std::optional<std::optional<std::uint32_t>> rate_;
};

/// A subcommand's run: configuration and, when asked for, the store.
class Access {
  public:
    Access(Context& context, const Arguments& arguments)
        : context_(context), arguments_(arguments), config_(loadConfig(findConfig(context.config_file))) {}

    void put(Verdict verdict);
    void remove();
    void list();
    void test();
    void importFile();
    void exportRules();
    void renameListener();
    void history();

  private:
    RuleStore& store(RuleStore::Use use = RuleStore::Use::Administer) {
        if (!store_) store_ = store::openRules(config_.store_url, {.use = use});
        return *store_;
    }
    void fail(const std::string& message) {
        fmt::print(stderr, "{}\n", message);
        context_.exit_code = kRefusedOrNotFound;
    }

    std::string author() const;
    void requireConfigured(const std::vector<std::string>& names) const;
    void requireKnown();
    void warn(const std::string& warning) const { fmt::print(stderr, "warning: {}\n", warning); }
    void warnOfUnknownListeners();
    void warnOfClosedListeners();
    std::vector<AccessRule> rulesToPut(Verdict verdict) const;
    bool isMeant(const AccessRule& rule, const std::string& place);
    void tellPut(const RuleStore::EditResult& result) const;
    void tellOverlaps(const std::vector<AccessRule>& put);
    void cutSessions(const std::vector<AccessRule>& rules);
    void tellNearMisses(const Network& missing);
    bool listed(const AccessRule& rule, const std::optional<Network>& match) const;
    std::vector<ListenerConfig> listenersToTest() const;
    void tellVerdict(const ListenerConfig& listener, const std::vector<AccessRule>& matching,
                     const Network& address);
    std::optional<std::string> readFile();
    store::ImportOptions importOptions(const std::vector<std::string>& listeners) const;
    bool acceptable(const store::ImportResult& imported);
    void tellImported(store::ImportFormat format, std::span<const AccessRule> rules,
                      const RuleStore::ReplaceResult& result) const;

    Context& context_;
    const Arguments& arguments_;
    const Config config_;
    std::unique_ptr<RuleStore> store_;
};

/// For the audit trail.
std::string Access::author() const {
    if (!arguments_.program) return actingUser();
    if (arguments_.program->empty()) usageError("--program: a name is needed");
    if (!store::noteError(*arguments_.program).empty())
        usageError("--program: a name is short and has no control characters");
    return store::programName(*arguments_.program);
}

void Access::requireConfigured(const std::vector<std::string>& names) const {
    const auto known = listenerNames(config_);
    for (const std::string& name : names)
        if (!holds(known, name))
            usageError(fmt::format("no listener is named \"{}\": {} has {}", printable(name), config_.file,
                                   fmt::join(known, ", ")));
}

/// The rules of a listener that is gone can be listed and removed.
void Access::requireKnown() {
    const auto known = listenerNames(config_);
    std::vector<std::string> unknown;
    for (const std::string& name : arguments_.listeners)
        if (!holds(known, name)) unknown.push_back(name);
    if (unknown.empty()) return;
    const auto named = store().ruleListeners();
    std::erase_if(unknown, [&](const std::string& name) { return named.contains(name); });
    requireConfigured(unknown);
}

void Access::warnOfUnknownListeners() {
    for (const std::string& warning : unknownListenerWarnings(config_, store().ruleListeners()))
        warn(warning);
}

/// An allowlist without rules refuses everybody.
void Access::warnOfClosedListeners() {
    std::vector<AccessRule> allowing;
    store().forEachRule([&](const AccessRule& rule) {
        if (rule.verdict == Verdict::Allow && isLive(rule, now())) allowing.push_back(rule);
    });
    for (const ListenerConfig& listener : config_.listeners) {
        if (listener.access != AccessDefault::Allowlist) continue;
        if (std::none_of(allowing.begin(), allowing.end(),
                         [&](const AccessRule& rule) { return covers(rule, listener.name); }))
            warn(
                fmt::format("listener \"{}\" is an allowlist, and no rule allows anybody there now: it "
                            "refuses every client",
                            listener.name));
    }
}

std::vector<AccessRule> Access::rulesToPut(Verdict verdict) const {
    AccessRule rule;
    rule.verdict = verdict;
    std::vector<AccessRule> rules;
    for (const Network& network : parsedNetworks(arguments_.networks)) {
        rule.network = network;
        rule.listener.clear();
        if (arguments_.listeners.empty()) rules.push_back(rule);
        for (const std::string& listener : arguments_.listeners) {
            rule.listener = listener;
            rules.push_back(rule);
        }
    }
    return rules;
}

/// What shuts out the site itself, or lets in everybody, is asked for with --force only.
bool Access::isMeant(const AccessRule& rule, const std::string& place) {
    if (arguments_.force) return true;
    const bool allow = rule.verdict == Verdict::Allow;
    std::vector<std::string> found;
    if (!allow)
        found = ownAddressesDenied(config_, rule);
    else if (const std::string_view whole = wholeInternet(rule.network); !whole.empty())
        found.emplace_back(whole);
    if (found.empty()) return true;
    fail(fmt::format("{}{} {} would {} {}: nothing was changed; --force does it all the same", place,
                     allow ? "allowing" : "denying", rule.network.toString(), allow ? "let in" : "shut out",
                     fmt::join(found, ", ")));
    return false;
}

void Access::tellPut(const RuleStore::EditResult& result) const {
    const auto sentence = sentenceOf(result.rule);
    switch (result.kind) {
        case RuleStore::PutKind::Added:
            fmt::print("added {}\n", sentence);
            return;
        case RuleStore::PutKind::Changed:
            fmt::print("changed, now {}\n", sentence);
            return;
        case RuleStore::PutKind::Unchanged:
            fmt::print("unchanged {}\n", sentence);
            return;
        case RuleStore::PutKind::Kept:
            fmt::print("left as it is, not being {}'s: {}\n", printable(*arguments_.program), sentence);
            return;
    }
}

void Access::tellOverlaps(const std::vector<AccessRule>& put) {
    std::size_t count = 0;
    store().forEachRule([&](const AccessRule& other) {
        if (!isLive(other, now())) return;
        for (const AccessRule& rule : put) {
            const std::string note = overlapNote(rule, other);
            if (!note.empty() && ++count <= kMaxNotes) fmt::print("note: rule {} {}\n", rule.id, note);
        }
    });
    if (count > kMaxNotes) fmt::print("note: and {} more\n", count - kMaxNotes);
}

void Access::put(Verdict verdict) {
    requireConfigured(arguments_.listeners);
    const RuleChange change(arguments_);
    const auto wanted = rulesToPut(verdict);
    for (const AccessRule& rule : wanted)
        if (!isMeant(rule, "")) return;
    const auto results = store().edit(
        wanted, [&](AccessRule& rule, const AccessRule&) { change(rule); }, author());
    std::vector<AccessRule> rules;
    for (const RuleStore::EditResult& result : results) {
        tellPut(result);
        rules.push_back(result.rule);
    }
    tellOverlaps(rules);
    if (arguments_.cut) cutSessions(rules);
}

/// Sessions already admitted stay, unless the running gateway is asked to end them.
void Access::cutSessions(const std::vector<AccessRule>& rules) {
    const admin::Client gateway(config_.admin.socket);
    std::size_t ended = 0;
    for (const AccessRule& rule : rules) {
        Poco::JSON::Object order;
        order.set("network", rule.network.toString());
        Poco::JSON::Array listeners;
        if (!rule.listener.empty()) listeners.add(rule.listener);
        order.set("listeners", listeners);
        ended += gateway.post("/v1/cut", order)->optValue<std::size_t>("cut", 0);
    }
    fmt::print("{} ended\n", counted(ended, "session"));
}

void Access::tellNearMisses(const Network& missing) {
    std::size_t count = 0;
    store().forEachRule([&](const AccessRule& rule) {
        const bool same = rule.network == missing;
        if (!same && !rule.network.contains(missing) && !missing.contains(rule.network)) return;
        if (++count > kMaxNotes) return;
        const std::string_view relation = same                             ? "the same network"
                                          : rule.network.contains(missing) ? "it lies inside"
                                                                           : "it contains";
        fmt::print(stderr, "note: {}: {}\n", relation, sentenceOf(rule));
    });
    if (count > kMaxNotes) fmt::print(stderr, "note: and {} more\n", count - kMaxNotes);
}

void Access::remove() {
    requireKnown();
    const auto networks = parsedNetworks(arguments_.networks);
    const auto result = store().remove(networks, arguments_.listeners, author());
    for (const AccessRule& rule : result.removed)
        fmt::print("removed {}\n", sentenceOf(rule));
    if (std::any_of(result.removed.begin(), result.removed.end(),
                    [](const AccessRule& rule) { return rule.verdict == Verdict::Allow; }))
        warnOfClosedListeners();
    for (const Network& missing : result.missing) {
        if (arguments_.program) {
            // Somebody may have made the rule their own meanwhile, which is no failure of the program's.
            fmt::print("{} has no rule for {}: nothing was removed\n", printable(*arguments_.program),
                       missing.toString());
            continue;
        }
        const std::string scope =
            arguments_.listeners.empty()
                ? ""
                : fmt::format(" that names {}", fmt::join(arguments_.listeners, " or "));
        fail(fmt::format("there is no rule for {}{}: nothing was removed", missing.toString(), scope));
        tellNearMisses(missing);
    }
}

bool Access::listed(const AccessRule& rule, const std::optional<Network>& match) const {
    if (isLive(rule, now()) == arguments_.expired) return false;
    if (match && !rule.network.contains(*match)) return false;
    return arguments_.listeners.empty() ||
           std::any_of(arguments_.listeners.begin(), arguments_.listeners.end(),
                       [&](const std::string& listener) { return covers(rule, listener); });
}

void Access::list() {
    requireKnown();
    std::optional<Network> match;
    if (!arguments_.networks.empty()) match = parsedNetwork(arguments_.networks.front());
    std::vector<AccessRule> rules;
    store().forEachRule([&](const AccessRule& rule) {
        if (listed(rule, match)) rules.push_back(rule);
    });
    std::fputs((arguments_.json ? rulesAsJson(rules) : rulesAsTable(rules)).c_str(), stdout);
    warnOfUnknownListeners();
}

std::vector<ListenerConfig> Access::listenersToTest() const {
    if (arguments_.listeners.empty()) return config_.listeners;
    std::vector<ListenerConfig> listeners;
    for (const ListenerConfig& listener : config_.listeners)
        if (std::find(arguments_.listeners.begin(), arguments_.listeners.end(), listener.name) !=
            arguments_.listeners.end())
            listeners.push_back(listener);
    return listeners;
}

void Access::tellVerdict(const ListenerConfig& listener, const std::vector<AccessRule>& matching,
                         const Network& address) {
    const std::vector<std::string> names{listener.name};
    store::AccessTable::Builder builder(names);
    for (const AccessRule& rule : matching)
        builder.add(rule.id, rule.network, rule.verdict, rule.listener, rule.expires_at, rule.limits);
    const auto table = builder.build(0);
    const auto match = table->lookup(address.address, 0, now());
    const bool allowed = match ? match->verdict == Verdict::Allow : listener.access == AccessDefault::Open;
    if (!allowed) context_.exit_code = kRefusedOrNotFound;
    fmt::print("{} {} on {}: ", allowed ? "allow" : "refuse", address.toString(), listener.name);
    if (!match)
        fmt::print("no rule matches, and the listener's default is access = \"{}\"\n",
                   allowed ? "open" : "allowlist");
    const std::int64_t winner = match ? table->ruleId(match->rule) : 0;
    for (const AccessRule& rule : matching)
        if (match && rule.id == winner) fmt::print("by {}\n", sentenceOf(rule));
    for (const AccessRule& rule : matching) {
        if (rule.id == winner || !covers(rule, listener.name)) continue;
        fmt::print("  {} {}\n", isLive(rule, now()) ? "over" : "expired:", sentenceOf(rule));
    }
}

void Access::test() {
    requireConfigured(arguments_.listeners);
    const Network address = parsedNetwork(arguments_.networks.front());
    if (address.prefix_length != 128) usageError(address.toString() + " is a network: test one address");
    std::vector<AccessRule> matching;
    store().forEachRule([&](const AccessRule& rule) {
        if (rule.network.contains(address.address)) matching.push_back(rule);
    });
    std::stable_sort(matching.begin(), matching.end(), [](const AccessRule& a, const AccessRule& b) {
        return a.network.prefix_length > b.network.prefix_length;
    });
    for (const ListenerConfig& listener : listenersToTest())
        tellVerdict(listener, matching, address);
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
    fail(fmt::format("{}: cannot be read: {}", arguments_.file, std::strerror(errno)));
    return std::nullopt;
}

store::ImportOptions Access::importOptions(const std::vector<std::string>& listeners) const {
    store::ImportOptions options;
    const auto format = store::importFormatOf(arguments_.format);
    if (!format)
        usageError(fmt::format("--format: \"{}\" is none of auto, plain, cidr, haproxy, drop, csv, mailgate",
                               printable(arguments_.format)));
    options.format = *format;
    if (!arguments_.verdict.empty()) {
        if (arguments_.verdict != "allow" && arguments_.verdict != "deny")
            usageError(
                fmt::format("--verdict: \"{}\" is neither allow nor deny", printable(arguments_.verdict)));
        options.verdict = arguments_.verdict == "allow" ? Verdict::Allow : Verdict::Deny;
    }
    options.listeners = listeners;
    std::error_code ignored;  // a file that is not there has been told of
    options.may_be_cut =
        arguments_.file == "-" || !std::filesystem::is_regular_file(arguments_.file, ignored);
    options.end_mark_required = options.may_be_cut && arguments_.replace;
    return options;
}

bool Access::acceptable(const store::ImportResult& imported) {
    for (const store::ImportError& error : imported.errors)
        fail(fmt::format("{}:{}: {}", arguments_.file, error.line, error.message));
    if (!imported.errors.empty()) {
        fail("nothing was imported");
        return false;
    }
    if (arguments_.replace && imported.rules.empty() && !arguments_.force) {
        fail(fmt::format("{}: holds no rule: --replace would remove all; --force does it all the same",
                         arguments_.file));
        return false;
    }
    return std::all_of(imported.rules.begin(), imported.rules.end(), [&](const store::ImportedRule& one) {
        return isMeant(one.rule, fmt::format("{}:{}: ", arguments_.file, one.line));
    });
}

void Access::tellImported(store::ImportFormat format, std::span<const AccessRule> rules,
                          const RuleStore::ReplaceResult& result) const {
    const auto count = [&](RuleStore::PutKind kind) {
        return std::count_if(result.put.begin(), result.put.end(),
                             [&](const auto& put) { return put.kind == kind; });
    };
    const auto denying = std::count_if(rules.begin(), rules.end(),
                                       [](const AccessRule& rule) { return rule.verdict == Verdict::Deny; });
    fmt::print("imported {} ({}): {} allow, {} deny; {} added, {} changed, {} as they were, {} removed\n",
               counted(rules.size(), "rule"), toString(format),
               rules.size() - static_cast<std::size_t>(denying), denying, count(RuleStore::PutKind::Added),
               count(RuleStore::PutKind::Changed), count(RuleStore::PutKind::Unchanged), result.removed);
}

void Access::importFile() {
    const auto text = readFile();
    if (!text) return;
    // A listener that is gone may be named where it has rules.
    auto listeners = listenerNames(config_);
    for (const auto& named : store().ruleListeners())
        listeners.push_back(named.first);
    auto imported = store::parseRules(*text, importOptions(listeners));
    if (!acceptable(imported)) return;
    std::vector<AccessRule> rules;
    for (store::ImportedRule& one : imported.rules)
        rules.push_back(std::move(one.rule));
    RuleStore::ReplaceResult result;
    if (arguments_.replace)
        result = store().replaceAll(rules, actingUser());
    else
        for (const RuleStore::EditResult& one : store().edit(rules, addWhatIsSaid, actingUser()))
            result.put.push_back({one.kind, one.rule.id});
    tellImported(imported.format, rules, result);
    warnOfUnknownListeners();
    if (result.removed > 0) warnOfClosedListeners();
}

void Access::exportRules() {
    std::size_t count = 0;
    store(RuleStore::Use::Rescue).forEachRule([&](const AccessRule& rule) {
        fmt::print("{}\n", exportLine(rule));
        ++count;
    });
    fmt::print("{}\n", store::formatEnd(count));
    try {
        store().checkTrail();
    } catch (const store::StoreError& error) {
        warn(error.what());
    }
}

void Access::renameListener() {
    const std::vector<std::string> known = listenerNames(config_);
    requireConfigured({arguments_.new_name});
    if (holds(known, arguments_.old_name))
        usageError(fmt::format("{} has a listener \"{}\": its rules stay with it", config_.file,
                               printable(arguments_.old_name)));
    const auto result = store().renameListener(arguments_.old_name, arguments_.new_name, actingUser());
    if (!result.in_the_way.empty()) {
        for (const AccessRule& rule : result.in_the_way)
            fail(fmt::format("in the way: {}", sentenceOf(rule)));
        fail("nothing was changed: remove these first, or those of the old name");
    } else if (result.renamed == 0) {
        fail(fmt::format("no rule names the listener \"{}\"", printable(arguments_.old_name)));
    } else {
        fmt::print("{} of listener {} {} now of listener {}\n", counted(result.renamed, "rule"),
                   arguments_.old_name, result.renamed == 1 ? "is" : "are", arguments_.new_name);
    }
}

void Access::history() {
    std::optional<Network> about;
    if (!arguments_.networks.empty()) about = parsedNetwork(arguments_.networks.front());
    const auto entries = store().history(about);
    std::fputs((arguments_.json ? historyAsJson(entries) : historyAsTable(entries)).c_str(), stdout);
}

/// Adds subcommands that share the context, each with arguments of its own.
class Commands {
  public:
    Commands(CLI::App& root, Context& context)
        : access_(*root.add_subcommand("access", "Who may enter: rules by network")), context_(context) {
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
            app.add_option("--listener", arguments->listeners, what)->allow_extra_args(false);
        }
        /// An empty text is one that was given.
        void text(const std::string& name, std::optional<std::string> Arguments::*value,
                  const std::string& what) const {
            app.add_option_function<std::string>(
                name,
                [arguments = arguments.get(), value](const std::string& given) { arguments->*value = given; },
                what);
        }
        void flag(const std::string& name, bool Arguments::*value, const std::string& what) const {
            app.add_flag(name, (*arguments).*value, what);
        }
    };

    template <typename Run>
    Command add(const std::string& name, const std::string& what, Run run) {
        Command command{*access_.add_subcommand(name, what), std::make_shared<Arguments>()};
        command.app.fallthrough();
        command.app.callback([&context = context_, arguments = command.arguments, run] {
            Access access(context, *arguments);
            run(access);
        });
        return command;
    }

  private:
    CLI::App& access_;
    Context& context_;
};

void addProgramOption(const Commands::Command& command) {
    command.text("--program", &Arguments::program,
                 "In the name of this program, which leaves all rules but its own as they are");
}

Commands::Command addPutCommand(Commands& commands, Verdict verdict, const std::string& what) {
    const auto command = commands.add(std::string(toString(verdict)), what,
                                      [verdict](Access& access) { access.put(verdict); });
    command.networks("NET", "Addresses and networks (CIDR)")->required();
    command.listeners("Only on this listener (may be repeated; default: all)");
    command.text("--expires", &Arguments::expires, "30m, 12h, 7d, an RFC 3339 time, or never (default)");
    command.text("--note", &Arguments::note, "Why; kept with the rule");
    command.flag("--force", &Arguments::force,
                 "Even if that shuts out balancers, servers or everybody, or lets in everybody");
    addProgramOption(command);
    command.app.footer("Of a rule that is there, only what is given changes.");
    return command;
}

void addLimitOptions(const Commands::Command& allow) {
    allow.text(
        "--client-sessions", &Arguments::client_sessions,
        "Sessions at once for each client, in place of the listener's limit; 0: without limit, none: as "
        "the listener (default)");
    allow.text("--client-rate", &Arguments::client_rate, "New sessions a minute for each client, likewise");
}

void addFileCommands(Commands& commands) {
    const auto import = commands.add("import", "Add the rules of a file, all or none of them",
                                     [](Access& access) { access.importFile(); });
    import.app.add_option("FILE", import.arguments->file, "The list; - is standard input")->required();
    import.app.add_option("--format", import.arguments->format,
                          "auto (default), plain, cidr, haproxy, drop, csv or mailgate");
    import.app.add_option("--verdict", import.arguments->verdict,
                          "allow or deny: what to do with networks of which the list does not say it");
    import.flag(
        "--replace", &Arguments::replace,
        "Remove every rule that the file does not hold; a pipe has to end with the export's end mark");
    import.flag("--force", &Arguments::force,
                "Even if that shuts out balancers, servers or everybody, or lets in everybody");
    commands.add("export", "Print all rules as import reads them",
                 [](Access& access) { access.exportRules(); });
    const auto rename =
        commands.add("rename-listener", "Have the rules of a listener that is gone name another one",
                     [](Access& access) { access.renameListener(); });
    rename.app.add_option("OLD", rename.arguments->old_name, "The name in the rules")->required();
    rename.app.add_option("NEW", rename.arguments->new_name, "The name in the configuration")->required();
}

}  // namespace

void addAccessCommand(CLI::App& root, Context& context) {
    Commands commands(root, context);
    addLimitOptions(addPutCommand(commands, Verdict::Allow, "Let networks in"));
    const auto deny = addPutCommand(commands, Verdict::Deny, "Keep networks out");
    deny.flag("--cut", &Arguments::cut, "And end their sessions that are under way");
    const auto remove =
        commands.add("remove", "Remove the rules of networks", [](Access& access) { access.remove(); });
    remove.networks("NET", "Networks exactly as listed")->required();
    remove.listeners("Only rules that name this listener (may be repeated)");
    addProgramOption(remove);
    const auto list = commands.add("list", "Print the rules in force", [](Access& access) { access.list(); });
    list.oneNetwork("--match", "Only rules that cover this address or network");
    list.listeners("Only rules that cover this listener (may be repeated)");
    list.flag("--expired", &Arguments::expired, "Those that have expired instead");
    list.flag("--json", &Arguments::json, "As JSON");
    const auto test =
        commands.add("test", "Say whether an address may enter, and why: exit 0 allow, 1 refuse",
                     [](Access& access) { access.test(); });
    test.networks("ADDR", "The client's address")->required()->expected(1);
    test.listeners("On this listener (may be repeated; default: each)");
    addFileCommands(commands);
    const auto history =
        commands.add("history", "Print who changed what when", [](Access& access) { access.history(); });
    history.oneNetwork("NET", "Only rules that overlap this network");
    history.flag("--json", &Arguments::json, "As JSON");
}

}  // namespace mailgate::cli
