// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/tls_listeners.h"

#include "gateway/base/clock.h"
#include "gateway/base/config_error.h"
#include "gateway/tls/error.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace mailgate {
namespace {

UnixSeconds wallClock() {
    return unixMillis() / 1000;
}

void addCertificate(LogLine& line, const std::string& listener, const Certificate& certificate) {
    line.text("listener", listener).text("certificate", certificate.files().certificate);
    line.beginArray("names");
    for (const std::string& name : certificate.names())
        line.item(name);
    line.endArray().text("not_after", formatUtc(certificate.notAfter()));
}

}  // namespace

TlsListeners::TlsListeners() : tickets_(std::make_shared<TicketKeys>(wallClock)) {}

TlsListeners::Row TlsListeners::make(const Config& config) {
    Row row;
    for (const ListenerConfig& listener : config.listeners) {
        row.emplace_back();
        if (!listener.endsTls()) continue;
        TlsListener::Callbacks callbacks{
            [this, name = listener.name](const Certificate& certificate) {
                EventLog& log = *log_;
                LogLine line = log.line(LogLevel::Information, "tls.certificate_renewed");
                addCertificate(line, name, certificate);
                log.write(line);
            },
            [this, name = listener.name](const std::string& why) {
                EventLog& log = *log_;
                LogLine line = log.line(LogLevel::Error, "tls.certificate_refused");
                line.text("listener", name).text("detail", why);
                log.write(line);
            },
            [this, name = listener.name](const std::string& client_ca) {
                EventLog& log = *log_;
                LogLine line = log.line(LogLevel::Information, "tls.certificate_renewed");
                line.text("listener", name).text("certificate", client_ca);
                log.write(line);
            }};
        try {
            row.back() = std::make_shared<TlsListener>(listener.tls_options, listener.certificates, tickets_,
                                                       std::move(callbacks));
        } catch (const TlsError& error) {
            throw ConfigError(fmt::format("{}listener {}: {}", listener.places.before(error.what()),
                                          listener.name, error.what()));
        }
    }
    return row;
}

void TlsListeners::poll(const Config& config, const Row& listeners) {
    const UnixSeconds now = wallClock();
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        if (!listeners[i]) continue;
        listeners[i]->poll(now);
        for (const auto& certificate : listeners[i]->context()->certificates())
            warnOfExpiry(config.listeners[i].name, *certificate, now);
    }
}

void TlsListeners::warnOfExpiry(const std::string& listener, const Certificate& certificate,
                                UnixSeconds now) {
    const std::string key = listener + ' ' + certificate.sha256();
    if (!warnings_.due(key, certificate.notAfter(), now)) return;
    EventLog& log = *log_;
    LogLine line = log.line(LogLevel::Warning, "tls.certificate_expires");
    addCertificate(line, listener, certificate);
    line.number("days_left", daysLeft(certificate.notAfter(), now));
    log.write(line);
}

std::vector<std::string> certificateWarnings(const TlsListeners::Row& listeners) {
    std::vector<std::string> warnings;
    for (const auto& listener : listeners) {
        if (!listener) continue;
        for (const auto& certificate : listener->context()->certificates()) {
            for (std::string& warning : certificate->warnings(wallClock())) {
                if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end())
                    warnings.push_back(std::move(warning));
            }
        }
    }
    return warnings;
}

}  // namespace mailgate
