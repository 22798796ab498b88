// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_listener.h"

#include "gateway/tls/error.h"

#include <utility>

namespace mailgate {
namespace {

CertificateWatcher::Certificates loadAll(const std::vector<CertificateFiles>& files) {
    CertificateWatcher::Certificates certificates;
    for (const CertificateFiles& each : files)
        certificates.push_back(Certificate::load(each));
    return certificates;
}

}  // namespace

TlsListener::TlsListener(const TlsServerOptions& options, const std::vector<CertificateFiles>& files,
                         std::shared_ptr<TicketKeys> tickets, Callbacks callbacks)
    : options_(options),
      tickets_(std::move(tickets)),
      callbacks_(std::move(callbacks)),
      watcher_(
          loadAll(files),
          {[this](const std::vector<std::size_t>& places) { waiting_.insert(places.begin(), places.end()); },
           [this](const CertificateFiles&, const std::string& why) { callbacks_.refused(why); }}),
      authorities_(options_.client_ca),
      context_(TlsServerContext::build(options_, watcher_.current(), tickets_)) {}

std::shared_ptr<const TlsServerContext> TlsListener::context() const noexcept {
    const std::lock_guard lock(mutex_);
    return context_;
}

void TlsListener::poll(UnixSeconds now) {
    watcher_.poll(now);
    authorities_wait_ = authorities_.settled() || authorities_wait_;
    if (!waiting_.empty() || authorities_wait_) rebuild();
    std::string refusal = watcher_.refusal();
    if (refusal.empty()) refusal = startWouldFail(last_refusal_);
    const std::lock_guard lock(mutex_);
    refusal_.swap(refusal);
}

std::string TlsListener::refusal() const {
    const std::lock_guard lock(mutex_);
    return refusal_;
}

// Tried again at each poll: what stood in the way need not be one of the files that are watched.
void TlsListener::rebuild() {
    const FileIdentities authorities = authorities_.now();
    try {
        auto built = TlsServerContext::build(options_, watcher_.current(), tickets_);
        const std::lock_guard lock(mutex_);
        context_.swap(built);
    } catch (const TlsError& error) {
        if (std::exchange(last_refusal_, error.what()) != error.what()) callbacks_.refused(error.what());
        return;
    }
    last_refusal_.clear();
    if (authorities_.handled(authorities) || authorities_wait_) callbacks_.trusts(options_.client_ca);
    authorities_wait_ = false;
    for (const std::size_t place : std::exchange(waiting_, {}))
        callbacks_.renewed(*watcher_.current()[place]);
}

}  // namespace mailgate
