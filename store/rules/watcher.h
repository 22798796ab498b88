// SPDX-License-Identifier: Apache-2.0
/// \file  Keeps the current AccessTable: loads it, notices changes by anyone within a second, writes hits back.
///
/// It does the store's upkeep too (upkeep.h): at its start, every hour, and soon after a change.
///
/// One thread of its own; the workers only read `current()` or their cached copy. When the store turns bad
/// while running (locked, damaged, replaced, a row that cannot be read), the last good table stays in force,
/// and an event is raised once per change of state. An allowlist that cannot be read never becomes "allow all":
/// start() throws instead.
#pragma once

#include "protocols/values/snapshot.h"
#include "store/rules/store.h"
#include "store/rules/table.h"
#include "store/rules/upkeep.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::store {

class AccessWatcher {
  public:
    /// Called on the watcher's thread (for the first table: on the caller of start()).
    struct Events {
        std::function<void(const AccessTable& table, double build_seconds)> changed;
        std::function<void(const std::string& what)>
            failed;  ///< one sentence: place, cause, what stays in force
        std::function<void()> recovered;
        /// The last allow rule of these listeners has expired, or is gone.
        std::function<void(const std::vector<std::string>& listeners)> closed{};
        Upkeep::Events upkeep{};
    };

    /// `store`: opened to serve. `hits_every`: how often hits are written.
    AccessWatcher(std::unique_ptr<RuleStore> store, std::vector<std::string> listeners, Events events,
                  std::chrono::milliseconds hits_every = std::chrono::seconds(2),
                  const UpkeepOptions& upkeep = {});
    ~AccessWatcher();  ///< stop()

    /// Builds the first table, starts the thread. Throws StoreError.
    void start();
    /// Writes the last hits back and joins.
    void stop();

    /// Where the table in force is. Any thread.
    const Snapshot<AccessTable>& tables() const noexcept;
    /// Never null after start(). Any thread.
    std::shared_ptr<const AccessTable> current() const;
    /// Changes whenever current() does. Any thread, one load.
    std::uint64_t version() const noexcept;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
