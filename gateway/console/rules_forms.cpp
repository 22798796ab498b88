// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/numbers.h"
#include "gateway/console/rules_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

constexpr const char* kNotNow = "Leave it as it is";

void addProblem(Html& html, const FormProblem& problem) {
    if (problem.why.empty()) return;
    html.markup("<div class=\"alarms\" role=\"alert\"><p>").text(problem.why).markup("</p>");
    if (!problem.details.empty()) {
        html.markup("<ul>");
        for (const std::string& line : problem.details)
            html.markup("<li>").text(line).markup("</li>");
        html.markup("</ul>");
    }
    html.markup("</div>");
    if (problem.may_insist) addCheckbox(html, {"force", "I know, and want it all the same", "true"}, false);
}

void addButtons(Html& html, const char* order, const std::string& leave) {
    html.markup("<p class=\"buttons\"><button name=\"step\" value=\"preview\">").text(order);
    html.markup("</button> <a href=\"").text(leave).markup("\">").text(kNotNow).markup("</a></p></form>");
}

/// A group of choices of which one name may have several.
void addChoice(Html& html, const char* type, const std::string& name, const std::string& value,
               const std::string& words, bool is_chosen) {
    const std::string id = name + "-" + value;
    html.markup("<span class=\"choice\"><input type=\"").text(type).markup("\" id=\"").text(id);
    html.markup("\" name=\"").text(name).markup("\" value=\"").text(value).markup("\"");
    if (is_chosen) html.markup(" checked");
    html.markup("> <label for=\"").text(id).markup("\">").text(words).markup("</label></span> ");
}

bool has(const std::vector<std::string>& values, const std::string& value) {
    return std::find(values.begin(), values.end(), value) != values.end();
}

void addVerdicts(Html& html, const Fields& fields) {
    const std::string verdict = fieldNamed(fields, "verdict");
    html.markup("<fieldset><legend>Clients from there</legend>");
    addChoice(html, "radio", "verdict", "allow", "are allowed", verdict == "allow");
    addChoice(html, "radio", "verdict", "deny", "are denied", verdict == "deny");
    html.markup("</fieldset>");
}

void addListeners(Html& html, const Fields& fields, const RuleNames& names) {
    const auto chosen = fieldsNamed(fields, "listeners");
    html.markup("<fieldset><legend>On these listeners (none: on all)</legend>");
    for (const std::string& name : names.listeners)
        addChoice(html, "checkbox", "listeners", name, name, has(chosen, name));
    html.markup("</fieldset>");
}

/// What can be changed of a rule that is there, too.
void addParticulars(Html& html, const Fields& fields, const std::string& verdict) {
    const auto value = [&](const char* name) { return fieldNamed(fields, name); };
    addInput(html, {"note", "Note", value("note"), "Why: whoever finds the rule later reads it"});
    addInput(html, {"expires_at", "Expires", value("expires_at"),
                    "7d, 12h, 2026-12-31, 2026-12-31T18:00:00Z; empty: never. Times are in UTC"});
    addInput(html, {"owner", "Owner", value("owner"), "Who is to be asked about it"});
    addInput(html, {"ticket", "Ticket", value("ticket"), "Where it was asked for"});
    if (verdict != "deny") {
        addInput(html, {"client_sessions", "Sessions at once, for each client", value("client_sessions"),
                        "Of allow rules; 0: without limit, empty: as the listener says"});
        addInput(html,
                 {"client_rate", "New sessions a minute, for each client", value("client_rate"), "Likewise"});
    }
    if (verdict != "allow")
        addSelect(html, {"reply", "Reply to who is denied", value("reply"), "Of deny rules"},
                  {{"", "As the listener says"},
                   {"temporary", "Temporary: the client may try again"},
                   {"note", "With the note, where the listener's footer has a place for it"},
                   {"temporary,note", "Temporary, with the note"}});
}

/// All but what is the form's own.
void addHiddenFields(Html& html, const Fields& fields) {
    for (const auto& [name, value] : fields)
        if (name != "csrf_token" && name != "step") addHidden(html, name, value);
}

}  // namespace

std::string addRulePage(const Viewer& viewer, const Fields& fields, const RuleNames& names,
                        const FormProblem& problem) {
    Html html;
    beginForm(html, viewer, "/rules/add");
    addProblem(html, problem);
    addTextArea(html, {"networks", "Networks", fieldNamed(fields, "networks"),
                       "One on each line: 192.0.2.0/24, 2001:db8::/32, an address, a range, or a name: "
                       "host:mx.example.org, spf:example.org"});
    addVerdicts(html, fields);
    addListeners(html, fields, names);
    addParticulars(html, fields, "");
    addInput(html, {"set", "Set", fieldNamed(fields, "set"), "Rules that belong together; empty: manual"});
    addCheckbox(html, {"cut", "End the sessions that are denied then", "true"},
                fieldNamed(fields, "cut") == "true");
    addButtons(html, "Preview", "/rules");
    return page(viewer, Place::Rules, "Add a rule", html);
}

Fields fieldsOf(const Object& rule, const std::string& etag) {
    Fields fields{{"etag", etag}};
    for (const char* const key :
         {"note", "expires_at", "owner", "ticket", "client_sessions", "client_rate", "reply"})
        fields.emplace_back(key, textOf(rule, key));
    return fields;
}

std::string editRulePage(const Viewer& viewer, const Object& rule, const Fields& fields,
                         const FormProblem& problem) {
    Html html;
    const std::string path = "/rules/" + percentEncoded(textOf(rule, "id"));
    const std::string listener = textOf(rule, "listener");
    const std::string verdict = textOf(rule, "verdict");
    html.markup("<p><strong>")
        .text(fmt::format("{} {}", verdict, subjectOf(rule)))
        .markup("</strong> on ")
        .text(listener.empty() ? "all listeners" : "listener " + listener)
        .markup(", set ")
        .text(textOf(rule, "set"))
        .markup(". Another network or verdict is another rule.</p>");
    beginForm(html, viewer, path + "/edit");
    addHidden(html, "etag", fieldNamed(fields, "etag"));
    addProblem(html, problem);
    addParticulars(html, fields, verdict);
    addButtons(html, "Preview", path);
    return page(viewer, Place::Rules, "Edit rule " + textOf(rule, "id"), html);
}

std::string importPage(const Viewer& viewer, const Fields& fields, const RuleNames& names,
                       const FormProblem& problem) {
    Html html;
    beginForm(html, viewer, "/rules/import", true);
    addProblem(html, problem);
    addTextArea(html, {"text", "List", fieldNamed(fields, "text"),
                       "One network on each line. Lists of Postfix, HAProxy, nginx, Spamhaus, ipset, nft and "
                       "CSV are recognized"});
    html.markup(
        "<p><label for=\"list\">Or a file</label><input type=\"file\" id=\"list\" name=\"list\"></p>");
    addSelect(html, {"verdict", "Lines without a verdict", fieldNamed(fields, "verdict")},
              {{"", "are an error"}, {"allow", "allow"}, {"deny", "deny"}});
    addInput(html, {"set", "Set", fieldNamed(fields, "set"), "Of all lines; empty: the line's, or manual"});
    addSelect(html, {"replace", "Rules that are there", fieldNamed(fields, "replace")},
              {{"", "stay"},
               {"set", "go, if they are of the set, or of one that the list names, and not in the list"},
               {"all", "go, if they are not in the list, whatever their set"}});
    if (!names.sets.empty()) {
        std::string sets;
        for (const std::string& name : names.sets)
            sets += (sets.empty() ? "" : ", ") + name;
        html.markup("<p class=\"soft\">Sets that there are: ").text(sets).markup("</p>");
    }
    addButtons(html, "Preview", "/rules");
    return page(viewer, Place::Rules, "Import a list", html);
}

// ---- before it is done

namespace {

void addLeaving(Html& html, const Pending& pending, const char* order_class) {
    html.markup("<p class=\"buttons\"><button name=\"step\" value=\"do\" class=\"")
        .text(order_class)
        .markup("\">")
        .text(pending.order)
        .markup("</button> ");
    if (pending.is_form)
        html.markup("<button name=\"step\" value=\"edit\" class=\"plain\">Back to the form</button> ");
    html.markup("<a href=\"").text(pending.leave).markup("\">").text(kNotNow).markup("</a></p></form>");
}

/// "These 312 sessions of the last seven days would have been refused"
void addConcerned(Html& html, const Object& change) {
    html.markup("<h2>Whom it concerns</h2>");
    const auto sessions = change.getObject("sessions");
    if (!sessions) {
        html.markup(
            "<p>The journal is off, or cannot be read: which sessions would have been decided otherwise is "
            "not "
            "known.</p>");
        return;
    }
    const auto count = [&](const char* name) { return sessions->optValue<std::uint64_t>(name, 0); };
    const auto admitted = count("admitted"), refused = count("refused"), found = count("clients_found");
    const auto clients = objectsOf(*sessions, "clients");
    const char* const at_least = isTrue(*sessions, "complete") ? "" : "At least ";
    if (clients.empty())
        html.markup("<p>No session of the last seven days would have been decided otherwise.</p>");
    if (refused > 0)
        html.markup("<p class=\"bad\"><strong>")
            .text(fmt::format("{}{} of the last seven days would have been refused.", at_least,
                              counted(refused, "session")))
            .markup("</strong></p>");
    if (admitted > 0)
        html.markup("<p class=\"good\"><strong>")
            .text(fmt::format("{}{} of the last seven days would have been admitted.", at_least,
                              counted(admitted, "session")))
            .markup("</strong></p>");
    if (const auto unknown = count("not_known"); unknown > 0)
        html.markup("<p>")
            .text(fmt::format("Not known of {}, whose clients' addresses the journal has forgotten.",
                              counted(unknown, "session")))
            .markup("</p>");
    if (clients.empty()) return;
    constexpr std::size_t kMost = 20;
    const std::vector<Object::Ptr> first(
        clients.begin(), clients.begin() + static_cast<std::ptrdiff_t>(std::min(clients.size(), kMost)));
    html.add(tableOf(found > kMost ? fmt::format("The {} clients with most sessions, of {}", kMost,
                                                 answers::grouped(found))
                                   : std::string("Clients, those with most sessions first"),
                     first,
                     {{"Client", false,
                       [](Html& cell, const Object& row) {
                           const std::string client = textOf(row, "client");
                           cell.markup("<a href=\"/sessions?q=")
                               .text(percentEncoded(client))
                               .markup("\">")
                               .text(client)
                               .markup("</a>");
                       }},
                      plain("Listener", "listener"),
                      number("Sessions", "sessions"),
                      {"Would have been", false, [](Html& cell, const Object& row) {
                           cell.text(isTrue(row, "allowed") ? "admitted" : "refused");
                       }}}));
}

void addEntries(Html& html, const Object& change) {
    constexpr std::size_t kMost = 200;
    const auto value = [&](const char* key) { return change.optValue<std::uint64_t>(key, 0); };
    const std::uint64_t all = value("added") + value("changed") + value("removed");
    html.markup("<h2>What changes</h2><p>")
        .text(fmt::format("{} to be added, {} changed, {} removed.", counted(value("added"), "rule"),
                          value("changed"), value("removed")))
        .markup("</p>");
    const auto entries = objectsOf(change, "changes");
    if (entries.empty()) return;
    html.markup("<ul class=\"changes\">");
    for (std::size_t at = 0; at < std::min(entries.size(), kMost); ++at) {
        html.markup("<li>");
        addChangeLines(html, textOf(*entries[at], "before"), textOf(*entries[at], "after"));
        html.markup("</li>");
    }
    html.markup("</ul>");
    if (all > kMost)
        html.markup("<p>").text(fmt::format("and {} more", answers::grouped(all - kMost))).markup("</p>");
}

}  // namespace

std::string previewPage(const Viewer& viewer, const Pending& pending, const Object& change) {
    Html html;
    html.markup("<p>Nothing has been changed yet.</p>");
    if (!pending.warning.empty()) html.markup("<p class=\"warning\">").text(pending.warning).markup("</p>");
    addConcerned(html, change);
    addEntries(html, change);
    beginForm(html, viewer, pending.action, true);
    addHiddenFields(html, pending.fields);
    addLeaving(html, pending, change.optValue<std::uint64_t>("removed", 0) > 0 ? "danger" : "");
    return page(viewer, Place::Rules, pending.title, html);
}

std::string insistPage(const Viewer& viewer, const Pending& pending, const FormProblem& problem) {
    Html html;
    beginForm(html, viewer, pending.action, true);
    addProblem(html, problem);
    addHiddenFields(html, pending.fields);
    if (problem.may_insist)
        addButtons(html, "Preview", pending.leave);
    else
        html.markup("<p><a href=\"").text(pending.leave).markup("\">Back</a></p></form>");
    return page(viewer, Place::Rules, pending.title, html);
}

// ---- another was faster

std::string changedMeanwhilePage(const Viewer& viewer, const Object& now, const Fields& fields) {
    struct Row {
        const char* key;
        const char* words;
    };
    constexpr std::array kRows{Row{"note", "Note"},
                               Row{"expires_at", "Expires"},
                               Row{"owner", "Owner"},
                               Row{"ticket", "Ticket"},
                               Row{"client_sessions", "Sessions at once, for each client"},
                               Row{"client_rate", "New sessions a minute, for each client"},
                               Row{"reply", "Reply to who is denied"}};
    Html html;
    const std::string id = textOf(now, "id");
    html.markup(
        "<p role=\"alert\">Somebody else has changed this rule since you opened it. Nothing of yours has "
        "been "
        "done, so that nothing of theirs is lost.</p>");
    std::vector<Object::Ptr> rows;
    for (const Row& row : kRows) {
        const std::string present = textOf(now, row.key), wanted = fieldNamed(fields, row.key);
        const bool is_there = std::any_of(fields.begin(), fields.end(),
                                          [&](const auto& field) { return field.first == row.key; });
        if (!is_there && present.empty()) continue;
        Object::Ptr one(new Object);
        one->set("what", row.words);
        one->set("now", present);
        one->set("yours", wanted);
        rows.push_back(std::move(one));
    }
    std::vector<Column> columns{plain("What", "what"), plain("Now", "now")};
    if (!fields.empty()) columns.push_back(plain("Yours", "yours"));
    html.add(tableOf("The rule as it is now", rows, columns));
    const std::string path = "/rules/" + percentEncoded(id);
    html.markup("<ul class=\"links\"><li><a href=\"")
        .text(path)
        .markup("/edit\">Edit the rule as it is now</a></li><li><a href=\"")
        .text(path)
        .markup("/remove\">Remove it</a></li><li><a href=\"")
        .text(path)
        .markup("\">Leave it as it is</a></li></ul>");
    return page(viewer, Place::Rules, "Rule " + id + " was changed meanwhile", html);
}

}  // namespace mailgate::console
