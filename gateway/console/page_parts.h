// SPDX-License-Identifier: Apache-2.0
/// \file  What pages are made of: values of the API's answers, tables, times, forms. Internal to gateway/console/.
#pragma once

#include "gateway/answers/numbers.h"
#include "gateway/console/forms.h"
#include "gateway/console/html.h"
#include "gateway/console/layout.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/JSON/Object.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

// ---- values

/// Null and what is not there are empty.
std::string textOf(const Poco::Dynamic::Var& value);
std::string textOf(const Poco::JSON::Object& object, const char* key);
bool isTrue(const Poco::JSON::Object& object, const char* key);
/// Of an array; empty where there is none.
std::vector<Poco::JSON::Object::Ptr> objectsOf(const Poco::JSON::Object& object, const char* key);
std::vector<std::string> textsOf(const Poco::JSON::Object& object, const char* key);
/// For a segment of a path, or a value in a query.
std::string percentEncoded(const std::string& text);

using answers::counted;

/// With a capital letter.
std::string asSentence(std::string words);

// ---- tables and facts

struct Column {
    const char* title;
    bool is_number;
    std::function<void(Html& cell, const Poco::JSON::Object& row)> fill;
};
/// The text of that key.
Column plain(const char* title, const char* key);
Column number(const char* title, const char* key);

Html tableOf(std::string_view caption, const std::vector<Poco::JSON::Object::Ptr>& rows,
             const std::vector<Column>& columns);

/// RFC 3339, as the API has it; empty: nothing.
void addTime(Html& html, const std::string& time);
void addHealth(Html& cell, const Poco::JSON::Object& server);
/// A line for each member; what is not known has none.
void addFacts(Html& html, const Poco::JSON::Object& object);

// ---- forms

struct Input {
    const char* name;  ///< its id, too
    const char* label;
    std::string value{};
    const char* help = "";
};
void addInput(Html& html, const Input& input);
/// Of several lines.
void addTextArea(Html& html, const Input& input);
void addCheckbox(Html& html, const Input& input, bool is_checked);
/// `input.value` is chosen; of each pair the first is the value.
void addSelect(Html& html, const Input& input,
               const std::vector<std::pair<std::string, std::string>>& options);
/// Comes back as it is, whatever is in it.
void addHidden(Html& html, std::string_view name, std::string_view value);
/// The beginning of a form that changes something, with the viewer's token.
void beginForm(Html& html, const Viewer& viewer, std::string_view action, bool has_files = false);

}  // namespace mailgate::console
