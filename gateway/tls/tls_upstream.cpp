// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_upstream.h"

#include "gateway/tls/error.h"

#include <utility>

namespace mailgate {
namespace {

CertificateWatcher::Certificates loadOwn(const CertificateFiles& files) {
    if (files.certificate.empty()) return {};
    return {Certificate::load(files)};
}

/// The system's are many files, and are read again on a reload.
std::string authoritiesOf(const TlsClientOptions& options) {
    return options.verify && options.ca != "system" ? options.ca : std::string();
}

}  // namespace

TlsUpstream::TlsUpstream(const TlsClientOptions& options, const CertificateFiles& certificate,
                         Callbacks callbacks)
    : options_(options),
      callbacks_(std::move(callbacks)),
      watcher_(
          loadOwn(certificate),
          {[this](const std::vector<std::size_t>&) { waiting_ = watcher_.current()[0]->files().certificate; },
           [this](const CertificateFiles&, const std::string& why) { callbacks_.refused(why); }}),
      authorities_(authoritiesOf(options)),
      context_(build()) {}

std::shared_ptr<const TlsClientContext> TlsUpstream::build() const {
    const auto& own = watcher_.current();
    return TlsClientContext::build(options_, own.empty() ? nullptr : own[0]);
}

std::shared_ptr<const TlsClientContext> TlsUpstream::context() const noexcept {
    const std::lock_guard lock(mutex_);
    return context_;
}

void TlsUpstream::poll(UnixSeconds now) {
    watcher_.poll(now);
    if (authorities_.settled()) waiting_ = options_.ca;
    if (!waiting_.empty()) rebuild();
    std::string refusal = watcher_.refusal();
    if (refusal.empty()) refusal = startWouldFail(last_refusal_);
    const std::lock_guard lock(mutex_);
    refusal_.swap(refusal);
}

std::string TlsUpstream::refusal() const {
    const std::lock_guard lock(mutex_);
    return refusal_;
}

// Tried again at each poll: what stood in the way need not be one of the files that are watched.
void TlsUpstream::rebuild() {
    try {
        const FileIdentities authorities = authorities_.now();
        auto built = build();
        authorities_.handled(authorities);
        const std::lock_guard lock(mutex_);
        context_.swap(built);
    } catch (const TlsError& error) {
        if (std::exchange(last_refusal_, error.what()) != error.what()) callbacks_.refused(error.what());
        return;
    }
    last_refusal_.clear();
    callbacks_.renewed(std::exchange(waiting_, {}));
}

}  // namespace mailgate
