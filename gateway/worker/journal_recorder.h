// SPDX-License-Identifier: Apache-2.0
/// \file  Records of sessions go to the journal.
#pragma once

#include "gateway/session/recorder.h"
#include "store/journal/journal.h"

#include <utility>

namespace mailgate {

class JournalRecorder final : public Recorder {
  public:
    explicit JournalRecorder(store::Journal& journal) noexcept : journal_(journal) {}
    void record(store::JournalSession&& session) noexcept override { journal_.record(std::move(session)); }
    void recordFailed() noexcept override { journal_.recordFailed(); }

  private:
    store::Journal& journal_;
};

}  // namespace mailgate
