// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/chosen_config.h"
#include "gateway/cli/progress.h"
#include "gateway/upstream/probe.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string_view>

namespace mailgate::cli {

namespace {

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

/// True when nothing has to change.
bool printReport(const UpstreamConfig& upstream, const ServerConfig& server, const ProbeReport& report) {
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
    const std::vector<std::string> advice = adviseOn(upstream, report);
    for (const std::string& line : advice)
        fmt::print("  => {}\n", line);
    if (advice.empty()) fmt::print("  => as configured\n");
    return advice.empty();
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

int probe(const Context& context, const std::string& wanted) {
    const Config config = withProgress("resolving names", [&] { return chosenConfig(context); });
    bool found = false;
    bool well = true;
    for (const UpstreamConfig& upstream : config.upstreams) {
        for (const ServerConfig& server : upstream.servers) {
            if (!means(wanted, upstream, server)) continue;
            found = true;
            if (server.endpoints.empty()) {
                fmt::print("{}/{} {}\n  => its name cannot be resolved\n", upstream.name, server.name,
                           server.address);
                well = false;
            }
            for (const Endpoint& endpoint : server.endpoints)
                well =
                    printReport(upstream, server, reportOn(upstream, server, endpoint, config.name)) && well;
        }
    }
    if (found) return well ? kDone : kRefusedOrNotFound;
    fmt::print(stderr, "mailgate: there is no upstream or server \"{}\" in {}\n", printable(wanted),
               config.file);
    return kRefusedOrNotFound;
}

}  // namespace

void addProbeCommand(CLI::App& root, Context& context) {
    CLI::App* command =
        root.add_subcommand("probe", "Test which PROXY headers the servers accept, and say what to change");
    const auto wanted = std::make_shared<std::string>();
    command->add_option("UPSTREAM[/SERVER]", *wanted,
                        "A server, or all servers of an upstream (default: all servers)");
    command->footer(
        "Exit status: 0 the servers accept what mailgate is configured to send, 1 something has to be "
        "changed or the server is not configured, 2 usage error, 78 configuration error.");
    command->callback([&context, wanted] { context.exit_code = probe(context, *wanted); });
}

}  // namespace mailgate::cli
