// SPDX-License-Identifier: Apache-2.0
/// \file  What each request does. Internal to gateway/api/: Api::handle() has found the route and checked the role. All of them
/// throw Problem and StoreError.
#pragma once

#include "gateway/api/parts.h"
#include "gateway/api/request.h"
#include "gateway/api/turns.h"

#include <memory>
#include <string>
#include <string_view>

namespace mailgate::api {

/// One request under way.
struct Call {
    const Parts& parts;
    const Request& request;
    const std::shared_ptr<const Config> config;
    AllTurns& turns;

    /// Texts of databases, with paths of files, hosts and accounts.
    bool isToldOfErrors() const noexcept { return request.who.role == store::Role::Admin; }
    bool masks() const noexcept { return request.who.role == store::Role::Viewer; }
    /// Throws Problem where who asks is gone: what somebody was told has failed is not carried out, and nobody reads what takes long.
    void requireAsker() const;
    /// Throws Problem likewise, and where no turn comes: `doing` says what others do meanwhile.
    Turns::Turn turnAt(Turns& work, std::string_view doing) const;
};

Response status(const Call& call);
Response servers(const Call& call);
Response setServer(const Call& call);
/// Takes seconds, half a minute in the worst case; one at a time.
Response probe(const Call& call);
Response configuration(const Call& call);
Response fleet(const Call& call);
Response snippets(const Call& call);
Response snippet(const Call& call);

Response sessions(const Call& call);
Response liveSessions(const Call& call);
Response daySessions(const Call& call);
Response session(const Call& call);
Response endSession(const Call& call);

Response rules(const Call& call);
Response rule(const Call& call);
Response addRules(const Call& call);
Response editRule(const Call& call);
Response removeRule(const Call& call);
Response removeRules(const Call& call);
Response testRules(const Call& call);
Response importRules(const Call& call);
Response ruleHistory(const Call& call);
Response undoChange(const Call& call);
Response ruleSets(const Call& call);

Response jsonResponse(std::string body, int status = 200);

/// To others in the place of an error's text.
inline constexpr const char* kToldToAdmins = "who has the role admin is told why";

/// An order that was given, for the log.
void logOrder(const Call& call, std::string_view order, std::string_view target,
              const admin::Outcome& outcome);

}  // namespace mailgate::api
