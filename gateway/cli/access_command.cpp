#include "gateway/admin/client.h"
#include "gateway/cli/access_text.h"
#include "gateway/cli/cli.h"
#include "gateway/config/load.h"
#include "store/access_store.h"
#include "store/import_export.h"
#include "store/text.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <utility>

namespace mailgate::cli {

namespace {

using store::AccessRule;
using store::AccessStore;
using store::Network;
using store::UnixSeconds;
using store::Verdict;

constexpr std::size_t kMaxNotes = 10;  ///< overlaps and near misses told; the rest is counted

/// What the command line may hold; each subcommand fills its part.
struct Arguments {
    std::vector<std::string> networks;
    std::vector<std::string> listeners;
    std::string expires;
    std::string note;
    std::optional<std::uint32_t> client_sessions;
    std::optional<std::uint32_t> client_rate;
    std::string file;
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
    auto parsed = store::parseNetwork(text);
    if (auto* error = std::get_if<store::NetworkError>(&parsed)) usageError(std::move(error->message));
    return std::get<Network>(parsed);
}

std::vector<Network> parsedNetworks(const std::vector<std::string>& texts) {
    std::vector<Network> networks;
    for (const std::string& text : texts)
        networks.push_back(parsedNetwork(text));
    return networks;
}

void checkListeners(const Config& config, const std::vector<std::string>& names) {
    const auto known = listenerNames(config);
    for (const std::string& name : names)
        if (std::find(known.begin(), known.end(), name) == known.end())
            usageError(fmt::format("no listener is named \"{}\": {} has {}", store::printable(name),
                                   config.file, fmt::join(known, ", ")));
}

/// A subcommand's run: configuration and, when asked for, the store.
class Access {
  public:
    Access(Context& context, const Arguments& arguments)
        : context_(context), arguments_(arguments), config_(loadConfig(findConfig(context.config_file))) {
        checkListeners(config_, arguments.listeners);
    }

    void put(Verdict verdict);
    void remove();
    void list();
    void test();
    void importFile();
    void exportRules();
    void history();

  private:
    AccessStore& store() {
        if (!store_) store_ = std::make_unique<AccessStore>(config_.store_url, AccessStore::Use::Administer);
        return *store_;
    }
    void fail(const std::string& message) {
        fmt::print(stderr, "{}\n", message);
        context_.exit_code = kRefusedOrNotFound;
    }

    std::vector<AccessRule> rulesToPut(Verdict verdict) const;
    bool sparesOwnAddresses(const AccessRule& rule, const std::string& place);
    void tellPut(const AccessRule& rule, AccessStore::PutKind kind) const;
    void tellOverlaps(const std::vector<AccessRule>& put);
    void cutSessions(const std::vector<AccessRule>& rules);
    void tellNearMisses(const Network& missing);
    bool listed(const AccessRule& rule, const std::optional<Network>& match) const;
    std::vector<ListenerConfig> listenersToTest() const;
    void tellVerdict(const ListenerConfig& listener, const std::vector<AccessRule>& matching,
                     const Network& address);
    std::optional<std::string> readFile();
    bool acceptable(const store::ImportResult& imported);

    Context& context_;
    const Arguments& arguments_;
    const Config config_;
    std::unique_ptr<AccessStore> store_;
};

std::vector<AccessRule> Access::rulesToPut(Verdict verdict) const {
    AccessRule rule;
    rule.verdict = verdict;
    rule.note = arguments_.note;
    rule.limits = {arguments_.client_sessions, arguments_.client_rate};
    if (const std::string error = store::noteError(rule.note); !error.empty()) usageError("--note: " + error);
    if (!arguments_.expires.empty()) {
        rule.expires_at = parseExpiry(arguments_.expires, now());
        if (!rule.expires_at)
            usageError(
                fmt::format("--expires: \"{}\" is neither a duration (30m, 12h, 7d) nor a time such as {}",
                            store::printable(arguments_.expires), store::formatUtc(now())));
        if (!isLive(rule, now())) usageError("--expires: " + arguments_.expires + " is in the past");
    }
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

bool Access::sparesOwnAddresses(const AccessRule& rule, const std::string& place) {
    if (rule.verdict == Verdict::Allow || arguments_.force) return true;
    const auto denied = ownAddressesDenied(config_, rule);
    if (denied.empty()) return true;
    fail(fmt::format("{}denying {} would shut out {}: nothing was changed; --force does it all the same",
                     place, rule.network.toString(), fmt::join(denied, ", ")));
    return false;
}

void Access::tellPut(const AccessRule& rule, AccessStore::PutKind kind) const {
    const std::string_view done = rule.verdict == Verdict::Allow ? "allowed" : "denied";
    const auto scope = scopeOf(rule);
    const auto network = rule.network.toString();
    switch (kind) {
        case AccessStore::PutKind::Added:
            fmt::print("{} {} on {} (rule {})\n", done, network, scope, rule.id);
            return;
        case AccessStore::PutKind::Changed:
            fmt::print("{} {} on {} already: note, expiry and limits changed (rule {})\n", done, network,
                       scope, rule.id);
            return;
        case AccessStore::PutKind::Unchanged:
            fmt::print("{} {} on {} already: nothing changed (rule {})\n", done, network, scope, rule.id);
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
    auto rules = rulesToPut(verdict);
    for (const AccessRule& rule : rules)
        if (!sparesOwnAddresses(rule, "")) return;
    const auto results = store().put(rules, actingUser());
    for (std::size_t at = 0; at < rules.size(); ++at) {
        rules[at].id = results[at].id;
        tellPut(rules[at], results[at].kind);
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
    fmt::print("{} sessions ended\n", ended);
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
    const auto networks = parsedNetworks(arguments_.networks);
    const auto result = store().remove(networks, arguments_.listeners, actingUser());
    for (const AccessRule& rule : result.removed)
        fmt::print("removed {}\n", sentenceOf(rule));
    for (const Network& missing : result.missing) {
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
    std::optional<Network> match;
    if (!arguments_.networks.empty()) match = parsedNetwork(arguments_.networks.front());
    std::vector<AccessRule> rules;
    store().forEachRule([&](const AccessRule& rule) {
        if (listed(rule, match)) rules.push_back(rule);
    });
    std::fputs((arguments_.json ? rulesAsJson(rules) : rulesAsTable(rules)).c_str(), stdout);
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

std::optional<std::string> Access::readFile() {
    if (arguments_.file == "-")
        return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
    std::ifstream file(arguments_.file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (file.is_open() && !file.bad()) return text;
    fail(fmt::format("{}: cannot be read: {}", arguments_.file, std::strerror(errno)));
    return std::nullopt;
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
        return sparesOwnAddresses(one.rule, fmt::format("{}:{}: ", arguments_.file, one.line));
    });
}

void Access::importFile() {
    const auto text = readFile();
    if (!text) return;
    auto imported = store::parseRules(*text, listenerNames(config_));
    if (!acceptable(imported)) return;
    std::vector<AccessRule> rules;
    for (store::ImportedRule& one : imported.rules)
        rules.push_back(std::move(one.rule));
    AccessStore::ReplaceResult result;
    if (arguments_.replace)
        result = store().replaceAll(rules, actingUser());
    else
        result.put = store().put(rules, actingUser());
    const auto count = [&](AccessStore::PutKind kind) {
        return std::count_if(result.put.begin(), result.put.end(),
                             [&](const auto& put) { return put.kind == kind; });
    };
    fmt::print("imported {} rules: {} added, {} changed, {} as they were, {} removed\n", rules.size(),
               count(AccessStore::PutKind::Added), count(AccessStore::PutKind::Changed),
               count(AccessStore::PutKind::Unchanged), result.removed);
}

void Access::exportRules() {
    store().forEachRule([](const AccessRule& rule) { fmt::print("{}\n", store::formatRule(rule)); });
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

Commands::Command addPutCommand(Commands& commands, Verdict verdict, const std::string& what) {
    const auto command = commands.add(std::string(toString(verdict)), what,
                                      [verdict](Access& access) { access.put(verdict); });
    command.networks("NET", "Addresses and networks (CIDR)")->required();
    command.listeners("Only on this listener (may be repeated; default: all)");
    command.app.add_option("--expires", command.arguments->expires, "30m, 12h, 7d or an RFC 3339 time");
    command.app.add_option("--note", command.arguments->note, "Why; kept with the rule");
    return command;
}

void addLimitOptions(const Commands::Command& allow) {
    const CLI::Range range(std::uint32_t{0}, store::kMaxClientLimit);
    allow.app
        .add_option("--client-sessions", allow.arguments->client_sessions,
                    "Sessions at once for each client, in place of the listener's limit; 0: without limit")
        ->check(range);
    allow.app
        .add_option("--client-rate", allow.arguments->client_rate,
                    "New sessions a minute for each client, likewise")
        ->check(range);
}

void addFileCommands(Commands& commands) {
    const auto import = commands.add("import", "Add the rules of a file, all or none of them",
                                     [](Access& access) { access.importFile(); });
    import.app.add_option("FILE", import.arguments->file, "One network a line; - is standard input")
        ->required();
    import.flag("--replace", &Arguments::replace, "Remove every rule that the file does not hold");
    import.flag("--force", &Arguments::force, "Even if that shuts out balancers, servers or everybody");
    commands.add("export", "Print all rules as import reads them",
                 [](Access& access) { access.exportRules(); });
}

}  // namespace

void addAccessCommand(CLI::App& root, Context& context) {
    Commands commands(root, context);
    addLimitOptions(addPutCommand(commands, Verdict::Allow, "Let networks in"));
    const auto deny = addPutCommand(commands, Verdict::Deny, "Keep networks out");
    deny.flag("--force", &Arguments::force, "Even if that shuts out balancers, servers or everybody");
    deny.flag("--cut", &Arguments::cut, "And end their sessions that are under way");
    const auto remove =
        commands.add("remove", "Remove the rules of networks", [](Access& access) { access.remove(); });
    remove.networks("NET", "Networks exactly as listed")->required();
    remove.listeners("Only rules that name this listener (may be repeated)");
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
