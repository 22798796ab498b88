// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate_watcher.h"

#include "gateway/tls/error.h"

#include <utility>

namespace mailgate {

std::string startWouldFail(const std::string& refusal) {
    return refusal.empty() ? "" : refusal + "; a restart would fail";
}

CertificateWatcher::CertificateWatcher(Certificates certificates, Callbacks callbacks)
    : current_(std::move(certificates)), callbacks_(std::move(callbacks)) {
    for (const auto& certificate : current_) {
        watched_.push_back({certificate->identities(), certificate->identities(), {}});
    }
}

void CertificateWatcher::poll(UnixSeconds now) {
    std::vector<std::size_t> places;
    for (std::size_t place = 0; place < current_.size(); ++place) {
        if (due(place) && renew(place, now)) places.push_back(place);
    }
    if (!places.empty()) callbacks_.changed(places);
}

/// They have changed since they were handled, or were refused, and are as at the last poll. What stood in the way
/// (a mode, an owner, no descriptors) need not show in them: they are tried again at each poll.
bool CertificateWatcher::due(std::size_t place) noexcept {
    Watched& watched = watched_[place];
    const FileIdentities now = identitiesOf(current_[place]->files());
    if (std::exchange(watched.seen, now) != now) return false;
    if (now != watched.handled) watched.refusal.clear();
    return now != watched.handled || !watched.refusal.empty();
}

bool CertificateWatcher::renew(std::size_t place, UnixSeconds now) {
    const Certificate& old = *current_[place];
    watched_[place].handled = watched_[place].seen;
    watched_[place].loads = false;
    try {
        auto renewed = Certificate::load(old.files());
        watched_[place].handled = renewed->identities();
        watched_[place].loads = true;
        if (!renewed->validAt(now) && old.validAt(now)) {
            throw TlsError(renewed->warnings(now).back());
        }
        current_[place] = std::move(renewed);
        watched_[place].refusal.clear();
        return true;
    } catch (const TlsError& error) {
        if (std::exchange(watched_[place].refusal, error.what()) != error.what())
            callbacks_.refused(old.files(), error.what());
        return false;
    }
}

std::string CertificateWatcher::refusal() const {
    std::string presented;
    for (const Watched& watched : watched_) {
        if (watched.refusal.empty()) continue;
        if (!watched.loads) return startWouldFail(watched.refusal);
        presented = watched.refusal + "; a restart or a reload would present it";
    }
    return presented;
}

}  // namespace mailgate
