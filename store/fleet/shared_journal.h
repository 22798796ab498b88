// SPDX-License-Identifier: Apache-2.0
/// \file  Where the journals of a fleet's gateways meet, for the gateway that writes its own there.
///
/// What has come from a journal, and up to which place of it, is written in one transaction: after any failure the database
/// says where to go on, and no record is there twice or left out.
#pragma once

#include "store/fleet/fleet.h"
#include "store/fleet/lineage.h"
#include "store/fleet/missed.h"
#include "store/journal/backend.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::store {

/// Who writes.
struct JournalOwner {
    std::string gateway;
    std::string process;  ///< another one each time that it is started
    // How long records are kept there, in days; what other gateways want longer stays longer.
    std::int64_t keep_days = 0, keep_refused_days = 0;
};

/// One connection, made when it is needed, and anew after a failure. All functions throw StoreError, BadRow where the
/// database cannot have a record as it is; none takes longer than its deadlines allow. One thread at a time, but for interrupt().
class SharedJournal {
  public:
    /// A piece of the journal that was removed before all of it had come.
    struct Missed {
        std::int64_t piece = 0;
        MissedRecords records;
    };
    /// One that the gateway has, or had before its file was lost or restored from a backup.
    struct Journal {
        std::int64_t id = 0;
        std::int64_t number = 0;  ///< of those of the gateway, from 1 on
        std::string position;     ///< journal::spoolText()
    };
    struct Progress {
        std::int64_t journal = 0;
        std::string from, to;          ///< positions
        std::vector<Missed> missed{};  ///< what has not come and will not
        bool current = false;          ///< nothing is left to come
    };

    SharedJournal() = default;
    SharedJournal(const SharedJournal&) = delete;
    SharedJournal& operator=(const SharedJournal&) = delete;
    virtual ~SharedJournal() = default;

    /// Which fleet it is.
    virtual std::string fleet() = 0;
    /// Those of the gateway, the newest first.
    virtual std::vector<Journal> journals() = 0;
    /// `id`: that of a journal whose row is gone; none: another one.
    virtual Journal create(std::int64_t number, const std::string& position,
                           std::optional<std::int64_t> id) = 0;
    /// It goes on at that position, which the caller has found by the records that are there.
    virtual void place(std::int64_t journal, const std::string& position) = 0;

    /// Who writes for the gateway; none: nobody does yet.
    virtual std::optional<JournalWriter> writer() = 0;
    /// From now on the owner's process does, the last one of `lineage`. False: somebody else than `from` does by now.
    virtual bool claim(const std::optional<JournalWriter>& from, const std::vector<std::string>& lineage) = 0;

    /// In which of the gateway's journals that record is, or of those whose row is gone; none: it is not there.
    virtual std::optional<std::int64_t> journalOf(JournalKind kind, const journal::SpoolPlace& record) = 0;
    /// Whether it is there at all, under whichever gateway's name: as one that was renamed brought it, or that this one is a copy of.
    virtual bool has(JournalKind kind, const journal::SpoolPlace& record) = 0;
    /// Of a journal; 0: there is none.
    virtual std::int64_t lastKey(std::int64_t journal, JournalKind kind) = 0;
    /// Unix milliseconds: of what ended before, nothing is kept.
    virtual std::int64_t keptSinceMs(JournalKind kind) const = 0;

    /// Adds to what commit() writes; returns how many bytes more that is.
    virtual std::size_t add(std::int64_t journal, std::int64_t key, const JournalSession& record) = 0;
    /// Forgets what was added.
    virtual void discard() noexcept = 0;
    /// Writes what was added. False: the journal is not at `progress.from`, or another process writes for the gateway; nothing was. Where
    /// it throws it may have been written all the same; what was added is forgotten in any case.
    virtual bool commit(const Progress& progress) = 0;

    /// What is due from time to time: makes room for the days to come, and removes what nobody wants any more. True: there
    /// is more of that to do.
    virtual bool maintain() = 0;

    /// What goes on, and all that comes, is StoreError at once. Any thread.
    virtual void interrupt() noexcept = 0;
};

}  // namespace mailgate::store
