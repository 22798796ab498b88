// SPDX-License-Identifier: Apache-2.0
/// \file  What a gateway that runs has other than the configuration file of a command says.
#pragma once

#include "gateway/cli/time_text.h"
#include "gateway/config/config.h"

#include <Poco/JSON/Object.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::cli {

/// How long a command waits for a gateway that it only wants to compare with.
inline constexpr std::chrono::seconds kGatewayPatience{2};

/// What the gateway on admin.socket says of itself.
struct RunningGateway {
    Poco::JSON::Object::Ptr
        status;           ///< the answer to GET /v1/status; null: none is running, or it is not to be asked
    bool silent = false;  ///< one is running, and does not answer in time
    std::string
        unknown{};  ///< why it is not known whether one is running, and how it is; empty: that is known
};
RunningGateway runningGateway(const Config& config);

// `status`: such an answer. What an earlier version does not tell is as the file says.

/// The file that it was started with, where that is not the configuration's.
std::optional<std::string> otherFile(const Poco::JSON::Object& status, const Config& config);
/// "the running gateway reads the rules in ..., not those in ...", where that is so.
std::optional<std::string> otherStore(const Poco::JSON::Object& status, const Config& config);
/// That the database of the rules is gone or empty, where a gateway runs that has rules in force from there: made anew, it would
/// have none of them, and the gateway would be asked to go by it. Nothing: it is there, or nobody has read it.
std::optional<std::string> lostStore(const Poco::JSON::Object& status, const Config& config);
/// The same, of the gateway that runs: why that database must not be made anew. Which it must not either where a gateway that
/// may run cannot be asked.
std::optional<std::string> lostStore(const Config& config);
/// That it cannot read the rules.
bool failsToReadRules(const Poco::JSON::Object& status);
/// As ruleWarnings(), of the rules that it goes by.
std::vector<std::string> warningsOfRules(const Poco::JSON::Object& status, const Config& config);
/// "the journal cannot be written since ... (why): 5 records wait in memory"; nothing: it can.
std::optional<std::string> journalTrouble(const Poco::JSON::Object& status, const Times& times);
/// Which command lists a session that is under way, and of which the text is the id (or how it begins), client, user, sender or
/// HELO; nothing: there is none, or no gateway tells.
std::optional<std::string> underWay(const Config& config, const std::string& text);
/// A sentence for each of these listeners (empty: all of the file) that it does not have, or has with other clients to let
/// in than the file says.
std::vector<std::string> otherListeners(const Poco::JSON::Object& status, const Config& config,
                                        const std::vector<std::string>& names);
/// Gives the configuration the listeners and upstreams of that gateway, as far as access rules are judged by them. False: it
/// does not tell them.
bool takeSite(Config& config, const Poco::JSON::Object& status);

}  // namespace mailgate::cli
