// SPDX-License-Identifier: Apache-2.0
/// \file  Which servers an administrator has drained, from one start of the gateway to the next: a small text beside the
/// database of the access rules, replaced as a whole.
#pragma once

#include "gateway/session/generation.h"

#include <map>
#include <string>
#include <utility>

namespace mailgate {

/// By (upstream, server).
using DrainedServers = std::map<std::pair<std::string, std::string>, DrainOrder>;

/// Its path, beside the database at `store_url`: "sqlite:/p/mailgate.db" has /p/mailgate.db-servers.
std::string adminStateFile(const std::string& store_url);

/// None where there is no file. One of an earlier version does not say since when: they were drained when it was written, or
/// before. Throws std::runtime_error, with a sentence, when it cannot be read or is none of ours.
DrainedServers readDrained(const std::string& file);
/// On the disk when it returns. Throws std::runtime_error, with a sentence.
void writeDrained(const std::string& file, const DrainedServers& drained);

/// " since 2026-11-20T12:00:00Z by alice", as far as it is known.
std::string inWords(const DrainOrder& order);

/// Those that the configuration has no more.
void forgetUnknown(DrainedServers& drained, const Config& config);

/// Those that the configuration has.
void forgetKnown(DrainedServers& drained, const Config& config);

/// The servers of a generation that are drained now, and back: those of `drained` that it has.
DrainedServers drainedOf(const Generation& generation);
void drainAgain(const Generation& generation, const DrainedServers& drained);

}  // namespace mailgate
