// SPDX-License-Identifier: Apache-2.0
/// \file  The journal: every session and mail transaction, kept where it can be searched.
///
/// Workers hand records over (record(), a queue bounded in bytes, one short lock); one writer thread batches them
/// into the database. The journal never delays mail: what it cannot take is counted and reported, and the log
/// line is written anyway. While the database cannot be written the records wait in the queue; only what does not
/// fit is lost.
///
/// What written() has counted, or flush() has confirmed, survives kill -9 (in SQLite a power cut may undo the last
/// commits, and leaves a sound file).
///
/// What it needs of a database, and how records are searched: store/journal/backend.h.
#pragma once

#include "store/journal/backend.h"
#include "store/store_error.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

class Journal {
  public:
    /// Called on the writer's thread (and on the one that calls stop()). Must not throw.
    struct Events {
        std::function<void(const std::string& what)> failed;  ///< once per change of state, one sentence
        std::function<void(std::uint64_t lost)> recovered;    ///< how many were lost meanwhile
    };
    Journal(JournalOptions options, journal::OpenSink open, Events events);
    ~Journal();  ///< stop()

    /// Opens, creates or migrates the database, starts the writer. Throws StoreError, except where startsWithout():
    /// that is reported by `failed`, and opening is tried again.
    void start();
    /// What is no reason to keep mail out: what may pass by itself (a full disk, an I/O error, another process's lock),
    /// and a damaged file, in whose place there is a new one as soon as somebody has moved it away.
    static bool startsWithout(const StoreError& error) noexcept;
    /// Writes what is queued (bounded by five seconds) and joins. What could not be written is lost.
    void stop();

    /// Hands a record over. Any thread; never blocks on the disk, never throws. False: dropped and counted.
    bool record(JournalSession&& session) noexcept;
    /// There was no memory for a record: counted as lost.
    void recordFailed() noexcept;

    /// Waits until everything recorded before is written; false when that took longer.
    bool flush(std::chrono::milliseconds at_most);

    /// Why records cannot be written, and since when: between `failed` and `recovered`.
    struct Trouble {
        std::string what;  ///< empty: they can
        std::int64_t since_ms = 0;
    };
    Trouble trouble() const;

    std::size_t queued() const noexcept;
    std::uint64_t written() const noexcept;  ///< committed since the start
    std::uint64_t lost() const noexcept;
    std::uint64_t bytes() const noexcept;  ///< size of the files, as last looked at
    /// Unix milliseconds of the oldest session's start, likewise; 0: there is none.
    std::int64_t oldestMs() const noexcept;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
