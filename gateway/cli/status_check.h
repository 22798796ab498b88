// SPDX-License-Identifier: Apache-2.0
/// \file  The gateway's state as a monitoring plugin reports it: one line and an exit code, as Nagios and its kin read
/// them (https://www.monitoring-plugins.org/doc/guidelines.html).
#pragma once

#include "gateway/answers/fleet.h"

#include <Poco/JSON/Object.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::cli {

/// Where a value begins to be a warning, and critical; never, without one.
struct Threshold {
    std::optional<unsigned> warning, critical;
};

/// "80" or "80,95"; "" of a part: never. Nothing for anything else.
std::optional<Threshold> parseThreshold(std::string_view text);

struct CheckLimits {
    Threshold sessions{80, 95};           ///< percent of max_sessions, or more
    Threshold journal{95, std::nullopt};  ///< percent of journal.max_size, or more
    Threshold certificates{14, 3};        ///< days left, or fewer
    std::optional<std::int64_t> drained{
        86'400};  ///< seconds for which a server has been drained, or more: a warning
    /// Seconds since all of the journal was in the fleet's database, or more.
    Threshold journal_lag{answers::kJournalLateFrom, std::nullopt};
};

struct FleetLimits {
    Threshold silent{20, 300};  ///< seconds since a gateway was heard of, or more
    Threshold lag{10, 300};     ///< seconds since the first change that it has not applied, or more
    Threshold journal_lag{answers::kJournalLateFrom, std::nullopt};  ///< as CheckLimits has it
};

enum class CheckState : int { Ok = 0, Warning = 1, Critical = 2, Unknown = 3 };

struct CheckResult {
    CheckState state = CheckState::Ok;
    std::string line;  ///< without its end
};

/// Who uses them, of a row of the status's `tls_files`: "listener imaps", "the console".
std::string userOfTls(const Poco::JSON::Object& files);

/// The first error of those for which a reload would refuse the configuration's files as they are; empty: there is none. `change`: the
/// answer's config_change.
std::string firstError(const Poco::JSON::Object& change);

/// `status`: the answer to GET /v1/status.
CheckResult checkStatus(const Poco::JSON::Object& status, const CheckLimits& limits);
/// `unanswered`: why the database has not answered; empty: it has.
CheckResult checkFleet(const answers::FleetView& view, std::string_view unanswered,
                       const FleetLimits& limits);
/// Of a gateway that could not be asked: why not.
CheckResult checkFailed(CheckState state, std::string_view why);

}  // namespace mailgate::cli
