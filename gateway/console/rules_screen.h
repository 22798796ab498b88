// SPDX-License-Identifier: Apache-2.0
/// \file  Requests of the pages of access rules: which question to the API each is, and what becomes of forms. Internal to
/// gateway/console/.
#pragma once

#include "gateway/console/question.h"

#include <Poco/JSON/Object.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::console {

/// Of a form with a list; the API takes larger ones.
inline constexpr std::size_t kMostList = std::size_t{4} << 20;

/// The path begins with "rules"; a POST is known to come from a form of ours.
api::Response rulesScreen(const Question& question, const PageRequest& request);

/// The names that the form at that path has, which begins with "rules"; nothing: there is none.
std::optional<std::vector<std::string_view>> namesOfRulesForm(const std::vector<std::string>& path);

/// The body of POST /rules that a form asks for.
Poco::JSON::Object::Ptr newRulesFrom(const Fields& form);
/// The body of PATCH /rules/ID: what of the form is another than the rule has it, as the page has shown it.
Poco::JSON::Object::Ptr changesFrom(const Fields& form, const Poco::JSON::Object& rule);
/// Whether a rule that was to be in force "for 7 days" is there: it was added a moment ago, and all that would change now is that it goes
/// that moment later. The rule as the trail has it.
bool isThereAlready(const std::string& before, const std::string& after);
/// The body of POST /rules/import.
Poco::JSON::Object::Ptr importFrom(const Fields& form);

}  // namespace mailgate::console
