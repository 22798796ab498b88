// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/json_fields.h"
#include "gateway/config/values.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <compare>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate::cli {

namespace {

constexpr std::string_view kAny = "*";

std::string whyNoServerName(const std::string& text) {
    const std::size_t slash = text.find('/');
    const bool named = slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
                       text.find('/', slash + 1) == std::string::npos;
    return named ? ""
                 : "name a server as mailgate status lists it, such as postfix/mx1, or */mx1 in all "
                   "upstreams, or a host with --host";
}

struct Target {
    std::string upstream, server;
    friend auto operator<=>(const Target&, const Target&) = default;
};

/// "192.0.2.1" of "192.0.2.1:25", and of "[2001:db8::1]:25" what is between the brackets.
std::string hostOf(const std::string& address) {
    const auto parts = parseHostPort(address);
    return parts ? parts->host : address;
}

/// Whether a server of the configuration is on `host`, by name or by address.
bool isOn(const ServerConfig& server, const std::string& host) {
    const auto same = [&](const Endpoint& endpoint) { return endpoint.address.toString() == host; };
    return hostOf(server.address) == host ||
           std::any_of(server.endpoints.begin(), server.endpoints.end(), same);
}

std::set<Target> serversOn(const Config& config, const std::string& host) {
    std::set<Target> targets;
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            if (isOn(server, host)) targets.insert({upstream.name, server.name});
    return targets;
}

/// One is left for the gateway to know, which has the last word; of several it says which there are.
std::set<Target> serversNamed(const admin::Client& gateway, const std::string& name) {
    const std::size_t slash = name.find('/');
    const Target wanted{name.substr(0, slash), name.substr(slash + 1)};
    if (wanted.upstream != kAny && wanted.server != kAny) return {wanted};
    std::set<Target> targets;
    forEachOf(*gateway.get("/v1/status"), "servers", [&](const Poco::JSON::Object& server) {
        Target one{textOf(server, "upstream"), textOf(server, "server")};
        if ((wanted.upstream == kAny || wanted.upstream == one.upstream) &&
            (wanted.server == kAny || wanted.server == one.server))
            targets.insert(std::move(one));
    });
    return targets;
}

std::string orderFor(const admin::Client& gateway, const std::string& state, const Target& target,
                     bool everywhere) {
    Poco::JSON::Object order;
    order.set("admin_state", state);
    order.set("wish", state);  // for a gateway that was started before its program was replaced
    if (everywhere) order.set("everywhere", true);
    const auto answer = gateway.post(fmt::format("/v1/servers/{}/{}", admin::percentEncoded(target.upstream),
                                                 admin::percentEncoded(target.server)),
                                     order);
    return answer->optValue<std::string>("detail",
                                         fmt::format("{}/{}: done", target.upstream, target.server));
}

void setAdminState(Context& context, const std::string& state, const std::string& name,
                   const std::string& host, bool everywhere) {
    // By which names hosts are configured only the file knows.
    Config config = host.empty() ? neededConfig(context).config : chosenConfig(context);
    if (IpAddress::parse(host)) lookUpServers(config);
    const admin::Client gateway(config.admin.socket);
    const std::set<Target> targets = name.empty() ? serversOn(config, host) : serversNamed(gateway, name);
    if (targets.empty()) {
        fmt::print(stderr, "mailgate: no server is {}\n",
                   name.empty() ? fmt::format("on host \"{}\"", printable(host))
                                : fmt::format("named \"{}\"", printable(name)));
        context.exit_code = kUsage;
    }
    for (const Target& target : targets)
        fmt::print("{}\n", orderFor(gateway, state, target, everywhere));
}

void addState(CLI::App& server, Context& context, const std::string& state, const std::string& help) {
    CLI::App* command = server.add_subcommand(state, help);
    const auto name = std::make_shared<std::string>(), host = std::make_shared<std::string>();
    CLI::Option* named =
        command
            ->add_option(
                "UPSTREAM/SERVER", *name,
                "The server, as mailgate status lists it; * stands for all upstreams, or for all servers")
            ->check(CLI::Validator(whyNoServerName, "UPSTREAM/SERVER"));
    command
        ->add_option("--host", *host,
                     "All servers on this host: a name or an address, as the configuration has it")
        ->excludes(named);
    const auto everywhere = std::make_shared<bool>(false);
    command->add_flag("--everywhere", *everywhere, "At all gateways of the fleet; without: at this one");
    command->callback([&context, state, name, host, everywhere] {
        if (name->empty() && host->empty())
            throw CLI::RequiredError("a server, such as postfix/mx1, or --host HOST");
        try {
            setAdminState(context, state, *name, *host, *everywhere);
        } catch (const admin::ClientError& error) {
            constexpr int kNotFound = 404, kNotKnown = 504;
            if (error.status() != kNotFound && error.status() != kNotKnown) throw;
            fmt::print(stderr, "mailgate: {}\n", error.what());
            context.exit_code = error.status() == kNotFound ? kUsage : kOutcomeUnknown;
        }
    });
}

}  // namespace

void addServerCommand(CLI::App& root, Context& context) {
    CLI::App* server = root.add_subcommand("server", "Take a server out of service, or put it back");
    server->require_subcommand(1);
    addState(*server, context, "drain",
             "Give the server no new sessions; end its current ones at a safe point, at the latest after "
             "drain_timeout");
    addState(*server, context, "ready", "Give the server new sessions again");
}

}  // namespace mailgate::cli
