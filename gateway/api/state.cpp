// SPDX-License-Identifier: Apache-2.0
// The gateway, its servers and its configuration.
#include "gateway/admin/json.h"
#include "gateway/answers/probe_text.h"
#include "gateway/answers/snippets.h"
#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/api/values.h"
#include "gateway/config/fields.h"
#include "gateway/log/escape.h"
#include "gateway/tls/error.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

namespace mailgate::api {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

Object inOrder() {
    return Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

/// A password in a URL is nobody's to read.
std::string withoutPassword(std::string url) {
    const std::size_t host = url.find("://");
    const std::size_t at = url.rfind('@');
    if (host == std::string::npos || at == std::string::npos || at < host) return url;
    const std::size_t colon = url.find(':', host + 3);
    if (colon == std::string::npos || colon > at) return url;
    return url.replace(colon + 1, at - colon - 1, "…");
}

/// Values as they would be written, of the keys that have but one.
template <typename Struct>
Object valuesOf(const config::Fields<Struct>& fields, const Struct& values) {
    Object object = inOrder();
    for (const config::Field<Struct>& field : fields)
        if (field.kind.show) object.set(std::string(field.key), withoutPassword(field.kind.show(values)));
    return object;
}

/// What holds where the file does not say; of keys for which that depends on others, or that have to be there, nothing.
template <typename Struct>
Object defaultsOf(const config::Fields<Struct>& fields) {
    Object object = inOrder();
    for (const config::Field<Struct>& field : fields)
        if (field.kind.show && field.without.empty())
            object.set(std::string(field.key), field.kind.show(Struct{}));
    return object;
}

Array textsOf(const std::vector<std::string>& texts) {
    Array array;
    for (const std::string& text : texts)
        array.add(text);
    return array;
}

Array networksOf(const std::vector<Network>& networks) {
    Array array;
    for (const Network& network : networks)
        array.add(network.toString());
    return array;
}

Array addressesOf(const std::vector<Endpoint>& endpoints) {
    Array array;
    for (const Endpoint& endpoint : endpoints)
        array.add(endpoint.toString());
    return array;
}

Object listenerOf(const ListenerConfig& listener) {
    Object object = inOrder();
    object.set("name", listener.name);
    object.set("addresses", addressesOf(listener.addresses));
    object.set("upstream", listener.upstream);
    object.set("trusted", networksOf(listener.trusted));
    Array certificates;
    for (const CertificateFiles& files : listener.certificates)
        certificates.add(files.certificate);
    object.set("certificates", certificates);
    object.set("settings", valuesOf(config::listenerFields(), listener));
    return object;
}

Object upstreamOf(const UpstreamConfig& upstream) {
    Object object = inOrder();
    object.set("name", upstream.name);
    object.set("settings", valuesOf(config::upstreamFields(), upstream));
    Array servers;
    for (const ServerConfig& server : upstream.servers) {
        Object one = inOrder();
        one.set("name", server.name);
        one.set("address", server.address);
        one.set("settings", valuesOf(config::serverFields(), server));
        servers.add(one);
    }
    object.set("servers", servers);
    return object;
}

template <typename Item, typename ToObject>
Array arrayOf(const std::vector<Item>& items, ToObject to_object) {
    Array array;
    for (const Item& item : items)
        array.add(to_object(item));
    return array;
}

}  // namespace

Response status(const Call& call) {
    QueryValues(call.request).rejectOthers();
    admin::Status status = call.parts.control.status();
    status.config_change = call.parts.control.configChange();
    if (!call.isToldOfErrors()) {
        std::vector<std::string*> errors{&status.fleet.failure, &status.fleet_journal.failure,
                                         &status.journal_failure, &status.log_failure};
        for (admin::TlsFilesStatus& files : status.tls_files)
            errors.push_back(&files.failure);
        if (status.config_change) errors.push_back(&status.config_change->refused);
        for (std::string* why : errors)
            if (!why->empty()) *why = kToldToAdmins;
    }
    if (call.masks() && status.config_change) status.config_change->file.clear();
    Object object = admin::toJson(status);
    if (call.masks()) {
        // With the paths of files.
        object.set("certificates", Array());
        for (const char* path : {"config_file", "store"})
            object.set(path, Poco::Dynamic::Var());
    }
    return jsonResponse(visibleJson(admin::toText(object)));
}

Response servers(const Call& call) {
    QueryValues(call.request).rejectOthers();
    const Object status = admin::toJson(call.parts.control.status());
    Object object = inOrder();
    object.set("servers", status.get("servers"));
    return jsonResponse(visibleJson(admin::toText(object)));
}

Response setServer(const Call& call) {
    rejectValues(call.request);
    const std::string& upstream = call.request.path[1];
    const std::string& server = call.request.path[2];
    const std::string& order = call.request.path[3];
    if (order != "drain" && order != "ready")
        throw Problem(404, "not_found", "expected /servers/UPSTREAM/SERVER/drain or /ready");
    const admin::Outcome outcome = call.parts.control.setServer(
        upstream, server, order == "drain" ? AdminState::Drain : AdminState::Ready, call.request.who.name);
    logOrder(call, order, fmt::format("{}/{}", upstream, server), outcome);
    if (!outcome.ok) throw Problem(404, "no_server", outcome.message);
    return jsonResponse(fmt::format(R"({{"upstream":"{}","server":"{}","admin_state":"{}","detail":"{}"}})",
                                    escaped(upstream), escaped(server), order, escaped(outcome.message)));
}

namespace {

/// What is asked of a server while somebody waits for the answer. The longest time that a conversation may take is shorter than that of
/// checks: a server that is that slow is told as such.
Array askServer(const UpstreamConfig& upstream, const ServerConfig& server, const std::string& name) {
    constexpr std::chrono::milliseconds kLongest{3'000};
    UpstreamConfig patient = upstream;
    patient.check_timeout = std::min(upstream.check_timeout, kLongest);
    Array answers;
    if (server.endpoints.empty()) answers.add(answers::unresolvedAsJson(upstream, server));
    for (const Endpoint& endpoint : server.endpoints) {
        const ProbeReport report = probeServer(patient, endpoint, name, server.tls_name);
        answers.add(
            answers::probeAsJson(upstream, server, endpoint.toString(), report, adviseOn(upstream, report)));
    }
    return answers;
}

std::pair<const UpstreamConfig*, const ServerConfig*> serverOf(const Call& call) {
    for (const UpstreamConfig& upstream : call.config->upstreams)
        for (const ServerConfig& server : upstream.servers)
            if (upstream.name == call.request.path[1] && server.name == call.request.path[2])
                return {&upstream, &server};
    throw Problem(
        404, "no_server",
        fmt::format("no server is named {}", inQuotes(call.request.path[1] + "/" + call.request.path[2])));
}

}  // namespace

Response probe(const Call& call) {
    rejectValues(call.request);
    constexpr std::size_t kMostAddresses = 4;
    static std::mutex one_at_a_time;
    const auto [upstream, server] = serverOf(call);
    const std::string target = fmt::format("{}/{}", upstream->name, server->name);
    if (server->endpoints.size() > kMostAddresses)
        throw Problem(409, "too_many",
                      fmt::format("the server has {} addresses: mailgate probe {} asks them all",
                                  server->endpoints.size(), target));
    const std::unique_lock lock(one_at_a_time, std::try_to_lock);
    if (!lock) throw Problem(409, "busy", "another server is being asked: try again in half a minute");
    try {
        Object object = inOrder();
        object.set("servers", askServer(*upstream, *server, call.config->name));
        logOrder(call, "probe", target, {});
        return jsonResponse(visibleJson(admin::toText(object)));
    } catch (const TlsError& error) {
        throw Problem(409, "tls", error.what());
    }
}

Response snippets(const Call& call) {
    QueryValues(call.request).rejectOthers();
    Array array;
    for (const answers::Snippet& snippet : answers::snippets()) {
        Object one = inOrder();
        one.set("name", std::string(snippet.name));
        one.set("about", std::string(snippet.about));
        array.add(one);
    }
    Object object = inOrder();
    object.set("snippets", array);
    return jsonResponse(admin::toText(object));
}

Response snippet(const Call& call) {
    QueryValues(call.request).rejectOthers();
    const answers::Snippet* const wanted = answers::snippetNamed(call.request.path[1]);
    if (wanted == nullptr)
        throw Problem(404, "no_snippet",
                      fmt::format("there is no snippet {}", inQuotes(call.request.path[1])));
    Object object = inOrder();
    object.set("name", std::string(wanted->name));
    object.set("about", std::string(wanted->about));
    object.set("text", wanted->text(*call.config));
    return jsonResponse(visibleJson(admin::toText(object)));
}

Response configuration(const Call& call) {
    QueryValues(call.request).rejectOthers();
    Object object = inOrder();
    object.set("file", call.config->file);
    object.set("files", textsOf(call.config->files));
    object.set("warnings", textsOf(call.config->warnings));
    const Config otherwise;
    Object sections = inOrder(), defaults = inOrder();
    config::forEachSection([&](std::string_view path, const auto& fields, auto part) {
        if (path.empty() || path == "defaults") return;
        sections.set(std::string(path), valuesOf(fields, part(*call.config)));
        defaults.set(std::string(path), valuesOf(fields, part(otherwise)));
    });
    object.set("sections", sections);
    object.set("defaults", defaults);
    object.set("listener_defaults", defaultsOf(config::listenerFields()));
    object.set("upstream_defaults", defaultsOf(config::upstreamFields()));
    object.set("server_defaults", defaultsOf(config::serverFields()));
    object.set("listeners", arrayOf(call.config->listeners, listenerOf));
    object.set("upstreams", arrayOf(call.config->upstreams, upstreamOf));
    return jsonResponse(visibleJson(admin::toText(object)));
}

}  // namespace mailgate::api
