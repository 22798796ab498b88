// SPDX-License-Identifier: Apache-2.0
/// \file  A change of rules on a gateway of a fleet: it is made in the gateway's file and in the fleet's database, or in
/// neither.
///
/// The database's lock is taken first; then the file is brought to the last version, and changed by the code that changes
/// rules everywhere; what its trail says of that goes to the database, which commits before the file does. A gateway that
/// dies between the two has the change from the database soon after its next start.
#pragma once

#include "store/fleet/fleet.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

class FleetSharing final : public Sharing {
  public:
    /// With what was lost here by what the fleet had changed before.
    using Overruled = std::function<void(const std::vector<Applied::Lost>& lost)>;

    /// `gateway`: the member's name.
    FleetSharing(std::unique_ptr<FleetStore> fleet, std::string gateway, Overruled overruled = {})
        : fleet_(std::move(fleet)), gateway_(std::move(gateway)), overruled_(std::move(overruled)) {}

    std::string actor(std::string_view who) const override;
    void begin() override;
    void enter(Replica& replica) override;
    void leave(Replica& replica) override;
    void abandon() noexcept override { fleet_->rollback(); }

  private:
    void share(Replica& replica);

    const std::unique_ptr<FleetStore> fleet_;
    const std::string gateway_;
    const Overruled overruled_;
    FleetState state_;
    std::vector<Applied::Lost> lost_;
};

/// "alice@mx-gw-1"
std::string actorAt(std::string_view who, std::string_view gateway);

/// For the next version.
std::string newToken();

/// Throws StoreError unless the file has a part in this fleet, and a version of the rules that was the fleet's: not one from
/// before the database was restored from a backup.
void requireMember(const std::optional<Membership>& membership, const FleetState& state, FleetStore& fleet);

struct BroughtUp {
    std::int64_t version = 0;
    Applied applied{};
};
/// Brings the file of a member, as it was before `state` was asked for, to the fleet's last version. Where the log of changes does not
/// reach back so far it gets the rules as a whole: what it has for itself alone stays.
BroughtUp bringUp(Replica& replica, const Membership& before, const FleetState& state, FleetStore& fleet);
/// Throws as requireMember().
BroughtUp bringUp(Replica& replica, const FleetState& state, FleetStore& fleet);

/// The fleet's rules, where `read_here`, in a transaction of the file, has met it with the same version of them. Holds up nobody: no lock
/// is held meanwhile. Throws as requireMember(); Locked: they are being changed all the time.
SharedChanges readTogether(Replica& replica, FleetStore& fleet, const std::function<void()>& read_here);

/// What makes the fleet's rules of a file's, where it has other ones or has not all of them: as one change at `now` (Unix time).
SharedChanges wholeChange(const SharedChanges& here, const OwnRules& own, SharedChanges fleet,
                          std::int64_t now);

}  // namespace mailgate::store
