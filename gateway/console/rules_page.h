// SPDX-License-Identifier: Apache-2.0
/// \file  Pages of access rules, made of what the API answers. A change is shown before it is made, with the sessions that it would have
/// concerned. Pure functions.
#pragma once

#include "gateway/console/page_parts.h"

#include <Poco/JSON/Object.h>

#include <string>
#include <string_view>
#include <vector>

namespace mailgate::console {

// ---- looking (rules_page.cpp)

/// What of the list's own query becomes which parameter of /rules; of an unknown choice none.
Fields listQuery(const Fields& query);

/// What there is to choose from.
struct RuleNames {
    std::vector<std::string> listeners, sets;
};
/// Of /rules; `query`: the page's.
std::string rulesPage(const Viewer& viewer, const Fields& query, const RuleNames& names,
                      const Poco::JSON::Object& found);
/// Of /rules/ID.
std::string rulePage(const Viewer& viewer, const Poco::JSON::Object& rule);
/// Of /rules/test; null: nothing has been asked yet, or what was asked is wrong, and `problem` says why.
std::string whyPage(const Viewer& viewer, const Fields& query, const RuleNames& names,
                    const Poco::JSON::Object* decisions, std::string_view problem = {});
/// Of /rules/history.
std::string historyPage(const Viewer& viewer, const Fields& query, const Poco::JSON::Object& found);
/// Likewise, of one change; `ended`: how many sessions it has ended; empty: it was to end none.
std::string changePage(const Viewer& viewer, const std::string& number, std::string_view ended,
                       const Poco::JSON::Object& found);

/// The name that a rule is for, or its network; an address without its length.
std::string subjectOf(const Poco::JSON::Object& rule);
/// "+ deny 192.0.2.0/24" and the like, each on a line of its own.
void addChangeLines(Html& html, const std::string& before, const std::string& after);

// ---- changing (rules_forms.cpp)

/// Why a form comes back.
struct FormProblem {
    std::string why{};                   ///< empty: it does not
    std::vector<std::string> details{};  ///< further lines
    bool may_insist = false;             ///< "force" would do it
};
/// `fields`: what it held, or what it is to begin with.
std::string addRulePage(const Viewer& viewer, const Fields& fields, const RuleNames& names,
                        const FormProblem& problem);
std::string editRulePage(const Viewer& viewer, const Poco::JSON::Object& rule, const Fields& fields,
                         const FormProblem& problem);
std::string importPage(const Viewer& viewer, const Fields& fields, const RuleNames& names,
                       const FormProblem& problem);

/// What the form of a rule that is there begins with, its ETag among them.
Fields fieldsOf(const Poco::JSON::Object& rule, const std::string& etag);

/// A change that is waiting for a word.
struct Pending {
    std::string title;      ///< "Remove rule 7?"
    std::string action;     ///< where the form goes
    std::string order;      ///< on the button
    std::string leave;      ///< where one goes who does not want it
    Fields fields{};        ///< what the form holds
    bool is_form = false;   ///< they come from a form, to which one may go back
    std::string warning{};  ///< may be empty
};
/// `change`: what a dry run has answered.
std::string previewPage(const Viewer& viewer, const Pending& pending, const Poco::JSON::Object& change);
/// It is refused, unless somebody insists.
std::string insistPage(const Viewer& viewer, const Pending& pending, const FormProblem& problem);
/// Another editor was faster. `fields`: what this one wanted; none: the rule to go.
std::string changedMeanwhilePage(const Viewer& viewer, const Poco::JSON::Object& now, const Fields& fields);

}  // namespace mailgate::console
