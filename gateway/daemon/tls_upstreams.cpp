// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/tls_upstreams.h"

#include "gateway/base/clock.h"
#include "gateway/base/config_error.h"
#include "gateway/tls/error.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace mailgate {

TlsUpstreams::Row TlsUpstreams::make(const Config& config) {
    Row row;
    std::vector<std::string> errors;
    for (const UpstreamConfig& upstream : config.upstreams) {
        row.emplace_back();
        if (upstream.tls == UpstreamTls::Off) continue;
        TlsUpstream::Callbacks callbacks{
            [this, name = upstream.name](const std::string& file) {
                EventLog& log = *log_;
                LogLine line = log.line(LogLevel::Information, "tls.certificate_renewed");
                line.text("upstream", name).text("certificate", file);
                log.write(line);
            },
            [this, name = upstream.name](const std::string& why) {
                EventLog& log = *log_;
                LogLine line = log.line(LogLevel::Error, "tls.certificate_refused");
                line.text("upstream", name).text("detail", why);
                log.write(line);
            }};
        try {
            row.back() = std::make_shared<TlsUpstream>(upstream.tls_options, upstream.client_certificate,
                                                       std::move(callbacks));
        } catch (const TlsError& error) {
            errors.push_back(fmt::format("{}upstream {}: {}", upstream.places.before(error.what()),
                                         upstream.name, error.what()));
        }
    }
    if (!errors.empty()) throw ConfigError(fmt::format("{}", fmt::join(errors, "\n")));
    return row;
}

void TlsUpstreams::poll(const std::vector<std::unique_ptr<UpstreamPool>>& pools) {
    const UnixSeconds now = unixMillis() / 1000;
    for (const auto& pool : pools) {
        if (!pool->tls()) continue;
        pool->tls()->poll(now);
        for (const auto& server : pool->endpoints())
            warnOfExpiry(*pool, *server, now);
    }
}

void TlsUpstreams::warnOfExpiry(const UpstreamPool& pool, const ServerEndpoint& server, UnixSeconds now) {
    const std::string address = server.endpoint.toString();
    const std::string key = fmt::format("{} {} {}", pool.config().name, server.server->name, address);
    const UnixSeconds expires = server.certificate_expires;
    // None has been seen: nothing that could expire.
    if (expires == 0 || !warnings_.due(key, expires, now)) return;
    EventLog& log = *log_;
    LogLine line = log.line(LogLevel::Warning, "tls.certificate_expires");
    line.text("upstream", pool.config().name).text("server", server.server->name).text("address", address);
    line.text("not_after", formatUtc(expires)).number("days_left", daysLeft(expires, now));
    log.write(line);
}

}  // namespace mailgate
