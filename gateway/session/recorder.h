// SPDX-License-Identifier: Apache-2.0
/// \file  Keeps what was known of a session, so that it can be searched later: the journal, or a test that remembers.
#pragma once

#include "store/journal/record.h"

namespace mailgate {

class Recorder {
  public:
    virtual ~Recorder() = default;
    virtual void record(store::JournalSession&& session) noexcept = 0;
    /// There was no memory for a record: counted as lost.
    virtual void recordFailed() noexcept = 0;
};

}  // namespace mailgate
