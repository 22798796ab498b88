// SPDX-License-Identifier: Apache-2.0
/// \file  Opens the journal that a URL names. The only place that knows which databases there are: sqlite:PATH.
#pragma once

#include "store/journal/backend.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace mailgate::store::journal {

/// To write to: opens, creates or upgrades. Throws StoreError: BadInput for a URL of no known scheme.
std::unique_ptr<Sink> openSink(const JournalOptions& options);

/// Whether openSink() could open what is there, as far as can be seen without changing it. Throws StoreError as that does.
void inspectSink(const std::string& url);

/// Reads all of what is there, for so long at most; whoever writes may go on. False: there was no time for all of it. Throws StoreError as openSink()
/// does.
bool verifySink(const std::string& url, std::chrono::milliseconds at_most);

/// To ask. Throws StoreError: BadInput as above, Open when there is no journal yet. `look`: called now and then by what looks at many
/// sessions; what it throws ends that, and the Source's use.
std::unique_ptr<Source> openSource(const std::string& url, std::function<void()> look = {});

/// To take all of it elsewhere; `masked`: addresses as the journal keeps them for long. Throws StoreError likewise.
std::unique_ptr<Spool> openSpool(const std::string& url, bool masked);

}  // namespace mailgate::store::journal
