// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/snippets.h"

#include "gateway/config/public_port.h"
#include "gateway/config/values.h"
#include "gateway/upstream/probe.h"
#include "protocols/mail_protocol.h"
#include "store/backends/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::answers {

namespace {

using config::beginsWithTls;
using config::isSubmission;
using config::publicPortOf;
using Listeners = std::vector<const ListenerConfig*>;

// Balancers must outlast our idle limits, so that the side that knows the protocol speaks.
constexpr std::chrono::milliseconds kIdleMargin = std::chrono::seconds(30);

/// The listeners that hand sessions to `upstream`.
Listeners listenersOf(const Config& config, const UpstreamConfig& upstream) {
    Listeners found;
    for (const ListenerConfig& listener : config.listeners) {
        if (listener.upstream == upstream.name) found.push_back(&listener);
    }
    return found;
}

bool passesTls(const Listeners& listeners) {
    return std::any_of(listeners.begin(), listeners.end(),
                       [](const auto* listener) { return listener->tls == ListenerTls::Passthrough; });
}

/// "ADDRESS:PORT" for a server that is named by its address, the port alone for one that has a name.
std::string bindAddress(const ServerConfig& server) {
    return server.host.empty() ? server.address : std::to_string(server.port);
}

/// The addresses from which the servers see this machine, as far as its routes tell.
std::set<std::string> ownAddresses(const Config& config, bool (*wanted)(Protocol)) {
    std::set<std::string> own;
    for (const UpstreamConfig& upstream : config.upstreams) {
        const auto listeners = listenersOf(config, upstream);
        if (std::none_of(listeners.begin(), listeners.end(),
                         [wanted](const auto* listener) { return wanted(listener->protocol); }))
            continue;
        for (const ServerConfig& server : upstream.servers) {
            for (const Endpoint& endpoint : server.endpoints)
                own.insert(localAddressTowards(endpoint).toString());
        }
    }
    return own;
}

bool isSmtp(Protocol protocol) {
    return protocol == Protocol::Smtp;
}

bool isDovecots(Protocol protocol) {
    return !traitsOf(protocol).dovecot_service.empty();
}

/// A port for each listener, in their order, none twice: who comes later keeps the listener's own, or gets none
/// (0) where that is taken as well.
std::vector<std::uint16_t> publicPorts(const Config& config) {
    std::vector<std::uint16_t> ports;
    const auto free = [&](std::uint16_t port) {
        return std::find(ports.begin(), ports.end(), port) == ports.end() ? port : std::uint16_t{0};
    };
    for (const ListenerConfig& listener : config.listeners) {
        const std::uint16_t wanted = free(publicPortOf(listener));
        ports.push_back(wanted != 0 ? wanted : free(listener.addresses.front().port));
    }
    return ports;
}

/// A comment for an upstream that sends no header: these lines would break it.
std::string withoutProxy(const UpstreamConfig& upstream) {
    return fmt::format(
        "# Upstream \"{}\" has send_proxy = \"off\": its servers must not expect a header.\n\n",
        upstream.name);
}

/// What the listeners of an upstream make of the smtpd behind it.
struct SmtpService {
    bool tls = false;         ///< from the first byte
    bool submission = false;  ///< for all of them
    bool behind_tls = false;  ///< which has ended before it and does not begin again, for all of them
};

/// To the server TLS begins with the first byte behind the header, whoever speaks it there.
bool beginsWithTls(const UpstreamConfig& upstream, const Listeners& listeners) {
    return upstream.tls == UpstreamTls::Implicit || passesTls(listeners);
}

SmtpService serviceFor(const UpstreamConfig& upstream, const Listeners& listeners) {
    const auto all = [&](auto is) { return std::all_of(listeners.begin(), listeners.end(), is); };
    return {
        beginsWithTls(upstream, listeners), all([](const auto* listener) { return isSubmission(*listener); }),
        upstream.tls == UpstreamTls::Off && all([](const auto* listener) { return listener->endsTls(); })};
}

/// One smtpd cannot be both.
std::string mixtureWarning(const UpstreamConfig& upstream, const Listeners& listeners) {
    const auto submission = std::find_if(listeners.begin(), listeners.end(),
                                         [](const auto* listener) { return isSubmission(*listener); });
    if (submission == listeners.end()) return "";
    const SmtpService service = serviceFor(upstream, listeners);
    const auto ends = [](const auto* listener) { return listener->endsTls(); };
    if (service.submission && upstream.tls == UpstreamTls::Off && !service.behind_tls &&
        std::any_of(listeners.begin(), listeners.end(), ends))
        return fmt::format(
            "# TLS ends at mailgate for some listeners of upstream \"{}\" and at its servers for others: "
            "give them\n"
            "# an upstream each, since one smtpd cannot require TLS of the ones and do without it for the "
            "others.\n",
            upstream.name);
    if (service.submission) return "";
    return fmt::format(
        "# Upstream \"{}\" serves both MX mail and submission (listener \"{}\"): give submission an "
        "upstream\n"
        "# of its own, whose smtpd requires TLS and authentication.\n",
        upstream.name, (*submission)->name);
}

std::string forSmtpServers(const Config& config,
                           std::string (*lines)(const ServerConfig&, const SmtpService&)) {
    std::string text;
    for (const UpstreamConfig& upstream : config.upstreams) {
        const Listeners listeners = listenersOf(config, upstream);
        if (std::none_of(listeners.begin(), listeners.end(),
                         [](const auto* listener) { return isSmtp(listener->protocol); }))
            continue;
        if (upstream.send_proxy == SendProxy::Off) {
            text += withoutProxy(upstream);
            continue;
        }
        text += mixtureWarning(upstream, listeners);
        for (const ServerConfig& server : upstream.servers) {
            text += fmt::format("# {}/{}: {}\n", upstream.name, server.name, server.address);
            text += lines(server, serviceFor(upstream, listeners));
        }
    }
    return text;
}

std::string smtpdLines(const ServerConfig& server, const SmtpService& service) {
    std::string lines = fmt::format(
        "{} inet n - n - - smtpd\n"
        "  -o smtpd_upstream_proxy_protocol=haproxy\n"
        "  -o smtpd_client_port_logging=yes\n",
        bindAddress(server));
    if (service.submission)
        lines += fmt::format(
            "  -o syslog_name=postfix/{}\n"
            "  -o smtpd_tls_security_level={}\n"
            "  -o smtpd_tls_auth_only={}\n"
            "  -o smtpd_sasl_auth_enable=yes\n"
            "  -o smtpd_client_restrictions=\n"
            "  -o smtpd_helo_restrictions=\n"
            "  -o smtpd_sender_restrictions=\n"
            "  -o smtpd_recipient_restrictions=\n"
            "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n"
            "  -o milter_macro_daemon_name=ORIGINATING\n",
            service.tls ? "submissions" : "submission", service.behind_tls ? "none" : "encrypt",
            service.behind_tls ? "no" : "yes");
    if (service.tls) lines += "  -o smtpd_tls_wrappermode=yes\n";
    return lines;
}

/// A name that no other postscreen of the machine has: its cache can be open in one process alone.
std::string cacheName(std::string name) {
    name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c == '[' || c == ']'; }),
               name.end());
    std::replace(name.begin(), name.end(), ':', '_');
    return name;
}

/// postscreen is for strangers, and knows no TLS from the first byte.
std::string postscreenLines(const ServerConfig& server, const SmtpService& service) {
    if (service.submission || service.tls) return smtpdLines(server, service);
    const std::string address = bindAddress(server);
    return fmt::format(
        "{} inet n - n - 1 postscreen\n"
        "  -o postscreen_upstream_proxy_protocol=haproxy\n"
        "  -o postscreen_cache_map=btree:$data_directory/postscreen_cache_{}\n",
        address, cacheName(address));
}

// What Postfix cannot check itself, said where it is pasted.
constexpr std::string_view kPostfixWarning =
    "# Anybody who reaches such a port can claim any client address: let only the gateway connect to it.\n"
    "# Keep the gateway's address out of mynetworks (127.0.0.1 may be there if the gateway is on this "
    "machine).\n";

/// Lines that name nobody would be pasted all the same.
void requireServers(const Config& config, bool (*wanted)(Protocol), std::string_view protocols) {
    if (std::any_of(config.upstreams.begin(), config.upstreams.end(), [&](const UpstreamConfig& upstream) {
            const auto listeners = listenersOf(config, upstream);
            return !listeners.empty() && wanted(listeners.front()->protocol);
        }))
        return;
    throw std::runtime_error(
        fmt::format("{} has no upstream whose listeners speak {}", config.file, protocols));
}

/// Where no server gets a header there is nothing to paste.
bool anyGetsHeader(const Config& config, bool (*wanted)(Protocol)) {
    return std::any_of(config.upstreams.begin(), config.upstreams.end(), [&](const UpstreamConfig& upstream) {
        const auto listeners = listenersOf(config, upstream);
        return upstream.send_proxy != SendProxy::Off &&
               std::any_of(listeners.begin(), listeners.end(),
                           [&](const auto* listener) { return wanted(listener->protocol); });
    });
}

std::string postfix(const Config& config) {
    requireServers(config, isSmtp, "SMTP");
    if (!anyGetsHeader(config, isSmtp)) return forSmtpServers(config, smtpdLines);
    return fmt::format(
        "# Lines for master.cf. Without this in main.cf, clients with IPv6 addresses are refused:\n"
        "#   postconf -e 'inet_protocols = all'\n\n"
        "{}{}",
        kPostfixWarning, forSmtpServers(config, smtpdLines));
}

std::string postscreen(const Config& config) {
    requireServers(config, isSmtp, "SMTP");
    if (!anyGetsHeader(config, isSmtp)) return forSmtpServers(config, postscreenLines);
    std::string permitted;
    for (const std::string& own : ownAddresses(config, isSmtp))
        permitted += fmt::format(" {{ {} permit }}", own);
    return fmt::format(
        "# Lines for master.cf. In main.cf these let the gateway's health checks pass at once, and clients "
        "with\n"
        "# IPv6 addresses in:\n"
        "#   postconf -e 'postscreen_access_list = permit_mynetworks, cidr:{{{} }}'\n"
        "#   postconf -e 'inet_protocols = all'\n\n"
        "{}{}"
        "# Each of these three can be there once. Where there is one already, for another postscreen,\n"
        "# keep it, and add the option to that smtpd.\n"
        "smtpd pass - - n - - smtpd\n"
        "  -o smtpd_client_port_logging=yes\n"
        "dnsblog unix - - n - 0 dnsblog\n"
        "tlsproxy unix - - n - 0 tlsproxy\n",
        permitted, kPostfixWarning, forSmtpServers(config, postscreenLines));
}

std::string dovecotListener(const UpstreamConfig& upstream, const ServerConfig& server, bool tls) {
    std::string name = fmt::format("mailgate_{}_{}", upstream.name, server.name);
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
    return fmt::format("  inet_listener {} {{\n    port = {}\n    haproxy = yes\n{}  }}\n", name, server.port,
                       tls ? "    ssl = yes\n" : "");
}

constexpr std::string_view kDovecot23Log =
    "user=<%u> method=%m rip=%r rport=%b lip=%l mpid=%e %c session=<%{session}>";
constexpr std::string_view kDovecot24Log =
    "user=<%{user}> method=%{mechanism} rip=%{remote_ip} rport=%{remote_port} lip=%{local_ip} "
    "mpid=%{mail_pid} %{secured} session=<%{session}>";
// Dovecot 2.4 takes a connection with a PROXY header for a secured one otherwise.
constexpr std::string_view kDovecot24Tls =
    "# Without this, Dovecot 2.4 accepts plaintext passwords on every connection with a PROXY header.\n"
    "ssl = required\n";

enum class DovecotVersion : std::uint8_t { V23, V24 };

std::string dovecot(const Config& config, DovecotVersion version) {
    requireServers(config, isDovecots, "IMAP, POP3, LMTP or ManageSieve");
    const bool newer = version == DovecotVersion::V24;
    std::string trusted;
    for (const std::string& own : ownAddresses(config, isDovecots))
        trusted += " " + own;
    std::string text = fmt::format(
        "# Only the gateway may say who a client is.\n"
        "haproxy_trusted_networks ={}\n"
        "# With the client's port (rport), Dovecot's log can be joined with mailgate's.\n"
        "login_log_format_elements = {}\n"
        "{}",
        trusted, newer ? kDovecot24Log : kDovecot23Log, newer ? kDovecot24Tls : "");
    for (const UpstreamConfig& upstream : config.upstreams) {
        const Listeners listeners = listenersOf(config, upstream);
        if (listeners.empty() || !isDovecots(listeners.front()->protocol)) continue;
        if (upstream.send_proxy == SendProxy::Off) {
            text += withoutProxy(upstream);
            continue;
        }
        text += fmt::format("service {} {{\n", traitsOf(listeners.front()->protocol).dovecot_service);
        for (const ServerConfig& server : upstream.servers)
            text += fmt::format("  # {}/{}: {}\n", upstream.name, server.name, server.address) +
                    dovecotListener(upstream, server, beginsWithTls(upstream, listeners));
        text += "}\n";
    }
    return text;
}

/// Where a balancer finds the listener: a wildcard address is written as the gateway's name.
std::string gatewayAddress(const Config& config, const ListenerConfig& listener) {
    const Endpoint& bound = listener.addresses.front();
    const bool wildcard = bound.address == IpAddress{} || bound.address == IpAddress::fromV4({0, 0, 0, 0});
    return wildcard ? fmt::format("{}:{}", config.name, bound.port) : bound.toString();
}

std::string seconds(std::chrono::milliseconds duration) {
    return fmt::format("{}s", std::chrono::ceil<std::chrono::seconds>(duration).count());
}

/// Why there is no block for a listener; empty when there is one.
std::string leftOut(const ListenerConfig& listener, std::uint16_t port) {
    if (listener.proxy == ProxyMode::Off)
        return fmt::format(
            "# Listener \"{}\" has proxy = \"off\": set \"require\" and name the balancer in trusted "
            "first.\n\n",
            listener.name);
    if (port == 0)
        return fmt::format(
            "# Listener \"{}\" is left out: another listener above has the same client port, {}. Give it an "
            "address of its own on the balancer, and a block like the one above.\n\n",
            listener.name, publicPortOf(listener));
    return "";
}

/// HAProxy's spelling of a word with blanks in it.
std::string haproxyWord(std::string_view text) {
    std::string word;
    for (const char character : text) {
        if (character == ' ') word += '\\';
        word += character;
    }
    return word;
}

/// A conversation instead of a bare connection: the check sees whether there is service behind the port.
std::string haproxyCheck(const ListenerConfig& listener) {
    const ProtocolTraits& traits = traitsOf(listener.protocol);
    if (beginsWithTls(listener) || traits.opaque()) return "";
    return fmt::format(
        "  option tcp-check\n"
        "  tcp-check expect rstring {}\n"
        "  tcp-check send {}\\r\\n\n"
        "  tcp-check expect rstring {}\n",
        haproxyWord(traits.balancer.greeting), haproxyWord(traits.balancer.goodbye),
        haproxyWord(traits.balancer.answer));
}

/// What the balancer is told of each listener: `block` of the config, the listener and the port that its clients use, or why
/// there is none.
std::string forBalancer(const Config& config,
                        std::string (*block)(const Config&, const ListenerConfig&, std::uint16_t)) {
    std::string text;
    const std::vector<std::uint16_t> ports = publicPorts(config);
    for (std::size_t at = 0; at < ports.size(); ++at) {
        const std::string why = leftOut(config.listeners[at], ports[at]);
        text += why.empty() ? block(config, config.listeners[at], ports[at]) : why;
    }
    return text;
}

/// How long the balancer lets a session be silent.
std::string idleLimit(const Config& config, const ListenerConfig& listener) {
    return seconds(config.timeouts.idleFor(listener.protocol) + kIdleMargin);
}

std::string haproxyListen(const Config& config, const ListenerConfig& listener, std::uint16_t port) {
    const std::string idle = idleLimit(config, listener);
    return fmt::format(
        "listen mailgate_{}\n"
        "  mode tcp\n"
        "  bind :{},:::{} v6only\n"
        "  timeout connect 5s\n"
        "  timeout client {}\n"
        "  timeout server {}\n"
        "{}"
        "  server {} {} send-proxy-v2 check check-send-proxy inter 5s\n",
        listener.name, port, port, idle, idle, haproxyCheck(listener), config.name,
        gatewayAddress(config, listener));
}

std::string haproxy(const Config& config) {
    return "# The balancer's address must be in the listener's `trusted`.\n" +
           forBalancer(config, haproxyListen);
}

std::string nginxServer(const Config& config, const ListenerConfig& listener, std::uint16_t port) {
    return fmt::format(
        "  server {{\n"
        "    listen {};\n"
        "    listen [::]:{};\n"
        "    proxy_pass {};\n"
        "    proxy_protocol on;\n"
        "    proxy_connect_timeout 5s;\n"
        "    proxy_timeout {};\n"
        "  }}\n",
        port, port, gatewayAddress(config, listener), idleLimit(config, listener));
}

std::string nginx(const Config& config) {
    std::string servers = "\n" + forBalancer(config, nginxServer);
    for (std::size_t at = 0; (at = servers.find("\n#", at)) != std::string::npos; at += 2)
        servers.insert(at + 1, "  ");
    return "# Goes next to the http block, not into it. The balancer's address must be in the listener's "
           "`trusted`.\n"
           "stream {" +
           servers + "}\n";
}

/// In double quotes where it is not a plain word.
std::string sqlName(const std::string& name) {
    const bool plain =
        !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
    if (plain) return name;
    std::string quoted = "\"";
    for (const char character : name)
        quoted += character == '"' ? "\"\"" : std::string(1, character);
    return quoted + '"';
}

std::string postgresql(const Config& config) {
    store::FleetUrl url;
    if (!config.fleet.url.empty()) url = store::describeFleetUrl(config.fleet.url);
    const std::string role = url.role.empty() ? "mailgate" : url.role;
    const std::string database = url.database.empty() ? "mailgate" : url.database;
    return fmt::format(
        "-- For psql, as a superuser of PostgreSQL 15 or later. {0}_owner owns the tables and is for "
        "mailgate fleet migrate\n"
        "-- alone; the gateways connect as {0}.\n"
        "CREATE ROLE {1} LOGIN;\n"
        "CREATE ROLE {2} LOGIN;\n"
        "CREATE DATABASE {3} OWNER {1} ENCODING 'UTF8' TEMPLATE template0;\n"
        "REVOKE ALL ON DATABASE {3} FROM PUBLIC;\n"
        "GRANT CONNECT ON DATABASE {3} TO {2};\n"
        "-- Passwords, unless pg_hba.conf lets them in otherwise: \\password {1} and \\password {2}\n"
        "-- Then, where mailgate runs: mailgate fleet migrate --url postgresql://{0}_owner@HOST/{4} --grant "
        "{0}\n",
        role, sqlName(role + "_owner"), sqlName(role), sqlName(database), database);
}

std::string awsTargets(const Config&, const ListenerConfig& listener, std::uint16_t port) {
    return fmt::format(
        "TARGETS=$(aws elbv2 create-target-group --name mailgate-{0} --protocol TCP --port {1} --vpc-id "
        "\"$VPC\" \\\n"
        "  --target-type ip --health-check-protocol TCP --query 'TargetGroups[0].TargetGroupArn' "
        "--output text)\n"
        "aws elbv2 modify-target-group-attributes --target-group-arn \"$TARGETS\" --attributes \\\n"
        "  Key=proxy_protocol_v2.enabled,Value=true \\\n"
        "  Key=proxy_protocol_v2.client_to_server.header_placement,Value=on_first_ack \\\n"
        "  Key=preserve_client_ip.enabled,Value=false\n"
        "aws elbv2 create-listener --load-balancer-arn \"$NLB\" --protocol TCP --port {2} \\\n"
        "  --default-actions Type=forward,TargetGroupArn=\"$TARGETS\"\n",
        listener.name, listener.addresses.front().port, port);
}

std::string awsNlb(const Config& config) {
    return "# The subnets of the balancer must be in the listener's `trusted`. $VPC: the VPC of the "
           "gateways; "
           "$NLB: the\n"
           "# balancer's ARN. on_first_ack: by default the header is sent with the client's first data, but "
           "in "
           "mail protocols\n"
           "# the server speaks first, so both sides would wait.\n" +
           forBalancer(config, awsTargets);
}

std::string dovecot23(const Config& config) {
    return dovecot(config, DovecotVersion::V23);
}

std::string dovecot24(const Config& config) {
    return dovecot(config, DovecotVersion::V24);
}

constexpr Snippet kSnippets[] = {
    {"postfix", "main.cf and master.cf of Postfix servers behind mailgate", postfix},
    {"postscreen", "The same, with postscreen in front of smtpd", postscreen, true},
    {"dovecot", "dovecot.conf of servers behind mailgate", dovecot23, true},
    {"dovecot-2.4", "The same, of Dovecot 2.4", dovecot24, true},
    {"haproxy", "haproxy.cfg of a balancer in front of mailgate", haproxy},
    {"nginx", "nginx.conf (stream) of a balancer in front of mailgate", nginx},
    {"postgresql", "SQL commands for the database where the gateways of a fleet meet", postgresql},
    {"aws-nlb", "AWS CLI commands for a Network Load Balancer in front of mailgate", awsNlb},
};

}  // namespace

std::span<const Snippet> snippets() noexcept {
    return kSnippets;
}

const Snippet* snippetNamed(std::string_view name) noexcept {
    const auto found = std::find_if(std::begin(kSnippets), std::end(kSnippets),
                                    [&](const Snippet& snippet) { return snippet.name == name; });
    return found == std::end(kSnippets) ? nullptr : found;
}

}  // namespace mailgate::answers
