// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/tls_listeners.h"

#include "gateway/base/clock.h"
#include "gateway/base/config_error.h"
#include "gateway/tls/error.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace mailgate {
namespace {

const std::string kConsole = "console";  ///< as a listener, in the log

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
    std::vector<std::string> errors;
    for (const ListenerConfig& listener : config.listeners) {
        row.emplace_back();
        if (!listener.endsTls()) continue;
        try {
            row.back() = listenerOf(listener.name, listener.tls_options, listener.certificates);
        } catch (const TlsError& error) {
            errors.push_back(fmt::format("{}listener {}: {}", listener.places.before(error.what()),
                                         listener.name, error.what()));
        }
    }
    if (!errors.empty()) throw ConfigError(fmt::format("{}", fmt::join(errors, "\n")));
    return row;
}

std::shared_ptr<TlsListener> TlsListeners::makeConsole(const ConsoleConfig& config) {
    if (config.address.empty() || config.certificates.empty()) return nullptr;
    TlsServerOptions options;
    options.alpn = "http/1.1";
    options.scope = kConsole;
    try {
        console_ = listenerOf(kConsole, options, config.certificates);
    } catch (const TlsError& error) {
        throw ConfigError(fmt::format("{}console: {}", config.places.before(error.what()), error.what()));
    }
    return console_;
}

std::shared_ptr<TlsListener> TlsListeners::listenerOf(const std::string& name,
                                                      const TlsServerOptions& options,
                                                      const std::vector<CertificateFiles>& certificates) {
    TlsListener::Callbacks callbacks{
        [this, name](const Certificate& certificate) {
            EventLog& log = *log_;
            LogLine line = log.line(LogLevel::Information, "tls.certificate_renewed");
            addCertificate(line, name, certificate);
            log.write(line);
        },
        [this, name](const std::string& why) {
            EventLog& log = *log_;
            LogLine line = log.line(LogLevel::Error, "tls.certificate_refused");
            line.text("listener", name).text("detail", why);
            log.write(line);
        },
        [this, name](const std::string& client_ca) {
            EventLog& log = *log_;
            LogLine line = log.line(LogLevel::Information, "tls.certificate_renewed");
            line.text("listener", name).text("certificate", client_ca);
            log.write(line);
        }};
    return std::make_shared<TlsListener>(options, certificates, tickets_, std::move(callbacks));
}

void TlsListeners::poll(const Config& config, const Row& listeners) {
    const UnixSeconds now = wallClock();
    for (std::size_t i = 0; i < listeners.size(); ++i)
        if (listeners[i]) poll(config.listeners[i].name, *listeners[i], now);
    if (console_) poll(kConsole, *console_, now);
}

void TlsListeners::poll(const std::string& name, TlsListener& listener, UnixSeconds now) {
    listener.poll(now);
    for (const auto& certificate : listener.context()->certificates())
        warnOfExpiry(name, *certificate, now);
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
