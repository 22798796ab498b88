// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/json_fields.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/config/addresses.h"
#include "gateway/config/load.h"
#include "gateway/config/values.h"
#include "gateway/io/resolve.h"
#include "gateway/tls/expiry.h"
#include "gateway/upstream/probe.h"
#include "gateway/upstream/tls_report.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

std::int64_t daysUntil(UnixSeconds time) {
    return daysLeft(time, unixMillis() / 1000);
}

bool isGood(const TlsReport& report) {
    return report.failure.empty() && !report.verdict;
}

std::string certificateTable(const Array::Ptr& certificates, const TableStyle& style, const Times& times) {
    if (certificates->empty()) return "No listener ends TLS.\n";
    Table table({{.name = "listener", .title = "LISTENER", .least = 12},
                 {.name = "names", .title = "NAMES", .least = 16},
                 {.name = "key", .title = "KEY", .leaves = 1},
                 {.name = "not-after", .title = times.title("NOT AFTER"), .leaves = 3},
                 {.name = "days-left", .title = "DAYS LEFT"},
                 {.name = "file", .title = "FILE", .least = 16, .leaves = 2}},
                style);
    forEachOf(certificates, [&](const Object& each) {
        table.add({textOf(each, "listener"), joinedTexts(each, "names"), textOf(each, "key_type"),
                   times.text(textOf(each, "not_after")), textOf(each, "days_left"), textOf(each, "file")});
    });
    return table.text();
}

/// Those that servers have shown; nothing where none has.
Array::Ptr serverCertificates(const Object& status) {
    Array::Ptr shown(new Array);
    forEachOf(status, "servers", [&](const Object& server) {
        if (server.get("certificate_not_after").isEmpty()) return;
        Object::Ptr row(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
        for (const char* const key : {"upstream", "server", "address"})
            row->set(key, server.get(key));
        row->set("not_after", server.get("certificate_not_after"));
        row->set("days_left", server.get("certificate_days_left"));
        shown->add(row);
    });
    return shown;
}

std::string serverCertificateTable(const Array::Ptr& servers, const TableStyle& style, const Times& times) {
    if (servers->empty()) return "";
    Table table({{.name = "server", .title = "SERVER", .least = 12},
                 {.name = "address", .title = "ADDRESS", .leaves = 1},
                 {.name = "server-not-after", .title = times.title("NOT AFTER"), .leaves = 2},
                 {.name = "server-days-left", .title = "DAYS LEFT"}},
                style);
    forEachOf(servers, [&](const Object& each) {
        table.add({textOf(each, "upstream") + "/" + textOf(each, "server"), textOf(each, "address"),
                   times.text(textOf(each, "not_after")), textOf(each, "days_left")});
    });
    return "\n" + table.text();
}

void printCertificates(const Context& context, bool json, const ViewOptions& view) {
    const Config config = chosenConfig(context);
    const Object::Ptr answer = admin::Client(config.admin.socket).get("/v1/status");
    const Array::Ptr certificates = answer->getArray("certificates");
    const Array::Ptr servers = serverCertificates(*answer);
    if (!json) {
        print(certificateTable(certificates, view.style(), view.times()) +
                  serverCertificateTable(servers, view.style(), view.times()),
              view);
        return;
    }
    Object all;
    all.set("certificates", certificates);
    all.set("servers", servers);
    printDocument(all);
}

/// What `mailgate tls test` is asked for.
struct TlsTest {
    std::string server, name, ca = "system", starttls;
    bool json = false;
};

constexpr std::chrono::seconds kTestLimit{20};

std::optional<Protocol> protocolOf(const std::string& word) {
    for (std::size_t i = 0; i < std::size(kProtocolWords); ++i) {
        if (kProtocolWords[i] == word) return static_cast<Protocol>(i);
    }
    return std::nullopt;
}

/// Empty where the name has none: nobody was asked.
std::string addressOf(const Endpoint& server) {
    return server.port == 0 ? std::string() : server.toString();
}

/// The first address where somebody answers, as for any client.
std::pair<Endpoint, TlsReport> testServer(const HostPort& target, const PolledConnection::TlsFor& tls) {
    std::vector<IpAddress> addresses;
    if (const auto literal = IpAddress::parse(target.host)) {
        addresses.push_back(*literal);
    } else {
        Resolution resolved = resolveHost(target.host);
        if (resolved.addresses.empty()) return {Endpoint{}, {resolved.error, "", "", {}, "", {}}};
        addresses = std::move(resolved.addresses);
    }
    std::pair<Endpoint, TlsReport> tested;
    for (const IpAddress& address : addresses) {
        tested.first = {address, target.port};
        tested.second = testTls(tested.first, tls, kTestLimit);
        if (tested.second.failure.empty()) break;
    }
    return tested;
}

/// A listener of this gateway at that address which takes connections only with a header; empty: it is none, or there is no
/// configuration that says so.
std::string awaitsHeader(const Context& context, const Endpoint& server) {
    std::vector<ListenerConfig> listeners;
    try {
        listeners = loadReadable(findConfig(context.config_file).file).config.listeners;
    } catch (const ConfigError&) {
        return {};  // any server can be tested, on any machine
    }
    const bool is_here = localAddressTowards(server) == server.address;
    const Endpoint loopback{*IpAddress::parse(server.address.isV4() ? "127.0.0.1" : "::1"), server.port};
    const auto isThere = [&](const Endpoint& own) {
        return config::reaches(server, own) ||
               (is_here && config::isWildcard(own.address) && config::reaches(loopback, own));
    };
    for (const ListenerConfig& listener : listeners)
        if (listener.proxy == ProxyMode::Require &&
            std::any_of(listener.addresses.begin(), listener.addresses.end(), isThere))
            return listener.name;
    return {};
}

Object::Ptr chainJson(const TlsChainCertificate& each) {
    Object::Ptr object(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
    Array::Ptr names(new Array);
    for (const std::string& name : each.names)
        names->add(name);
    object->set("subject", each.subject);
    object->set("issuer", each.issuer);
    object->set("names", names);
    object->set("key_type", each.key_type);
    object->set("sha256", each.sha256);
    object->set("not_before", formatUtc(each.not_before));
    object->set("not_after", formatUtc(each.not_after));
    object->set("days_left", daysUntil(each.not_after));
    return object;
}

void printJson(const TlsTest& test, const std::string& name, const Endpoint& server,
               const TlsReport& report) {
    const auto orNull = [](std::string_view text) {
        return text.empty() ? Poco::Dynamic::Var() : Poco::Dynamic::Var(std::string(text));
    };
    Object all(Poco::JSON_PRESERVE_KEY_ORDER);
    Array::Ptr chain(new Array);
    for (const TlsChainCertificate& each : report.chain)
        chain->add(chainJson(each));
    all.set("server", test.server);
    all.set("address", orNull(addressOf(server)));
    all.set("name", name);
    all.set("ok", isGood(report));
    all.set("failure", orNull(report.failure));
    all.set("version", orNull(report.version));
    all.set("cipher", orNull(report.cipher));
    all.set("verdict", orNull(toString(report.verdict)));
    all.set("verdict_text", orNull(report.verdict_text));
    all.set("chain", chain);
    printDocument(all);
}

void printText(const TlsTest& test, const std::string& name, const Endpoint& server,
               const TlsReport& report) {
    const std::string address = addressOf(server);
    const bool is_new = !address.empty() && address != test.server;
    fmt::print("{}{}\n", test.server, is_new ? " " + address : "");
    if (!report.failure.empty()) {
        fmt::print("  => {}\n", report.failure);
        if (test.starttls.empty() && report.failure.find("does not speak TLS") != std::string::npos)
            fmt::print("     from the first byte on: is it --starttls smtp, lmtp, imap, pop3 or sieve?\n");
        return;
    }
    fmt::print("  {:<12} {}, {}\n", "TLS", report.version, report.cipher);
    const std::string verdict =
        report.verdict ? fmt::format("refused: {} ({})", toString(report.verdict), report.verdict_text)
                       : fmt::format("verified for {}", name);
    fmt::print("  {:<12} {}\n", "certificate", verdict);
    if (!report.chain.empty())
        fmt::print("  {:<12} {}, in {} days\n", "expires", formatUtc(report.chain.front().not_after),
                   daysUntil(report.chain.front().not_after));
    if (report.verdict) fmt::print("  => {}\n", adviseOn(report));
    Table chain({{.name = "subject", .title = "SUBJECT"},
                 {.name = "issuer", .title = "ISSUER"},
                 {.name = "names", .title = "NAMES"},
                 {.name = "key", .title = "KEY"},
                 {.name = "not-before", .title = "NOT BEFORE"},
                 {.name = "not-after", .title = "NOT AFTER"}},
                TableStyle());
    for (const TlsChainCertificate& each : report.chain)
        chain.add({each.subject, each.issuer, orDash(fmt::format("{}", fmt::join(each.names, ", "))),
                   each.key_type, formatUtc(each.not_before), formatUtc(each.not_after)});
    fmt::print("\n{}", chain.text());
}

int runTest(const Context& context, const TlsTest& test) {
    const auto target = parseHostPort(test.server);
    if (!target) {
        fmt::print(stderr, "mailgate: expected HOST:PORT, found \"{}\"\n", printable(test.server));
        return kUsage;
    }
    const std::string& name = test.name.empty() ? target->host : test.name;
    TlsClientOptions options;
    options.ca = test.ca;
    const auto starttls = protocolOf(test.starttls);
    auto [server, report] = withProgress("asking " + printable(test.server), [&] {
        return testServer(*target, tlsForReport(options, {}, name, starttls, ""));
    });
    if (!report.failure.empty())
        if (const std::string listener = awaitsHeader(context, server); !listener.empty())
            report.failure += fmt::format(
                "; the listener {} takes connections there only with a PROXY header (proxy = "
                "\"require\"), and none is sent: ask by way of its balancer",
                listener);
    test.json ? printJson(test, name, server, report) : printText(test, name, server, report);
    return isGood(report) ? kDone : kRefusedOrNotFound;
}

void addTestCommand(CLI::App& tls, Context& context) {
    CLI::App* command = tls.add_subcommand(
        "test", "Connect to a server with TLS, and print its certificates and whether they are valid");
    const auto test = std::make_shared<TlsTest>();
    command->add_option("HOST:PORT", test->server, "The server")->required();
    command->add_option("--starttls", test->starttls, "Use the STARTTLS of this protocol")
        ->check(oneOf({"smtp", "lmtp", "imap", "pop3", "sieve"}));
    command->add_option("--server-name", test->name,
                        "Name that the certificate must be valid for (default: HOST)");
    command->add_option("--ca", test->ca, "PEM file of the trusted CAs (default: the system's)");
    command->add_flag("--json", test->json, "Print JSON");
    command->footer(
        "No PROXY header is sent: servers that require one are tested by mailgate probe.\n"
        "Exit status: 0 the certificate is valid, 1 it is not, or there is no TLS, 2 usage error.");
    command->callback([&context, test] { context.exit_code = runTest(context, *test); });
}

}  // namespace

void addTlsCommand(CLI::App& root, Context& context) {
    CLI::App* tls = root.add_subcommand("tls", "Print the certificates of the gateway and of servers");
    tls->require_subcommand(1);
    CLI::App* status = tls->add_subcommand("status",
                                           "Print the certificates that the running gateway presents, those "
                                           "that servers have shown it, and when they expire");
    const auto json = std::make_shared<bool>(false);
    status->add_flag("--json", *json, "Print JSON");
    const auto view = std::make_shared<ViewOptions>();
    addViewOptions(*status, *view, Prints::OneTable);
    status->callback([&context, json, view] { printCertificates(context, *json, *view); });
    addTestCommand(*tls, context);
}

}  // namespace mailgate::cli
