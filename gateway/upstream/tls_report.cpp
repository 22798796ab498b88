// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/tls_report.h"

#include "gateway/upstream/probe_connection.h"
#include "protocols/health_dialogue.h"
#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <utility>

namespace mailgate {

TlsReport reportOn(const TlsTransport& tls) {
    TlsReport report;
    report.version = tls.version();
    report.cipher = tls.facts().cipher;
    report.verdict = tls.verdict();
    if (report.verdict) report.verdict_text = tls.verdictText();
    report.chain = tls.chain();
    return report;
}

PolledConnection::TlsFor tlsForReport(TlsClientOptions options, const CertificateFiles& certificate,
                                      const std::string& name, std::optional<Protocol> starttls,
                                      const std::string& gateway) {
    options.judge_only = true;
    const auto own = certificate.certificate.empty() ? nullptr : Certificate::load(certificate);
    const auto context = TlsClientContext::build(options, own);
    return [context, name, starttls, gateway](const proxy::Connection& ends) {
        auto tls = std::make_unique<ServerTls>();
        tls->context = context;
        tls->name = name;
        if (starttls)
            tls->starttls =
                std::make_unique<StartTlsDialogue>(*starttls, heloName(gateway, ends.source.address));
        return tls;
    };
}

TlsReport testTls(const Endpoint& server, const PolledConnection::TlsFor& tls,
                  std::chrono::milliseconds timeout) {
    ProbeConnection connection(timeout);
    TlsReport report;
    report.failure = connection.open(
        server, [](const auto&) { return std::string(); }, tls);
    if (!report.failure.empty()) return report;
    if (connection.tls()) return reportOn(*connection.tls());
    report.failure = "does not start TLS: " + printable(withoutLineEnd(connection.heard()));
    return report;
}

std::string adviseOn(const TlsReport& report) {
    static const TlsChainCertificate kNothing;
    const TlsChainCertificate& own = report.chain.empty() ? kNothing : report.chain.front();
    switch (report.verdict.reason) {
        case TlsFailure::Reason::CertificateExpired:
            return fmt::format(
                "the server's certificate is valid from {} to {}: renew it there, and have the server "
                "read it",
                formatUtc(own.not_before), formatUtc(own.not_after));
        case TlsFailure::Reason::WrongName:
            return fmt::format(
                "the server's certificate is for {}, not for the name that it is asked for: set "
                "server_name to one of them",
                own.names.empty() ? own.subject : fmt::format("{}", fmt::join(own.names, ", ")));
        case TlsFailure::Reason::UnknownCa:
            return fmt::format(
                "the server's certificate is issued by \"{}\", who is not trusted: set ca to the PEM "
                "file of that CA, or have the server send the chain that leads to a trusted one",
                own.issuer);
        default:
            return fmt::format("the server's certificate is refused: {}", report.verdict_text);
    }
}

}  // namespace mailgate
