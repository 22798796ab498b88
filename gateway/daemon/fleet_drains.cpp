// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/fleet_drains.h"

#include <exception>
#include <utility>

namespace mailgate {

std::string fleetDrainFile(const std::string& store_url) {
    return store_url.substr(store_url.find(':') + 1) + "-fleet-servers";
}

FleetDrains::FleetDrains(std::string file, Gateway gateway)
    : file_(std::move(file)), gateway_(std::move(gateway)) {
    try {
        done_ = readDrained(file_);
    } catch (const std::exception& error) {
        report(error.what());
    }
}

void FleetDrains::look(store::FleetStore& fleet, const store::FleetState& state) {
    constexpr std::int64_t kPauseAfterFailure = 10;
    if (failed_ && state.now < retry_at_ && state.now > retry_at_ - 2 * kPauseAfterFailure) return;
    retry_at_ = state.now + kPauseAfterFailure;
    try {
        // From time to time too: of a database that was restored, another state may have the same number.
        constexpr std::int64_t kReadAgain = 60;
        if (version_ != state.drains || state.now < read_at_ || state.now - read_at_ >= kReadAgain) {
            DrainedServers wishes;
            for (store::FleetDrain& drain : fleet.drains())
                wishes[{std::move(drain.upstream), std::move(drain.server)}] = {drain.since,
                                                                                std::move(drain.by)};
            wishes_ = std::move(wishes);
            version_ = state.drains;
            read_at_ = state.now;
        }
        carryOut();
        failed_ = false;
    } catch (const std::exception& error) {
        report(error.what());
    }
}

void FleetDrains::carryOut() {
    const auto here = gateway_.servers();
    DrainedServers wished;
    for (const auto& [server, order] : wishes_) {
        const auto known = here.find(server);
        if (known == here.end()) continue;
        // Ordered once more, of a server that the first order drains: that one goes on, and nobody gets sessions meanwhile.
        const auto before = done_.find(server);
        const bool goes_on = before != done_.end() && known->second == before->second;
        wished.emplace(server, goes_on ? before->second : order);
    }
    if (wished == done_ && is_kept_) return;
    for (const auto& [server, before] : done_) {
        const auto known = here.find(server);
        const auto after = wished.find(server);
        if (known == here.end() || (after != wished.end() && after->second == before)) continue;
        // Who has drained it here, for this gateway alone, puts it back.
        if (known->second == before) gateway_.set(server, std::nullopt);
    }
    for (const auto& [server, order] : wished) {
        const auto before = done_.find(server);
        if (before == done_.end() || before->second != order) gateway_.set(server, order);
    }
    done_ = std::move(wished);
    is_kept_ = false;
    writeDrained(file_, done_);
    is_kept_ = true;
}

void FleetDrains::report(const std::string& why) {
    if (!std::exchange(failed_, true) && gateway_.failed) gateway_.failed(why);
}

}  // namespace mailgate
