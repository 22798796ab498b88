// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/answers/probe_text.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/site.h"
#include "gateway/upstream/probe.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using answers::probeAsJson;
using Poco::JSON::Array;
using Poco::JSON::Object;

void printAnswer(std::string_view what, const ProbeAnswer& answer) {
    if (answer.tried)
        fmt::print("  {:<16} {}\n", what, answer.accepted ? "accepted" : "refused: " + answer.reason);
}

void printTls(const UpstreamConfig& upstream, const TlsReport& tls) {
    fmt::print("  {:<16} {}, {}, {}\n", "TLS",
               upstream.asksForStartTls() ? "by STARTTLS" : "from the first byte", tls.version, tls.cipher);
    if (tls.chain.empty()) return;
    const TlsChainCertificate& own = tls.chain.front();
    fmt::print("  {:<16} {}, expires {}{}\n", "certificate", own.subject, formatUtc(own.not_after),
               tls.verdict                   ? ", refused: " + tls.verdict_text
               : upstream.tls_options.verify ? ", verified"
                                             : "");
}

void printReport(const UpstreamConfig& upstream, const ServerConfig& server, const ProbeReport& report,
                 const std::vector<std::string>& advice) {
    fmt::print("{}/{} {} ({})\n", upstream.name, server.name, report.endpoint.toString(),
               toString(upstream.check_protocol));
    if (!report.unreachable.empty()) {
        fmt::print("  {:<16} {}\n", "connection", report.unreachable);
    } else {
        fmt::print("  {:<16} {}\n", "without a header",
                   report.greets_without_header               ? "greets"
                   : upstream.check_protocol == Protocol::Tcp ? "sends nothing"
                                                              : "waits for a header");
    }
    printAnswer("v1", report.v1);
    printAnswer("v2", report.v2);
    printAnswer("TCP6", report.tcp6);
    printAnswer("LOCAL", report.local);
    if (report.tls) printTls(upstream, *report.tls);
    if (report.largest_header > 0)
        fmt::print("  {:<16} up to {} bytes{}\n", "header size", report.largest_header,
                   report.larger_reason.empty() ? "" : ", a longer one is refused: " + report.larger_reason);
    for (const std::string& line : advice)
        fmt::print("  => {}\n", line);
    if (advice.empty()) fmt::print("  => as configured\n");
}

void printUnresolved(const UpstreamConfig& upstream, const ServerConfig& server) {
    fmt::print("{}/{} {}\n  => {}\n", upstream.name, server.name, server.address, answers::kUnresolved);
}

ProbeReport reportOn(const UpstreamConfig& upstream, const ServerConfig& server, const Endpoint& endpoint,
                     const std::string& own_name) {
    return withProgress(fmt::format("asking {}/{} {}", upstream.name, server.name, endpoint.toString()),
                        [&] { return probeServer(upstream, endpoint, own_name, server.tls_name); });
}

/// Whether `wanted` ("", "UPSTREAM" or "UPSTREAM/SERVER") means this server.
bool means(std::string_view wanted, const UpstreamConfig& upstream, const ServerConfig& server) {
    return wanted.empty() || wanted == upstream.name || wanted == upstream.name + "/" + server.name;
}

/// What is told of each address as soon as it is known: in a document, or as text where there is none.
class Reports {
  public:
    explicit Reports(Array::Ptr document) : document_(std::move(document)) {}

    void addUnresolved(const UpstreamConfig& upstream, const ServerConfig& server) {
        well_ = false;
        if (document_)
            document_->add(answers::unresolvedAsJson(upstream, server));
        else
            printUnresolved(upstream, server);
    }

    void add(const UpstreamConfig& upstream, const ServerConfig& server, const ProbeReport& report) {
        const std::vector<std::string> advice = adviseOn(upstream, report);
        well_ = well_ && advice.empty();
        if (document_)
            document_->add(probeAsJson(upstream, server, report.endpoint.toString(), report, advice));
        else
            printReport(upstream, server, report, advice);
    }

    /// Nothing has to change.
    bool areWell() const noexcept { return well_; }

  private:
    Array::Ptr document_;
    bool well_ = true;
};

int probe(const Context& context, const std::string& wanted, bool as_json) {
    Config config = chosenConfig(context);
    lookUpServers(config, [&](const UpstreamConfig& upstream, const ServerConfig& server) {
        return means(wanted, upstream, server);
    });
    Array::Ptr servers(as_json ? new Array : nullptr);
    Reports reports(servers);
    bool found = false;
    for (const UpstreamConfig& upstream : config.upstreams) {
        for (const ServerConfig& server : upstream.servers) {
            if (!means(wanted, upstream, server)) continue;
            found = true;
            if (server.endpoints.empty()) reports.addUnresolved(upstream, server);
            for (const Endpoint& endpoint : server.endpoints)
                reports.add(upstream, server, reportOn(upstream, server, endpoint, config.name));
        }
    }
    if (!found) {
        fmt::print(stderr, "mailgate: no upstream or server is named \"{}\": {} has {}\n", printable(wanted),
                   config.file, fmt::join(serverNames(config), ", "));
        return kUsage;
    }
    if (as_json) {
        Object all;
        all.set("servers", servers);
        printDocument(all);
    }
    return reports.areWell() ? kDone : kRefusedOrNotFound;
}

}  // namespace

void addProbeCommand(CLI::App& root, Context& context) {
    CLI::App* command =
        root.add_subcommand("probe", "Test which PROXY headers the servers accept, and say what to change");
    const auto wanted = std::make_shared<std::string>();
    command->add_option("UPSTREAM[/SERVER]", *wanted,
                        "A server, or all servers of an upstream (default: all servers)");
    const auto as_json = std::make_shared<bool>(false);
    command->add_flag("--json", *as_json, "Print JSON");
    command->footer(
        "Exit status: 0 the servers accept what mailgate is configured to send, 1 something has to be "
        "changed, 2 usage error, 78 configuration error.");
    command->callback([&context, wanted, as_json] { context.exit_code = probe(context, *wanted, *as_json); });
}

}  // namespace mailgate::cli
