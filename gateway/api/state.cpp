// SPDX-License-Identifier: Apache-2.0
// The gateway, its servers and its configuration.
#include "gateway/admin/json.h"
#include "gateway/answers/mask.h"
#include "gateway/api/handlers.h"
#include "gateway/api/problem.h"
#include "gateway/config/fields.h"
#include "gateway/log/escape.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <string>

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
    Object object = admin::toJson(call.parts.control.status());
    if (call.masks()) {
        object.remove("certificates");
        object.set("certificates", Array());  // with the paths of files
    }
    return jsonResponse(visibleJson(admin::toText(object)));
}

Response servers(const Call& call) {
    const Object status = admin::toJson(call.parts.control.status());
    Object object = inOrder();
    object.set("servers", status.get("servers"));
    return jsonResponse(visibleJson(admin::toText(object)));
}

Response setServer(const Call& call) {
    const std::string& upstream = call.request.path[1];
    const std::string& server = call.request.path[2];
    const std::string& order = call.request.path[3];
    if (order != "drain" && order != "ready")
        throw Problem(404, "not_found", "expected /servers/UPSTREAM/SERVER/drain or /ready");
    const admin::Outcome outcome = call.parts.control.setServer(
        upstream, server, order == "drain" ? AdminState::Drain : AdminState::Ready);
    logOrder(call, order, fmt::format("{}/{}", upstream, server), outcome);
    if (!outcome.ok) throw Problem(404, "no_server", outcome.message);
    return jsonResponse(fmt::format(R"({{"upstream":"{}","server":"{}","admin_state":"{}","detail":"{}"}})",
                                    escaped(upstream), escaped(server), order, escaped(outcome.message)));
}

Response configuration(const Call& call) {
    Object object = inOrder();
    object.set("file", call.config->file);
    object.set("files", textsOf(call.config->files));
    object.set("warnings", textsOf(call.config->warnings));
    Object sections = inOrder();
    config::forEachSection([&](std::string_view path, const auto& fields, auto part) {
        if (!path.empty() && path != "defaults")
            sections.set(std::string(path), valuesOf(fields, part(*call.config)));
    });
    object.set("sections", sections);
    object.set("listeners", arrayOf(call.config->listeners, listenerOf));
    object.set("upstreams", arrayOf(call.config->upstreams, upstreamOf));
    return jsonResponse(visibleJson(admin::toText(object)));
}

}  // namespace mailgate::api
