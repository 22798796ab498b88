// SPDX-License-Identifier: Apache-2.0
/// \file  Takes a gateway's journal to its fleet, record after record.
///
/// The journal's file is the queue: what the database has not got stays there, as long as the journal keeps it. One thread of
/// its own; whatever the database does, nobody else waits.
#pragma once

#include "store/fleet/missed.h"
#include "store/fleet/shared_journal.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace mailgate::store {

/// How a gateway's journal stands to that of its fleet.
struct ShipperStatus {
    bool configured = false;
    bool connected = false;     ///< the last look at the database went well
    std::string failure{};      ///< of the last look; empty: it went well
    std::int64_t since_ms = 0;  ///< Unix time since when it is connected or not; 0: it has not looked yet
    std::uint64_t behind = 0;   ///< records that are not there yet, as far as it is known
    double lag_seconds = 0;     ///< since all of the journal was last known to be there
    std::uint64_t shipped = 0;  ///< records, since the start
    // Of the journal, removed before it was there, since the start.
    std::uint64_t missed = 0;  ///< pieces
    MissedRecords missing{};
    std::uint64_t rejected = 0;  ///< records that the database could not have, since the start
};

class JournalShipper {
  public:
    struct Options {
        std::chrono::milliseconds poll{1'000};  ///< between looks at the journal that finds nothing new
        std::chrono::milliseconds seen{
            15'000};  ///< how often the database hears of a gateway that has nothing for it
        std::chrono::milliseconds upkeep{3'600'000};
        // What is written at once ends with the record that exceeds one of these.
        std::size_t most_records = 5'000, most_bytes = std::size_t{4} << 20;
    };
    /// On the shipper's thread.
    struct Events {
        std::function<void(const std::string& why)> lost{};  ///< once, until it is found again
        std::function<void(std::uint64_t behind)> found{};   ///< after lost()
        /// The journal's retention was faster.
        std::function<void(std::uint64_t pieces, const MissedRecords& records)> missed{};
        /// The database cannot have a record.
        std::function<void(const std::string& session, const std::string& why)> rejected{};
        /// The database did not know how far it has the journal: where it goes on, and why there.
        std::function<void(const std::string& what)> placed{};
    };
    using OpenSpool = std::function<std::unique_ptr<journal::Spool>()>;
    /// Of which fleet the gateway is a member; none: of none. It is asked before each time that something is written.
    using MemberOf = std::function<std::optional<std::string>()>;

    /// `lineage`: the file in which the gateway keeps it (store/fleet/lineage.h).
    JournalShipper(std::unique_ptr<SharedJournal> fleet, JournalOwner owner, std::string lineage,
                   OpenSpool spool, MemberOf member_of, Options options, Events events);
    ~JournalShipper();  ///< stop()

    void start();
    void stop() noexcept;
    ShipperStatus status() const;  ///< any thread

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
