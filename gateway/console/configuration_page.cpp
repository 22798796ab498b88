// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/configuration_page.h"

#include "gateway/console/pages.h"

#include <fmt/format.h>

#include <vector>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

/// A row for each key; `otherwise` null, or without the key: it is not known what it is where the file does not say.
std::vector<Object::Ptr> rowsOf(const Object& settings, const Object::Ptr& otherwise) {
    std::vector<Object::Ptr> rows;
    for (const std::string& key : settings.getNames()) {
        Object::Ptr row(new Object);
        row->set("key", key);
        row->set("value", textOf(settings, key.c_str()));
        if (otherwise && otherwise->has(key)) row->set("default", textOf(*otherwise, key.c_str()));
        rows.push_back(std::move(row));
    }
    return rows;
}

Column codeColumn(const char* title, const char* key) {
    return {title, false, [key](Html& cell, const Object& row) {
                cell.markup("<code>").text(textOf(row, key)).markup("</code>");
            }};
}

void addSettings(Html& html, const std::string& caption, const Object& settings,
                 const Object::Ptr& otherwise) {
    std::vector<Column> columns{codeColumn("Key", "key"), codeColumn("Value", "value")};
    if (otherwise)
        columns.push_back({"Default", false, [](Html& cell, const Object& row) {
                               const std::string usual = textOf(row, "default");
                               if (!row.has("default"))
                                   cell.markup("<span class=\"soft\">none, or by other keys</span>");
                               else if (usual == textOf(row, "value"))
                                   cell.markup("<span class=\"soft\">is the value</span>");
                               else
                                   cell.markup("<code>").text(usual).markup("</code>");
                           }});
    html.add(tableOf(caption, rowsOf(settings, otherwise), columns));
}

void addList(Html& html, const char* what, const std::vector<std::string>& texts) {
    if (texts.empty()) return;
    html.markup("<dt>").text(what).markup("</dt><dd>");
    for (std::size_t at = 0; at < texts.size(); ++at)
        html.text(at == 0 ? "" : ", ").text(texts[at]);
    html.markup("</dd>");
}

void addWarnings(Html& html, const Object& configuration) {
    html.markup("<h2>Warnings</h2>");
    const auto warnings = textsOf(configuration, "warnings");
    if (warnings.empty()) html.markup("<p>There was none when it was taken up.");
    if (!warnings.empty()) {
        html.markup("<ul class=\"alarms\">");
        for (const std::string& warning : warnings)
            html.markup("<li>").text(warning).markup("</li>");
        html.markup("</ul><p>They are of the time when it was taken up.");
    }
    html.markup(
        " <code>mailgate check</code> looks at the file as it is now, and at the machine; <code>mailgate "
        "reload</code> takes it up.</p>");
}

void addSnippets(Html& html, const Object& snippets) {
    html.markup("<h2>Lines for the neighbours</h2><ul>");
    for (const auto& snippet : objectsOf(snippets, "snippets")) {
        const std::string name = textOf(*snippet, "name");
        html.markup("<li><a href=\"/configuration/snippets/")
            .text(percentEncoded(name))
            .markup("\">")
            .text(name)
            .markup("</a>: ")
            .text(textOf(*snippet, "about"))
            .markup("</li>");
    }
    html.markup("</ul>");
}

void addListeners(Html& html, const Object& configuration) {
    html.markup("<h2>Listeners</h2>");
    for (const auto& listener : objectsOf(configuration, "listeners")) {
        const std::string name = textOf(*listener, "name");
        html.markup("<h3>").text(name).markup("</h3><dl>");
        addList(html, "Addresses", textsOf(*listener, "addresses"));
        addList(html, "Upstream", {textOf(*listener, "upstream")});
        addList(html, "Trusted", textsOf(*listener, "trusted"));
        addList(html, "Certificates", textsOf(*listener, "certificates"));
        html.markup("</dl>");
        if (const auto settings = listener->getObject("settings"))
            addSettings(html, "Settings of listener " + name, *settings,
                        configuration.getObject("listener_defaults"));
    }
}

void addUpstreams(Html& html, const Object& configuration) {
    html.markup("<h2>Upstreams</h2>");
    for (const auto& upstream : objectsOf(configuration, "upstreams")) {
        const std::string name = textOf(*upstream, "name");
        html.markup("<h3>").text(name).markup("</h3>");
        if (const auto settings = upstream->getObject("settings"))
            addSettings(html, "Settings of upstream " + name, *settings,
                        configuration.getObject("upstream_defaults"));
        for (const auto& server : objectsOf(*upstream, "servers"))
            if (const auto settings = server->getObject("settings"))
                addSettings(html,
                            fmt::format("Server {}/{}, {}", name, textOf(*server, "name"),
                                        textOf(*server, "address")),
                            *settings, configuration.getObject("server_defaults"));
    }
}

}  // namespace

std::string configurationPage(const Viewer& viewer, const Object& configuration, const Object& snippets) {
    Html html;
    html.markup(
        "<p>What is in force, with the defaults of what the files do not say. It is changed in the files; "
        "passwords in URLs, and keys, are not shown.</p><dl>");
    addList(html, "File", {textOf(configuration, "file")});
    addList(html, "All files", textsOf(configuration, "files"));
    html.markup("</dl>");
    addWarnings(html, configuration);
    addSnippets(html, snippets);
    const auto sections = configuration.getObject("sections"), defaults = configuration.getObject("defaults");
    html.markup("<h2>Sections</h2>");
    if (sections)
        for (const std::string& path : sections->getNames())
            addSettings(html, fmt::format("[{}]", path), *sections->getObject(path),
                        defaults ? defaults->getObject(path) : nullptr);
    addListeners(html, configuration);
    addUpstreams(html, configuration);
    return page(viewer, Place::Configuration, "Configuration", html);
}

std::string snippetPage(const Viewer& viewer, const Object& snippet) {
    Html html;
    html.markup("<p>").text(textOf(snippet, "about")).markup(".</p>");
    html.markup("<pre tabindex=\"0\" role=\"region\" aria-label=\"Lines to copy\">")
        .lines(textOf(snippet, "text"))
        .markup("</pre><p><a href=\"/configuration\">Configuration</a></p>");
    return page(viewer, Place::Configuration, "Lines for " + textOf(snippet, "name"), html);
}

api::Response configurationScreen(const Question& question, const PageRequest& request) {
    constexpr int kNothing = 404;
    const Viewer viewer = question.viewer();
    const auto& path = request.path;
    if (path.size() == 1)
        return question.ask("GET", {"configuration"}, {}, [&](const Object& configuration) {
            return question.ask("GET", {"snippets"}, {}, [&](const Object& snippets) {
                return htmlResponse(configurationPage(viewer, configuration, snippets));
            });
        });
    if (path.size() == 3 && path[1] == "snippets")
        return question.ask("GET", {"snippets", path[2]}, {}, [&](const Object& snippet) {
            return htmlResponse(snippetPage(viewer, snippet));
        });
    return htmlResponse(messagePage(viewer, "Not found", "There is no such page."), kNothing);
}

}  // namespace mailgate::console
