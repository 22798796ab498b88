// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/probe_text.h"

#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>

#include <optional>
#include <string_view>

namespace mailgate::answers {

namespace {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;

Var orNull(std::string_view text) {
    return text.empty() ? Var() : Var(std::string(text));
}

/// Null where it was not tried.
Var json(const ProbeAnswer& answer) {
    if (!answer.tried) return {};
    Object::Ptr object(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
    object->set("accepted", answer.accepted);
    object->set("reason", orNull(answer.accepted ? "" : answer.reason));
    return object;
}

Var json(const UpstreamConfig& upstream, const std::optional<TlsReport>& tls) {
    if (!tls) return {};
    Object::Ptr object(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
    object->set("mode", upstream.asksForStartTls() ? "starttls" : "implicit");
    object->set("version", tls->version);
    object->set("cipher", tls->cipher);
    object->set("subject", tls->chain.empty() ? Var() : Var(tls->chain.front().subject));
    object->set("not_after", tls->chain.empty() ? Var() : Var(formatUtc(tls->chain.front().not_after)));
    object->set("verified", !tls->verdict && upstream.tls_options.verify);
    object->set("refused", orNull(tls->verdict ? tls->verdict_text : ""));
    return object;
}

}  // namespace

Object::Ptr probeAsJson(const UpstreamConfig& upstream, const ServerConfig& server,
                        const std::string& address, const ProbeReport& report,
                        const std::vector<std::string>& advice) {
    Object::Ptr object(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
    object->set("upstream", upstream.name);
    object->set("server", server.name);
    object->set("address", address);
    object->set("protocol", std::string(toString(upstream.check_protocol)));
    object->set("ok", advice.empty());
    object->set("unreachable", orNull(report.unreachable));
    object->set("greets_without_header", report.greets_without_header);
    object->set("v1", json(report.v1));
    object->set("v2", json(report.v2));
    object->set("tcp6", json(report.tcp6));
    object->set("local", json(report.local));
    object->set("tls", json(upstream, report.tls));
    object->set("largest_header", report.largest_header);
    object->set("larger_reason", orNull(report.larger_reason));
    Array::Ptr texts(new Array);
    for (const std::string& line : advice)
        texts->add(line);
    object->set("advice", texts);
    return object;
}

Object::Ptr unresolvedAsJson(const UpstreamConfig& upstream, const ServerConfig& server) {
    ProbeReport report;
    report.unreachable = kUnresolved;
    return probeAsJson(upstream, server, server.address, report, {kUnresolved});
}

}  // namespace mailgate::answers
