// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/access_text.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/site.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"
#include "store/rules/import_export.h"
#include "store/rules/service.h"

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
    ViewOptions view;
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

Network parsedNetwork(const std::string& text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) usageError(std::move(error->message));
    return std::get<Network>(parsed);
}

std::vector<Network> parsedNetworks(const std::vector<std::string>& texts) {
    std::vector<Network> networks;
    networks.reserve(texts.size());
    for (const std::string& text : texts)
        networks.push_back(parsedNetwork(text));
    return networks;
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
    // Not earlier than was asked for.
    return (timeArgument("--expires", text, TimeMeans::Expiry, Zone::Local) + 999) / 1'000;
}

rules::Edit editOf(const Arguments& arguments) {
    rules::Edit edit{.note = arguments.note};
    if (arguments.expires) edit.expires_at = parsedExpiry(*arguments.expires);
    if (arguments.client_sessions)
        edit.sessions = parsedLimit("--client-sessions", *arguments.client_sessions);
    if (arguments.client_rate) edit.per_minute = parsedLimit("--client-rate", *arguments.client_rate);
    return edit;
}

/// A subcommand's run: configuration and, when asked for, the store.
class Access {
  public:
    Access(Context& context, const Arguments& arguments)
        : context_(context),
          arguments_(arguments),
          config_(loadConfig(findConfig(context.config_file))),
          site_(siteOf(config_)) {}

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
    void fail(const std::string& message) { failAt("mailgate", message); }
    /// `place`: in a list that was to be imported.
    void failAt(std::string_view place, const std::string& message) {
        fmt::print(stderr, "{}: {}\n", place, message);
        context_.exit_code = kRefusedOrNotFound;
    }

    rules::Service service() {
        return {[this]() -> RuleStore& { return store(); }, site_, author(), now()};
    }

    std::string author() const;
    [[noreturn]] void failUnknown(const std::string& listener) const;
    void requireConfigured(const std::vector<std::string>& names);
    void requireKnown();
    void warn(const std::string& warning) const { fmt::print(stderr, "warning: {}\n", warning); }
    void warnOfUnknownListeners();
    void warnOfClosed(const std::vector<std::string>& listeners) const;
    void reportRefusal(const rules::Refusal& refusal);
    void report(const rules::UnknownListener& refusal) { failUnknown(refusal.name); }
    void report(const rules::InvalidNote& refusal) { usageError(fmt::format("--note: {}", refusal.why)); }
    void report(const rules::ExpiryPast&) {
        usageError("--expires: " + *arguments_.expires + " is in the past");
    }
    void report(const rules::LimitsOnDeny&) {
        usageError("--client-sessions and --client-rate are for allow rules");
    }
    void report(const rules::Hazardous& refusal);
    void report(const rules::NothingLeft&);
    void report(const rules::UnreadableList& refusal);
    void report(const rules::StillConfigured& refusal);
    void report(const rules::InTheWay& refusal);
    void reportPut(const RuleStore::EditResult& result) const;
    void cutSessions(const rules::PutOutcome& put);
    void reportMissing(const Network& missing);
    void reportDecision(const rules::Decision& decision, const Network& address);
    std::optional<std::string> readFile();
    store::ImportOptions importOptions() const;

    Context& context_;
    const Arguments& arguments_;
    const Config config_;
    const rules::Site site_;
    std::unique_ptr<RuleStore> store_;
};

/// For the audit trail.
std::string Access::author() const {
    if (!arguments_.program) return actingUser();
    if (arguments_.program->empty()) usageError("--program: the name is empty");
    if (!store::noteError(*arguments_.program).empty())
        usageError("--program: the name is too long or contains control characters");
    return store::programName(*arguments_.program);
}

void Access::failUnknown(const std::string& listener) const {
    usageError(fmt::format("no listener is named \"{}\": {} has {}", printable(listener), config_.file,
                           fmt::join(listenerNames(config_), ", ")));
}

void Access::requireConfigured(const std::vector<std::string>& names) {
    if (const auto unknown = service().unknown(names)) failUnknown(unknown->name);
}

/// The rules of a listener that is gone can be listed and removed.
void Access::requireKnown() {
    if (const auto unknown = service().unknownToRules(arguments_.listeners)) failUnknown(unknown->name);
}

void Access::warnOfUnknownListeners() {
    for (const std::string& warning : unknownListenerWarnings(config_, store().ruleListeners()))
        warn(warning);
}

void Access::warnOfClosed(const std::vector<std::string>& listeners) const {
    for (const std::string& listener : listeners)
        warn(
            fmt::format("listener \"{}\" has access = \"allowlist\" and there is no allow rule for it: it "
                        "refuses every client",
                        listener));
}

void Access::reportRefusal(const rules::Refusal& refusal) {
    std::visit([this](const auto& kind) { report(kind); }, refusal);
}

void Access::report(const rules::Hazardous& refusal) {
    failAt(refusal.line == 0 ? "mailgate" : fmt::format("{}:{}", arguments_.file, refusal.line),
           sentenceOf(refusal));
}

void Access::report(const rules::NothingLeft&) {
    failAt(arguments_.file,
           "contains no rules, so --replace would remove them all; use --force to do it anyway");
}

void Access::report(const rules::UnreadableList& refusal) {
    for (const store::ImportError& error : refusal.errors)
        failAt(fmt::format("{}:{}", arguments_.file, error.line), error.message);
    fail("nothing was imported");
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
            fmt::print("added {}\n", sentence);
            return;
        case RuleStore::PutKind::Changed:
            fmt::print("changed {}\n", sentence);
            return;
        case RuleStore::PutKind::Unchanged:
            fmt::print("unchanged {}\n", sentence);
            return;
        case RuleStore::PutKind::Kept:
            fmt::print("left unchanged, not a rule of {}: {}\n", printable(*arguments_.program), sentence);
            return;
    }
}

void Access::put(Verdict verdict) {
    requireConfigured(arguments_.listeners);
    rules::PutRequest request{
        .verdict = verdict, .listeners = arguments_.listeners, .edit = editOf(arguments_)};
    request.networks = parsedNetworks(arguments_.networks);
    request.insist = arguments_.force;
    const auto answer = service().put(request);
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
    const auto& outcome = std::get<rules::PutOutcome>(answer);
    for (const RuleStore::EditResult& result : outcome.rules)
        reportPut(result);
    const auto overlaps = service().overlaps(outcome);
    for (const rules::Overlap& overlap : overlaps.first)
        fmt::print("note: {}\n", sentenceOf(overlap));
    if (overlaps.more > 0) fmt::print("note: and {} more\n", overlaps.more);
    if (arguments_.cut) cutSessions(outcome);
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
    fmt::print("{} ended\n", counted(ended, "session"));
}

void Access::reportMissing(const Network& missing) {
    if (arguments_.program) {
        // Somebody may have made the rule their own meanwhile, which is no failure of the program's.
        fmt::print("{} has no rule for {}: nothing was removed\n", printable(*arguments_.program),
                   missing.toString());
        return;
    }
    const std::string scope = arguments_.listeners.empty()
                                  ? ""
                                  : fmt::format(" that names {}", fmt::join(arguments_.listeners, " or "));
    fail(fmt::format("there is no rule for {}{}: nothing was removed", missing.toString(), scope));
    const auto near_misses = service().nearMisses(missing);
    for (const rules::NearMiss& near : near_misses.first)
        fmt::print(stderr, "note: {}\n", sentenceOf(near));
    if (near_misses.more > 0) fmt::print(stderr, "note: and {} more\n", near_misses.more);
}

void Access::remove() {
    requireKnown();
    const auto networks = parsedNetworks(arguments_.networks);
    const auto result = service().remove(networks, arguments_.listeners);
    for (const AccessRule& rule : result.removed)
        fmt::print("removed {}\n", sentenceOf(rule));
    warnOfClosed(service().closedBy(result));
    for (const Network& missing : result.missing)
        reportMissing(missing);
}

void Access::list() {
    requireKnown();
    rules::ListFilter filter{.listeners = arguments_.listeners, .expired = arguments_.expired};
    if (!arguments_.networks.empty()) filter.covering = parsedNetwork(arguments_.networks.front());
    const auto rules = service().list(filter);
    if (rules.empty()) fail(arguments_.expired ? "no rule has expired" : "no rule matches");
    if (arguments_.json)
        std::fputs(rulesAsJson(rules).c_str(), stdout);
    else
        print(rulesAsTable(rules, arguments_.view.style(), arguments_.view.times()), arguments_.view);
    warnOfUnknownListeners();
}

void Access::reportDecision(const rules::Decision& decision, const Network& address) {
    if (!decision.allowed) context_.exit_code = kRefusedOrNotFound;
    fmt::print("{} {} on {}: ", decision.allowed ? "allow" : "refuse", address.toString(), decision.listener);
    if (decision.by)
        fmt::print("by {}\n", sentenceOf(*decision.by));
    else
        fmt::print("no rule matches, and the listener's default is access = \"{}\"\n",
                   decision.allowed ? "open" : "allowlist");
    for (const AccessRule& rule : decision.others)
        fmt::print("  {} {}\n", store::isLive(rule, now()) ? "overrides" : "expired:", sentenceOf(rule));
}

void Access::test() {
    requireConfigured(arguments_.listeners);
    const Network address = parsedNetwork(arguments_.networks.front());
    if (address.prefix_length != 128) usageError(address.toString() + " is a network: test one address");
    for (const rules::Decision& decision : service().test(address.address, arguments_.listeners))
        reportDecision(decision, address);
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
    const auto format = store::importFormatOf(arguments_.format);
    if (!format)
        usageError(
            fmt::format("--format: \"{}\" is not one of auto, plain, cidr, haproxy, drop, csv, mailgate",
                        printable(arguments_.format)));
    options.format = *format;
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
    const auto text = readFile();
    if (!text) return;
    const auto answer = service().import({*text, importOptions(), arguments_.replace, arguments_.force});
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
    const auto& outcome = std::get<rules::ImportOutcome>(answer);
    fmt::print("imported {} ({}): {} allow, {} deny; {} added, {} changed, {} unchanged, {} removed\n",
               counted(outcome.allowing + outcome.denying, "rule"), toString(outcome.format),
               outcome.allowing, outcome.denying, outcome.added, outcome.changed, outcome.unchanged,
               outcome.removed);
    warnOfUnknownListeners();
    warnOfClosed(service().closedBy(outcome));
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
    const auto answer = service().renameListener(arguments_.old_name, arguments_.new_name);
    if (const auto* refusal = std::get_if<rules::Refusal>(&answer)) return reportRefusal(*refusal);
    const std::size_t renamed = std::get<std::size_t>(answer);
    if (renamed == 0)
        fail(fmt::format("no rule names the listener \"{}\"", printable(arguments_.old_name)));
    else
        fmt::print("{} of listener {} now {} to listener {}\n", counted(renamed, "rule"), arguments_.old_name,
                   renamed == 1 ? "belongs" : "belong", arguments_.new_name);
}

void Access::history() {
    std::optional<Network> about;
    if (!arguments_.networks.empty()) about = parsedNetwork(arguments_.networks.front());
    const auto entries = store().history(about);
    if (entries.empty()) fail("no change is recorded");
    if (arguments_.json)
        std::fputs(historyAsJson(entries).c_str(), stdout);
    else
        print(historyAsTable(entries, arguments_.view.style(), arguments_.view.times()), arguments_.view);
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
                 "Act as this program (such as fail2ban), which changes and removes only its own rules");
}

Commands::Command addPutCommand(Commands& commands, Verdict verdict, const std::string& what) {
    auto command = commands.add(std::string(toString(verdict)), what,
                                [verdict](Access& access) { access.put(verdict); });
    command.networks("NET", "Addresses or networks (CIDR)")->required();
    command.listeners("Apply the rule to this listener only (may be repeated; default: all listeners)");
    command.text(
        "--expires", &Arguments::expires,
        "When the rule expires: after 30m, 12h, 7d, 2w, at a time such as \"2026-12-24 18:00\", or never "
        "(default)");
    command.text("--note", &Arguments::note, "A comment, stored with the rule");
    command.flag(
        "--force", &Arguments::force,
        "Do it even if that denies the site's own balancers or servers, or covers the whole Internet");
    addProgramOption(command);
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

void addFileCommands(Commands& commands) {
    const auto import = commands.add("import", "Import the rules of a file, all of them or none",
                                     [](Access& access) { access.importFile(); });
    import.app.add_option("FILE", import.arguments->file, "The file to import, - for standard input")
        ->required();
    import.app.add_option("--format", import.arguments->format,
                          "Format of the file: auto (default), plain, cidr, haproxy, drop, csv or mailgate");
    import.app.add_option("--verdict", import.arguments->verdict,
                          "allow or deny, for networks that the file lists without a verdict");
    import.flag("--replace", &Arguments::replace,
                "Also remove every rule that is not in the file; input from a pipe must end with the end "
                "mark of access export");
    import.flag(
        "--force", &Arguments::force,
        "Do it even if that denies the site's own balancers or servers, or covers the whole Internet");
    commands.add("export", "Print all rules in the format that access import reads",
                 [](Access& access) { access.exportRules(); });
    const auto rename = commands.add("rename-listener",
                                     "Move the rules of a listener that no longer exists to another listener",
                                     [](Access& access) { access.renameListener(); });
    rename.app.add_option("OLD", rename.arguments->old_name, "The old name, still used in rules")->required();
    rename.app.add_option("NEW", rename.arguments->new_name, "The new name, as in the configuration")
        ->required();
}

}  // namespace

void addAccessCommand(CLI::App& root, Context& context) {
    Commands commands(root, context);
    addLimitOptions(addPutCommand(commands, Verdict::Allow, "Allow networks"));
    const auto deny = addPutCommand(commands, Verdict::Deny, "Deny networks");
    deny.flag("--cut", &Arguments::cut,
              "Also end the current sessions that the rules now deny in these networks");
    const auto remove = commands.add("remove", "Remove rules", [](Access& access) { access.remove(); });
    remove.networks("NET", "Networks, exactly as access list shows them")->required();
    remove.listeners("Only rules that name this listener (may be repeated)");
    addProgramOption(remove);
    const auto list = commands.add("list", "Print the rules in force", [](Access& access) { access.list(); });
    list.oneNetwork("--match", "Only rules that cover this address or network");
    list.listeners("Only rules that cover this listener (may be repeated)");
    list.flag("--expired", &Arguments::expired, "Print expired rules instead");
    list.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(list.app, list.arguments->view, Prints::OneTable);
    const auto test = commands.add(
        "test", "Show whether an address is allowed, and by which rule; exit status 0: allowed, 1: refused",
        [](Access& access) { access.test(); });
    test.networks("ADDR", "Client address")->required()->expected(1);
    test.listeners("Test this listener only (may be repeated; default: all listeners)");
    addFileCommands(commands);
    const auto history = commands.add("history", "Print the audit trail: who changed what, and when",
                                      [](Access& access) { access.history(); });
    history.oneNetwork("NET", "Only changes of rules that overlap this network");
    history.flag("--json", &Arguments::json, "Print JSON");
    addViewOptions(history.app, history.arguments->view, Prints::OneTable);
}

}  // namespace mailgate::cli
