// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate access` says of a change that was rehearsed.
#pragma once

#include "gateway/answers/rehearsal.h"

#include <string>

namespace mailgate::cli {

using answers::concernedBy;
using answers::ConcernedSessions;
using answers::lastChangeAsJson;
using answers::rehearsalAsJson;
using answers::rehearse;
using answers::RehearsedChange;

/// "dry run: 1 to be added, ...", with a line for each entry before.
std::string textOf(const RehearsedChange& change);
/// "3 sessions of the last 7 days would be decided otherwise:", and the first groups.
std::string textOf(const ConcernedSessions& concerned);

}  // namespace mailgate::cli
