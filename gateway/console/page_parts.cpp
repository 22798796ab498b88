// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/page_parts.h"

#include <Poco/JSON/Array.h>
#include <Poco/URI.h>

#include <cstddef>

namespace mailgate::console {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;

// ---- values

std::string textOf(const Var& value) {
    return value.isEmpty() ? "" : value.convert<std::string>();
}

std::string textOf(const Object& object, const char* key) {
    return textOf(object.get(key));
}

bool isTrue(const Object& object, const char* key) {
    return object.optValue<bool>(key, false);
}

std::vector<Object::Ptr> objectsOf(const Object& object, const char* key) {
    std::vector<Object::Ptr> objects;
    const auto array = object.getArray(key);
    for (std::size_t at = 0; array && at < array->size(); ++at)
        if (auto one = array->getObject(static_cast<unsigned>(at))) objects.push_back(std::move(one));
    return objects;
}

std::string percentEncoded(const std::string& text) {
    std::string encoded;
    Poco::URI::encode(text, "/?&=#+;%'\"<>", encoded);
    return encoded;
}

std::vector<std::string> textsOf(const Object& object, const char* key) {
    std::vector<std::string> texts;
    const auto array = object.getArray(key);
    for (std::size_t at = 0; array && at < array->size(); ++at)
        texts.push_back(textOf(array->get(static_cast<unsigned>(at))));
    return texts;
}

std::string asSentence(std::string words) {
    if (!words.empty() && words[0] >= 'a' && words[0] <= 'z')
        words[0] = static_cast<char>(words[0] - 'a' + 'A');
    return words;
}

// ---- tables and facts

Column plain(const char* title, const char* key) {
    return {title, false, [key](Html& cell, const Object& row) { cell.text(textOf(row, key)); }};
}

Column number(const char* title, const char* key) {
    return {title, true, [key](Html& cell, const Object& row) { cell.text(textOf(row, key)); }};
}

Html tableOf(std::string_view caption, const std::vector<Object::Ptr>& rows,
             const std::vector<Column>& columns) {
    Html html;
    html.markup("<div class=\"scrolls\" tabindex=\"0\" role=\"region\" aria-label=\"").text(caption);
    html.markup("\"><table><caption>").text(caption).markup("</caption><thead><tr>");
    for (const Column& column : columns) {
        if (column.is_number)
            html.markup("<th scope=\"col\" class=\"number\">");
        else
            html.markup("<th scope=\"col\">");
        html.text(column.title).markup("</th>");
    }
    html.markup("</tr></thead><tbody>");
    for (const auto& row : rows) {
        html.markup("<tr>");
        for (const Column& column : columns) {
            if (column.is_number)
                html.markup("<td class=\"number\">");
            else
                html.markup("<td>");
            column.fill(html, *row);
            html.markup("</td>");
        }
        html.markup("</tr>");
    }
    return html.markup("</tbody></table></div>");
}

void addTime(Html& html, const std::string& time) {
    if (time.empty()) return;
    html.markup("<time datetime=\"").text(time).markup("\">").text(time).markup("</time>");
}

void addHealth(Html& cell, const Object& server) {
    if (isTrue(server, "draining"))
        cell.markup("<span class=\"warning\">drained</span>");
    else if (isTrue(server, "healthy"))
        cell.markup("<span class=\"good\">up</span>");
    else
        cell.markup("<span class=\"bad\">down</span>");
    if (const std::string reason = textOf(server, "reason"); !reason.empty()) cell.markup(" ").text(reason);
}

namespace {

std::string wordsOf(const std::string& key) {
    std::string words = key;
    for (char& character : words)
        if (character == '_') character = ' ';
    return words;
}

void addValue(Html& html, const Var& value) {
    if (value.type() == typeid(Object::Ptr)) return addFacts(html, *value.extract<Object::Ptr>());
    if (value.type() != typeid(Array::Ptr)) {
        html.text(textOf(value));
        return;
    }
    const auto& array = value.extract<Array::Ptr>();
    html.markup("<ul>");
    for (const Var& item : *array) {
        html.markup("<li>");
        addValue(html, item);
        html.markup("</li>");
    }
    html.markup("</ul>");
}

}  // namespace

void addFacts(Html& html, const Object& object) {
    html.markup("<dl>");
    for (const std::string& key : object.getNames()) {
        const Var value = object.get(key);
        const bool is_list = !value.isEmpty() && value.type() == typeid(Array::Ptr);
        if (value.isEmpty() || (is_list && value.extract<Array::Ptr>()->empty())) continue;
        html.markup("<dt>").text(wordsOf(key)).markup("</dt><dd>");
        if (key == "time" || key == "started" || key.ends_with("_at"))
            addTime(html, textOf(value));
        else
            addValue(html, value);
        html.markup("</dd>");
    }
    html.markup("</dl>");
}

// ---- forms

namespace {

void addLabel(Html& html, const Input& input) {
    html.markup("<label for=\"").text(input.name).markup("\">").text(input.label).markup("</label>");
}

void addHelp(Html& html, const Input& input) {
    if (*input.help == '\0') return;
    html.markup("<span class=\"soft\" id=\"").text(input.name).markup("-help\">").text(input.help);
    html.markup("</span>");
}

/// Inside of the tag.
void addNames(Html& html, const Input& input) {
    html.markup(" id=\"").text(input.name).markup("\" name=\"").text(input.name).markup("\"");
    if (*input.help != '\0') html.markup(" aria-describedby=\"").text(input.name).markup("-help\"");
}

}  // namespace

void addInput(Html& html, const Input& input) {
    html.markup("<p>");
    addLabel(html, input);
    html.markup("<input");
    addNames(html, input);
    html.markup(" value=\"").text(input.value).markup("\"> ");
    addHelp(html, input);
    html.markup("</p>");
}

void addTextArea(Html& html, const Input& input) {
    html.markup("<p>");
    addLabel(html, input);
    html.markup("<textarea rows=\"4\"");
    addNames(html, input);
    html.markup(">").lines(input.value).markup("</textarea> ");
    addHelp(html, input);
    html.markup("</p>");
}

void addCheckbox(Html& html, const Input& input, bool is_checked) {
    html.markup("<p class=\"choice\"><input type=\"checkbox\"");
    addNames(html, input);
    html.markup(" value=\"").text(input.value).markup("\"");
    if (is_checked) html.markup(" checked");
    html.markup("> ");
    addLabel(html, input);
    addHelp(html, input);
    html.markup("</p>");
}

void addSelect(Html& html, const Input& input,
               const std::vector<std::pair<std::string, std::string>>& options) {
    html.markup("<p>");
    addLabel(html, input);
    html.markup("<select");
    addNames(html, input);
    html.markup(">");
    for (const auto& [value, words] : options) {
        html.markup("<option value=\"").text(value).markup("\"");
        if (value == input.value) html.markup(" selected");
        html.markup(">").text(words).markup("</option>");
    }
    html.markup("</select> ");
    addHelp(html, input);
    html.markup("</p>");
}

void addHidden(Html& html, std::string_view name, std::string_view value) {
    html.markup("<input type=\"hidden\" name=\"")
        .exact(name)
        .markup("\" value=\"")
        .exact(value)
        .markup("\">");
}

void beginForm(Html& html, const Viewer& viewer, std::string_view action, bool has_files) {
    html.markup("<form method=\"post\" action=\"").text(action).markup("\"");
    if (has_files) html.markup(" enctype=\"multipart/form-data\"");
    html.markup(">");
    addHidden(html, "csrf_token", viewer.csrf_token);
}

}  // namespace mailgate::console
