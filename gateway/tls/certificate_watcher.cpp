// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate_watcher.h"

#include "gateway/tls/error.h"

#include <utility>

namespace mailgate {

CertificateWatcher::CertificateWatcher(Certificates certificates, Callbacks callbacks)
    : current_(std::move(certificates)), callbacks_(std::move(callbacks)) {
    for (const auto& certificate : current_) {
        watched_.push_back({certificate->identities(), certificate->identities()});
    }
}

void CertificateWatcher::poll(UnixSeconds now) {
    std::vector<std::size_t> places;
    for (std::size_t place = 0; place < current_.size(); ++place) {
        if (settled(place) && renew(place, now)) places.push_back(place);
    }
    if (!places.empty()) callbacks_.changed(places);
}

/// They have changed since they were handled, and not since the last poll.
bool CertificateWatcher::settled(std::size_t place) noexcept {
    Watched& watched = watched_[place];
    const FileIdentities now = identitiesOf(current_[place]->files());
    const bool same = std::exchange(watched.seen, now) == now;
    return same && now != watched.handled;
}

bool CertificateWatcher::renew(std::size_t place, UnixSeconds now) {
    const Certificate& old = *current_[place];
    watched_[place].handled = watched_[place].seen;
    try {
        auto renewed = Certificate::load(old.files());
        watched_[place].handled = renewed->identities();
        if (!renewed->validAt(now) && old.validAt(now)) {
            throw TlsError(renewed->warnings(now).back());
        }
        current_[place] = std::move(renewed);
        return true;
    } catch (const TlsError& error) {
        callbacks_.refused(old.files(), error.what());
        return false;
    }
}

}  // namespace mailgate
