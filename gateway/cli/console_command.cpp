// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/acting_user.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/credentials/password.h"
#include "gateway/credentials/secret.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/backends/accounts.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

namespace {

using store::Account;
using store::AccountStore;
using store::Token;

struct ConsoleArguments {
    std::string name, role, user, expires = "90d";
    bool json = false;
    ViewOptions view;
};

/// While it is there, what is typed is not shown.
class NoEcho {
  public:
    NoEcho() {
        if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
        termios silent = before_;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        changed_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
    }
    ~NoEcho() {
        if (!changed_) return;
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
        std::fputc('\n', stderr);
    }
    NoEcho(const NoEcho&) = delete;
    NoEcho& operator=(const NoEcho&) = delete;

  private:
    termios before_{};
    bool changed_ = false;
};

std::string lineFromInput(const char* question) {
    std::optional<NoEcho> hidden;
    if (::isatty(STDIN_FILENO) != 0) {
        std::fputs(question, stderr);
        std::fflush(stderr);
        hidden.emplace();
    }
    std::string line;
    std::getline(std::cin, line);
    return line;
}

/// Typed twice at a terminal; else a line of standard input.
std::string newPassword() {
    std::string password = lineFromInput("Password: ");
    if (const std::string why = credentials::passwordError(password); !why.empty())
        throw CLI::ValidationError("the password " + why);
    if (::isatty(STDIN_FILENO) != 0 && lineFromInput("Once more: ") != password)
        throw CLI::ValidationError("the passwords differ");
    return password;
}

/// A subcommand's run.
class ConsoleCommand {
  public:
    ConsoleCommand(Context& context, const ConsoleArguments& arguments)
        : context_(context), arguments_(arguments), config_(chosenConfig(context)) {}

    void addUser();
    void changePassword();
    void removeUser();
    void listUsers();
    void addToken();
    void removeToken();
    void listTokens();

  private:
    std::unique_ptr<AccountStore> accounts() const {
        if (const auto lost = lostStore(config_))
            throw store::StoreError(store::StoreError::Kind::Open, *lost);
        return withProgress("opening the rules",
                            [&] { return store::openAccounts(config_.store_url, true); });
    }
    void fail(const std::string& message) {
        fmt::print(stderr, "mailgate: {}\n", message);
        context_.exit_code = kRefusedOrNotFound;
    }
    void requireName() const {
        if (!store::isAccountName(arguments_.name))
            throw CLI::ValidationError(
                fmt::format("\"{}\" is no name: expected up to 64 letters, digits, '.', '-', '_' or '@'",
                            printable(arguments_.name)));
    }
    std::optional<UnixSeconds> expiry() const {
        if (arguments_.expires == "never") return std::nullopt;
        const UnixSeconds at =
            (timeArgument("--expires", arguments_.expires, TimeMeans::Expiry, Zone::Local) + 999) / 1'000;
        if (at <= now_) throw CLI::ValidationError("--expires: " + arguments_.expires + " is in the past");
        return at;
    }
    std::string noAccount(const std::string& name) const {
        return fmt::format("there is no account {}", inQuotes(name));
    }

    Context& context_;
    const ConsoleArguments& arguments_;
    const Config config_;
    const UnixSeconds now_ = std::time(nullptr);
};

void ConsoleCommand::addUser() {
    requireName();
    const auto store = accounts();
    const auto taken = [&](const std::string& name) {
        return fmt::format("there is an account {} already{}", inQuotes(name),
                           name == arguments_.name ? "" : ", and case alone tells nobody apart");
    };
    for (const Account& other : store->accounts())
        if (equalsIgnoreCase(other.name, arguments_.name)) return fail(taken(other.name));
    Account account;
    account.name = arguments_.name;
    account.role = store::roleOf(arguments_.role).value();
    account.password = credentials::hashPassword(newPassword());
    account.password_at = account.created_at = now_;
    account.created_by = admin::actingUser();
    if (!store->add(account)) return fail(taken(account.name));
    fmt::print("added account {} ({})\n", account.name, arguments_.role);
}

void ConsoleCommand::changePassword() {
    const auto store = accounts();
    if (!store->account(arguments_.name)) return fail(noAccount(arguments_.name));
    const std::string hash = credentials::hashPassword(newPassword());
    if (!store->setPassword(arguments_.name, hash, now_)) return fail(noAccount(arguments_.name));
    fmt::print("changed the password of account {}\n", arguments_.name);
}

void ConsoleCommand::removeUser() {
    if (!accounts()->removeAccount(arguments_.name)) return fail(noAccount(arguments_.name));
    fmt::print("removed account {} with its tokens\n", arguments_.name);
}

void ConsoleCommand::addToken() {
    requireName();
    Token token;
    token.name = arguments_.name;
    token.role = store::roleOf(arguments_.role).value();
    token.account = arguments_.user;
    token.created_at = now_;
    token.created_by = admin::actingUser();
    token.expires_at = expiry();
    const std::string secret = std::string(credentials::kTokenPrefix) + credentials::newSecret();
    const auto store = accounts();
    switch (store->add(token, credentials::digestOf(secret))) {
        case AccountStore::Added::NameTaken:
            return fail(fmt::format("there is a token {} already", inQuotes(token.name)));
        case AccountStore::Added::NoAccount:
            return fail(noAccount(token.account));
        case AccountStore::Added::Done:
            break;
    }
    // Alone on standard output, for TOKEN=$(...).
    fmt::print(stderr, "added token {} ({}), expires {}; it is shown this once:\n", token.name,
               arguments_.role,
               token.expires_at ? timeText(*token.expires_at * 1'000, Zone::Local) : "never");
    if (const auto account = store->account(token.account); account && account->role < token.role)
        fmt::print(stderr, "note: {} is a {}: the token may do no more than that\n", account->name,
                   toString(account->role));
    // Who reads may be gone, which must not end this before the token that nobody has is removed.
    ::signal(SIGPIPE, SIG_IGN);
    fmt::print("{}\n", secret);
    if (std::fflush(stdout) == 0) return;
    store->removeToken(token.name);
    fail("the token could not be written, and was removed again");
}

void ConsoleCommand::removeToken() {
    if (!accounts()->removeToken(arguments_.name))
        return fail(fmt::format("there is no token {}", inQuotes(arguments_.name)));
    fmt::print("removed token {}\n", arguments_.name);
}

std::string textInJson(std::string_view text) {
    return fmt::format("\"{}\"", escaped(text));
}

template <typename Item, typename ToJson>
void printArray(std::string_view name, const std::vector<Item>& items, ToJson to_json) {
    std::string array;
    for (const Item& item : items)
        array += (array.empty() ? "\n  " : ",\n  ") + to_json(item);
    fmt::print("{{\"{}\":[{}{}]}}\n", name, array, array.empty() ? "" : "\n");
}

void ConsoleCommand::listUsers() {
    const auto users = accounts()->accounts();
    if (arguments_.json)
        return printArray("users", users, [](const Account& account) {
            return fmt::format(
                R"({{"name":{},"role":"{}","password_at":"{}","created_at":"{}","created_by":{}}})",
                textInJson(account.name), toString(account.role), formatUtc(account.password_at),
                formatUtc(account.created_at), textInJson(account.created_by));
        });
    if (users.empty()) return fail("there is no account: mailgate console user add NAME --role admin");
    const Times times = arguments_.view.times();
    Table table(
        {{.name = "user", .title = "USER", .also = {"name"}},
         {.name = "role", .title = "ROLE"},
         {.name = "password", .title = times.title("PASSWORD SET"), .leaves = 1, .also = {"password_at"}},
         {.name = "created", .title = times.title("CREATED"), .leaves = 2, .also = {"created_at"}},
         {.name = "by", .title = "BY", .least = 6, .leaves = 3, .also = {"created_by"}}},
        arguments_.view.style());
    for (const Account& account : users)
        table.add({account.name, std::string(toString(account.role)), times.text(account.password_at * 1'000),
                   times.text(account.created_at * 1'000), account.created_by});
    print(table.text(), arguments_.view);
}

void ConsoleCommand::listTokens() {
    const auto tokens = accounts()->tokens();
    if (arguments_.json)
        return printArray("tokens", tokens, [this](const Token& token) {
            return fmt::format(
                R"({{"name":{},"role":"{}","user":{},"expires_at":{},"expired":{},"created_at":"{}","created_by":{}}})",
                textInJson(token.name), toString(token.role),
                token.account.empty() ? "null" : textInJson(token.account),
                token.expires_at ? textInJson(formatUtc(*token.expires_at)) : "null", !isLive(token, now_),
                formatUtc(token.created_at), textInJson(token.created_by));
        });
    if (tokens.empty()) return fail("there is no token");
    const Times times = arguments_.view.times();
    Table table({{.name = "token", .title = "TOKEN", .also = {"name"}},
                 {.name = "role", .title = "ROLE"},
                 {.name = "user", .title = "USER", .least = 6, .leaves = 3},
                 {.name = "expires", .title = times.title("EXPIRES"), .also = {"expires_at"}},
                 {.name = "created", .title = times.title("CREATED"), .leaves = 1, .also = {"created_at"}},
                 {.name = "by", .title = "BY", .least = 6, .leaves = 2, .also = {"created_by"}}},
                arguments_.view.style());
    for (const Token& token : tokens) {
        Cell expires(token.expires_at ? times.text(*token.expires_at * 1'000) : "never");
        if (!isLive(token, now_)) expires.colour = Colour::Bad;
        table.add({token.name, std::string(toString(token.role)), orDash(token.account), std::move(expires),
                   times.text(token.created_at * 1'000), token.created_by});
    }
    print(table.text(), arguments_.view);
}

/// Adds subcommands of one group, each with arguments of its own.
class ConsoleGroup {
  public:
    ConsoleGroup(CLI::App& console, Context& context, const std::string& name, const std::string& what)
        : group_(*console.add_subcommand(name, what)), context_(context) {
        group_.require_subcommand(1);
    }

    struct Command {
        CLI::App& app;
        std::shared_ptr<ConsoleArguments> arguments;

        void named(const std::string& what) const {
            app.add_option("NAME", arguments->name, what)->required();
        }
        void role(const std::string& what) const {
            app.add_option("--role", arguments->role, what)
                ->required()
                ->check(oneOf({"viewer", "operator", "admin"}));
        }
        void prints() const {
            app.add_flag("--json", arguments->json, "Print JSON");
            addViewOptions(app, arguments->view, Prints::OneTable);
        }
    };

    Command add(const std::string& name, const std::string& what, void (ConsoleCommand::*run)()) {
        Command command{*group_.add_subcommand(name, what), std::make_shared<ConsoleArguments>()};
        command.app.callback([&context = context_, arguments = command.arguments, run] {
            (ConsoleCommand(context, *arguments).*run)();
        });
        return command;
    }

  private:
    CLI::App& group_;
    Context& context_;
};

const char* const kRoleHelp =
    "What the account may do: viewer (look, at masked client addresses), operator (likewise with whole "
    "addresses, and "
    "change rules, drain servers, end sessions), admin (all)";

}  // namespace

void addConsoleCommand(CLI::App& root, Context& context) {
    CLI::App* console = root.add_subcommand("console", "Manage who may use the console and its API");
    console->require_subcommand(1);
    ConsoleGroup users(*console, context, "user", "Manage people's accounts");
    const auto add = users.add(
        "add",
        "Add an account; the password is asked for, or read from standard input if that is no terminal",
        &ConsoleCommand::addUser);
    add.named("What the person logs in as");
    add.role(kRoleHelp);
    users
        .add("passwd", "Change an account's password, which ends its sessions",
             &ConsoleCommand::changePassword)
        .named("The account");
    users
        .add("remove", "Remove an account with its tokens, which ends its sessions",
             &ConsoleCommand::removeUser)
        .named("The account");
    users.add("list", "Print the accounts", &ConsoleCommand::listUsers).prints();
    ConsoleGroup tokens(*console, context, "token", "Manage programs' tokens for the API");
    const auto token =
        tokens.add("add", "Add a token and print it; only its digest is kept", &ConsoleCommand::addToken);
    token.named("What the token is for, such as the program's name");
    token.role("What the token may do, as the role of an account");
    token.app.add_option("--user", token.arguments->user,
                         "Whose it is: it goes when this account is removed, and may do no more than that");
    token.app.add_option("--expires", token.arguments->expires,
                         "How long it may be used: 30m, 7d, 2w, a time, or never (default: 90d)");
    tokens.add("remove", "Remove a token", &ConsoleCommand::removeToken).named("The token");
    tokens.add("list", "Print the tokens, without their secrets", &ConsoleCommand::listTokens).prints();
}

}  // namespace mailgate::cli
