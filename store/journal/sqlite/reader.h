// SPDX-License-Identifier: Apache-2.0
/// \file  Queries of the journal's file: sessions by what is known of them, the busiest clients, senders and users.
///
/// Opens the file by itself, so it may run in another process while the gateway writes; it never makes the writer
/// wait. Sealed segments are searched by their terms, the open one is read; ten million sessions are answered in
/// milliseconds when a filter names an address, a user or an id.
///
/// Not thread-safe: one object for each thread.
#pragma once

#include "store/journal/backend.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::store::journal {

class Reader final : public Source {
  public:
    /// Throws StoreError: Open when there is no journal yet. `look`: as openSource() has it.
    explicit Reader(const std::string& url, std::function<void()> look = {});
    ~Reader() override;

    std::vector<JournalSession> newest(const JournalFilter& filter, std::size_t limit) override;
    std::size_t count(const JournalFilter& filter, std::size_t at_most) override;
    std::vector<JournalSession> withId(const std::string& prefix, std::size_t limit) override;
    Position end() override;
    std::vector<JournalSession> after(const JournalFilter& filter, Position& position,
                                      std::size_t limit) override;
    JournalTop top(const JournalTopQuery& query) override;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store::journal
