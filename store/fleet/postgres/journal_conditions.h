// SPDX-License-Identifier: Apache-2.0
/// \file  What a filter asks of the rows of the fleet's journals, in SQL. Internal to store/.
///
/// Conditions let through all that the filter does, and hardly more: what a database cannot compare as we do (the domains of
/// names beyond ASCII) it lets through, and store/journal/filter.h has the last word. Values are parameters, always.
#pragma once

#include "store/journal/backend.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store::postgres {

/// The conditions of a query, with AND between them, and the parameters of all of it.
class Conditions {
  public:
    /// The parameter's name, "$1".
    std::string bind(std::string value);
    std::string bind(std::int64_t number) { return bind(std::to_string(number)); }
    /// "{1,2,3}", as the type that the query gives it.
    template <typename Number>
    std::string bindList(const std::vector<Number>& numbers) {
        std::string list;
        for (const Number number : numbers)
            list += (list.empty() ? "" : ",") + std::to_string(number);
        return bind("{" + list + "}");
    }

    void add(std::string_view condition);
    /// "a AND b"; "true" without any.
    std::string all() const { return sql_.empty() ? "true" : sql_; }
    const std::vector<std::string>& parameters() const noexcept { return parameters_; }

  private:
    std::string sql_;
    std::vector<std::string> parameters_;
};

/// Texts as the database has them: what it cannot take is written otherwise there.
JournalFilter storable(JournalFilter filter);

/// Of a storable() filter: on `s`, a row of session, refused or further_mail; all but what it asks of the mail. What
/// it asks of the reply to a refused client is among them where `refused`.
void addSessionConditions(Conditions& conditions, const JournalFilter& filter, bool refused);
/// On `m`, a row of mail.
void addMailConditions(Conditions& conditions, const JournalFilter& filter);

/// "s.client BETWEEN …"
void addClientCondition(Conditions& conditions, const Network& client);
/// A text of ours, whatever its case: "s.listener".
void addTextCondition(Conditions& conditions, std::string_view column, std::string_view wanted);

}  // namespace mailgate::store::postgres
